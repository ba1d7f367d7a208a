"""Put two opinions about one text together, with weights fitted on held-out rows."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from overtone.inference.calibrate import log_loss, softmax
from overtone.scores import Floats, Ints

Exponents = tuple[float, float]
"""How much the first and the second opinion count in a product of experts, each 0 or more."""


def _logs(probabilities: Floats) -> Floats:
    logs: Floats = np.log(np.maximum(probabilities, 1e-9))
    return logs


def pool(first: Floats, second: Floats, exponents: Exponents) -> Floats:
    """The product of experts first^a x second^b, scaled to sum to 1, (N, L).

    Genest and Zidek, Combining Probability Distributions, 1986 (logarithmic pooling). a + b other than 1
    makes the result sharper or flatter than its parts, so the fit calibrates it too.

    Args:
        first: (N, L), rows sum to 1.
        second: the same.
        exponents: (a, b).
    """
    return softmax(exponents[0] * _logs(first) + exponents[1] * _logs(second))


def fit_pool(first: Floats, second: Floats, gold: Ints) -> Exponents:
    """The exponents with the lowest log loss on these rows; the problem is convex.

    Args:
        first: (N, L), rows sum to 1.
        second: the same.
        gold: class indices, (N,).
    """
    logs, rows = np.stack([_logs(first), _logs(second)]), np.arange(len(gold))  # (2, N, L)
    of_gold = logs[:, rows, gold]  # (2, N)

    def loss(exponents: Floats) -> tuple[float, Floats]:
        share = softmax(np.tensordot(exponents, logs, axes=1))
        slope = (np.einsum("knl,nl->kn", logs, share) - of_gold).mean(axis=1)
        return log_loss(share, gold), slope

    found = minimize(loss, np.array([1.0, 0.1]), jac=True, bounds=[(0.0, 4.0)] * 2, method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1])


def blend(first: Floats, second: Floats, weight: float) -> Floats:
    """The mixture (1 - weight) first + weight second, (N, L); weight in 0..1."""
    return (1.0 - weight) * first + weight * second


def fit_blend(first: Floats, second: Floats, gold: Ints) -> float:
    """The mixture weight in 0..1 with the lowest log loss on these rows.

    Args:
        first: (N, L), rows sum to 1.
        second: the same.
        gold: class indices, (N,).
    """
    found = minimize_scalar(
        lambda weight: log_loss(blend(first, second, weight), gold), bounds=(0.0, 1.0), method="bounded"
    )
    return float(found.x)
