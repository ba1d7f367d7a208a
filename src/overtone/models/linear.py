"""Logistic regression on fixed features, as plain arrays; its strength is chosen on validation rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from overtone.scores import METRICS, Floats, Ints, Predictions

STRENGTHS = (1.0, 3.0, 10.0)
"""The inverse regularisations C that are tried."""

NEVER = -1e4
"""The logit of a label that no training row has: its probability is 0 in double precision."""

Features = Any
"""(N, F) features: a NumPy array or a SciPy CSR matrix, float32."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear classifier of F features into L labels.

    Args:
        weights: (L, F).
        bias: (L,).
        multilabel: whether each label is decided on its own.
    """

    weights: NDArray[np.float32]
    bias: Floats
    multilabel: bool

    def logits(self, features: Features) -> Floats:
        """Logits of N rows, (N, L)."""
        logits: Floats = np.asarray(features @ self.weights.T, dtype=np.float64) + self.bias
        return logits

    def probabilities(self, features: Features) -> Floats:
        """Probabilities of N rows, (N, L); rows sum to 1 unless multi-label."""
        return normalise(self.logits(features), multilabel=self.multilabel)


def normalise(logits: Floats, *, multilabel: bool) -> Floats:
    """Logits (N, L) → probabilities (N, L): a sigmoid each, or a softmax over the labels."""
    probabilities: Floats = expit(logits) if multilabel else softmax(logits, axis=1)
    return probabilities


def fit(features: Features, gold: Ints, n_labels: int, strength: float) -> Linear:
    """Fit by maximum likelihood with an L2 penalty, each class weighted by the inverse of its share.

    Multinomial for class indices (N,), one-versus-rest for indicators (N, L). Deterministic.

    Args:
        features: (N, F).
        gold: class indices (N,) or 0/1 indicators (N, L).
        n_labels: L; a label without a row gets probability 0.
        strength: the inverse regularisation C, above 0.
    """
    weights = np.zeros((n_labels, features.shape[1]), dtype=np.float32)
    bias = np.full(n_labels, NEVER)
    if gold.ndim == 2:
        for label, truth in enumerate(gold.T):
            if truth.all():
                bias[label] = -NEVER
            elif truth.any():
                _, weights[label], bias[label] = (part[-1] for part in _fit(features, truth, strength))
    elif len(np.unique(gold)) == 1:
        bias[gold[0]] = 0.0
    else:
        classes, rows, offsets = _fit(features, gold, strength)
        weights[classes], bias[classes] = rows, offsets
    return Linear(weights, bias, gold.ndim == 2)


def _fit(features: Features, gold: Ints, strength: float) -> tuple[Ints, Floats, Floats]:
    """The classes found (K,), their weights (K, F) and biases (K,)."""
    # Second-order steps are the fastest on sparse rows, quasi-Newton steps on dense ones.
    solver = "newton-cg" if sparse.issparse(features) else "lbfgs"
    model = LogisticRegression(C=strength, class_weight="balanced", solver=solver, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, gold)
    weights, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one row stands for the second class against the first
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.append(0.0, bias)
    return model.classes_, weights, bias


def fit_best(
    train: tuple[Features, Ints], validation: tuple[Features, Ints], labels: tuple[str, ...]
) -> Linear:
    """Fit at every strength and keep the one with the best macro-F1 on validation (multi-label: mAP).

    Args:
        train: features (N, F) and gold, as ``fit`` takes them.
        validation: the same of the validation rows.
        labels: the label names, (L,).
    """
    fits = [fit(*train, len(labels), strength) for strength in STRENGTHS]
    features, gold = validation
    name = "average_precision" if gold.ndim == 2 else "macro_f1"

    def score(model: Linear) -> float:
        probabilities = model.probabilities(features)
        decided = (probabilities >= 0.5) if model.multilabel else probabilities.argmax(axis=1)
        nobody = ("",) * len(gold)
        value = METRICS[name].function(
            Predictions(nobody, labels, gold, decided.astype(np.int64), probabilities, nobody)
        )
        return -1.0 if np.isnan(value) else value

    return max(fits, key=score)
