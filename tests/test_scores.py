from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk

from overtone.errors import DataError
from overtone.scores import (
    METRICS,
    Estimates,
    Predictions,
    applies,
    aurc,
    indicators,
    metrics_of,
    reliability,
    risk_coverage,
    select,
    summary,
    tune_thresholds,
)


def make(gold, probabilities, decided=None, labels=None):
    gold, p = np.asarray(gold), np.asarray(probabilities, dtype=float)
    if decided is None:
        decided = p.argmax(axis=1) if gold.ndim == 1 else (p >= 0.5).astype(np.int64)
    labels = labels or tuple("abcdefgh"[: p.shape[1]])
    ids = tuple(f"r{i}" for i in range(len(gold)))
    return Predictions(ids, labels, gold, np.asarray(decided), p, ("s",) * len(gold))


def random_single(seed=0, n=200, width=4):
    rng = np.random.default_rng(seed)
    return make(rng.integers(width, size=n), rng.dirichlet(np.ones(width), size=n))


def random_multi(seed=0, n=200, width=4):
    rng = np.random.default_rng(seed)
    return make((rng.random((n, width)) < 0.3).astype(np.int64), rng.random((n, width)))


def random_numbers(seed=0, n=200, width=3):
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=(n, width)) * [1, 2, 3] + 3
    decided = gold + rng.normal(size=(n, width))
    ids = tuple(f"r{i}" for i in range(n))
    return Estimates(ids, ("valence", "arousal", "dominance"), gold, decided, ("s",) * n)


# Six rows, three labels: decided a a b b c a against gold a a b c c b.
HAND = make(
    [0, 0, 1, 2, 2, 1],
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.2, 0.5, 0.3], [0.0, 0.1, 0.9], [0.5, 0.4, 0.1]],
)


def test_single_label_metrics_by_hand():
    found = summary(HAND)
    # a: 2 right of 3 taken and 2 wanted; b: 1 of 2 and 2; c: 1 of 1 and 2.
    f1 = [2 * 2 / 5, 2 * 1 / 4, 2 * 1 / 3]
    expected = {
        "accuracy": 4 / 6,
        "macro_f1": sum(f1) / 3,
        "micro_f1": 4 / 6,
        "macro_precision": (2 / 3 + 1 / 2 + 1) / 3,
        "macro_recall": (1 + 1 / 2 + 1 / 2) / 3,
        "weighted_precision": (2 / 3 * 2 + 1 / 2 * 2 + 1 * 2) / 6,
        "weighted_recall": 4 / 6,
        "log_loss": -np.log([0.8, 0.6, 0.7, 0.3, 0.9, 0.4]).mean(),
        "brier": (0.06 + 0.26 + 0.14 + 0.78 + 0.02 + 0.62) / 6,
        # One claim a bin, apart from the two at 0.5, both wrong.
        "ece": (0.2 + 0.4 + 0.3 + 0.1 + 2 * 0.5) / 6,
        # Rows of a outrank 7 of 8 others (0.6 and 0.8 against 0.5, 0.2, 0.1, 0.0).
        "roc_auc": (1 + 7 / 8 + 1) / 3,
        "average_precision": (1 + (1 / 1 + 2 / 3) / 2 + 1) / 3,
        # The two at 0.5 come last: no error among the first four, then one of five and two of six.
        "aurc": (1 / 5 + 2 / 6) / 6,
    }
    assert found == pytest.approx(expected)
    assert "hamming" not in found


def test_multilabel_metrics_by_hand():
    p = make([[1, 0], [1, 1], [0, 0], [0, 1]], [[0.9, 0.2], [0.4, 0.8], [0.3, 0.6], [0.1, 0.7]])
    found = summary(p)
    assert found["accuracy"] == 2 / 4  # rows 1 and 4 are right as a whole
    assert found["hamming"] == 2 / 8
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["micro_f1"] == pytest.approx(6 / 8)
    assert found["brier"] == pytest.approx((0.01 + 0.04 + 0.36 + 0.04 + 0.09 + 0.36 + 0.01 + 0.09) / 8)
    assert found["log_loss"] == pytest.approx(
        -np.log([0.9, 0.8, 0.4, 0.8, 0.7, 0.4, 0.9, 0.7]).mean()  # the probability of what is true
    )
    assert found["average_precision"] == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_single_label_metrics_equal_scikit_learn(seed):
    p = random_single(seed)
    found, onehot = summary(p), indicators(p.gold, 4)
    assert found["macro_f1"] == pytest.approx(sk.f1_score(p.gold, p.decided, average="macro"))
    assert found["micro_f1"] == pytest.approx(found["accuracy"])
    assert found["log_loss"] == pytest.approx(sk.log_loss(p.gold, p.probabilities))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(p.gold, p.probabilities, multi_class="ovr"))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(onehot, p.probabilities))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(p.gold, p.probabilities, scale_by_half=False))


