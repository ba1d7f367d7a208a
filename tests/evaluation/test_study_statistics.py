from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from overtone.errors import DataError
from overtone.evaluation.compare import paired
from overtone.evaluation.study import (
    COSTS,
    Term,
    Trial,
    analyse,
    difference_over,
    holm,
    left_over,
    measure_of,
    verdict,
)
from overtone.scores import METRICS, Estimates, Predictions

COST = dict.fromkeys(COSTS, 1.0)
FITS = itertools.count()


def decided(right, labels=("a", "b")):
    """Rows of which some are decided right."""
    right = np.asarray(right, dtype=bool)
    gold = np.arange(len(right)) % 2
    choice = np.where(right, gold, 1 - gold)
    p = np.where(choice[:, None] == np.arange(2), 0.9, 0.1)
    ids = tuple(f"r{i}" for i in range(len(right)))
    return Predictions(ids, labels, gold, choice, p, ("s",) * len(right))


def estimated(noise, n=80, seed=0):
    gold = np.random.default_rng(1).normal(size=(n, 2))
    made = gold + noise * np.random.default_rng(seed).normal(size=(n, 2))
    return Estimates(tuple(f"v{i}" for i in range(n)), ("up", "down"), gold, made, ("s",) * n)


def trial(fit="", **scored):
    """Test rows by task; by default of a fit of its own."""
    return Trial({("test", name): each for name, each in scored.items()}, COST, fit or str(next(FITS)))


KNOWN = {"mood": (decided([]), "accuracy"), "vad": (estimated(1), "pearson")}
ACCURACY = measure_of("mood.accuracy", KNOWN)


def found_by(findings):
    return {(each.arm, each.measure.name): each for each in findings}


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.001], [0.5, 0.002]),
        ([0.9, 0.8, 0.7], [1.0, 1.0, 1.0]),
        ([], []),
    ],
)
def test_holm_by_hand(p, adjusted):
    assert holm(p) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_p_and_bonferroni_and_keeps_the_order(p):
    adjusted = holm(p)
    assert all(one <= two <= min(1.0, len(p) * one) for one, two in zip(p, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, len(p) * min(p)))
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


@pytest.mark.parametrize(
    ("difference", "p", "higher", "said"),
    [
        (0.02, 0.01, True, "helps"),
        (0.02, 0.01, False, "hurts"),
        (-0.02, 0.01, True, "hurts"),
        (-0.02, 0.01, False, "helps"),
        (0.02, 0.05, True, "no difference shown"),
    ],
)
def test_a_verdict_needs_a_small_p(difference, p, higher, said):
    assert verdict(difference, p, higher_is_better=higher) == said


@pytest.mark.parametrize("value", [0.0, 0.3, -1.1, 2.5])
@pytest.mark.parametrize(("variance", "freedom"), [(1.0, 4), (0.3, 9)])
def test_with_one_kind_of_variance_it_is_the_normal_or_student_s(value, variance, freedom):
    scale = variance**0.5
    rows, seeds = (difference_over(value, *parts, freedom) for parts in ((variance, 0.0), (0.0, variance)))
    for found, law in ((rows, stats.norm(0, scale)), (seeds, stats.t(freedom, 0, scale))):
        assert found.p == pytest.approx(2 * law.sf(abs(value)))
        assert (found.low, found.high) == pytest.approx((value - law.isf(0.025), value + law.isf(0.025)))


def test_with_both_it_lies_between_and_agrees_with_its_interval():
    found = difference_over(1.0, 0.2, 0.1, 4)
    pure = [difference_over(1.0, *parts, 4) for parts in ((0.3, 0.0), (0.0, 0.3))]
    assert pure[0].p < found.p < pure[1].p
    assert difference_over(found.value - found.low, 0.2, 0.1, 4).p == pytest.approx(0.05)
    assert difference_over(0.0, 0.0, 0.0, 4).p == 1
    assert difference_over(9e9, 0.2, 0.1, 4).p <= 1e-12


def test_what_is_left_over_of_a_layout_by_hand():
    """Rows of 1 2 6 and 3 4 2 differ by 2, 2 and -4: mean 0, variance 12, half of it each value's."""
    assert left_over(np.array([[1.0, 2, 6], [3, 4, 2]])) == (pytest.approx(6.0), 2)
    additive = np.add.outer([1.0, 5, 2, 8], [0.1, 0.2, 0.7])
    assert left_over(additive) == (pytest.approx(0, abs=1e-12), 6)


