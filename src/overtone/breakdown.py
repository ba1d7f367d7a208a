"""Scores of the parts: one label, one number, the labels with rows enough; and paths that name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn import metrics

from overtone import correlation
from overtone.errors import DataError, did_you_mean
from overtone.scores import (
    METRICS,
    Estimates,
    Ints,
    Metric,
    Predictions,
    Scored,
    applies,
    averaged,
    columns,
    metrics_of,
)

FEW_ROWS = 30
"""With fewer gold rows than this, a label's F1 says little: one row more is 0.03 of its recall."""

MACRO = {
    "macro_f1": metrics.f1_score,
    "macro_precision": metrics.precision_score,
    "macro_recall": metrics.recall_score,
}
"""Metrics of classes that can be taken over some of the labels."""

MEASURES = {"f1": "macro_f1", "precision": "macro_precision", "recall": "macro_recall"}
"""What can be asked of one label, and the metric that it is when averaged over that label alone."""


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Precision, recall and F1 of one label, each in 0..1, and how many gold rows it has."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class NumberScores:
    """How near the estimates of one number come to what is true.

    Args:
        label: the number's name.
        pearson: -1..1; NaN, like the next two, where the truth does not vary.
        spearman: -1..1.
        ccc: Lin's concordance, -1..1.
        mae: mean absolute error, in the data's unit.
        support: the rows.
    """

    label: str
    pearson: float
    spearman: float
    ccc: float
    mae: float
    support: int


def per_label(predictions: Predictions) -> tuple[LabelScores, ...]:
    """Precision, recall, F1 and support of every label, in the labels' order; 0/0 counts as 0."""
    found = metrics.precision_recall_fscore_support(
        predictions.gold,
        predictions.decided,
        labels=np.arange(len(predictions.labels)),
        average=None,
        zero_division=0,
    )
    return tuple(
        LabelScores(label, float(precision), float(recall), float(f1), int(support))
        for label, precision, recall, f1, support in zip(predictions.labels, *found, strict=True)
    )


def per_number(estimates: Estimates) -> tuple[NumberScores, ...]:
    """Pearson, Spearman, CCC, mean absolute error and rows of every number, in the labels' order."""
    measures = (correlation.pearson, correlation.spearman, correlation.ccc, correlation.mae)
    found = np.array([measure(estimates.gold, estimates.decided) for measure in measures])
    return tuple(
        NumberScores(label, r, rho, concordance, error, len(estimates.ids))
        for label, (r, rho, concordance, error) in zip(estimates.labels, found.T.tolist(), strict=True)
    )


def confusion(predictions: Predictions) -> Ints:
    """Counts (L, L): rows are gold, columns are what was decided.

    Raises:
        DataError: the predictions are multi-label, where a row has no single cell.
    """
    if predictions.multilabel:
        raise DataError("a confusion matrix needs one label a row", hint="use per_label for multi-label")
    labels = np.arange(len(predictions.labels))
    counts: Ints = metrics.confusion_matrix(predictions.gold, predictions.decided, labels=labels)
    return counts


def rare(predictions: Predictions, rows: int = FEW_ROWS) -> tuple[str, ...]:
    """The labels with fewer gold rows than that."""
    return tuple(each.label for each in per_label(predictions) if each.support < rows)


def numbers(estimates: Estimates, over: Sequence[str]) -> Estimates:
    """The estimates of some of the numbers alone; of all where none is named."""
    chosen = columns(estimates.labels, over)
    labels = tuple(estimates.labels[i] for i in chosen)
    return replace(
        estimates, labels=labels, gold=estimates.gold[:, chosen], decided=estimates.decided[:, chosen]
    )


def restricted(metric: Metric, over: Sequence[str], name: str) -> Metric:
    """A metric over some of the labels or numbers.

    Args:
        metric: any metric of numbers, or a macro average of classes.
        over: at least one label of what will be scored.
        name: what the new metric is called.

    Raises:
        DataError: the metric is not made of labels.
    """
    if metric.of == "classes" and metric.name not in MACRO:
        raise DataError(f"'{metric.name}' is not made of labels", hint=f"take one of {', '.join(MACRO)}")

    def function(scored: Scored) -> float:
        if (metric.of == "numbers") != isinstance(scored, Estimates):
            return float("nan")
        if isinstance(scored, Estimates):
            return metric.function(numbers(scored, over))
        return averaged(MACRO[metric.name], "macro", over)(scored)

    return replace(metric, name=name, function=function, over=tuple(over), base=metric.name)


def metric_paths(kind: str, labels: Sequence[str]) -> tuple[str, ...]:
    """Every metric of a kind of task, and the paths to its labels or numbers: ``joy.f1``, ``valence.ccc``."""
    known = metrics_of(kind)
    return *known, *(f"{label}.{measure}" for label in labels for measure in _measures(kind))


def _measures(kind: str) -> dict[str, str]:
    """What can be asked of one label or number, and the metric that it is when that is all there is."""
    return {name: name for name in metrics_of(kind)} if kind == "regression" else MEASURES


def metric_named(name: str, scored: Scored) -> Metric:
    """The metric of a name such as ``pearson``, or of a path such as ``valence.pearson`` or ``joy.f1``.

    Raises:
        DataError: no such metric, or it does not apply to these; the hint says what was probably meant.
    """
    if applies(name, scored.kind):
        return METRICS[name]
    measures = _measures(scored.kind)
    label, _, measure = name.rpartition(".")
    if label in scored.labels and measure in measures:
        return restricted(METRICS[measures[measure]], (label,), name)
    reason = f"'{name}' is not a metric of {scored.kind}" if name in METRICS else f"no metric '{name}'"
    raise DataError(reason, hint=did_you_mean(name, metric_paths(scored.kind, scored.labels)))


def figure(scored: Scored, name: str) -> float:
    """The value of a metric by its name or path, such as ``valence.pearson``.

    Raises:
        DataError: no such metric, or it does not apply to these.
    """
    return metric_named(name, scored).function(scored)
