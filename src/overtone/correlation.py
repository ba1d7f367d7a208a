"""How near numbers come to what they should be: pure functions of two arrays (N, D), one value a column.

A correlation asks whether estimates follow what is true. Where the truth does not vary there is nothing to
follow, and the value is NaN; where only the estimates do not vary they follow nothing, and it is 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]


def pearson(gold: Floats, decided: Floats) -> Floats:
    """Pearson's correlation of each column, -1..1, (D,)."""
    return correlated(*_moments(gold, decided)[:3])


def spearman(gold: Floats, decided: Floats) -> Floats:
    """Spearman's correlation of each column, -1..1, (D,): Pearson's of the ranks, equals at their mean."""
    return pearson(rankdata(gold, axis=0), rankdata(decided, axis=0))


def ccc(gold: Floats, decided: Floats) -> Floats:
    """Lin's concordance correlation of each column, -1..1, (D,).

    ``2 cov / (var gold + var decided + (mean gold − mean decided)²)`` with sums divided by N: Lin, A
    Concordance Correlation Coefficient to Evaluate Reproducibility, Biometrics 1989. It is Pearson's times a
    factor below 1 where the estimates are shifted or scaled.
    """
    return concordant(*_moments(gold, decided))


def mae(gold: Floats, decided: Floats) -> Floats:
    """Mean absolute error of each column in the data's unit, (D,)."""
    error: Floats = np.abs(gold - decided).mean(axis=0)
    return error


def rmse(gold: Floats, decided: Floats) -> Floats:
    """Root of the mean squared error of each column in the data's unit, (D,)."""
    error: Floats = np.sqrt(np.square(gold - decided).mean(axis=0))
    return error


def r2(gold: Floats, decided: Floats) -> Floats:
    """Share of each column's variance that the estimates explain, (D,).

    At most 1, below 0 if they are worse than the mean of these rows; NaN where the truth does not vary.
    """
    return explained(_moments(gold, decided)[0], np.square(gold - decided).mean(axis=0))


def correlated(var_gold: Floats, var_decided: Floats, cov: Floats) -> Floats:
    """Pearson's correlation from variances and covariance; 0 where only the estimates do not vary."""
    both = var_gold * var_decided
    return _over(cov, np.sqrt(both), where=both > 0, known=var_gold > 0)


def concordant(var_gold: Floats, var_decided: Floats, cov: Floats, shift: Floats) -> Floats:
    """Lin's concordance from variances, covariance and the difference of the means."""
    return _over(2 * cov, var_gold + var_decided + np.square(shift), where=var_gold > 0, known=var_gold > 0)


def explained(var_gold: Floats, squared_error: Floats) -> Floats:
    """R² from the variance of the truth and the mean squared error."""
    return 1 - _over(squared_error, var_gold, where=var_gold > 0, known=var_gold > 0)


def averaged(values: Floats) -> Floats:
    """The mean over the last axis of the values that exist, (..., D) → (...); NaN where none does."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    mean: Floats = np.where(known, values, 0).sum(axis=-1) / np.where(count, count, np.nan)
    return mean


def _moments(gold: Floats, decided: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Variance of the truth and of the estimates, covariance, difference of the means, each (D,).

    A column of equal values has variance 0 exactly, however its mean is rounded.
    """
    shift = gold.mean(axis=0) - decided.mean(axis=0)
    g, d = (np.where(np.ptp(each, axis=0) > 0, each - each.mean(axis=0), 0.0) for each in (gold, decided))
    return np.square(g).mean(axis=0), np.square(d).mean(axis=0), (g * d).mean(axis=0), shift


def _over(above: Floats, below: Floats, *, where: NDArray[np.bool_], known: NDArray[np.bool_]) -> Floats:
    """A ratio where it is defined, 0 where it is not but the truth varies, NaN elsewhere."""
    ratio: Floats = np.divide(above, below, out=np.where(known, 0.0, np.nan), where=where)
    return ratio
