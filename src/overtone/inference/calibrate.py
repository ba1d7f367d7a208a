"""Make confidences mean what they say, and answer only where a stated risk is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import beta, binom, hypergeom

from overtone.scores import Bools, Floats, Ints


class TextModel(Protocol):
    """Anything that reads texts and scores L labels."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The label names, (L,)."""
        ...

    def logits(self, texts: Sequence[str]) -> Floats:
        """Unnormalised log-probabilities, (N, L)."""
        ...


def softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Probabilities from logits (N, L) divided by a temperature above 0; rows sum to 1."""
    probabilities: Floats = np.exp(log_softmax(logits / temperature, axis=-1))
    return probabilities


def log_loss(probabilities: Floats, gold: Ints) -> float:
    """The mean negative log-likelihood of the true classes, in nats, 0 or more; lower is better.

    Args:
        probabilities: (N, L), rows sum to 1.
        gold: class indices, (N,).
    """
    return float(-np.log(np.maximum(probabilities[np.arange(len(gold)), gold], 1e-12)).mean())


def fit_temperature(logits: Floats, gold: Ints) -> float:
    """The temperature T > 0 at which softmax(logits / T) has the lowest log loss on these rows.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The order of the labels never changes,
    so neither does accuracy. The search is over log T between 1/20 and 20.

    Args:
        logits: (N, L).
        gold: class indices, (N,).
    """
    edge = math.log(20.0)
    found = minimize_scalar(
        lambda log_t: log_loss(softmax(logits, math.exp(log_t)), gold), bounds=(-edge, edge), method="bounded"
    )
    return float(math.exp(found.x))


@dataclass(frozen=True, slots=True)
class RiskRule:
    """Answer where the confidence reaches a threshold, so that a stated risk is kept.

    Args:
        threshold: the lowest confidence that is answered, 0..1; infinity where no threshold could be
            certified, and then nothing is answered.
        risk: the largest share of wrong answers among those answered, 0..1.
        level: the probability with which that holds, over the draw of the calibration rows, 0..1.
        n: calibration rows.
        answered: how many of them reach the threshold.
        errors: how many of those are wrong.
        bound: exact (Clopper-Pearson) upper bound, at ``level``, on the risk at this threshold, 0..1.
    """

    threshold: float
    risk: float
    level: float
    n: int
    answered: int
    errors: int
    bound: float

    @property
    def certified(self) -> bool:
        """Whether a threshold was found that keeps the risk."""
        return math.isfinite(self.threshold)

    @property
    def coverage(self) -> float:
        """The share of the calibration rows that is answered, 0..1."""
        return self.answered / self.n if self.n else 0.0

    @property
    def summary(self) -> str:
        """The rule in one sentence."""
        promise = f"at most {self.risk:.0%} wrong among those answered, with probability {self.level:.0%}"
        if not self.certified:
            return f"no threshold keeps {promise}, on {self.n} calibration rows: nothing is answered"
        return (
            f"{promise}: answers from confidence {self.threshold:.3f}, which is {self.coverage:.0%} "
            f"of {self.n} calibration rows with {self.errors} wrong"
        )


def threshold_grid(confidence: Floats, *, start: float = 0.2, size: int = 20) -> Floats:
    """Thresholds from strict to lax, stated before the calibration rows are seen.

    They are quantiles of the confidences of other rows, so that each step answers about equally many more.

    Args:
        confidence: of rows that calibrate nothing else, (M,), in 0..1.
        start: the coverage of the first threshold; smaller ones have too few answers to certify anything.
        size: the number of thresholds before equal ones are joined. More of them answer a little more, but
            stand so near to the limit that small samples pass it more often.

    Returns:
        (G,) thresholds, decreasing; the last is 0, which answers everything.
    """
    if len(confidence) == 0:
        return np.linspace(1.0, 0.0, size)
    inner = np.quantile(confidence, 1.0 - np.linspace(start, 1.0, size)[:-1])
    return np.unique(np.append(inner, 0.0))[::-1]


def p_value(errors: int, answered: int, risk: float, horizon: int | None = None) -> float:
    """How surprising so few errors would be if the risk were not kept; small means that it is kept.

    Without a horizon, the exact binomial tail P(Bin(answered, risk) <= errors). With one, the larger of that
    and the exact hypergeometric tail for "more than risk x horizon errors among the next ``horizon`` answered
    rows": of errors + floor(risk x horizon) + 1 errors dealt at random over all answered + horizon rows, at
    most ``errors`` fall to these. That number of errors is the worst case: with fewer the future rows cannot
    have too many, with more these rows would have shown it.

    Args:
        errors: wrong answers.
        answered: all answers.
        risk: the risk to keep, 0..1 exclusive.
        horizon: answered rows to come over which the share of errors is to be kept.
    """
    expected = float(binom.cdf(errors, answered, risk))
    if horizon is None:
        return expected
    worst = errors + math.floor(risk * horizon) + 1
    return max(expected, float(hypergeom.cdf(errors, answered + horizon, worst, answered)))


def fit_threshold(
    confidence: Floats,
    correct: Bools,
    grid: Floats,
    *,
    risk: float = 0.10,
    level: float = 0.95,
    horizon: int | None = None,
) -> RiskRule:
    """The laxest threshold that keeps the risk with a finite-sample guarantee.

    Fixed-sequence testing of Angelopoulos et al., Learn then Test (2021): walk the grid from strict to lax;
    at threshold t, with k of the n(t) answered calibration rows wrong, test the hypothesis
    "P(wrong | answered at t) > risk" with the exact binomial p-value P(Bin(n(t), risk) <= k); go on while it
    is at most 1 - level, stop at the first failure, and take the last threshold that passed.

    The guarantee: if the grid was stated without looking at these rows, and these rows and the rows to come
    are drawn independently from one distribution, then with probability at least ``level`` over the draw of
    these rows, P(wrong | answered) <= ``risk`` for a new row. It holds for any model, any number of rows and
    any confidence, good or bad; a bad one only answers less. It says nothing about rows from elsewhere.

    That is a promise about the probability of an error, and the share of errors among the next answers
    still scatters around it. With a horizon, each threshold must pass the stricter test of ``p_value`` too:
    for a threshold stated beforehand, the share of errors among the next ``horizon`` answers is then at most
    ``risk`` with probability ``level``. For the walk as a whole this second part is checked by simulation.

    Args:
        confidence: (N,), in 0..1.
        correct: whether the decision is right, (N,).
        grid: thresholds, strictly decreasing, (G,).
        risk: the risk to keep, 0..1 exclusive.
        level: the probability with which it must hold, 0..1 exclusive.
        horizon: answered rows to come over which the share of errors is to be kept too.

    Returns:
        The rule; its threshold is infinity where even the first threshold failed.
    """
    if np.any(np.diff(grid) >= 0):
        raise ValueError("the grid must decrease")
    best = RiskRule(math.inf, risk, level, len(confidence), 0, 0, 1.0)
    for threshold in grid:
        taken = confidence >= threshold
        answered = int(taken.sum())
        errors = int((taken & ~correct).sum())
        if answered == 0 or p_value(errors, answered, risk, horizon) > 1.0 - level:
            break
        bound = float(beta.ppf(level, errors + 1, answered - errors))
        best = RiskRule(float(threshold), risk, level, len(confidence), answered, errors, bound)
    return best
