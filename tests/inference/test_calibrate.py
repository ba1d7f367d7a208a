from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from overtone.inference.calibrate import (
    fit_temperature,
    fit_threshold,
    log_loss,
    p_value,
    softmax,
    threshold_grid,
)


def test_softmax_and_log_loss_by_hand():
    logits = np.log([[1.0, 3.0]])
    assert softmax(logits) == pytest.approx(np.array([[0.25, 0.75]]))
    assert softmax(2 * logits, 2.0) == pytest.approx(np.array([[0.25, 0.75]]))
    assert log_loss(np.array([[0.25, 0.75], [0.5, 0.5]]), np.array([1, 0])) == pytest.approx(
        -(math.log(0.75) + math.log(0.5)) / 2
    )


def test_temperature_by_hand():
    # Two labels, logits (1, 0), right in 3 of 4 rows: the best T makes the share 3/4, so 1/T = log 3.
    logits, gold = np.tile([1.0, 0.0], (4, 1)), np.array([0, 0, 0, 1])
    assert fit_temperature(logits, gold) == pytest.approx(1 / math.log(3), rel=1e-4)


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_temperature_is_recovered(true):
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(20_000, 5)) * 2
    gold = np.array([rng.choice(5, p=row) for row in softmax(honest)])
    assert fit_temperature(honest * true, gold) == pytest.approx(true, rel=0.05)


def test_threshold_by_hand():
    # 60 right, then 20 wrong: at the first threshold P(Bin(60, .1) <= 0) = 0.0018, at the second it fails.
    confidence = np.concatenate([np.full(60, 0.95), np.full(20, 0.5)])
    correct = np.arange(80) < 60
    rule = fit_threshold(confidence, correct, np.array([0.9, 0.4, 0.0]))
    assert (rule.threshold, rule.answered, rule.errors, rule.n) == (0.9, 60, 0, 80)
    assert rule.coverage == 0.75
    # No error among 60: the exact upper bound solves (1 - p)^60 = 0.05.
    assert rule.bound == pytest.approx(1 - 0.05 ** (1 / 60))
    assert "answers from confidence 0.900" in rule.summary


def test_the_walk_stops_at_the_first_failure():
    # 10 rows are too few to certify anything, although all rows together would pass.
    confidence = np.concatenate([np.full(10, 0.9), np.full(990, 0.5)])
    rule = fit_threshold(confidence, np.ones(1000, dtype=bool), np.array([0.8, 0.1]))
    assert not rule.certified
    assert rule.threshold == math.inf
    assert rule.answered == 0
    assert "nothing is answered" in rule.summary
    assert fit_threshold(confidence, np.ones(1000, dtype=bool), np.array([0.1])).certified


def test_no_rows_and_bad_grids():
    assert not fit_threshold(np.zeros(0), np.zeros(0, dtype=bool), np.array([0.5])).certified
    with pytest.raises(ValueError, match="decrease"):
        fit_threshold(np.ones(3), np.ones(3, dtype=bool), np.array([0.1, 0.5]))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=0, max_size=300),
    st.floats(0.05, 0.5),
    st.floats(0.5, 0.99),
)
def test_what_is_certified_passes_the_exact_test(rows, risk, level):
    confidence = np.array([row[0] for row in rows])
    correct = np.array([row[1] for row in rows], dtype=bool)
    rule = fit_threshold(confidence, correct, threshold_grid(confidence), risk=risk, level=level)
    if rule.certified:
        assert rule.answered == (confidence >= rule.threshold).sum()
        assert binom.cdf(rule.errors, rule.answered, risk) <= 1 - level
        assert rule.bound <= risk + 1e-9  # the interval and the test are two sides of one thing
        stricter = fit_threshold(confidence, correct, threshold_grid(confidence), risk=risk / 2, level=level)
        assert stricter.threshold >= rule.threshold


def test_the_grid_falls_to_everything_and_starts_at_the_stated_coverage():
    confidence = np.random.default_rng(0).uniform(size=1000)
    grid = threshold_grid(confidence, start=0.2, size=20)
    assert np.all(np.diff(grid) < 0)
    assert grid[-1] == 0.0
    assert (confidence >= grid[0]).mean() == pytest.approx(0.2, abs=0.005)
    assert len(threshold_grid(np.ones(50))) == 2
    assert np.all(np.diff(threshold_grid(np.zeros(0))) < 0)


def _world(rng, n):
    """Confidences with a known chance to be right: overconfident, and worst in the middle."""
    confidence = rng.uniform(size=n)
    chance = 1 - 0.45 * (1 - confidence) ** 1.5 - 0.1 * np.exp(-((confidence - 0.6) ** 2) / 0.005)
    return confidence, chance


@pytest.mark.parametrize("n", [150, 800])
def test_the_true_risk_is_kept_as_often_as_promised(n):
    rng = np.random.default_rng(1)
    many, chance = _world(rng, 200_000)
    exceeded = answered = 0
    times = 500
    for _ in range(times):
        grid = threshold_grid(_world(rng, 300)[0])
        confidence, right = _world(rng, n)
        rule = fit_threshold(confidence, rng.uniform(size=n) < right, grid)
        taken = many >= rule.threshold
        if taken.any():
            answered += 1
            exceeded += (1 - chance[taken]).mean() > 0.10
    slack = 2.33 * math.sqrt(0.05 * 0.95 / times)  # one chance in a hundred to fail a promise just kept
    assert exceeded / times <= 0.05 + slack
    if n == 800:
        assert answered > 0.9 * times  # and it is no empty promise


@pytest.mark.parametrize("horizon", [50, 400, 1000])
def test_a_horizon_is_stricter_and_tends_to_the_binomial_tail(horizon):
    answered = 300
    for errors in (0, 10, 20, 30):
        assert p_value(errors, answered, 0.1, horizon) >= p_value(errors, answered, 0.1)
    assert p_value(20, answered, 0.1, 10**7) == pytest.approx(p_value(20, answered, 0.1), rel=0.05)


def test_a_horizon_keeps_the_share_of_errors_among_the_answers_to_come():
    rng = np.random.default_rng(3)
    grid = np.linspace(0.95, 0.0, 40)
    trials, broken = 300, 0
    for _ in range(trials):
        confidence = rng.uniform(0.3, 1.0, 1600)
        correct = rng.uniform(size=1600) < confidence
        rule = fit_threshold(confidence[:800], correct[:800], grid, risk=0.1, level=0.95, horizon=400)
        taken = confidence[800:] >= rule.threshold
        broken += bool(taken.any() and (~correct[800:][taken]).mean() > 0.1)
    assert broken / trials <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / trials)
