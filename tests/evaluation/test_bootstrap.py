from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtone.breakdown import metric_named
from overtone.evaluation import bootstrap
from overtone.evaluation.bootstrap import by_rows, draws, of_metric, resampled
from overtone.scores import METRICS, Estimates, metrics_of, select


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


def both(metric, scored, seed=5):
    """The metric on the same resamples, the fast way and by its definition."""
    n = len(scored.ids)
    slow = by_rows(lambda rows: metric.function(select(scored, rows)))
    return resampled([of_metric(metric, scored), slow], n, 25, seed).T


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("n", [9, 80])
def test_every_metric_is_resampled_as_it_is_computed(name, n, anything):
    # Nine rows leave classes out of some resamples.
    fast, slow = both(METRICS[name], anything(n=n))
    assert fast == pytest.approx(slow, nan_ok=True)


@pytest.mark.parametrize("name", ["joy.f1", "fear.precision", "anger.recall"])
@pytest.mark.parametrize("n", [9, 80])
def test_a_label_alone_is_resampled_as_it_is_computed(name, n, make):
    p = make(n=n)
    fast, slow = both(metric_named(name, p), p)
    assert fast == pytest.approx(slow, nan_ok=True)


@pytest.mark.parametrize("measure", metrics_of("regression"))
def test_a_number_alone_is_resampled_as_it_is_computed(measure, numbers):
    p = numbers()
    fast, slow = both(metric_named(f"arousal.{measure}", p), p)
    assert fast == pytest.approx(slow)
    assert np.ptp(slow) > 0


def test_labels_that_occur_in_no_resample_have_no_score(multi):
    p = multi(n=6)
    nothing = dataclasses.replace(p, gold=np.zeros_like(p.gold), decided=np.zeros_like(p.decided))
    for name in ("macro_f1", "micro_f1", "weighted_recall"):
        fast, slow = both(METRICS[name], nothing)
        assert np.isnan(fast).all()
        assert np.isnan(slow).all()


pairs = st.lists(st.tuples(*[st.sampled_from([0.0, 0.1, 0.3, 1e3, 1e3 + 0.1])] * 4), min_size=2, max_size=12)


@settings(max_examples=60)
@given(pairs, st.sampled_from(sorted(set(metrics_of("regression")) - {"spearman"})))
def test_sums_tell_what_does_not_vary_from_what_hardly_does(found, name):
    values = np.array(found)
    ids = tuple(map(str, range(len(values))))
    p = Estimates(ids, ("a", "b"), values[:, :2], values[:, 2:], ids)
    fast, slow = both(METRICS[name], p)
    assert fast == pytest.approx(slow, rel=1e-6, abs=1e-6, nan_ok=True)


def test_all_statistics_see_the_same_resamples():
    first = resampled([by_rows(lambda rows: float(rows.sum()))] * 2, 6, 10, seed=0)
    assert (first[:, 0] == first[:, 1]).all()
