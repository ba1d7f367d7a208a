"""Texts as a body takes them: as token ids, or as the states that its frozen part made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Rows(Protocol):
    """N texts; ``Encoded`` holds their ids, ``FrozenStates`` what a frozen part makes of them."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Places in each text, (N,)."""

    def pad(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A padded batch of these rows: inputs (B, T) or (B, T, D), and the mask (B, T)."""


@dataclass(frozen=True)
class FrozenStates:
    """The states of N texts, one text after the other.

    Args:
        flat: (sum of lengths, D), on the CPU; computed on in fp32 where it is kept in fp16.
        offsets: where each text starts, and the end, (N + 1,).
    """

    flat: Tensor
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """States of each text, (N,)."""
        return np.diff(self.offsets)

    def pad(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A padded batch of these rows: states (B, T, D), any where there is padding, and mask (B, T)."""
        chosen = np.asarray(rows, dtype=np.int64)
        starts = self.offsets[chosen]
        lengths = self.offsets[chosen + 1] - starts
        columns = np.arange(int(lengths.max()))
        places = np.minimum(starts[:, None] + columns, len(self.flat) - 1)
        hidden = self.flat.index_select(0, torch.from_numpy(places.reshape(-1))).view(*places.shape, -1)
        mask = torch.from_numpy((columns < lengths[:, None]).astype(np.int64))
        return hidden.float() if hidden.dtype == torch.float16 else hidden, mask
