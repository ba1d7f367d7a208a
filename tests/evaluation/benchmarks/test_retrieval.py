"""The measures of a ranking: by hand, by a naive program, and what may not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overtone.errors import DataError
from overtone.evaluation.benchmarks.retrieval import interval, paired, ranked, score

RANKINGS = {
    "a": ["x", "d1", "y", "d2", "z"],  # the relevant at places 2 and 4
    "b": ["d3", "x"],  # at once
    "c": ["x", "y"],  # never
    "d": [],  # nothing found
}
JUDGED = {
    "a": {"d1": 1, "d2": 2, "x": 0},
    "b": {"d3": 1},
    "c": {"d4": 1},
    "d": {"d5": 1},
    "unasked": {"d6": 1},
}


def test_by_hand():
    found = score(RANKINGS, JUDGED, (1, 3, 10))
    assert found.ids == ("a", "b", "c", "d")
    a_3 = (1 / math.log2(3)) / (2 / math.log2(2) + 1 / math.log2(3))
    a_10 = (1 / math.log2(3) + 2 / math.log2(5)) / (2 / math.log2(2) + 1 / math.log2(3))
    wanted = {
        "recall_1": [0, 1, 0, 0],
        "recall_3": [1 / 2, 1, 0, 0],
        "recall_10": [1, 1, 0, 0],
        "precision_1": [0, 1, 0, 0],
        "precision_3": [1 / 3, 1 / 3, 0, 0],
        "precision_10": [2 / 10, 1 / 10, 0, 0],
        "mrr_1": [0, 1, 0, 0],
        "mrr_3": [1 / 2, 1, 0, 0],
        "mrr_10": [1 / 2, 1, 0, 0],
        "ndcg_1": [0, 1, 0, 0],
        "ndcg_3": [a_3, 1, 0, 0],
        "ndcg_10": [a_10, 1, 0, 0],
    }
    assert set(found.scores) == set(wanted)
    for measure, values in wanted.items():
        np.testing.assert_allclose(found.of(measure), values, atol=1e-9, err_msg=measure)


def naive(ranking, relevant, k):
    """The four measures from their definitions."""
    top = list(ranking)[:k]
    places = [place for place, each in enumerate(top, 1) if relevant.get(each, 0)]
    gain = sum(relevant[top[place - 1]] / math.log2(place + 1) for place in places)
    best = sorted(relevant.values(), reverse=True)[:k]
    most = sum(value / math.log2(place + 1) for place, value in enumerate(best, 1))
    count = sum(value > 0 for value in relevant.values())
    return [len(places) / count, len(places) / k, 1 / places[0] if places else 0.0, gain / most]


passages = st.integers(0, 30).map("d{}".format)


@given(
    ranking=st.lists(passages, unique=True, max_size=25),
    relevant=st.dictionaries(passages, st.integers(0, 3), min_size=1).filter(lambda r: any(r.values())),
    k=st.integers(1, 30),
)
def test_by_a_naive_program(ranking, relevant, k):
    found = score({"q": ranking}, {"q": relevant}, (k,))
    measures = [found.of(f"{name}_{k}")[0] for name in ("recall", "precision", "mrr", "ndcg")]
    np.testing.assert_allclose(measures, naive(ranking, relevant, k), atol=1e-9)


@given(st.dictionaries(passages, st.sampled_from([0.0, 0.5, 1.0]), min_size=2), st.randoms())
def test_ties_do_not_depend_on_the_order(scores, chance):
    names = list(scores)
    chance.shuffle(names)
    assert ranked({name: scores[name] for name in names}) == ranked(scores)
    for one, two in zip(ranked(scores), ranked(scores)[1:], strict=False):
        assert scores[one] > scores[two] or (scores[one] == scores[two] and one < two)


def test_a_tie_is_broken_by_the_place_and_not_by_trec_eval():
    # trec_eval would put the higher id first among equals
    assert score({"q": ranked({"d1": 1.0, "d2": 1.0})}, {"q": {"d1": 1}}, (1,)).of("recall_1")[0] == 1


@pytest.mark.parametrize(
    ("rankings", "cutoffs", "message"),
    [
        ({}, (1,), "no questions"),
        ({"a": ["x"]}, (), "cutoffs"),
        ({"a": ["x"]}, (0, 1), "cutoffs"),
        ({"new": ["x"]}, (1,), "no passage is relevant to the question 'new'"),
        ({"none": ["x"]}, (1,), "no passage is relevant to the question 'none'"),
        ({"a": ["x", "x"]}, (1,), "a passage is ranked twice for 'a'"),
    ],
)
def test_what_cannot_be_scored_is_refused(rankings, cutoffs, message):
    with pytest.raises(DataError, match=message):
        score(rankings, {**JUDGED, "none": {"x": 0}}, cutoffs)


def many(hits):
    """Questions of which some are answered in the first place."""
    rankings = {f"q{i:03d}": ["d" if hit else "x"] for i, hit in enumerate(hits)}
    return score(rankings, {id_: {"d": 1} for id_ in rankings}, (1,))


def test_an_interval_is_that_of_a_share():
    hits = np.arange(400) % 4 == 0
    found = interval(many(hits), "recall_1", seed=7)
    error = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert found.value == 0.25
    assert (found.low, found.high) == pytest.approx((0.25 - error, 0.25 + error), abs=0.008)


def test_a_difference_is_paired():
    hits = np.arange(200) % 2 == 0
    better = hits.copy()
    better[1:21:2] = True  # ten more, none lost
    gain = paired(many(hits), many(better), "recall_1", seed=7)
    assert gain.value == pytest.approx(0.05)
    assert 0 < gain.low < gain.value < gain.high < 0.09
    assert paired(many(hits), many(hits), "recall_1", seed=7).p == 1
    assert paired(many(better), many(hits), "recall_1", seed=7).value == pytest.approx(-0.05)


def test_only_the_same_questions_are_compared():
    with pytest.raises(DataError, match="1 ids are in only one of 2 and 3"):
        paired(many([1, 0]), many([1, 0, 1]), "recall_1", seed=7)
    with pytest.raises(DataError, match=r"(?s)no measure 'recal_1'.*mean 'recall_1'"):
        interval(many([1]), "recal_1", seed=7)