@pytest.mark.parametrize("seed", range(3))
def test_multilabel_metrics_equal_scikit_learn(seed):
    p = random_multi(seed)
    found = summary(p)
    for average in ("macro", "micro"):
        assert found[f"{average}_f1"] == pytest.approx(sk.f1_score(p.gold, p.decided, average=average))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(p.gold, p.probabilities))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(p.gold, p.probabilities))


def test_a_metric_knows_its_name_direction_and_unit():
    assert all(name == metric.name and metric.unit for name, metric in METRICS.items())
    lower = {name for name, metric in METRICS.items() if not metric.higher_is_better}
    assert lower == {"log_loss", "brier", "ece", "aurc", "hamming", "mae", "rmse"}


def test_each_kind_has_its_metrics():
    classes, several, numbers = map(metrics_of, ("classification", "multilabel", "regression"))
    assert set(several) - set(classes) == {"hamming"}
    assert numbers == ("pearson", "spearman", "ccc", "mae", "rmse", "r2")
    assert {*several, *numbers} == set(METRICS)
    assert applies("pearson", "regression")
    assert not applies("pearson", "classification")
    assert not applies("hamming", "classification")
    assert not applies("hammer", "multilabel")
    for scored, names in ((HAND, classes), (random_multi(), several), (random_numbers(), numbers)):
        assert tuple(summary(scored)) == names == metrics_of(scored.kind)


def test_metrics_of_numbers_are_means_over_the_numbers():
    p = random_numbers()
    found = summary(p)
    error = p.decided - p.gold
    columns = list(zip(p.gold.T, p.decided.T, strict=True))
    assert found["pearson"] == pytest.approx(np.mean([pearsonr(g, d).statistic for g, d in columns]))
    assert found["spearman"] == pytest.approx(np.mean([spearmanr(g, d).statistic for g, d in columns]))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(p.gold, p.decided))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(p.gold, p.decided))
    assert found["r2"] == pytest.approx(sk.r2_score(p.gold, p.decided))
    assert found["mae"] != pytest.approx(np.abs(error).max())


def test_a_metric_of_the_other_kind_does_not_apply():
    assert np.isnan(METRICS["accuracy"].function(random_numbers()))
    assert np.isnan(METRICS["pearson"].function(HAND))


def test_a_number_that_does_not_vary_is_left_out_of_the_mean():
    p = random_numbers()
    gold = p.gold.copy()
    gold[:, 1] = 3.1
    still = dataclasses.replace(p, gold=gold)
    kept = [pearsonr(gold[:, i], p.decided[:, i]).statistic for i in (0, 2)]
    assert summary(still)["pearson"] == pytest.approx(np.mean(kept))
    nothing = dataclasses.replace(p, gold=np.full_like(gold, 3.1))
    assert set(summary(nothing)) == {"mae", "rmse"}


def test_labels_that_occur_nowhere_do_not_count_as_zero():
    p = make([0, 1, 1], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.9, 0.0]])
    found = summary(p)
    assert found["macro_f1"] == found["macro_recall"] == 1.0
    assert found["roc_auc"] == found["average_precision"] == 1.0
    # A label that is given but never true does count.
    wrong = make([0, 1, 1], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.0, 0.9]])
    assert summary(wrong)["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_what_does_not_apply_is_left_out():
    one_class = make([0, 0], [[0.9, 0.1], [0.8, 0.2]])
    assert "roc_auc" not in summary(one_class)
    assert "average_precision" in summary(one_class)
    nothing_holds = make([[0, 0]], [[0.1, 0.2]])
    found = summary(nothing_holds)
    assert "macro_f1" not in found
    assert found["accuracy"] == 1.0


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no rows"):
        summary(select(HAND, np.array([], dtype=np.int64)))


def test_log_loss_of_rounded_rows_and_of_certain_mistakes():
    p = make([0, 1], [[0.333333, 0.333333, 0.333333], [1.0, 0.0, 0.0]])
    assert METRICS["log_loss"].function(p) == pytest.approx((np.log(3) - np.log(np.finfo(float).eps)) / 2)


def test_ece_by_hand():
    # Bins of width 1/15: (9/15, 10/15] holds 0.61 and 0.65; (13/15, 14/15] holds 0.9; the last holds 1.
    p = make([0, 1, 0, 0], [[0.61, 0.39], [0.65, 0.35], [0.9, 0.1], [1.0, 0.0]])
    assert METRICS["ece"].function(p) == pytest.approx((2 * abs(0.63 - 0.5) + 0.1 + 0.0) / 4)


def test_reliability_bins_hold_their_upper_edge():
    count, claimed, true = reliability(np.array([0.0, 0.5, 0.51, 1.0]), np.array([0, 1, 1, 0], dtype=bool), 2)
    assert count.tolist() == [2, 2]
    assert claimed == pytest.approx([0.25, 0.755])
    assert true == pytest.approx([0.5, 0.5])
    assert np.isnan(reliability(np.array([0.9]), np.array([True]), 2)[1][0])


def test_select_takes_indices_and_masks():
    assert select(HAND, np.array([5, 0, 0])).ids == ("r5", "r0", "r0")
    assert select(HAND, HAND.correct).ids == ("r0", "r1", "r2", "r4")
    assert select(random_multi(), np.array([3])).gold.shape == (1, 4)
    p = random_numbers()
    some = select(p, np.array([5, 0]))
    assert some.ids == ("r5", "r0")
    assert (some.decided == p.decided[[5, 0]]).all()
    assert some.labels == p.labels


def test_confidence_and_correct():
    assert HAND.confidence.tolist() == [0.8, 0.6, 0.7, 0.5, 0.9, 0.5]
    assert HAND.correct.tolist() == [True, True, True, False, True, False]
    multi = make([[1, 0], [1, 1]], [[0.9, 0.2], [0.4, 0.8]])
    assert multi.confidence.tolist() == [0.9, 0.8]
    assert multi.correct.tolist() == [True, False]


def test_risk_coverage_by_hand():
    coverage, risk = risk_coverage(np.array([0.2, 0.9, 0.8, 0.4]), np.array([False, True, False, True]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])
    assert aurc(np.array([0.2, 0.9, 0.8, 0.4]), np.array([False, True, False, True])) == pytest.approx(1 / 3)
    assert np.isnan(aurc(np.zeros(0), np.zeros(0, dtype=bool)))


rows = st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.6, 0.9]), st.booleans()), min_size=1, max_size=6)


