"""The percentile bootstrap over rows, fast for every metric that is made of sums over rows.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993. Rows are drawn with replacement from all rows
alike: not stratified by class or source, since the next test set would not hold the same counts either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from overtone.scores import (
    ECE_BINS,
    Floats,
    Ints,
    Metric,
    Predictions,
    bin_of,
    indicators,
    outcomes,
    select,
)

CELLS = 1_000_000
"""Row draws that are held at once, about 16 MB."""


@dataclass(frozen=True)
class Draw:
    """Some of the resamples.

    Args:
        rows: the rows of each resample, (C, N), each in 0..N-1.
    """

    rows: Ints

    @cached_property
    def weights(self) -> Floats:
        """How often each row is in each resample, (C, N); every row of it sums to N."""
        count, n = self.rows.shape
        flat = (self.rows + n * np.arange(count)[:, None]).ravel()
        return np.bincount(flat, minlength=count * n).reshape(count, n).astype(np.float64)


Statistic = Callable[[Draw], Floats]
"""Gives the statistic's value on each of C resamples, (C,)."""


def draws(n: int, resamples: int, seed: int) -> Iterator[Draw]:
    """The resamples of N rows, a memory-sized part at a time; the same for the same arguments."""
    generator = np.random.default_rng(seed)
    size = max(1, CELLS // n)
    for start in range(0, resamples, size):
        yield Draw(generator.integers(n, size=(min(size, resamples - start), n)))


def resampled(statistics: Sequence[Statistic], n: int, resamples: int, seed: int) -> Floats:
    """Every statistic on the same resamples of N rows, (R, S)."""
    parts = [np.stack([each(draw) for each in statistics], axis=1) for draw in draws(n, resamples, seed)]
    return np.concatenate(parts)


def by_rows(function: Callable[[Ints], float]) -> Statistic:
    """A statistic from any function of row indices (N,); one call a resample."""
    return lambda draw: np.array([function(rows) for rows in draw.rows])


def of_metric(metric: Metric, predictions: Predictions) -> Statistic:
    """A metric of some predictions as a statistic; a matrix product where the metric is made of sums."""
    make = _SUMS.get(metric.name)
    if make is None or (metric.name == "hamming" and not predictions.multilabel):
        return by_rows(lambda rows: metric.function(select(predictions, rows)))
    values, finish = make(predictions)
    return lambda draw: finish(draw.weights @ values)


Sums = tuple[Floats, Callable[[Floats], Floats]]
"""Values of the rows (N, K), and what makes the metric (C,) of their sums over a resample (C, K)."""


def _mean(values: Floats) -> Sums:
    n = len(values)
    return values[:, None], lambda sums: sums[:, 0] / n


def _log_losses(predictions: Predictions) -> Sums:
    p, tiny = predictions.probabilities, np.finfo(np.float64).eps
    if predictions.multilabel:
        truth = np.where(predictions.gold == 1, p, 1 - p)
        return _mean(-np.log(np.clip(truth, tiny, 1 - tiny)).mean(axis=1))
    truth = (p / p.sum(axis=1, keepdims=True))[np.arange(len(p)), predictions.gold]
    return _mean(-np.log(np.clip(truth, tiny, 1 - tiny)))


def _briers(predictions: Predictions) -> Sums:
    error = np.square(predictions.probabilities - indicators(predictions.gold, len(predictions.labels)))
    return _mean(error.mean(axis=1) if predictions.multilabel else error.sum(axis=1))


def _calibration(predictions: Predictions) -> Sums:
    confidence, correct = outcomes(predictions)
    n, width = len(predictions.ids), len(confidence) // len(predictions.ids)
    values = np.zeros((n, ECE_BINS))
    np.add.at(values, (np.repeat(np.arange(n), width), bin_of(confidence)), confidence - correct)
    return values, lambda sums: np.abs(sums).sum(axis=1) / (n * width)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _counted(predictions: Predictions, *, measure: str, average: str) -> Sums:
    """Precision, recall and F1 from the true positives, decisions and gold rows of each label."""
    width = len(predictions.labels)
    gold, decided = indicators(predictions.gold, width), indicators(predictions.decided, width)

    def finish(sums: Floats) -> Floats:
        hits, taken, wanted = np.split(sums, 3, axis=1)
        if average == "micro":
            return _ratio(2 * hits.sum(axis=1), (taken + wanted).sum(axis=1))
        above, below = {
            "precision": (hits, taken),
            "recall": (hits, wanted),
            "f1": (2 * hits, taken + wanted),
        }[measure]
        weight = wanted if average == "weighted" else (taken + wanted > 0).astype(np.float64)
        return _ratio((_ratio(above, below) * weight).sum(axis=1), weight.sum(axis=1))

    return np.hstack([gold * decided, decided, gold]).astype(np.float64), finish


_SUMS: dict[str, Callable[[Predictions], Sums]] = {
    "accuracy": lambda predictions: _mean(predictions.correct.astype(np.float64)),
    "hamming": lambda predictions: _mean((predictions.gold != predictions.decided).mean(axis=1)),
    "log_loss": _log_losses,
    "brier": _briers,
    "ece": _calibration,
    "macro_f1": partial(_counted, measure="f1", average="macro"),
    "micro_f1": partial(_counted, measure="f1", average="micro"),
    "macro_precision": partial(_counted, measure="precision", average="macro"),
    "macro_recall": partial(_counted, measure="recall", average="macro"),
    "weighted_precision": partial(_counted, measure="precision", average="weighted"),
    "weighted_recall": partial(_counted, measure="recall", average="weighted"),
}
