"""EQ-Bench's parser, scores and rules: cases by hand, what must always hold, and every published run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr

from eq_questions import NAMES, one_pass, question, two_passes
from overtone.data.fetch import locate
from overtone.data.sources import eq_bench as source
from overtone.errors import DataError
from overtone.evaluation.benchmarks.eq_bench import (
    Answer,
    at_random,
    baselines,
    by_emotion,
    complete,
    constant,
    grade,
    interval,
    outcome,
    paired,
    parse,
    penalty,
    score,
)

RATINGS = st.lists(st.integers(0, 10), min_size=4, max_size=4).map(tuple)
VERSIONS = ("v1", "v2")


def rated(*ratings, names=NAMES):
    return dict(zip(names, map(float, ratings), strict=True))


@pytest.mark.parametrize(
    ("distance", "costs"),
    [
        (0, 0),
        (1, 0.173),
        (2, 0.541),
        (3, 1.505),
        (4, 3.25),
        (5, 4.995),
        (5.01, 5.01),
        (6, 6),
        (10, 10),
        (40, 40),
    ],
)
def test_a_penalty_by_hand(distance, costs):
    assert penalty(distance) == pytest.approx(costs, abs=5e-4)


def test_a_score_of_version_2_by_hand():
    # Off by 1, 2, 3 and 6.
    assert score(question(full=(0, 8, 2, 5)), rated(1, 6, 5, 11), "v2") == pytest.approx(
        10 - 0.7477 * (0.1728 + 0.5406 + 1.5051 + 6), abs=1e-3
    )


def test_a_score_of_version_1_by_hand():
    # 2, 4, 6, 8 sum to 20: scaled 1, 2, 3, 4; off by 1, 4, 2, 1.
    assert score(question(relative=(0, 6, 1, 3)), rated(2, 4, 6, 8), "v1") == pytest.approx(10 - 8)


@pytest.mark.parametrize("version", VERSIONS)
def test_other_emotions_have_no_score(version):
    asked = question()
    assert score(asked, {}, version) is None
    assert score(asked, rated(1, 2, 3, names=NAMES[:3]), version) is None
    assert score(asked, {**rated(1, 2, 3, 4), "Proud": 1}, version) is None
    assert score(asked, rated(1, 2, 3, 4, names=("Glad", "Uneasy", "Envious", "Proud")), version) is None


def test_that_nothing_is_felt_has_a_score_in_version_2_alone():
    assert score(question(), rated(0, 0, 0, 0), "v1") is None
    assert score(question(full=(0, 0, 0, 10)), rated(0, 0, 0, 0), "v2") == pytest.approx(10 - 7.477)
    assert not complete(question(), Answer(rated(0, 0, 0, 0), {}), revise=False)


@given(RATINGS, st.permutations(range(4)))
def test_the_order_of_the_emotions_does_not_matter(ratings, order):
    asked = question()
    mixed = {NAMES[place]: float(ratings[place]) for place in order}
    for version in VERSIONS:
        assert score(asked, rated(*ratings), version) == score(asked, mixed, version)


@given(RATINGS)
def test_the_reference_itself_is_perfect_and_nothing_is_better(ratings):
    asked = question(full=tuple(map(float, ratings)))
    assert score(asked, rated(*ratings), "v2") == 10
    assert score(asked, rated(1, 2, 3, 4), "v2") <= 10
    if sum(ratings):
        relative = tuple(10 * each / sum(ratings) for each in ratings)
        asked = question(relative=relative)
        assert score(asked, rated(*ratings), "v1") == pytest.approx(10)
        assert score(asked, rated(*(3 * each for each in ratings)), "v1") == pytest.approx(10)


@given(RATINGS)
def test_capital_letters_count_as_in_the_reference(ratings):
    text = one_pass(*ratings)
    assert score(question(), parse(text, revise=False).first, "v2") is not None
    for other in (text.lower(), text.upper()):
        assert len(parse(other, revise=False).first) == 4
        assert score(question(), parse(other, revise=False).first, "v2") is None


@given(RATINGS, RATINGS)
def test_what_is_written_is_read(first, revised):
    assert parse(one_pass(*first), revise=False) == Answer(rated(*first), {})
    both = parse(two_passes(one_pass(*first), one_pass(*revised)), revise=True)
    assert both == Answer(rated(*first), rated(*revised))


@pytest.mark.parametrize(
    ("text", "ratings"),
    [
        ("Glad: 3\nCalm:   7", {"Glad": 3, "Calm": 7}),
        ("- Glad:\n4/10", {"Glad": 4}),
        ("**Glad**: 4", {}),
        ("Glad: 7.5", {"Glad": 7}),
        ("Glad:3", {}),
        ("Glad : 3", {}),
        ("Glad: -3", {}),
        ("Glad: 3 then Glad: 5", {"Glad": 5}),
        ("Not Glad: 120", {"Glad": 120}),
        (f"Glad: {'9' * 400}", {}),
        ("", {}),
    ],
)
def test_what_counts_as_a_rating(text, ratings):
    assert parse(text, revise=False) == Answer(ratings, {})


def test_a_pass_without_its_headings_is_not_read():
    assert parse(one_pass(1, 2, 3, 4), revise=True) == Answer({}, {})
    assert parse(f"First pass scores:\n{one_pass(1, 2, 3, 4)}", revise=True) == Answer({}, {})
    assert parse(f"Revised scores:\n{one_pass(1, 2, 3, 4)}", revise=True) == Answer({}, rated(1, 2, 3, 4))


def test_a_rating_in_the_critique_is_the_first_pass_s_as_in_the_reference():
    once = one_pass(1, 2, 3, 4)
    found = parse(two_passes(once, once, critique="Rather Calm: 9, and Proud: 3."), revise=True)
    assert found == Answer({**rated(1, 2, 3, 9), "Proud": 3}, rated(1, 2, 3, 4))
    assert score(question(), found.first, "v2") is None


def asked(n):
    return [question(f"{number}") for number in range(n)]


def off(points):
    """Ratings that score 10 less this many times 0.7477, at points above 5."""
    return rated(0, 8, 2, 5 + points)


def graded(first, revised=(), version="v2"):
    """Passes of answers: each the points that one rating is off, None where it was not read."""
    nothing = [None] * len(first)
    answers = [
        Answer(*({} if points is None else off(points) for points in pair))
        for pair in zip(first, revised or nothing, strict=True)
    ]
    return grade(asked(len(first)), answers, version)


def points(*distances):
    return 100 - 7.477 * float(np.mean(distances))


def test_the_mean_is_over_what_was_parsed():
    found = outcome(graded([6, 8, None, 10]))
    assert found.score == pytest.approx(points(6, 8, 10))
    assert (found.parsed, found.asked, found.rate, found.revised) == (3, 4, 0.75, False)
    assert outcome(graded([None, None])).score == 0
    assert not outcome(graded([None, None])).revised


def test_the_revised_pass_counts_where_it_is_not_lower():
    assert outcome(graded([8, 8], [6, 8])).revised
    assert outcome(graded([8, 8], [6, 8])).score == pytest.approx(points(6, 8))
    assert outcome(graded([8, 8], [8, 8])).revised
    assert not outcome(graded([6, 8], [8, 8])).revised


@pytest.mark.parametrize(("missing", "revised"), [(1, True), (2, False)])
def test_the_revised_pass_needs_95_percent_as_many(missing, revised):
    """19 of 20 are 95%, 18 are not."""
    found = outcome(graded([8] * 20, [None] * missing + [6] * (20 - missing)))
    assert found.revised is revised
    assert found.parsed == (20 - missing if revised else 20)


def test_a_run_fails_below_83_33_percent():
    assert not outcome(graded([6] * 5 + [None])).failed  # 0.83333…
    assert outcome(graded([6] * 8332 + [None] * 1668)).failed
    assert not outcome(graded([6] * 8333 + [None] * 1667)).failed
    assert outcome(graded([6] * 142 + [None] * 29)).failed  # of 171
    assert not outcome(graded([6] * 143 + [None] * 28)).failed


def test_intervals_hold_the_score_and_shrink():
    narrow, wide = (interval(graded([6, 10] * n), seed=1) for n in (200, 8))
    assert narrow.low < narrow.value < narrow.high
    # 1.96 standard errors of a mean of two equally frequent values, 29.908 apart.
    assert narrow.high - narrow.low == pytest.approx(2 * 1.96 * 29.908 / 2 / math.sqrt(400), rel=0.1)
    assert wide.high - wide.low > narrow.high - narrow.low
    same = interval(graded([6] * 9 + [None]), seed=1)
    assert (same.low, same.high) == pytest.approx((points(6), points(6)))


def test_a_gain_is_paired():
    worse, better = graded([10, 8] * 30), graded([8, 6] * 30)
    found = paired(worse, better, seed=1)
    # Each question gains alike, so no resample differs.
    assert (found.value, found.low, found.high) == pytest.approx((14.954,) * 3)
    assert paired(better, worse, seed=1).value == pytest.approx(-14.954)
    with pytest.raises(DataError, match="not the same questions: 60 of v2 and 2 of v2"):
        paired(worse, graded([6, 6]), seed=1)
    with pytest.raises(DataError, match="60 of v2 and 60 of v1"):
        paired(worse, graded([10, 8] * 30, version="v1"), seed=1)


def test_what_cannot_be_scored_is_said():
    with pytest.raises(DataError, match="1 answers to 2 different questions"):
        grade(asked(2), [Answer({}, {})], "v2")
    with pytest.raises(DataError, match="0 answers to 0"):
        grade([], [], "v2")
    with pytest.raises(DataError, match="2 answers to 1 different questions"):
        grade([question(), question()], [Answer({}, {})] * 2, "v2")


def test_error_and_correlation_by_emotion_are_scipy_s():
    chance = np.random.default_rng(0)
    other = ("Glad", "Proud", "Bored", "Shy")
    questions = [
        question(f"{n}", tuple(chance.integers(0, 11, 4).astype(float)), names=NAMES if n % 2 else other)
        for n in range(12)
    ]
    ratings = [tuple(chance.integers(0, 11, 4)) for _ in questions]
    answers = [
        Answer(rated(*each, names=one.emotions), {}) for one, each in zip(questions, ratings, strict=True)
    ]
    answers[3] = Answer({"Glad": 1.0}, {})  # left out
    found = by_emotion(questions, grade(questions, answers, "v2"))
    assert [each.emotion for each in found] == [
        "all",
        "Glad",
        *("Bored", "Proud", "Shy"),
        *("Calm", "Envious", "Uneasy"),
    ]
    pairs = {name: [] for name in (*NAMES, *other)}
    for number, (one, each) in enumerate(zip(questions, ratings, strict=True)):
        for name, true, said in zip(one.emotions, one.full, each, strict=True):
            if number != 3:
                pairs[name].append((true, said))
    pairs["all"] = [pair for each in pairs.values() for pair in each]
    for each in found:
        gold, said = np.array(pairs[each.emotion], dtype=float).T
        assert each.n == len(gold)
        assert each.mae == pytest.approx(np.abs(gold - said).mean())
        assert each.pearson == pytest.approx(pearsonr(gold, said).statistic)


def test_the_fit_is_of_the_pass_that_counts_and_of_the_version():
    questions = asked(1)
    both = grade(questions, [Answer(rated(0, 8, 2, 10), rated(0, 8, 2, 5))], "v2")
    assert by_emotion(questions, both)[0].mae == 0
    # 0, 12, 2, 6 scaled to sum to 10 is the relative reference but for its length.
    scaled = grade(questions, [Answer(rated(0, 12, 2, 6), {})], "v1")
    assert by_emotion(questions, scaled)[0].mae == pytest.approx(0)
    assert math.isnan(by_emotion(questions, scaled)[1].pearson)  # of one rating
    assert by_emotion(questions, grade(questions, [Answer({}, {})], "v2")) == ()


def test_trivial_baselines_by_hand():
    questions = asked(2)
    # Off by 3, 5, 1 and 2.
    expected = 100 - 7.477 * sum(map(penalty, (3, 5, 1, 2)))
    assert outcome(constant(questions, 3, "v2")).score == pytest.approx(expected)
    # 2.5 each: off by 2.5, 3.5, 1.5 and 0.5.
    assert outcome(constant(questions, 3, "v1")).score == pytest.approx(10 * (10 - 8))
    assert set(baselines(questions, "v2", 7)) >= {"always 3", "random"}
    one, again, other = (at_random(asked(30), "v2", seed) for seed in (7, 7, 8))
    assert one.answers == again.answers != other.answers
    drawn = [rating for each in at_random(asked(500), "v2", 7).answers for rating in each.first.values()]
    assert set(drawn) == set(range(11))
    assert np.mean(drawn) == pytest.approx(5, abs=0.3)


def test_every_published_score_comes_out(data_root):
    folder = locate(source.PUBLISHED)
    questions = source.questions(folder)
    runs = list(source.published(folder))
    assert len(runs) == 86
    for run in runs:
        answers = [Answer(*run.answers.get(each.id, ({}, {}))) for each in questions]
        found = outcome(grade(questions, answers, "v2"))
        assert found.score == pytest.approx(run.score, abs=0.05), run.model
        assert not found.failed


def test_every_raw_answer_is_read_as_the_reference_reads_it(data_root):
    rows = list(source.raw_outputs(locate(source.PUBLISHED)))
    other = [row for row in rows if parse(row.text, revise=row.revise) != Answer(row.first, row.revised)]
    assert len(rows) == 1684
    assert other == []


def test_trivial_baselines_on_the_real_questions(data_root):
    """The figures that the data's own description gives, of another implementation."""
    questions = source.questions(locate(source.CARD))
    found = baselines(questions, "v2", 7)
    for name, expected in (("always 0", 2.4), ("always 2", 33.0), ("always 3", 38.9), ("always 4", 36.2)):
        assert outcome(found[name]).score == pytest.approx(expected, abs=0.05)
    low, high = (getattr(interval(found["random"], seed=7), bound) for bound in ("low", "high"))
    assert low < 1.5 < high