@settings(max_examples=40)
@given(rows, st.randoms(use_true_random=False))
def test_risk_coverage_does_not_depend_on_the_order(found, random):
    shuffled = list(found)
    random.shuffle(shuffled)
    curves = [risk_coverage(*map(np.array, zip(*each, strict=True))) for each in (found, shuffled)]
    assert (curves[0][1] == curves[1][1]).all()


@settings(max_examples=25)
@given(rows)
def test_aurc_is_the_mean_over_all_orders_of_ties(found):
    orders = [
        order
        for order in itertools.permutations(found)
        if all(x[0] >= y[0] for x, y in itertools.pairwise(order))
    ]
    k = np.arange(1, len(found) + 1)
    means = [(np.cumsum([not right for _, right in order]) / k).mean() for order in orders]
    confidence, correct = map(np.array, zip(*found, strict=True))
    assert aurc(confidence, correct) == pytest.approx(np.mean(means))


def test_thresholds_by_hand():
    gold = [[1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 0, 0]]
    p = [[0.9, 0.3, 0.5], [0.7, 0.3, 0.5], [0.4, 0.3, 0.5], [0.2, 0.3, 0.5]]
    # First label: a cut after 0.7 gives F1 0.8, after 0.2 (all rows) 6/7. Second: no row. Third: all equal,
    # so the only cut takes every row.
    assert tune_thresholds(make(gold, p)).tolist() == pytest.approx([0.1, 0.5, 0.25])


def test_thresholds_lie_in_the_middle_of_the_gap():
    gold = np.array([[1], [1], [0], [0]])
    assert tune_thresholds(make(gold, [[0.9], [0.8], [0.2], [0.1]])) == pytest.approx([0.5])


def test_of_equal_cuts_the_widest_gap_is_taken():
    # F1 is 2/3 after the first row and after the fourth.
    gold = np.array([[1], [0], [0], [1]])
    assert tune_thresholds(make(gold, [[0.9], [0.85], [0.8], [0.6]])) == pytest.approx([0.3])
    assert tune_thresholds(make(gold, [[0.9], [0.3], [0.2], [0.1]])) == pytest.approx([0.6])


def test_threshold_between_adjacent_floats_keeps_the_lower_out():
    upper = 0.5
    lower = np.nextafter(upper, 0)
    p = make([[1], [0]], [[upper], [lower]])
    threshold = tune_thresholds(p)
    assert (p.probabilities >= threshold).tolist() == [[True], [False]]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.30001, 0.8, 1.0]), st.booleans()), min_size=1))
def test_no_threshold_has_a_better_f1(found):
    scores, truth = map(np.array, zip(*found, strict=True))
    p = make(truth.astype(np.int64)[:, None], scores[:, None])

    def f1(threshold):
        return sk.f1_score(truth, scores >= threshold, zero_division=0)

    tuned = tune_thresholds(p)[0]
    assert 0 <= tuned <= 1
    if truth.any():
        assert f1(tuned) == pytest.approx(max(f1(t) for t in np.unique([0, *scores])))
    else:
        assert tuned == 0.5


def test_thresholds_need_multilabel_rows():
    with pytest.raises(DataError, match="multi-label"):
        tune_thresholds(HAND)