def test_what_a_study_may_name():
    assert measure_of("mean", KNOWN).terms == (
        Term(0.5, "test", "mood", "accuracy"),
        Term(0.5, "test", "vad", "pearson"),
    )
    gap = measure_of("gap", KNOWN)
    assert not gap.higher_is_better
    assert {(term.part, term.share) for term in gap.terms} == {("train", 0.5), ("test", -0.5)}
    assert measure_of("mood.log_loss", KNOWN).higher_is_better is False
    assert measure_of("vad.up.pearson", KNOWN).terms[0].metric == "up.pearson"
    assert measure_of("train.seconds", KNOWN).terms == ()
    assert measure_of("mean.ece", KNOWN).terms == (Term(1.0, "test", "mood", "ece"),)
    assert measure_of("mean.accuracy", {**KNOWN, "tone": KNOWN["mood"]}).terms == (
        Term(0.5, "test", "mood", "accuracy"),
        Term(0.5, "test", "tone", "accuracy"),
    )
    lower = {**KNOWN, "vad": (estimated(1), "rmse")}
    assert measure_of("mean", lower).terms[1].share == -0.5


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("moood.accuracy", "did you mean 'mood.accuracy'?"),
        ("mean.acuracy", "did you mean 'accuracy'?"),
        ("mean.hamming", "leave it out"),
        ("moods", "known: gap, mean, mood.accuracy, train.epochs"),
        ("mood.acuracy", "did you mean 'accuracy'?"),
        ("train.second", "did you mean 'train.seconds'?"),
    ],
)
def test_what_a_study_misspells(name, hint):
    with pytest.raises(DataError) as caught:
        measure_of(name, KNOWN)
    assert hint in caught.value.hint


def test_the_difference_is_the_mean_of_the_seeds_own():
    base = [trial(mood=decided([1, 1, 0, 0, 0])) for _ in range(3)]
    mine = [trial(mood=decided(right)) for right in ([1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0])]
    found = found_by(analyse({"base": base, "mine": mine}, [ACCURACY], "base", seed=1, resamples=1000))
    assert found["base", "mood.accuracy"].difference is None
    gain = found["mine", "mood.accuracy"]
    assert gain.values == pytest.approx((0.6, 0.8, 0.2))
    assert gain.difference.value == pytest.approx((0.2 + 0.4 - 0.2) / 3)
    assert gain.rows == 5


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "ece"])
def test_where_seeds_do_not_differ_it_is_the_paired_bootstrap(metric):
    chance = np.random.default_rng(3)
    a, b = decided(chance.random(400) < 0.6), decided(chance.random(400) < 0.65)
    measure = measure_of(f"mood.{metric}", KNOWN)
    trials = {"a": [trial(mood=a)] * 3, "b": [trial(mood=b)] * 3}
    gain = found_by(analyse(trials, [measure], "a", seed=7, resamples=2000))["b", measure.name].difference
    plain = paired(METRICS[metric], a, b, seed=8, resamples=2000)
    assert gain.value == pytest.approx(plain.value)
    assert (gain.low, gain.high) == pytest.approx(
        (plain.low, plain.high), abs=0.08 * (plain.high - plain.low)
    )
    assert gain.p == pytest.approx(plain.p, abs=0.03)


def test_where_rows_do_not_differ_it_is_student_s_paired_test():
    """Every row has the same error, so a resample changes nothing; two arms leave one test, by scipy."""
    errors = {"base": [0.5, 0.7, 0.4, 0.6], "mine": [0.4, 0.65, 0.2, 0.55]}

    def off_by(error):
        return Estimates(("1", "2", "3"), ("up",), np.zeros((3, 1)), np.full((3, 1), error), ("s",) * 3)

    known = {"vad": (off_by(0.0), "pearson")}
    trials = {arm: [trial(vad=off_by(error)) for error in found] for arm, found in errors.items()}
    measure = measure_of("vad.mae", known)
    gain = found_by(analyse(trials, [measure], "base", seed=1, resamples=1000))["mine", "vad.mae"]
    theirs = stats.ttest_rel(errors["mine"], errors["base"])
    assert gain.difference.p == pytest.approx(theirs.pvalue)
    bounds = theirs.confidence_interval(0.95)
    assert (gain.difference.low, gain.difference.high) == pytest.approx((bounds.low, bounds.high))


def test_two_ways_to_read_one_fit_are_compared_by_themselves():
    """A third arm whose seeds scatter says nothing of two readings that say the same."""
    chance = np.random.default_rng(1)
    seeds = [decided(chance.random(50) < share) for share in (0.4, 0.6, 0.8)]
    base = [trial(fit=f"a-{i}", mood=each) for i, each in enumerate(seeds)]
    other = [trial(mood=decided(chance.random(50) < share)) for share in (0.8, 0.6, 0.4)]
    same = [trial(fit=f"a-{i}", mood=each) for i, each in enumerate(seeds)]
    found = {}
    for name, arm in (("same", same), ("copy", [dataclasses.replace(each, fit="b") for each in same])):
        trials = {"base": base, "other": other, name: arm}
        gain = found_by(analyse(trials, [ACCURACY], "base", seed=1, resamples=100))[name, "mood.accuracy"]
        found[name] = gain.difference
    assert dataclasses.astuple(found["same"]) == (0, 0, 0, 1)
    assert found["copy"].low < -0.1 < 0.1 < found["copy"].high


