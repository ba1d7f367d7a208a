from __future__ import annotations

import numpy as np
import pytest

from overtone.evaluation import bootstrap
from overtone.evaluation.bootstrap import by_rows, draws, of_metric, resampled
from overtone.scores import METRICS, select


def test_weights_count_the_rows_of_each_resample():
    draw = next(draws(5, 3, seed=1))
    assert draw.weights.sum(axis=1).tolist() == [5, 5, 5]
    for rows, weights in zip(draw.rows, draw.weights, strict=True):
        assert np.bincount(rows, minlength=5).tolist() == weights.tolist()


def test_resamples_depend_on_the_seed_and_not_on_the_memory(monkeypatch):
    whole = np.concatenate([draw.rows for draw in draws(7, 30, seed=3)])
    monkeypatch.setattr(bootstrap, "CELLS", 20)
    parts = list(draws(7, 30, seed=3))
    assert len(parts) == 15
    assert (np.concatenate([draw.rows for draw in parts]) == whole).all()
    assert not (np.concatenate([draw.rows for draw in draws(7, 30, seed=4)]) == whole).all()


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("n", [9, 80])
def test_every_metric_is_resampled_as_it_is_computed(name, n, make):
    # Nine rows leave classes out of some resamples.
    p, metric = make(n=n), METRICS[name]
    fast = resampled([of_metric(metric, p)], n, 25, seed=5)[:, 0]
    slow = resampled([by_rows(lambda rows: metric.function(select(p, rows)))], n, 25, seed=5)[:, 0]
    assert fast == pytest.approx(slow, nan_ok=True)


def test_all_statistics_see_the_same_resamples():
    first = resampled([by_rows(lambda rows: float(rows.sum()))] * 2, 6, 10, seed=0)
    assert (first[:, 0] == first[:, 1]).all()
