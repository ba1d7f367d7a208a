from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk

from overtone.breakdown import (
    confusion,
    figure,
    metric_named,
    metric_paths,
    numbers,
    per_label,
    per_number,
    rare,
    restricted,
)
from overtone.errors import DataError
from overtone.scores import METRICS, Estimates, Predictions

RNG = np.random.default_rng(0)


def classes(gold, decided, labels=("a", "b", "c")):
    gold, decided = np.array(gold), np.array(decided)
    n = len(gold)
    p = np.eye(len(labels))[decided] if gold.ndim == 1 else decided.astype(float)
    return Predictions(tuple(f"r{i}" for i in range(n)), labels, gold, decided, p, ("s",) * n)


HAND = classes([0, 0, 1, 2, 2, 1], [0, 0, 1, 1, 2, 0])
SEVERAL = classes(*(RNG.random((2, 60, 3)) < 0.4).astype(np.int64), labels=("joy", "a.b", "fear"))
GOLD = RNG.normal(size=(50, 3))
NUMBERS = Estimates(
    tuple(f"r{i}" for i in range(50)),
    ("valence", "arousal", "dominance"),
    GOLD,
    GOLD + RNG.normal(size=(50, 3)) * [0.5, 1, 2],
    ("s",) * 50,
)


def test_per_label_and_confusion():
    rows = per_label(HAND)
    assert [row.support for row in rows] == [2, 2, 2]
    assert rows[0].label == "a"
    assert (rows[0].precision, rows[0].recall, rows[0].f1) == pytest.approx((2 / 3, 1, 0.8))
    assert confusion(HAND).tolist() == [[2, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert [row.support for row in per_label(SEVERAL)] == SEVERAL.gold.sum(axis=0).tolist()
    with pytest.raises(DataError, match="one label a row"):
        confusion(SEVERAL)


def test_per_number_equals_scipy():
    rows = per_number(NUMBERS)
    assert [row.label for row in rows] == ["valence", "arousal", "dominance"]
    for row, gold, decided in zip(rows, NUMBERS.gold.T, NUMBERS.decided.T, strict=True):
        assert row.pearson == pytest.approx(pearsonr(gold, decided).statistic)
        assert row.spearman == pytest.approx(spearmanr(gold, decided).statistic)
        assert row.mae == pytest.approx(sk.mean_absolute_error(gold, decided))
        shift = (gold.mean() - decided.mean()) ** 2
        assert row.ccc == pytest.approx(
            2 * np.cov(gold, decided, ddof=0)[0, 1] / (gold.var() + decided.var() + shift)
        )
        assert row.support == 50
    assert np.mean([row.ccc for row in rows]) == pytest.approx(METRICS["ccc"].function(NUMBERS))


def test_labels_with_few_rows_are_rare():
    p = classes([0] * 30 + [1] * 29 + [2], [0] * 60)
    assert rare(p) == ("b", "c")
    assert rare(p, 2) == ("c",)
    assert rare(SEVERAL, 1) == ()


def test_a_path_names_one_number():
    assert figure(NUMBERS, "arousal.pearson") == pytest.approx(per_number(NUMBERS)[1].pearson)
    assert figure(NUMBERS, "pearson") == pytest.approx(np.mean([row.pearson for row in per_number(NUMBERS)]))
    metric = metric_named("dominance.mae", NUMBERS)
    assert (metric.name, metric.higher_is_better, metric.of) == ("dominance.mae", False, "numbers")


@pytest.mark.parametrize("p", [HAND, SEVERAL], ids=["single", "multi"])
def test_a_path_names_one_label(p):
    for row in per_label(p):
        for measure in ("f1", "precision", "recall"):
            assert figure(p, f"{row.label}.{measure}") == pytest.approx(getattr(row, measure))
    assert figure(p, "macro_f1") == METRICS["macro_f1"].function(p)


def test_a_label_that_occurs_nowhere_has_no_f1():
    assert np.isnan(figure(classes([0, 0], [0, 1]), "c.f1"))


def test_paths_are_known_beforehand():
    for p in (HAND, SEVERAL, NUMBERS):
        for path in metric_paths(p.kind, p.labels):
            assert metric_named(path, p).name == path
    assert "valence.r2" in metric_paths("regression", ("valence",))
    assert "joy.recall" in metric_paths("classification", ("joy",))
    assert "hamming" not in metric_paths("classification", ("joy",))


@pytest.mark.parametrize(
    ("p", "name", "match"),
    [
        (NUMBERS, "valance.pearson", "did you mean 'valence.pearson'"),
        (NUMBERS, "pearsn", "did you mean 'pearson'"),
        (NUMBERS, "accuracy", "'accuracy' is not a metric of regression"),
        (HAND, "hamming", "'hamming' is not a metric of classification"),
        (SEVERAL, "joy.f2", "no metric 'joy.f2'"),
        (SEVERAL, "joy.accuracy", "no metric"),
        (SEVERAL, "joi.f1", "did you mean 'joy.f1'"),
    ],
)
def test_other_names_are_refused(p, name, match):
    with pytest.raises(DataError, match=match):
        metric_named(name, p)


def test_a_macro_average_over_some_labels():
    some = restricted(METRICS["macro_f1"], ("joy", "fear"), "common")
    assert some.function(SEVERAL) == pytest.approx(
        sk.f1_score(SEVERAL.gold, SEVERAL.decided, labels=[0, 2], average="macro")
    )
    assert np.isnan(some.function(NUMBERS))
    with pytest.raises(DataError, match="not made of labels"):
        restricted(METRICS["accuracy"], ("joy",), "joy.accuracy")


def test_some_numbers_keep_their_order():
    some = numbers(NUMBERS, ("dominance", "valence"))
    assert some.labels == ("dominance", "valence")
    assert (some.gold == NUMBERS.gold[:, [2, 0]]).all()
    assert numbers(NUMBERS, ()).labels == NUMBERS.labels
