"""How a lookup is fitted: what leaving out leaves, weights, kinds of question, the threshold."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from lookups import FACTS, UNKNOWN, Bag, fact, fitted
from overtone.data.fetch import locate
from overtone.data.sources import asl_signing, deaf_knowledge
from overtone.data.sources.deaf_knowledge import Unknown
from overtone.errors import DataError, MissingExtraError
from overtone.evaluation.benchmarks.qa import token_f1
from overtone.inference import lookup, lookup_fit
from overtone.inference.lookup import fact_of
from overtone.inference.lookup_fit import FEW, FOLDS, KIND, fit_kind, fit_threshold, fit_weights


def apart(n):
    """N facts of which no two wordings or answers share a word."""
    return [fact(f"f{i}", f"a{i} b{i}", f"c{i} d{i}", answer=f"e{i} f{i}") for i in range(n)]


def test_a_wording_that_is_judged_is_in_no_text():
    made = fitted(apart(5))
    assert made.fitted.right == pytest.approx(1 / 5)  # all facts score 0, so the first is the best
    assert made.fitted.threshold == 0
    for each in apart(5):
        assert [hit.fact for hit in made.find(each.questions)] == [each, each]


def test_other_wordings_and_the_answer_are_left():
    by_answer = [fact(f"f{i}", f"a{i}", f"b{i}", answer=f"a{i} b{i}") for i in range(5)]
    by_wording = [fact(f"f{i}", f"a{i} b{i}", f"b{i} c{i}", answer=f"d{i}") for i in range(5)]
    assert fitted(by_answer).fitted.right == fitted(by_wording).fitted.right == 1


def test_a_fact_with_one_wording_is_taken_for_others_and_not_judged():
    pair = [fact(f"f{i}", f"a{i} b{i}", f"a{i} c{i}", answer=f"a{i}") for i in range(2)]
    assert fitted(pair).fitted.right == 1
    alike = fact("single", "c0 b0 a0", answer="b0 c0 a0")  # has all words of f0, and never loses one
    assert fitted([*pair, alike]).fitted.right == 2 / 4
    strange = fact("single", "x y", answer="z")  # could not be found by its answer
    assert fitted([*pair, strange]).fitted.right == 1


def test_where_no_fact_has_two_wordings_answers_alone_are_judged():
    told = [fact(f"f{i}", f"a{i} b{i}", answer=f"a{i}") for i in range(4)]
    assert fitted(told).fitted.right == 1
    hidden = [fact(f"f{i}", f"a{i} b{i}", answer=f"c{i}") for i in range(4)]
    assert fitted(hidden).fitted.right == 1 / 4
    assert [hit.fact for hit in fitted(hidden).find(["b2 a2"])] == [hidden[2]]


def test_many_wordings_are_thinned_out(monkeypatch):
    many = [fact(f"f{i}", f"a{i} b{i}", f"a{i} c{i}", answer=f"a{i}") for i in range(12)]
    monkeypatch.setattr(lookup_fit, "ENOUGH", 7)
    made = fitted(many)
    assert len(made.embedder.asked) == 7 + len(UNKNOWN)
    assert made.fitted.right == 1
    assert [hit.near[0] for hit in made.find([f"c{i}" for i in range(12)])] == many


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
def test_weights_are_where_the_slope_of_the_loss_is_nought(l2):
    features = np.array([[[1.0, 0.5], [0.0, 0.5]]] * 3)  # the second feature tells nothing
    found = fit_weights(features, np.zeros(3, dtype=np.int64), l2)
    # −log σ(w) + l2 w², by its derivative
    expected = brentq(lambda w: 2 * l2 * w - 1 / (1 + math.exp(w)), 0, 50)
    np.testing.assert_allclose(found, [expected, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("gold", [[0, 0], [1, 0]])  # as often wrong as right, and always wrong
def test_a_feature_that_does_not_help_has_no_weight(gold):
    features = np.array([[[1.0], [0.0]], [[0.0], [1.0]]])
    assert fit_weights(features, np.array(gold), 1e-4) == pytest.approx([0], abs=1e-4)


@pytest.mark.parametrize(
    ("known", "unknown", "allowed", "expected"),
    [
        ((5, 6, 7, 8), (1, 2), 0.5, 3.5),  # apart: no known one is declined, though half might be
        ((1, 4, 6, 8), (0, 3, 5), 0.25, 3.5),  # 5 could only be declined with 4, which is one too many
        ((1, 4, 6, 8), (0, 3, 5), 0.5, 5.5),
        ((1, 4, 6, 8), (0, 3, 5), 0.24, 0.5),  # none of four is at most 0.24 of them
        ((4, 4, 6, 8), (3, 5), 0.25, 3.5),  # declining one 4 would decline both
        ((1, 2, 3), (9,), 0.4, 1),  # would decline known ones, and no unknown one
        ((4, 3, 2, 1), (), 0.5, 3),  # no unknown ones to weigh: as many as it may
        ((2,), (2, 3), 0.9, 2),
    ],
)
def test_the_threshold_by_hand(known, unknown, allowed, expected):
    assert fit_threshold(np.array(known, float), np.array(unknown, float), allowed) == expected


@given(
    known=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    unknown=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    allowed=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]),
)
def test_no_other_threshold_is_better(known, unknown, allowed):
    def declined(threshold):
        return sum(s < threshold for s in unknown), -sum(s < threshold for s in known)

    found = declined(fit_threshold(np.array(known, float), np.array(unknown, float), allowed))
    others = [declined(each / 2) for each in range(-1, 43)]
    assert -found[1] <= allowed * len(known)
    assert found == max(other for other in others if -other[1] <= allowed * len(known))


def test_settings_are_heard():
    assert fitted(unknown=(), declined_known=0.5).fitted.threshold > fitted(unknown=()).fitted.threshold
    assert fitted(unknown=()).fitted.declined_unknown is None
    norms = [np.linalg.norm(fitted(l2=l2).fitted.weights) for l2 in (1e-4, 1e-2)]
    assert norms[0] > 2 * norms[1]


def test_the_fit_says_what_it_declines():
    made = fitted(declined_known=0.4)
    found = [hit.score < made.fitted.threshold for hit in made.find([each.text for each in UNKNOWN])]
    assert made.fitted.declined_unknown == sum(found) / len(UNKNOWN)
    assert made.fitted.declined_known <= 0.4


def questions(n, answered, dimensions=5):
    """N scores, vectors of length 1 and groups of two; the answered ones lie a little apart."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(n, dimensions)) + np.where(answered, 1, -1)[:, None] * np.eye(dimensions)[0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return rng.normal(5, 2, n) + answered, vectors.astype(np.float32), np.arange(n) // 2


