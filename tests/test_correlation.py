from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from overtone.correlation import averaged, ccc, mae, pearson, r2, rmse, spearman

GOLD = np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 5.0], [6.0, 5.0]])
DECIDED = np.array([[2.0, 1.0], [2.0, 4.0], [4.0, 3.0], [8.0, 4.0]])


def test_everything_by_hand():
    # First column: means 3 and 4, deviations -2 -1 0 3 and -2 -2 0 4: variances 14/4 and 24/4,
    # covariance 18/4.
    # Second: means 3.5 and 3, deviations ±1.5 and -2 1 0 1: variances 2.25 and 1.5, covariance 3/4.
    assert pearson(GOLD, DECIDED) == pytest.approx([18 / np.sqrt(14 * 24), 0.75 / np.sqrt(2.25 * 1.5)])
    assert ccc(GOLD, DECIDED) == pytest.approx([9 / (3.5 + 6 + 1), 1.5 / (2.25 + 1.5 + 0.25)])
    assert mae(GOLD, DECIDED) == pytest.approx([1.0, 1.5])
    assert rmse(GOLD, DECIDED) == pytest.approx([np.sqrt(6 / 4), np.sqrt(10 / 4)])
    assert r2(GOLD, DECIDED) == pytest.approx([1 - 6 / 14, 1 - 10 / 9])
    # Ranks 1 2 3 4 against 1.5 1.5 3 4: deviations -1.5 -0.5 0.5 1.5 and -1 -1 0.5 1.5.
    assert spearman(GOLD, DECIDED)[0] == pytest.approx(4.5 / np.sqrt(5 * 4.5))


def test_concordance_punishes_a_shift_and_a_scale_that_correlation_forgives():
    gold = np.arange(5.0)[:, None]
    for wrong in (gold + 2, 3 * gold):
        assert pearson(gold, wrong) == pytest.approx([1.0])
        assert ccc(gold, wrong)[0] < 0.9
    assert ccc(gold, gold + 2)[0] == pytest.approx(2 * 2 / (2 + 2 + 4))
    assert ccc(gold, gold) == pytest.approx([1.0])
    assert ccc(gold, -gold) == pytest.approx([-2 * 2 / (2 + 2 + 16)])


def test_estimates_that_do_not_vary_follow_nothing():
    gold, constant = np.array([[0.1], [0.2], [0.7]]), np.full((3, 1), 0.1)
    for measure in (pearson, spearman, ccc):
        assert measure(gold, constant).tolist() == [0.0]
        assert np.isnan(measure(constant, gold)).all()
        assert np.isnan(measure(constant, constant)).all()
    assert r2(gold, np.full((3, 1), gold.mean())) == pytest.approx([0.0])
    assert np.isnan(r2(constant, gold)).all()


def test_one_row_has_errors_and_no_correlation():
    one = np.array([[2.0]])
    assert mae(one, one + 1).tolist() == rmse(one, one + 1).tolist() == [1.0]
    assert np.isnan([measure(one, one + 1) for measure in (pearson, spearman, ccc, r2)]).all()


def test_the_mean_is_over_what_exists():
    found = averaged(np.array([[0.5, np.nan, 0.7], [np.nan, np.nan, np.nan]]))
    assert found[0] == pytest.approx(0.6)
    assert np.isnan(found[1])


columns = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=30)


@settings(max_examples=80)
@given(columns)
def test_correlations_equal_scipy(found):
    gold, decided = np.array(found, dtype=float).T[..., None]
    if np.ptp(gold) and np.ptp(decided):
        assert pearson(gold, decided)[0] == pytest.approx(pearsonr(gold[:, 0], decided[:, 0]).statistic)
        assert spearman(gold, decided)[0] == pytest.approx(spearmanr(gold[:, 0], decided[:, 0]).statistic)
        # Lin 1989, equation for the bias correction: concordance is correlation times at most 1.
        assert abs(ccc(gold, decided)[0]) <= abs(pearson(gold, decided)[0]) + 1e-12
        assert ccc(gold, decided) == pytest.approx(ccc(decided, gold))