def test_a_mean_over_tasks_and_a_gap_by_hand():
    trials = {
        arm: [
            Trial(
                {
                    ("test", "mood"): decided([1] * right + [0] * (10 - right)),
                    ("train", "mood"): decided([1] * 9 + [0]),
                    ("test", "vad"): estimated(1.0, seed=seed),
                    ("train", "vad"): estimated(0.1, seed=seed + 9),
                },
                {**COST, "train.seconds": 30.0 + right},
                f"{arm}-{seed}",
            )
            for seed in range(3)
        ]
        for arm, right in (("few", 5), ("more", 7))
    }
    names = ("mean", "gap", "train.seconds")
    measures = [measure_of(name, KNOWN) for name in names]
    found = found_by(analyse(trials, measures, "few", seed=1, resamples=1000))
    for seed in range(3):
        test, train = (
            METRICS["pearson"].function(estimated(*x)) for x in ((1.0, 80, seed), (0.1, 80, seed + 9))
        )
        assert found["few", "mean"].values[seed] == pytest.approx((0.5 + test) / 2)
        assert found["few", "gap"].values[seed] == pytest.approx((0.9 + train) / 2 - (0.5 + test) / 2)
    assert found["more", "mean"].difference.value == pytest.approx(0.1)
    assert found["more", "gap"].difference.value == pytest.approx(-0.1)
    assert (found["more", "mean"].rows, found["more", "gap"].rows) == (90, 180)
    assert found["more", "train.seconds"].values == (37.0,) * 3
    assert found["more", "train.seconds"].difference is None


def test_rows_of_different_tasks_are_drawn_apart():
    """Two tasks whose gains cancel row by row would seem to have none, were their rows drawn alike."""
    right = np.arange(60) % 2 == 0
    known = {name: (decided([]), "accuracy") for name in ("one", "two")}
    trials = {
        "base": [trial(one=decided([0] * 60), two=decided([1] * 60))] * 3,
        "mine": [trial(one=decided(right), two=decided(right))] * 3,
    }
    measures = [measure_of("mean", known)]
    gain = found_by(analyse(trials, measures, "base", seed=1, resamples=1000))["mine", "mean"].difference
    assert gain.value == pytest.approx(0)
    assert gain.low < -0.02 < 0.02 < gain.high


def test_an_arm_that_lacks_a_task_goes_without_its_figures():
    both = [trial(mood=decided([1, 0, 1]), vad=estimated(1.0, seed=seed)) for seed in range(3)]
    alone = [trial(vad=estimated(0.5, seed=seed)) for seed in range(3)]
    measures = [measure_of(name, KNOWN) for name in ("mean", "mood.accuracy", "vad.pearson")]
    found = found_by(analyse({"alone": alone, "both": both}, measures, "both", seed=1, resamples=1000))
    assert [key for key in found if key[0] == "alone"] == [("alone", "vad.pearson")]
    assert found["alone", "vad.pearson"].difference.value > 0


def test_p_values_are_adjusted_for_the_whole_study():
    chance = np.random.default_rng(3)
    base = [trial(mood=decided(chance.random(200) < 0.6))] * 3
    better = [trial(mood=decided(chance.random(200) < 0.75))] * 3

    def p(arms):
        trials = {"base": base, **dict.fromkeys(arms, better)}
        return found_by(analyse(trials, [ACCURACY], "base", seed=1, resamples=1000))[
            "a", "mood.accuracy"
        ].difference.p

    assert 0 < p("a") < 0.01
    assert p("abcde") == pytest.approx(5 * p("a"))


@pytest.mark.parametrize("scatter", [0.0, 0.1])
def test_arms_without_a_difference_rarely_get_a_verdict(scatter):
    """Rows and seeds scatter, and nothing helps: about one study in twenty may say otherwise."""
    chance, wrong = np.random.default_rng(5), 0
    for study in range(80):
        hard = chance.random(100)
        trials = {
            arm: [
                trial(mood=decided(hard + 0.5 * chance.random(100) < 0.9 + scatter * chance.normal()))
                for _ in range(3)
            ]
            for arm in ("base", "one", "two")
        }
        found = analyse(trials, [ACCURACY], "base", seed=study, resamples=40)
        wrong += any(each.difference is not None and each.difference.p < 0.05 for each in found)
    assert wrong <= 9  # of 80 at 5%: with a chance of 99%


def test_arms_of_other_rows_are_refused():
    trials = {"base": [trial(mood=decided([1, 0, 1]))] * 3, "mine": [trial(mood=decided([1, 0]))] * 3}
    with pytest.raises(DataError, match="not the same rows"):
        analyse(trials, [ACCURACY], "base", seed=1, resamples=1000)


def test_a_metric_that_does_not_exist_on_the_rows_is_named():
    one_class = dataclasses.replace(decided([1, 0]), gold=np.zeros(2, dtype=np.int64))
    trials = {arm: [trial(mood=one_class)] * 3 for arm in ("base", "mine")}
    with pytest.raises(DataError, match=r"'mood.roc_auc' does not exist on the test rows") as caught:
        analyse(trials, [measure_of("mood.roc_auc", KNOWN)], "base", seed=1, resamples=1000)
    assert "figures" in caught.value.hint
