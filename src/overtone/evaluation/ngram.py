"""The n-gram language model that every neural one has to beat: interpolated, modified Kneser-Ney."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from overtone.errors import DataError

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]

FALLBACK = (0.5, 1.0, 1.5)
"""The discounts where too few n-grams are rare to estimate them, as KenLM's (Heafield et al. 2013)."""


@dataclass(frozen=True, slots=True)
class _Order:
    """The n-grams of one length k.

    Args:
        keys: place of the first k - 1 tokens among the shorter ones, times V, plus the last token; ascending.
        discounted: count less discount, over the count of the context: what is left for each, 0..1.
        left: of each context, what the discounts took, handed to the shorter n-grams; 1 where it is unseen.
    """

    keys: Ids
    discounted: Floats
    left: Floats


class Ngram:
    """Interpolated modified Kneser-Ney over token ids (Chen and Goodman 1999, section 3).

    ``p(w | u) = max(c(u w) − D(c), 0) / c(u ·) + γ(u) p(w | u')`` with u' one token shorter. Below the
    longest n-grams, c counts the different tokens before ``u w`` instead of its occurrences. D is one of
    three, for counts of 1, 2, and 3 or more, estimated from the counts of counts. Under the single tokens
    lies 1 / V, so every token has a probability.

    Args:
        ids: a stream of tokens, (M,); n-grams go over the ends of documents, as a model's windows do.
        vocabulary: V; ids are 0..V-1.
        order: n, tokens of the longest n-grams.

    Raises:
        DataError: the stream is shorter than ``order``, or an id is not of the vocabulary.
    """

    def __init__(self, ids: Ids, vocabulary: int, order: int = 5) -> None:
        if order < 1 or len(ids) < order:
            raise DataError(
                f"{len(ids):,} tokens have no {order}-grams", hint="take a longer text, or an order of 1 to 5"
            )
        if ids.min() < 0 or ids.max() >= vocabulary:
            wrong = int(ids.min() if ids.min() < 0 else ids.max())
            raise DataError(
                f"token {wrong} is not of a vocabulary of {vocabulary:,}",
                hint="count with the tokenizer that cut the text",
            )
        self.vocabulary = vocabulary
        self.orders: list[_Order] = []
        # Single tokens have a place each, seen or not: their place is their id.
        keys, places, counts = np.arange(vocabulary), ids, np.bincount(ids, minlength=vocabulary)
        contexts = 1
        for length in range(1, order):
            longer, longer_places, longer_counts = np.unique(
                places[:-1] * vocabulary + ids[length:], return_inverse=True, return_counts=True
            )
            # Each longer n-gram that ends as this one does has another token before it.
            ends = np.empty(len(longer), dtype=np.int64)
            ends[longer_places] = places[1:]
            before = np.bincount(ends, minlength=len(keys))
            self.orders.append(_smoothed(keys, keys // vocabulary, before, contexts))
            contexts = len(keys)
            keys, places, counts = longer, longer_places, longer_counts
        self.orders.append(_smoothed(keys, keys // vocabulary, counts, contexts))

    def probabilities(self, ids: Ids) -> Floats:
        """Of every token but the first, given up to n - 1 before it: (..., T) → (..., T - 1)."""
        after = ids[..., 1:]
        single = self.orders[0]
        chance: Floats = single.discounted[after] + single.left[0] / self.vocabulary
        places = ids  # of the (k - 1)-gram that ends at each token, -1 where it was never seen
        for length, order in enumerate(self.orders[1:], start=2):
            context, token = places[..., :-1], ids[..., length - 1 :]
            seen = context >= 0
            places = _find(order.keys, np.where(seen, context * self.vocabulary + token, -1))
            left = np.where(seen, order.left[context], 1.0)
            # The first tokens have no context of this length.
            tail = chance[..., length - 2 :]
            tail *= left
            tail += np.where(places >= 0, order.discounted[places], 0.0)
        return chance

    def nats(self, ids: Ids) -> float:
        """The summed negative log-likelihood of a stream (M,): of its tokens but the first."""
        return float(-np.log(self.probabilities(ids)).sum())

    def distribution(self, context: Ids) -> Floats:
        """The probability of each token after at least one: (T,) → (V,)."""
        rows = np.empty((self.vocabulary, len(context) + 1), dtype=np.int64)
        rows[:, :-1] = context
        rows[:, -1] = np.arange(self.vocabulary)
        return self.probabilities(rows)[:, -1]


def _find(keys: Ids, wanted: Ids) -> Ids:
    """The place of each key among the ascending ones, -1 where it is not there."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, places, -1)


def _smoothed(keys: Ids, contexts: Ids, counts: Ids, n_contexts: int) -> _Order:
    """Take the discounts from the counts, and see what each context has left for shorter n-grams."""
    discount = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
    total = np.bincount(contexts, weights=counts, minlength=n_contexts)
    taken = np.bincount(contexts, weights=discount, minlength=n_contexts)
    divisor = np.where(total > 0, total, 1.0)
    left = np.where(total > 0, taken / divisor, 1.0)
    return _Order(keys, (counts - discount) / divisor[contexts], left)


def _discounts(counts: Ids) -> tuple[float, float, float]:
    """D for counts of 1, 2, and 3 or more: Chen and Goodman 1999, equation 26."""
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(np.float64)
    if not n[1:5].all():
        return FALLBACK
    y = n[1] / (n[1] + 2 * n[2])
    found = tuple(float(k - (k + 1) * y * n[k + 1] / n[k]) for k in (1, 2, 3))
    one, two, three = found
    return (one, two, three) if all(0 < d < k for k, d in enumerate(found, start=1)) else FALLBACK
