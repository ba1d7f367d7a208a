from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtone.data import stream
from overtone.data.sources import wikitext2
from overtone.data.vocabulary import ByteVocabulary
from overtone.errors import DataError
from overtone.evaluation import ngram
from overtone.evaluation.ngram import Ngram
from overtone.likelihood import bits_per_byte

V = 7


def draw(size, seed=0):
    """Tokens that hang together, some of them never seen."""
    generator = np.random.default_rng(seed)
    made = [0]
    for _ in range(size - 1):
        step = int(generator.choice(4, p=[0.6, 0.2, 0.1, 0.1]))
        made.append((made[-1] * 2 + step) % (V - 1))
    return np.array(made)


class Naive:
    """The same model from dictionaries, one n-gram at a time, as the paper writes it."""

    def __init__(self, ids, vocabulary, order):
        self.vocabulary, self.order = vocabulary, order
        ids = ids.tolist()
        grams = {k: [tuple(ids[i : i + k]) for i in range(len(ids) - k + 1)] for k in range(1, order + 1)}
        self.counts = {order: Counter(grams[order])}
        for k in range(1, order):
            self.counts[k] = Counter(gram[1:] for gram in set(grams[k + 1]))
        self.discount = {k: self.discounts(counts) for k, counts in self.counts.items()}
        self.followers = {k: defaultdict(dict) for k in self.counts}
        for k, counts in self.counts.items():
            for gram, count in counts.items():
                self.followers[k][gram[:-1]][gram[-1]] = count

    @staticmethod
    def discounts(counts):
        n = Counter(counts.values())
        if not all(n[k] for k in (1, 2, 3, 4)):
            return (0, 0.5, 1.0, 1.5)
        y = n[1] / (n[1] + 2 * n[2])
        d = [0] + [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
        return d if all(0 < d[k] < k for k in (1, 2, 3)) else (0, 0.5, 1.0, 1.5)

    def probability(self, context, token):
        k = len(context) + 1
        lower = self.probability(context[1:], token) if context else 1 / self.vocabulary
        found = self.followers[k].get(tuple(context))
        if not found:
            return lower
        total = sum(found.values())
        discount = self.discount[k]
        left = sum(discount[min(count, 3)] for count in found.values()) / total
        count = found.get(token, 0)
        return (count - discount[min(count, 3)]) / total + left * lower

    def probabilities(self, ids):
        ids = ids.tolist()
        return [self.probability(ids[max(0, i - self.order + 1) : i], ids[i]) for i in range(1, len(ids))]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [5, 12, 300])
def test_it_is_the_formula_from_dictionaries(order, size):
    ids, other = draw(size), draw(80, seed=1)
    other[::9] = V - 1  # never seen
    fast, slow = Ngram(ids, V, order), Naive(ids, V, order)
    np.testing.assert_allclose(fast.probabilities(other), slow.probabilities(other), rtol=1e-12)
    np.testing.assert_allclose(fast.probabilities(ids), slow.probabilities(ids), rtol=1e-12)


def test_the_discounts_are_estimated_where_they_can_be():
    ids = np.random.default_rng(3).zipf(1.6, 4000).clip(max=400)
    found = Counter(Counter(ids.tolist()).values())
    y = found[1] / (found[1] + 2 * found[2])
    expected = [k - (k + 1) * y * found[k + 1] / found[k] for k in (1, 2, 3)]
    assert ngram._discounts(np.bincount(ids)) == pytest.approx(expected)
    assert ngram._discounts(np.array([1, 1, 2])) == ngram.FALLBACK


@settings(max_examples=60)
@given(
    ids=st.lists(st.integers(0, V - 1), min_size=4, max_size=40),
    context=st.lists(st.integers(0, V - 1), min_size=1, max_size=6),
    order=st.integers(1, 4),
)
def test_probabilities_sum_to_one(ids, context, order):
    model = Ngram(np.array(ids), V, order)
    chances = model.distribution(np.array(context, dtype=np.int64))
    assert chances.shape == (V,)
    assert chances.sum() == pytest.approx(1, abs=1e-12)
    assert chances.min() > 0


def test_many_rows_at_once_are_each_alone():
    model = Ngram(draw(300), V, 4)
    rows = np.stack([draw(20, seed) for seed in range(5)])
    together = model.probabilities(rows)
    assert together.shape == (5, 19)
    for row, chances in zip(rows, together, strict=True):
        np.testing.assert_array_equal(chances, model.probabilities(row))


def test_a_short_context_is_a_short_n_gram():
    model, ids = Ngram(draw(300), V, 4), draw(3, seed=2)
    chances = model.probabilities(ids)
    assert chances[0] == pytest.approx(model.distribution(ids[:1])[ids[1]])
    assert chances[1] == pytest.approx(model.distribution(ids[:2])[ids[2]])
    assert len(model.probabilities(ids[:1])) == 0


def test_nats_are_the_sum():
    model, ids = Ngram(draw(300), V, 3), draw(50, seed=2)
    assert model.nats(ids) == pytest.approx(-sum(math.log(p) for p in model.probabilities(ids)))


def test_more_context_helps_where_there_is_some():
    ids, other = draw(4000), draw(1000, seed=1)
    costs = [Ngram(ids, V, order).nats(other) for order in (1, 2, 3)]
    assert costs[1] < 0.8 * costs[0]
    assert costs[2] < costs[0]


def test_what_cannot_be_counted_is_said():
    with pytest.raises(DataError, match="3 tokens have no 5-grams"):
        Ngram(draw(3), V)
    with pytest.raises(DataError, match="token 9 is not of a vocabulary of 7"):
        Ngram(np.array([1, 9, 2]), V, 2)
    with pytest.raises(DataError, match="token -1 is not"):
        Ngram(np.array([1, -1, 2]), V, 2)
    with pytest.raises(DataError, match="0-grams"):
        Ngram(draw(30), V, 0)


def test_bytes_of_articles_cost_what_they_should(data_root):
    rows = list(wikitext2.records(data_root / "text"))
    vocabulary = ByteVocabulary().build([])
    validation, test = (
        stream.build(vocabulary, [row.text for row in rows if row.split == split][:6])
        for split in ("validation", "test")
    )
    model = Ngram(validation.ids, len(vocabulary), 5)
    assert 1.8 < bits_per_byte(model.nats(test.ids), test.bytes) < 3
