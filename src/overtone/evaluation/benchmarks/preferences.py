"""Held-out pairs of answers: how often a system finds the better one likelier, and by how much it moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from overtone.evaluation.bootstrap import draws
from overtone.evaluation.compare import Difference, Interval, difference_of, interval_of
from overtone.scores import Floats


@dataclass(frozen=True, slots=True)
class Preferred:
    """What systems make of N held-out pairs.

    Args:
        ids: of the pairs.
        nats: system → log-likelihood of the better and of the worse answer, (N, 2).
        tokens: of the better and of the worse answer, (N, 2).
    """

    ids: tuple[str, ...]
    nats: Mapping[str, Floats]
    tokens: Floats

    def prefers(self, system: str) -> Floats:
        """1 where the better answer is likelier a token, (N,); a longer answer is not punished for that."""
        each = self.nats[system] / self.tokens
        return (each[:, 0] > each[:, 1]).astype(np.float64)

    def margins(self, system: str, before: str) -> Floats:
        """How many nats more the better answer gained over ``before`` than the worse, (N,)."""
        gained = self.nats[system] - self.nats[before]
        margins: Floats = gained[:, 0] - gained[:, 1]
        return margins


def share(found: Preferred, system: str, *, seed: int, resamples: int) -> Interval:
    """The share of pairs whose better answer is likelier a token, with its 95% interval over pairs."""
    return _mean(found.prefers(system), seed, resamples)


def moved(found: Preferred, system: str, before: str, *, seed: int, resamples: int) -> Interval:
    """The share of pairs whose better answer gained more than the worse (implicit reward accuracy)."""
    return _mean((found.margins(system, before) > 0).astype(np.float64), seed, resamples)


def gained(found: Preferred, system: str, before: str, *, seed: int, resamples: int) -> Difference:
    """What ``share`` gains from ``before`` to the system, pair by pair."""
    apart = found.prefers(system) - found.prefers(before)
    return difference_of(float(apart.mean()), _resampled(apart, seed, resamples), 0.95)


def _mean(values: Floats, seed: int, resamples: int) -> Interval:
    return interval_of(float(values.mean()), _resampled(values, seed, resamples), 0.95)


def _resampled(values: Floats, seed: int, resamples: int) -> Floats:
    n = len(values)
    return np.concatenate([draw.weights @ values / n for draw in draws(n, resamples, seed)])
