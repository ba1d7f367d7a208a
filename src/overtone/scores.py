"""What was said about rows as a value, and metrics as pure functions of it, with direction and unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from overtone import correlation
from overtone.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ECE_BINS = 15
"""Equal-width bins of the expected calibration error, as in Guo et al. 2017."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one classifier said about N rows, L labels.

    Args:
        ids: the rows' ids, (N,).
        labels: the label names, (L,).
        gold: class indices (N,), or 0/1 indicators (N, L) for multi-label.
        decided: what was predicted, in the shape of ``gold``.
        probabilities: (N, L), each in 0..1; rows sum to 1 unless multi-label.
        sources: the data set each row is from, (N,).
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    gold: Ints
    decided: Ints
    probabilities: Floats
    sources: tuple[str, ...]

    @property
    def multilabel(self) -> bool:
        """Whether a row may have several labels."""
        return self.gold.ndim == 2

    @property
    def kind(self) -> str:
        """The kind of task that this is of."""
        return "multilabel" if self.multilabel else "classification"

    @property
    def correct(self) -> Bools:
        """Whether each row was decided exactly right, (N,)."""
        same: Bools = self.gold == self.decided
        return np.all(same, axis=1) if self.multilabel else same

    @property
    def confidence(self) -> Floats:
        """The probability of the decision, (N,); for multi-label the highest probability."""
        rows = np.arange(len(self.decided))
        column = self.probabilities.argmax(axis=1) if self.multilabel else self.decided
        chosen: Floats = self.probabilities[rows, column]
        return chosen


@dataclass(frozen=True, slots=True)
class Estimates:
    """What one regressor said about N rows, D numbers each, in the data's own unit.

    Args:
        ids: the rows' ids, (N,).
        labels: the names of the numbers, (D,).
        gold: what is true, (N, D).
        decided: what was estimated, (N, D).
        sources: the data set each row is from, (N,).
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    gold: Floats
    decided: Floats
    sources: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The kind of task that this is of."""
        return "regression"


Scored = Predictions | Estimates
"""What can be scored: classes or numbers."""

S = TypeVar("S", bound=Scored)


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of merit.

    Args:
        name: its key in ``METRICS`` and in every report, or a path such as ``valence.pearson``.
        function: what was said → the figure; NaN where the metric does not apply to it.
        higher_is_better: the direction.
        unit: what the figure counts, for the reader of a table.
        of: whether it scores classes or numbers.
        over: the labels or numbers that it averages over; empty for all.
        base: the metric that it is over fewer labels; empty for those of ``METRICS``.
    """

    name: str
    function: Callable[[Scored], float]
    higher_is_better: bool
    unit: str
    of: Literal["classes", "numbers"]
    over: tuple[str, ...] = ()
    base: str = ""


def select(scored: S, rows: Ints | Bools) -> S:
    """The same for some of the rows, given as indices (they may repeat) or as a mask (N,)."""
    index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    arrays = ("gold", "decided", "probabilities") if isinstance(scored, Predictions) else ("gold", "decided")
    parts: dict[str, Any] = {name: getattr(scored, name)[index] for name in arrays}
    parts |= {name: tuple(getattr(scored, name)[row] for row in index) for name in ("ids", "sources")}
    return replace(scored, **parts)


def columns(labels: Sequence[str], over: Sequence[str]) -> Ints:
    """The places of some labels among all of them, (K,); all places where none is named."""
    return np.array([labels.index(label) for label in over or labels], dtype=np.int64)


def indicators(classes: Ints, n_labels: int) -> Ints:
    """Class indices (N,) as 0/1 indicators (N, L); indicators stay as they are."""
    return classes if classes.ndim == 2 else (classes[:, None] == np.arange(n_labels)).astype(np.int64)


def occurring(predictions: Predictions) -> Ints:
    """Indices of the labels that some row has or was given; macro averages run over these.

    A label that occurs on neither side has no F1 (0/0), and counting it as 0 would punish a model for
    being tested on a source that lacks the label.
    """
    width = len(predictions.labels)
    seen = indicators(predictions.gold, width) + indicators(predictions.decided, width)
    return np.flatnonzero(seen.sum(axis=0))


def accuracy(predictions: Predictions) -> float:
    """Share of rows decided exactly right; for multi-label the subset accuracy."""
    return float(metrics.accuracy_score(predictions.gold, predictions.decided))


def averaged(
    score: Callable[..., float], average: str, over: Sequence[str] = ()
) -> Callable[[Predictions], float]:
    """Precision, recall or F1 of scikit-learn, averaged over the labels that occur (of those named)."""

    def function(predictions: Predictions) -> float:
        labels = np.intersect1d(occurring(predictions), columns(predictions.labels, over))
        if not len(labels):
            return float("nan")
        return float(
            score(predictions.gold, predictions.decided, labels=labels, average=average, zero_division=0)
        )

    return function


def log_loss(predictions: Predictions) -> float:
    """Mean negative log-likelihood of the gold labels in nats; for multi-label the mean over labels."""
    p = predictions.probabilities
    if predictions.multilabel:
        columns = zip(predictions.gold.T, p.T, strict=True)
        return float(np.mean([metrics.log_loss(gold, column, labels=[0, 1]) for gold, column in columns]))
    if len(predictions.labels) < 2:
        return float("nan")
    # Rows that were rounded when they were written no longer sum to 1 exactly.
    p = p / p.sum(axis=1, keepdims=True)
    return float(metrics.log_loss(predictions.gold, p, labels=np.arange(len(predictions.labels))))


def brier(predictions: Predictions) -> float:
    """Brier (1950): mean over rows of the summed squared error of the distribution, 0..2.

    For multi-label: the mean squared error over rows and labels, 0..1.
    """
    error = np.square(predictions.probabilities - indicators(predictions.gold, len(predictions.labels)))
    return float(error.mean() if predictions.multilabel else error.sum(axis=1).mean())


def outcomes(predictions: Predictions) -> tuple[Floats, Bools]:
    """The claims that calibration is about: confidences and whether each came true, both (M,).

    Single label: the decision's confidence of each row (M = N, "top label"). Multi-label: the
    probability of every label of every row (M = N·L).
    """
    if predictions.multilabel:
        return predictions.probabilities.ravel(), predictions.gold.ravel().astype(np.bool_)
    return predictions.confidence, predictions.correct


def bin_of(confidence: Floats, bins: int = ECE_BINS) -> Ints:
    """The index of the equal-width bin that each confidence falls in: (lower, upper], 0 in the first."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def reliability(confidence: Floats, correct: Bools, bins: int = ECE_BINS) -> tuple[Ints, Floats, Floats]:
    """How many claims fall in each bin, their mean confidence and the share that came true.

    Returns:
        Counts, confidences and shares, each (bins,); NaN where a bin is empty.
    """
    index = bin_of(confidence, bins)
    count = np.bincount(index, minlength=bins)
    divisor = np.where(count, count, np.nan)
    claimed = np.bincount(index, weights=confidence, minlength=bins) / divisor
    true = np.bincount(index, weights=correct, minlength=bins) / divisor
    return count, claimed, true


