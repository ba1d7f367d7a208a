from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import pearsonr
from sklearn.linear_model import LogisticRegression

from overtone.models.linear import PENALTIES, STRENGTHS, fit, fit_best, fit_best_numbers, fit_numbers

LABELS = ("a", "b", "c")


def rows(seed, n=150, width=6, skew=False):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, width)).astype(np.float32)
    scores = features[:, :3] + rng.normal(size=(n, 3)) * 1.5 + np.array([3.0 * skew, 0, 0])
    return features, scores.argmax(axis=1)


def numbers(seed, n=150):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 6)).astype(np.float32)
    gold = np.column_stack([features @ np.arange(6), features[:, 0], np.zeros(n)])
    return features, gold + rng.normal(size=(n, 3)) * [1, 4, 1] + 2


@pytest.mark.parametrize("balanced", [True, False])
def test_a_classifier_equals_scikit_learn(balanced):
    features, gold = rows(0, skew=True)
    ours = fit(features, gold, 3, 3.0, balanced=balanced).probabilities(features)
    weighting = "balanced" if balanced else None
    theirs = LogisticRegression(C=3.0, class_weight=weighting, tol=1e-8, max_iter=1000).fit(features, gold)
    assert ours == pytest.approx(theirs.predict_proba(features), abs=2e-3)


def test_numbers_solve_the_normal_equations_with_a_penalty():
    features, gold = numbers(0)
    x, y = features.astype(float), gold - gold.mean(axis=0)
    centred = x - x.mean(axis=0)
    by_hand = np.linalg.solve(centred.T @ centred + 10 * np.eye(6), centred.T @ y).T
    model = fit_numbers(features, gold, 10.0)
    assert model.weights == pytest.approx(by_hand, abs=1e-4)
    assert model.bias == pytest.approx(gold.mean(axis=0) - by_hand @ x.mean(axis=0), abs=1e-4)
    thin = fit_numbers(sparse.csr_matrix(features), gold, 10.0)
    assert thin.outputs(sparse.csr_matrix(features)) == pytest.approx(model.outputs(features), abs=5e-3)


def test_each_number_has_its_own_penalty():
    train, validation = numbers(0), numbers(1)
    model = fit_best_numbers(train, validation, LABELS, "pearson")
    for i in range(3):
        fits = [fit_numbers(*train, penalty) for penalty in PENALTIES]
        found = [pearsonr(each.outputs(validation[0])[:, i], validation[1][:, i]).statistic for each in fits]
        assert model.weights[i] == pytest.approx(fits[int(np.argmax(found))].weights[i])


def test_the_measure_decides():
    """The noisy second number wants a large penalty for the least error, a small one for concordance."""
    train, validation = numbers(0), numbers(1)
    error, agreement = (fit_best_numbers(train, validation, LABELS, measure) for measure in ("mae", "ccc"))
    assert np.linalg.norm(error.weights[1]) < np.linalg.norm(agreement.weights[1])


def test_with_a_metric_rows_and_classes_may_weigh_the_same():
    train, validation = rows(0, 400, skew=True), rows(1, 400, skew=True)

    def accuracy(model):
        return (model.probabilities(validation[0]).argmax(axis=1) == validation[1]).mean()

    usual, told = fit_best(train, validation, LABELS), fit_best(train, validation, LABELS, "accuracy")
    assert accuracy(told) > accuracy(usual)
    same = fit_best(train, validation, LABELS, "macro_f1")
    assert (same.weights == usual.weights).all()


def test_a_metric_that_is_better_when_lower_is_made_low():
    train, validation = rows(0, 60, skew=True), rows(1, 60, skew=True)

    def loss(model):
        return -np.log(model.probabilities(validation[0])[np.arange(60), validation[1]]).mean()

    losses = [
        loss(fit(*train, 3, strength, balanced=balanced))
        for strength in STRENGTHS
        for balanced in (True, False)
    ]
    assert loss(fit_best(train, validation, LABELS, "log_loss")) == pytest.approx(min(losses))
    assert max(losses) > min(losses) + 0.02
