"""Find the rows of one split that stand in another too: the same text, or nearly.

Near duplicates are found by an exact set-similarity join with prefix and length filters (Bayardo, Ma and
Srikant, Scaling up all pairs similarity search, WWW 2007; Xiao et al., Efficient similarity joins for
near-duplicate detection, WWW 2008): every pair at or above the threshold is found, none is guessed.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import Field

from overtone.config import Config
from overtone.data.records import Record, SplitName, Splits
from overtone.data.text import fold, words

MINIMUM_WORDS = 5
"""Texts of fewer distinct words are compared for equality alone: short ones are near each other by chance."""

Pair = tuple[int, int, float]
"""The positions of two texts and the Jaccard similarity of their word sets, 0..1."""


class LeakageConfig(Config):
    """What counts as a leak between splits, and what is done about it."""

    near: float = Field(
        0.85,
        gt=0,
        le=1,
        description="Jaccard similarity of the word sets from which two texts are near duplicates.",
    )
    drop: bool = Field(
        True,
        description="Drop the row from train (or from validation, if its twin is in test); else only report.",
    )


@dataclass(frozen=True, slots=True)
class Leak:
    """A row with a twin in a split that must not know it.

    Args:
        row: the id of the row in train or validation.
        split: the split of the row.
        twin: the id of its most similar row in the held-out split.
        twin_split: the held-out split.
        similarity: Jaccard similarity of the word sets, 0..1.
        exact: whether the folded texts are equal.
    """

    row: str
    split: SplitName
    twin: str
    twin_split: SplitName
    similarity: float
    exact: bool


def check(splits: Splits, config: LeakageConfig) -> tuple[Splits, tuple[Leak, ...]]:
    """Look for leaks: validation against test, then train against test and what is left of validation.

    Test wins over validation, validation over train: a row that stands in a split which wins is dropped.

    Returns:
        The splits (unchanged unless ``config.drop``) and the leaks found, one a row and held-out split.
    """
    of_validation = _leaks(splits.validation, "validation", splits.test, "test", config.near)
    validation = _without(splits.validation, of_validation) if config.drop else splits.validation
    of_train = [
        *_leaks(splits.train, "train", splits.test, "test", config.near),
        *_leaks(splits.train, "train", validation, "validation", config.near),
    ]
    train = _without(splits.train, of_train) if config.drop else splits.train
    return Splits(train, validation, splits.test), (*of_validation, *of_train)


def near_pairs(texts: Sequence[str], threshold: float, minimum: int = MINIMUM_WORDS) -> list[Pair]:
    """Every pair ``i < j`` of texts whose word sets have a Jaccard similarity ≥ ``threshold``, sorted.

    Args:
        texts: the texts, compared with each other.
        threshold: in (0, 1].
        minimum: texts with fewer distinct words are left out.
    """
    sets = [frozenset(words(text)) for text in texts]
    return sorted((i, j, s) for i, j, s in _join(sets, sets, threshold, minimum) if i < j)


def near_between(
    left: Sequence[str], right: Sequence[str], threshold: float, minimum: int = MINIMUM_WORDS
) -> Iterator[Pair]:
    """Every pair of a left and a right text with a similarity ≥ ``threshold``, in no stated order.

    Args:
        left: the texts that the first positions count in.
        right: the texts that the second positions count in.
        threshold: in (0, 1].
        minimum: texts with fewer distinct words are left out.
    """
    sets = [frozenset(words(text)) for text in left]
    return _join(sets, [frozenset(words(text)) for text in right], threshold, minimum)


def _join(
    left: Sequence[frozenset[str]], right: Sequence[frozenset[str]], threshold: float, minimum: int
) -> Iterator[Pair]:
    """The pairs at or above the threshold, in no stated order.

    Two sets of sizes a and b with Jaccard ≥ t share at least t·max(a, b) words. In one order of all words,
    rarest first, they therefore share a word among the first a - ⌈t·a⌉ + 1 of the one and the first
    b - ⌈t·b⌉ + 1 of the other: only those few rare words are indexed and looked up, and only sets with
    t·a ≤ b ≤ a/t are compared.
    """
    count = Counter(word for sets in (left, right) for words_ in sets for word in words_)
    rank = {word: (n, word) for word, n in count.items()}
    index: defaultdict[str, list[int]] = defaultdict(list)
    for j, other in enumerate(right):
        if len(other) >= minimum:
            for word in sorted(other, key=rank.__getitem__)[: _prefix(len(other), threshold)]:
                index[word].append(j)
    for i, one in enumerate(left):
        if len(one) < minimum:
            continue
        smallest, largest = len(one) * threshold - _SLACK, len(one) / threshold + _SLACK
        candidates = {
            j
            for word in sorted(one, key=rank.__getitem__)[: _prefix(len(one), threshold)]
            for j in index.get(word, ())
            if smallest <= len(right[j]) <= largest
        }
        for j in candidates:
            shared = len(one & right[j])
            similarity = shared / (len(one) + len(right[j]) - shared)
            if similarity >= threshold:
                yield i, j, similarity


_SLACK = 1e-9  # keeps a bound such as 0.85 · 20 from excluding 17 by a rounding error


def _prefix(size: int, threshold: float) -> int:
    return size - math.ceil(size * threshold - _SLACK) + 1


def _leaks(
    rows: Sequence[Record], split: SplitName, held: Sequence[Record], held_split: SplitName, near: float
) -> list[Leak]:
    """The leaks of ``rows`` into ``held``, in the order of ``rows``; an equal text goes before a near one."""
    equal: dict[str, str] = {}
    for other in held:
        equal.setdefault(fold(other.text), other.id)
    best: dict[int, tuple[float, str]] = {}
    for i, j, similarity in near_between([row.text for row in rows], [row.text for row in held], near):
        best[i] = max(best.get(i, (0.0, "")), (similarity, held[j].id))
    leaks: list[Leak] = []
    for i, row in enumerate(rows):
        twin = equal.get(fold(row.text))
        if twin is not None:
            leaks.append(Leak(row.id, split, twin, held_split, 1.0, exact=True))
        elif i in best:
            leaks.append(Leak(row.id, split, best[i][1], held_split, best[i][0], exact=False))
    return leaks


def _without(rows: Sequence[Record], leaks: Sequence[Leak]) -> tuple[Record, ...]:
    leaking = {leak.row for leak in leaks}
    return tuple(row for row in rows if row.id not in leaking)
