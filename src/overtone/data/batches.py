"""Tokenised texts as one flat array, and the order in which they are read: seeded, bucketed by length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from overtone.config import Config

BUCKET = 50
"""How many optimiser steps are sorted by length together; more pads less and shuffles less."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """N tokenised texts.

    Args:
        flat: all ids, one text after the other, (sum of lengths,).
        offsets: where each text starts, and the end, (N + 1,).
        pad_id: the id that fills a batch.
        cut: how many texts were as long as the limit, so probably cut.
    """

    flat: NDArray[np.int64]
    offsets: NDArray[np.int64]
    pad_id: int
    cut: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each text, (N,)."""
        return np.diff(self.offsets)

    def take(self, rows: Sequence[int]) -> Encoded:
        """These rows alone."""
        pieces = [self.flat[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
        return Encoded(np.concatenate(pieces), offsets, self.pad_id, 0)

    def pad(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A padded batch of these rows: ids and mask, (B, T), T the longest of them."""
        chosen = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[chosen]
        columns = np.arange(max(int(lengths.max()), 1))
        mask = columns < lengths[:, None]  # (B, T)
        places = np.minimum(self.offsets[chosen][:, None] + columns, len(self.flat) - 1)
        ids = np.where(mask, self.flat[places], self.pad_id)
        return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))


def gathered(texts: Sequence[Sequence[int]], pad_id: int, cut: int = 0) -> Encoded:
    """Texts that are ids already, one after the other."""
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    flat = np.fromiter(chain.from_iterable(texts), dtype=np.int64, count=int(offsets[-1]))
    return Encoded(flat, offsets, pad_id, cut)


def by_length(lengths: NDArray[np.int64], budget: int = 2048) -> list[list[int]]:
    """Batches for inference: longest first, at most ``budget`` padded tokens each."""
    order = np.argsort(-lengths, kind="stable")
    batches: list[list[int]] = []
    start = 0
    while start < len(order):
        size = max(1, budget // max(int(lengths[order[start]]), 1))
        batches.append(order[start : start + size].tolist())
        start += size
    return batches


class MixConfig(Config):
    """How the rows of several tasks share an epoch; every batch mixes them.

    A task with n rows gets a share of the epoch's rows ∝ n^(1 / temperature) (Arivazhagan et al. 2019).
    """

    temperature: float = Field(
        1.0, ge=1, description="1: every row once an epoch; more: small tasks are read more often"
    )


def mixture(groups: NDArray[np.int64], temperature: float, seed: int) -> NDArray[np.int64]:
    """The rows of one epoch, as many as there are rows; a group read more than once repeats its rows evenly.

    Args:
        groups: the group of each row, 0..G-1, (N,).
        temperature: see ``MixConfig``.
        seed: of the choice of the rows that are read once more, or not at all.

    Returns:
        Row numbers, not shuffled, (about N,).
    """
    if temperature == 1:
        return np.arange(len(groups))
    sizes = np.bincount(groups)
    shares = np.where(sizes > 0, sizes.astype(np.float64) ** (1 / temperature), 0.0)
    wanted = np.round(len(groups) * shares / shares.sum()).astype(np.int64)
    generator = np.random.default_rng(seed)
    parts = []
    for group, count in enumerate(wanted):
        rows = np.flatnonzero(groups == group)
        whole, rest = divmod(int(count), max(len(rows), 1))
        parts += [np.tile(rows, whole), generator.permutation(rows)[:rest]]
    return np.concatenate(parts)


def plan(
    lengths: NDArray[np.int64],
    batch_size: int,
    accumulation: int,
    seed: int,
    rows: NDArray[np.int64] | None = None,
) -> list[list[list[int]]]:
    """The order of one epoch: optimiser steps → micro-batches → rows.

    Rows are shuffled, sorted by length inside a bucket of ``BUCKET`` steps, cut into steps of
    ``batch_size * accumulation`` rows, and the steps are shuffled. A step holds the same rows however it is
    cut into micro-batches, so 4 × 1 and 1 × 4 are the same step. Micro-batches of short rows are put
    together where that takes no more room than the largest of the epoch, which has to fit anyway.

    Args:
        lengths: tokens in each row, (N,).
        batch_size: rows a micro-batch, of the longest rows.
        accumulation: micro-batches a step, of the longest rows.
        seed: of this epoch's shuffle.
        rows: the rows of this epoch, from ``mixture``; None: each row once.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(np.arange(len(lengths)) if rows is None else rows)
    rows_a_step = batch_size * accumulation
    steps: list[list[list[int]]] = []
    for start in range(0, len(shuffled), rows_a_step * BUCKET):
        bucket = shuffled[start : start + rows_a_step * BUCKET]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        for low in range(0, len(bucket), rows_a_step):
            chosen = bucket[low : low + rows_a_step].tolist()
            steps.append([chosen[i : i + batch_size] for i in range(0, len(chosen), batch_size)])
    room = max((_room(batch, lengths) for step in steps for batch in step), default=0)
    return [_together(steps[i], lengths, room) for i in generator.permutation(len(steps))]


def _room(rows: Sequence[int], lengths: NDArray[np.int64]) -> int:
    """Tokens of a batch, padding counted."""
    return len(rows) * int(lengths[list(rows)].max())


def _together(step: list[list[int]], lengths: NDArray[np.int64], room: int) -> list[list[int]]:
    """A step's micro-batches in their order, neighbours put together as long as there is room."""
    found = [step[0]]
    for batch in step[1:]:
        if _room([*found[-1], *batch], lengths) <= room:
            found[-1] = [*found[-1], *batch]
        else:
            found.append(batch)
    return found
