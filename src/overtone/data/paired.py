"""Pairs of conversations, a better and a worse one, as the rows of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from overtone.data import chat
from overtone.data.chat import Chat, Chats, Ids


@dataclass(frozen=True, slots=True)
class PairedChats:
    """N pairs; a batch of B of them is their B better conversations, then their B worse ones.

    Args:
        chats: all better ones, then all worse ones, (2N,).
    """

    chats: Chats

    def __len__(self) -> int:
        """N."""
        return len(self.chats.lengths) // 2

    @property
    def lengths(self) -> Ids:
        """Tokens of the longer conversation of each, (N,)."""
        longer: Ids = self.chats.lengths.reshape(2, -1).max(axis=0)
        return longer

    def pad(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A batch of these pairs: ids (2B, T), and marks (2B, T, 2) as of ``Chats.pad``."""
        return self.chats.pad(self._both(rows))

    def wanted(self, rows: Sequence[int]) -> Tensor:
        """The tokens that are learnt of these pairs, in the order of a batch, (M,)."""
        return self.chats.wanted(self._both(rows))

    def counts_of(self, rows: Sequence[int]) -> Tensor:
        """How many those are of each conversation of a batch, (2B,)."""
        return torch.from_numpy(self.chats.counts[self._both(rows)])

    def _both(self, rows: Sequence[int]) -> list[int]:
        return [*rows, *(len(self) + row for row in rows)]


def collect(better: Sequence[Chat], worse: Sequence[Chat], pad_id: int, pack: int = 0) -> PairedChats:
    """Pairs put together.

    Args:
        better: N conversations.
        worse: N others, one to each.
        pad_id: the id that fills a batch.
        pack: tokens up to which short ones share a row.

    Raises:
        DataError: there are none, or nothing of them is learnt.
    """
    assert len(better) == len(worse)
    return PairedChats(chat.collect([*better, *worse], pad_id, pack))