def test_each_question_is_judged_by_a_regression_that_has_not_seen_its_group():
    answered = np.arange(120) < 80
    best, vectors, groups = questions(120, answered)
    slope, direction, scores = fit_kind(best, vectors, answered, groups)
    inputs = np.column_stack([best / best.std(), vectors * KIND])
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    expected = cross_val_predict(
        model, inputs, answered, cv=PredefinedSplit(groups % FOLDS), method="decision_function"
    )
    offset = model.fit(inputs, answered).intercept_  # what the threshold is to have in it
    np.testing.assert_allclose(scores + offset, expected, atol=1e-6)
    np.testing.assert_allclose(
        slope * best + vectors @ direction + offset, model.decision_function(inputs), atol=1e-4
    )


@pytest.mark.parametrize(("known", "unknown"), [(2 * FEW, FEW - 1), (2 * FEW - 2, FEW)])
def test_few_questions_tell_no_kind(known, unknown):
    answered = np.arange(known + unknown) < known
    best, vectors, groups = questions(len(answered), answered)
    slope, direction, scores = fit_kind(best, vectors, answered, groups)
    assert slope == 1
    assert not direction.any()
    assert scores is best


def test_questions_of_a_kind_that_nothing_answers_are_declined(tmp_path):
    many = [fact(f"f{i:02}", f"how is a{i}", f"how was a{i} b{i}", answer=f"a{i} b{i}") for i in range(FEW)]
    prices = [Unknown(f"u{i}", "fit", "near", f"price a{i} b{i}") for i in range(FEW)]
    (cost,) = fitted(many, prices[:3]).find(["price a7 b7"])
    assert cost.fact == many[7]  # it has the words that count
    made = fitted(many, prices)
    assert made.fitted.declined_unknown == 1
    made.save(tmp_path)
    for each in (made, lookup.load(tmp_path, made.embedder)):
        assert [hit.fact for hit in each.find(["price a7 b7", "how is a7"])] == [None, many[7]]


def test_without_bm25s_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    bag = Bag()
    with pytest.raises(MissingExtraError, match="BM25 needs the extra 'search'"):
        lookup_fit.fit(FACTS, UNKNOWN, None, bag)
    assert not bag.axes  # before any text was read


@pytest.mark.parametrize(
    ("given_facts", "message"),
    [
        ((), "too few facts"),
        (FACTS[:1], "too few facts"),
        ((fact("a", answer="x"), fact("b", answer="y")), "too few facts"),
        ((*FACTS, FACTS[1]), "two facts are called 'ferry'"),
    ],
)
def test_what_cannot_be_fitted_is_refused(given_facts, message):
    with pytest.raises(DataError, match=message):
        fitted(given_facts)


def test_the_shipped_facts_are_found_in_other_words(minilm):
    rows = [
        record for module in (deaf_knowledge, asl_signing) for record in module.records(locate(module.CARD))
    ]
    unknown = list(deaf_knowledge.unknown(locate(deaf_knowledge.CARD)))
    taught = [record for record in rows if record.split == "train"]
    made = lookup_fit.fit(lookup.facts(taught), [each for each in unknown if each.part == "fit"])

    held_out = [record for record in rows if record.split == "test"]
    hits = made.find([record.text for record in held_out])
    best = [hit.near[0] for hit in hits]
    gold = [str(record.targets["answer"]) for record in held_out]
    assert np.mean([each.id == fact_of(r) for each, r in zip(best, held_out, strict=True)]) >= 0.7
    assert np.mean([token_f1(each.answer, right) for each, right in zip(best, gold, strict=True)]) >= 0.7
    assert np.mean([hit.fact is None for hit in hits]) <= 0.2

    hits = made.find([record.text for record in taught])
    right = [hit.fact is not None and hit.fact.id == fact_of(r) for hit, r in zip(hits, taught, strict=True)]
    assert np.mean(right) >= 0.95

    hits = made.find([each.text for each in unknown if each.part == "test"])
    assert np.mean([hit.fact is None for hit in hits]) >= 0.7
