"""Held-out pairs, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from overtone.evaluation.benchmarks.preferences import Preferred, gained, moved, share

FOUND = Preferred(
    ids=("a", "b", "c", "d"),
    nats={
        "tuned": np.array([[-2.0, -4.0], [-9.0, -3.0], [-1.0, -2.0], [-6.0, -6.0]]),
        "base": np.array([[-3.0, -2.0], [-9.0, -3.0], [-3.0, -2.0], [-8.0, -7.0]]),
    },
    tokens=np.array([[2.0, 2.0], [4.0, 1.0], [2.0, 2.0], [3.0, 2.0]]),
)
SETTINGS = {"seed": 7, "resamples": 400}


def test_the_likelier_a_token_is_preferred_however_long():
    assert FOUND.prefers("tuned").tolist() == [1, 1, 1, 1]  # b: -2.25 a token against -3, d: -2 against -3
    assert FOUND.prefers("base").tolist() == [0, 1, 0, 1]  # d: -2.7 against -3.5
    assert share(FOUND, "tuned", **SETTINGS).value == 1
    assert share(FOUND, "base", **SETTINGS).value == 0.5


def test_what_moved_is_against_what_was_before():
    assert FOUND.margins("tuned", "base").tolist() == [3, 0, 2, 1]
    found = moved(FOUND, "tuned", "base", **SETTINGS)
    assert found.value == 0.75
    assert found.low < found.value < found.high


def test_what_is_gained_is_paired():
    found = gained(FOUND, "tuned", "base", **SETTINGS)
    assert found.value == 0.5
    generator = np.random.default_rng(7)
    apart = np.array([1.0, 0, 1, 0])
    means = apart[generator.integers(4, size=(400, 4))].mean(axis=1)
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]))
