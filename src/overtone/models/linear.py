"""Logistic and ridge regression on fixed features, as plain arrays; validation rows choose the strength."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from overtone.breakdown import metric_named
from overtone.scores import Estimates, Floats, Ints, Predictions, Scored

STRENGTHS = (1.0, 3.0, 10.0)
"""The inverse regularisations C of a logistic regression that are tried."""

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""The penalties of a ridge regression that are tried: small ones suit terms, large ones embeddings."""

NEVER = -1e4
"""The logit of a label that no training row has: its probability is 0 in double precision."""

Features = Any
"""(N, F) features: a NumPy array or a SciPy CSR matrix, float32."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear map of F features to L logits, or to L numbers.

    Args:
        weights: (L, F).
        bias: (L,).
        multilabel: whether each label is decided on its own; False for numbers.
    """

    weights: NDArray[np.float32]
    bias: Floats
    multilabel: bool

    def outputs(self, features: Features) -> Floats:
        """Logits or numbers of N rows, (N, L)."""
        outputs: Floats = np.asarray(features @ self.weights.T, dtype=np.float64) + self.bias
        return outputs

    def probabilities(self, features: Features) -> Floats:
        """Probabilities of N rows, (N, L); rows sum to 1 unless multi-label."""
        return normalise(self.outputs(features), multilabel=self.multilabel)


def normalise(logits: Floats, *, multilabel: bool) -> Floats:
    """Logits (N, L) → probabilities (N, L): a sigmoid each, or a softmax over the labels."""
    probabilities: Floats = expit(logits) if multilabel else softmax(logits, axis=1)
    return probabilities


def fit(features: Features, gold: Ints, n_labels: int, strength: float, *, balanced: bool = True) -> Linear:
    """Fit a classifier by maximum likelihood with an L2 penalty.

    Multinomial for class indices (N,), one-versus-rest for indicators (N, L). Deterministic.

    Args:
        features: (N, F).
        gold: class indices (N,) or 0/1 indicators (N, L).
        n_labels: L; a label without a row gets probability 0.
        strength: the inverse regularisation C, above 0.
        balanced: whether each class weighs the same, not each row.
    """
    weights = np.zeros((n_labels, features.shape[1]), dtype=np.float32)
    bias = np.full(n_labels, NEVER)
    if gold.ndim == 2:
        for label, truth in enumerate(gold.T):
            if truth.all():
                bias[label] = -NEVER
            elif truth.any():
                _, weights[label], bias[label] = (
                    part[-1] for part in _fit(features, truth, strength, balanced=balanced)
                )
    elif len(np.unique(gold)) == 1:
        bias[gold[0]] = 0.0
    else:
        classes, rows, offsets = _fit(features, gold, strength, balanced=balanced)
        weights[classes], bias[classes] = rows, offsets
    return Linear(weights, bias, gold.ndim == 2)


def _fit(features: Features, gold: Ints, strength: float, *, balanced: bool) -> tuple[Ints, Floats, Floats]:
    """The classes found (K,), their weights (K, F) and biases (K,)."""
    # Second-order steps are the fastest on sparse rows, quasi-Newton steps on dense ones.
    solver = "newton-cg" if sparse.issparse(features) else "lbfgs"
    weighting = "balanced" if balanced else None
    model = LogisticRegression(C=strength, class_weight=weighting, solver=solver, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, gold)
    weights, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # one row stands for the second class against the first
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.append(0.0, bias)
    return model.classes_, weights, bias


def fit_best(
    train: tuple[Features, Ints],
    validation: tuple[Features, Ints],
    labels: tuple[str, ...],
    metric: str | None = None,
) -> Linear:
    """Fit a classifier at every strength and keep the best on validation.

    Several labels a row are judged by their mean average precision, since their thresholds come later.

    Args:
        train: features (N, F) and gold, as ``fit`` takes them.
        validation: the same of the validation rows.
        labels: the label names, (L,).
        metric: the name or path of what is best for one label a row; fits where all classes weigh the same
            and fits where all rows do are then tried. None: macro-F1, and classes weigh the same.
    """
    features, gold = validation
    single = gold.ndim == 1
    weightings = (True, False) if single and metric is not None else (True,)
    name = (metric or "macro_f1") if single else "average_precision"
    nobody = ("",) * len(gold)

    def scored(model: Linear) -> Predictions:
        p = model.probabilities(features)
        decided = p.argmax(axis=1) if single else p >= 0.5
        return Predictions(nobody, labels, gold, decided.astype(np.int64), p, nobody)

    fits = [
        fit(*train, len(labels), strength, balanced=balanced)
        for balanced in weightings
        for strength in STRENGTHS
    ]
    return max(fits, key=lambda model: _merit(name, scored(model)))


def fit_numbers(features: Features, gold: Floats, penalty: float) -> Linear:
    """Fit numbers by least squares with an L2 penalty on the weights: ridge regression.

    Args:
        features: (N, F).
        gold: (N, D).
        penalty: on the sum of squared weights, beside the sum of squared errors, above 0.
    """
    model = Ridge(alpha=penalty, solver="sparse_cg" if sparse.issparse(features) else "cholesky")
    model.fit(features, gold)
    # Of one number scikit-learn gives (F,) and a scalar.
    weights = model.coef_.reshape(gold.shape[1], -1).astype(np.float32)
    return Linear(weights, np.reshape(model.intercept_, -1).astype(np.float64), multilabel=False)


def fit_best_numbers(
    train: tuple[Features, Floats],
    validation: tuple[Features, Floats],
    labels: tuple[str, ...],
    measure: str,
) -> Linear:
    """Fit numbers at every penalty and keep, for each number, the best on validation.

    Args:
        train: features (N, F) and gold (N, D).
        validation: the same of the validation rows.
        labels: the numbers' names, (D,).
        measure: what is best, such as ``pearson``.
    """
    features, gold = validation
    nobody = ("",) * len(gold)
    fits = [fit_numbers(*train, penalty) for penalty in PENALTIES]
    found = [Estimates(nobody, labels, gold, model.outputs(features), nobody) for model in fits]
    best = [fits[int(np.argmax([_merit(f"{label}.{measure}", each) for each in found]))] for label in labels]
    weights = np.stack([model.weights[i] for i, model in enumerate(best)])
    return Linear(weights, np.array([model.bias[i] for i, model in enumerate(best)]), multilabel=False)


def _merit(name: str, scored: Scored) -> float:
    """A metric's value, turned so that higher is better; the least where it does not exist."""
    metric = metric_named(name, scored)
    value = metric.function(scored)
    return -np.inf if np.isnan(value) else value if metric.higher_is_better else -value
