from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from overtone.scores import Estimates, Predictions, Scored

LABELS = ("joy", "sadness", "anger", "fear")


def single_label(seed: int = 0, n: int = 120, skill: float = 1.0) -> Predictions:
    """Rows whose gold depends on n alone, decided the better the higher the skill."""
    gold = np.random.default_rng(99).integers(4, size=n)
    logits = np.random.default_rng(seed).normal(size=(n, 4))
    logits[np.arange(n), gold] += skill
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sources = tuple("tweets" if i % 2 else "comments" for i in range(n))
    return Predictions(tuple(f"r{i}" for i in range(n)), LABELS, gold, p.argmax(axis=1), p, sources)


def multi_label(seed: int = 0, n: int = 120, skill: float = 1.0) -> Predictions:
    gold = (np.random.default_rng(98).random((n, 4)) < 0.3).astype(np.int64)
    logits = np.random.default_rng(seed).normal(size=(n, 4)) + skill * (2 * gold - 1)
    p = 1 / (1 + np.exp(-logits))
    ids, sources = tuple(f"r{i}" for i in range(n)), ("comments",) * n
    return Predictions(ids, LABELS, gold, (p >= 0.5).astype(np.int64), p, sources)


NUMBERS = ("valence", "arousal", "dominance")


def estimates(seed: int = 0, n: int = 120, skill: float = 1.0) -> Estimates:
    """Numbers around 3, estimated the better the higher the skill, the first best."""
    gold = 3 + np.random.default_rng(97).normal(size=(n, 3)) * [0.8, 0.5, 0.3]
    noise = np.random.default_rng(seed).normal(size=(n, 3)) * [0.3, 0.5, 0.6]
    share = skill / (1 + skill)
    decided = share * gold + (1 - share) * 3 + noise * (1 - share)
    sources = tuple("blogs" if i % 3 else "letters" for i in range(n))
    return Estimates(tuple(f"r{i}" for i in range(n)), NUMBERS, gold, decided, sources)


Maker = Callable[..., Predictions]


@pytest.fixture
def single() -> Maker:
    """Makes predictions of one label a row."""
    return single_label


@pytest.fixture
def multi() -> Maker:
    """Makes predictions of several labels a row."""
    return multi_label


@pytest.fixture(params=[single_label, multi_label], ids=["single", "multi"])
def make(request: pytest.FixtureRequest) -> Maker:
    """Makes one kind, then the other."""
    maker: Maker = request.param
    return maker


@pytest.fixture
def numbers() -> Callable[..., Estimates]:
    """Makes estimates of three numbers a row."""
    return estimates


@pytest.fixture(params=[single_label, multi_label, estimates], ids=["single", "multi", "numbers"])
def anything(request: pytest.FixtureRequest) -> Callable[..., Scored]:
    """Makes classes, one and several a row, then numbers."""
    maker: Callable[..., Scored] = request.param
    return maker
