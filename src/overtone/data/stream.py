"""Documents as one contiguous stream of tokens, cut into windows without padding."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from overtone.data.batches import Encoded
from overtone.data.records import Record
from overtone.data.vocabulary import Vocabulary
from overtone.errors import DataError

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stream:
    """Documents one after the other; each ends with the end-of-text token, and one stands before the first.

    So every token but that first one is to be predicted, a document's first one from the end before it.

    Args:
        ids: all tokens, (M,).
        documents: how many there are.
        bytes: of their texts in UTF-8.
        characters: code points of their texts.
    """

    ids: Ids
    documents: int
    bytes: int
    characters: int

    @property
    def targets(self) -> int:
        """How many tokens are to be predicted, M - 1; what perplexity is a token of."""
        return len(self.ids) - 1


def build(vocabulary: Vocabulary, texts: Sequence[str]) -> Stream:
    """Cut documents into tokens and put them in a row, in their order.

    Raises:
        DataError: there are none, or they are all empty.
    """
    return joined(vocabulary.encode(texts), vocabulary.end_id, texts)


def joined(encoded: Encoded, end: int, texts: Sequence[str]) -> Stream:
    """Documents that are cut already, in a row.

    Args:
        encoded: the documents in tokens.
        end: the end-of-text token.
        texts: the documents.

    Raises:
        DataError: see ``build``.
    """
    if not len(encoded.flat):
        raise DataError(
            "there is no text for a stream of tokens", hint="check the data with: overtone data show NAME"
        )
    # An end after each document: of document d, d ends and the first one stand before its tokens.
    before = np.repeat(np.arange(1, len(texts) + 1), encoded.lengths)
    ids = np.full(len(encoded.flat) + len(texts) + 1, end, dtype=np.int64)
    ids[np.arange(len(encoded.flat)) + before] = encoded.flat
    return Stream(
        ids,
        documents=len(texts),
        bytes=sum(len(text.encode()) for text in texts),
        characters=sum(map(len, texts)),
    )


def windows(ids: Ids, length: int) -> Ids:
    """Cut a stream into as many whole windows as there are; a view, nothing is copied.

    Neighbours share one token: the last target of a window is the first input of the next. So each token is a
    target at most once, and what is left at the end, fewer than ``length`` targets, is ``rest``.

    Args:
        ids: (M,).
        length: T, tokens read of a window.

    Returns:
        (N, T + 1): inputs are ``[:, :-1]``, targets ``[:, 1:]``.

    Raises:
        DataError: the stream is shorter than one window.
    """
    if len(ids) <= length:
        raise DataError(
            f"a stream of {len(ids):,} tokens has no window of {length:,} and its next token",
            hint="take shorter windows, or more text",
        )
    return np.lib.stride_tricks.sliding_window_view(ids, length + 1)[::length]


@dataclass(frozen=True)
class Windows:
    """Windows as the rows of a fit: a row's inputs are its tokens but the last, and nothing is padding.

    Args:
        pieces: from ``windows``, (N, T + 1).
    """

    pieces: Ids

    @property
    def lengths(self) -> Ids:
        """T of each, (N,)."""
        return np.full(len(self.pieces), self.pieces.shape[1] - 1)

    @property
    def targets(self) -> Tensor:
        """The token after each that is read, (N, T), copied."""
        return torch.from_numpy(self.pieces[:, 1:].copy())

    def pad(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A batch of these rows: ids and a mask of ones, (B, T)."""
        ids = torch.from_numpy(self.pieces[np.asarray(rows), :-1])
        return ids, torch.ones_like(ids)


def rest(ids: Ids, length: int) -> Ids:
    """What ``windows`` leaves at the end with the token before it, (R + 1,) with R < T; R may be 0."""
    return ids[(len(ids) - 1) // length * length :]


def shuffled(pieces: Ids, seed: int, epoch: int) -> Ids:
    """The windows (N, T + 1) in the order of an epoch, copied."""
    return pieces[np.random.default_rng([seed, epoch]).permutation(len(pieces))]


def hold_out(rows: Sequence[Record], share: float, seed: int) -> tuple[list[Record], list[Record]]:
    """Divide documents: what is trained on, and a share that is held out, each in the order given.

    Documents of one group, such as the passages of an article, stay together. The draw depends on the rows
    and the seed, not on their order.

    Args:
        rows: N documents.
        share: of the rows to hold out, 0..1; whole groups are taken until it is reached.
        seed: of the draw.

    Raises:
        DataError: there are not two groups, one for each side.
    """
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for row in rows:
        groups[row.source, row.group or row.id].append(row)
    if len(groups) < 2:
        raise DataError(
            f"{len(groups)} documents cannot be divided into two parts", hint="take more, or longer, data"
        )
    order = sorted(groups)
    random.Random(f"{seed}/held out").shuffle(order)
    held: set[str] = set()
    for name in order[:-1]:
        if held and len(held) >= share * len(rows):
            break
        held.update(row.id for row in groups[name])
    return [row for row in rows if row.id not in held], [row for row in rows if row.id in held]