def ece(predictions: Predictions) -> float:
    """Expected calibration error over 15 equal-width bins of the top-label confidence, 0..1.

    ``sum_b n_b / N · |share correct_b − mean confidence_b|``: Naeini et al., AAAI 2015, as used by
    Guo et al., ICML 2017. What counts as a claim is said in ``outcomes``.
    """
    count, claimed, true = reliability(*outcomes(predictions))
    filled = count > 0
    gap = np.abs(claimed[filled] - true[filled])
    return float((count[filled] * gap).sum() / count.sum())


def _ranked(score: Callable[..., float], needs_negatives: bool) -> Callable[[Predictions], float]:
    """One-versus-rest mean over the labels that can be ranked; NaN where there is none."""

    def function(predictions: Predictions) -> float:
        gold = indicators(predictions.gold, len(predictions.labels))
        positives = gold.sum(axis=0)
        usable = (positives > 0) & (positives < len(gold) if needs_negatives else True)
        columns = zip(gold.T[usable], predictions.probabilities.T[usable], strict=True)
        values = [score(truth, column) for truth, column in columns]
        return float(np.mean(values)) if values else float("nan")

    return function


def hamming(predictions: Predictions) -> float:
    """Share of (row, label) pairs decided wrongly; only for multi-label."""
    if not predictions.multilabel:
        return float("nan")
    return float(metrics.hamming_loss(predictions.gold, predictions.decided))


def _classes(
    name: str,
    function: Callable[[Predictions], float],
    higher_is_better: bool,
    unit: str,
) -> Metric:
    def applied(scored: Scored) -> float:
        return function(scored) if isinstance(scored, Predictions) else float("nan")

    return Metric(name, applied, higher_is_better, unit, "classes")


def _numbers(
    name: str,
    function: Callable[[Floats, Floats], Floats],
    higher_is_better: bool,
    unit: str,
) -> Metric:
    def applied(scored: Scored) -> float:
        if not isinstance(scored, Estimates):
            return float("nan")
        return float(correlation.averaged(function(scored.gold, scored.decided)))

    return Metric(name, applied, higher_is_better, unit, "numbers")


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _classes("accuracy", accuracy, True, "share"),
        _classes("macro_f1", averaged(metrics.f1_score, "macro"), True, "share"),
        _classes("micro_f1", averaged(metrics.f1_score, "micro"), True, "share"),
        _classes("macro_precision", averaged(metrics.precision_score, "macro"), True, "share"),
        _classes("macro_recall", averaged(metrics.recall_score, "macro"), True, "share"),
        _classes("weighted_precision", averaged(metrics.precision_score, "weighted"), True, "share"),
        _classes("weighted_recall", averaged(metrics.recall_score, "weighted"), True, "share"),
        _classes("log_loss", log_loss, False, "nats"),
        _classes("brier", brier, False, "squared error"),
        _classes("ece", ece, False, "share"),
        _classes("roc_auc", _ranked(metrics.roc_auc_score, True), True, "area"),
        _classes("average_precision", _ranked(metrics.average_precision_score, False), True, "area"),
        _classes("aurc", lambda found: aurc(found.confidence, found.correct), False, "area"),
        _classes("hamming", hamming, False, "share"),
        _numbers("pearson", correlation.pearson, True, "correlation"),
        _numbers("spearman", correlation.spearman, True, "correlation"),
        _numbers("ccc", correlation.ccc, True, "concordance"),
        _numbers("mae", correlation.mae, False, "the data's unit"),
        _numbers("rmse", correlation.rmse, False, "the data's unit"),
        _numbers("r2", correlation.r2, True, "share of variance"),
    )
}
"""Every metric by its name; ``average_precision`` of multi-label predictions is the mAP.

A metric of numbers is the mean over the numbers for which it exists.
"""


