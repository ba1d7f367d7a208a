"""The percentile bootstrap over rows, fast for every metric that is made of sums over rows.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993. Rows are drawn with replacement from all rows
alike: not stratified by class or source, since the next test set would not hold the same counts either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from overtone.breakdown import numbers
from overtone.correlation import averaged, concordant, correlated, explained
from overtone.scores import (
    ECE_BINS,
    Estimates,
    Floats,
    Ints,
    Metric,
    Predictions,
    Scored,
    bin_of,
    columns,
    indicators,
    outcomes,
    select,
)

CELLS = 1_000_000
"""Row draws that are held at once, about 16 MB."""

FLAT = 1e-12
"""A variance below this share of the largest square is what rounding leaves of none."""


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


def of_metric(metric: Metric, scored: Scored) -> Statistic:
    """A metric of something scored as a statistic; a matrix product where the metric is made of sums."""
    sums = _sums(metric, scored)
    if sums is None:
        return by_rows(lambda rows: metric.function(select(scored, rows)))
    values, finish = sums
    return lambda draw: finish(draw.weights @ values)


Sums = tuple[Floats, Callable[[Floats], Floats]]
"""Values of the rows (N, K), and what makes the metric (C,) of their sums over a resample (C, K)."""


def _sums(metric: Metric, scored: Scored) -> Sums | None:
    """How a metric is made of sums over rows; None where it is not, or does not apply."""
    name = metric.base or metric.name
    if isinstance(scored, Estimates):
        measured = _NUMBERS.get(name)
        return None if measured is None else measured(numbers(scored, metric.over))
    if name in _COUNTED:
        measure, average = _COUNTED[name]
        return _counted(scored, columns(scored.labels, metric.over), measure=measure, average=average)
    make = None if name == "hamming" and not scored.multilabel else _CLASSES.get(name)
    return None if make is None else make(scored)


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


def _counted(predictions: Predictions, over: Ints, *, measure: str, average: str) -> Sums:
    """Precision, recall and F1 from the true positives, decisions and gold rows of some labels."""
    width = len(predictions.labels)
    gold, decided = (indicators(each, width)[:, over] for each in (predictions.gold, predictions.decided))

    def finish(sums: Floats) -> Floats:
        hits, taken, wanted = np.split(sums, 3, axis=1)
        above, below = {
            "precision": (hits, taken),
            "recall": (hits, wanted),
            "f1": (2 * hits, taken + wanted),
        }[measure]
        occurs = taken + wanted > 0
        if average == "micro":
            found = _ratio(above.sum(axis=1), below.sum(axis=1))
        else:
            weight = wanted if average == "weighted" else occurs.astype(np.float64)
            found = _ratio((_ratio(above, below) * weight).sum(axis=1), weight.sum(axis=1))
        return np.where(occurs.any(axis=1), found, np.nan)

    return np.hstack([gold * decided, decided, gold]).astype(np.float64), finish


def _moments(estimates: Estimates, finish: Callable[[Floats, Floats, Floats, Floats], Floats]) -> Sums:
    """A correlation (C, D) from variances, covariance and the difference of the means; their mean over D."""
    n, width = estimates.gold.shape
    # Small numbers lose less: the variance is a difference of sums.
    centres = [each.mean(axis=0) for each in (estimates.gold, estimates.decided)]
    g, d = estimates.gold - centres[0], estimates.decided - centres[1]
    flat = [FLAT * np.square(each).max(axis=0, initial=0) for each in (g, d)]

    def finished(sums: Floats) -> Floats:
        mean_g, mean_d, gg, dd, gd = (sums / n).reshape(len(sums), 5, width).transpose(1, 0, 2)
        var_g, var_d = gg - mean_g**2, dd - mean_d**2
        varies = [var > least for var, least in zip((var_g, var_d), flat, strict=True)]
        cov = np.where(varies[0] & varies[1], gd - mean_g * mean_d, 0.0)
        shift = (mean_g + centres[0]) - (mean_d + centres[1])
        return averaged(finish(np.where(varies[0], var_g, 0.0), np.where(varies[1], var_d, 0.0), cov, shift))

    return np.hstack([g, d, g * g, d * d, g * d]), finished


def _errors(estimates: Estimates, power: int) -> Sums:
    """The mean over D of the mean absolute error (power 1), or of the root of the squared one (power 2)."""
    n = len(estimates.ids)
    values: Floats = np.abs(estimates.gold - estimates.decided) ** power
    return values, lambda sums: averaged((sums / n) ** (1 / power))


def _explained(estimates: Estimates) -> Sums:
    """R² from the squared errors and the variance of the truth."""
    n, width = estimates.gold.shape
    g = estimates.gold - estimates.gold.mean(axis=0)
    flat = FLAT * np.square(g).max(axis=0, initial=0)

    def finish(sums: Floats) -> Floats:
        mean, squares, error = (sums / n).reshape(len(sums), 3, width).transpose(1, 0, 2)
        variance = squares - mean**2
        return averaged(explained(np.where(variance > flat, variance, 0.0), error))

    return np.hstack([g, g * g, np.square(estimates.gold - estimates.decided)]), finish


_CLASSES: dict[str, Callable[[Predictions], Sums]] = {
    "accuracy": lambda predictions: _mean(predictions.correct.astype(np.float64)),
    "hamming": lambda predictions: _mean((predictions.gold != predictions.decided).mean(axis=1)),
    "log_loss": _log_losses,
    "brier": _briers,
    "ece": _calibration,
}

_COUNTED = {
    "macro_f1": ("f1", "macro"),
    "micro_f1": ("f1", "micro"),
    "macro_precision": ("precision", "macro"),
    "macro_recall": ("recall", "macro"),
    "weighted_precision": ("precision", "weighted"),
    "weighted_recall": ("recall", "weighted"),
}

_NUMBERS: dict[str, Callable[[Estimates], Sums]] = {
    "pearson": partial(_moments, finish=lambda var_g, var_d, cov, shift: correlated(var_g, var_d, cov)),
    "ccc": partial(_moments, finish=concordant),
    "mae": partial(_errors, power=1),
    "rmse": partial(_errors, power=2),
    "r2": _explained,
}