def metrics_of(kind: str) -> tuple[str, ...]:
    """The names of the metrics that apply to a kind of task: classification, multilabel or regression."""
    of = "numbers" if kind == "regression" else "classes"
    barred = () if kind == "multilabel" else ("hamming",)
    return tuple(name for name, metric in METRICS.items() if metric.of == of and name not in barred)


def applies(metric: str, kind: str) -> bool:
    """Whether a metric of that name exists and applies to that kind of task."""
    return metric in metrics_of(kind)


def summary(scored: Scored) -> dict[str, float]:
    """Every metric that applies to what was said, and has a value on these rows.

    Raises:
        DataError: there are no rows.
    """
    if not scored.ids:
        raise DataError("there are no rows to score", hint="check the split's size with: overtone data show")
    values = {name: METRICS[name].function(scored) for name in metrics_of(scored.kind)}
    return {name: value for name, value in values.items() if not np.isnan(value)}


def risk_coverage(confidence: Floats, correct: Bools) -> tuple[Floats, Floats]:
    """The share answered wrongly when only the k most confident rows are answered, for k = 1..N.

    Rows of equal confidence cannot be told apart, so their order is taken as random and the risk is
    the expectation over it: each counts as its group's share of errors. The curve therefore does not
    depend on the order of the rows.

    Returns:
        Coverage k/N and risk, each (N,).
    """
    if not len(confidence):
        return np.zeros(0), np.zeros(0)
    _, group, size = np.unique(-confidence, return_inverse=True, return_counts=True)
    errors = np.bincount(group, weights=~correct.astype(np.bool_)) / size
    answered = np.arange(1, len(confidence) + 1)
    return answered / len(confidence), np.cumsum(np.repeat(errors, size)) / answered


def aurc(confidence: Floats, correct: Bools) -> float:
    """Area under the risk-coverage curve, 0..1, lower is better: the mean risk over all coverages.

    Geifman and El-Yaniv, NeurIPS 2017; NaN without rows.
    """
    _, risk = risk_coverage(confidence, correct)
    return float(risk.mean()) if len(risk) else float("nan")


def tune_thresholds(predictions: Predictions) -> Floats:
    """The threshold of each label that maximises its F1 on these rows; a label holds where p ≥ threshold.

    Exact: every cut between two neighbouring scores is tried. The threshold is the middle of the gap
    that the cut lies in (0 bounds the lowest), and of cuts with the same F1 the one in the
    widest gap is taken, since it moves least between samples.

    Returns:
        Thresholds (L,) in 0..1; 0.5 for a label that no row has.

    Raises:
        DataError: the predictions are not multi-label, or there are no rows.
    """
    if not predictions.multilabel or not len(predictions.gold):
        raise DataError("thresholds need multi-label rows", hint="pass the validation split's predictions")
    gold, p = predictions.gold, predictions.probabilities
    order = np.argsort(-p, axis=0, kind="stable")
    scores = np.take_along_axis(p, order, axis=0)  # (N, L), falling
    below = np.vstack([scores[1:], np.zeros((1, p.shape[1]))])
    gap = scores - below
    hits = np.take_along_axis(gold, order, axis=0).cumsum(axis=0)
    taken = np.arange(1, len(p) + 1)[:, None]
    f1 = 2 * hits / (taken + gold.sum(axis=0))  # 2TP / (predicted + gold)
    # Equal scores enter together: the cut is after the last of them. A last score of 0 takes all rows.
    possible = gap > 0
    possible[-1] = True
    f1 = np.where(possible, f1, -1.0)
    cut = np.where(f1 == f1.max(axis=0), gap, -1.0).argmax(axis=0)
    label = np.arange(p.shape[1])
    upper, lower = scores[cut, label], below[cut, label]
    middle = (upper + lower) / 2
    # Between adjacent floats there is no middle, and the lower score must stay out.
    middle = np.where(middle > lower, middle, upper)
    return np.where(gold.sum(axis=0) > 0, middle, 0.5)
