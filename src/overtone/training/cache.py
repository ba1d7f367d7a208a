"""What is frozen is computed once: the states of a frozen body, kept for every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from overtone.data.batches import Encoded, by_length
from overtone.models.encoder import Encoder


@dataclass(frozen=True)
class FrozenStates:
    """The states of N texts, one text after the other.

    Args:
        flat: (sum of lengths, D), fp32, on the CPU.
        encoded: the texts they belong to, for offsets and lengths.
    """

    flat: Tensor
    encoded: Encoded

    def pad(self, rows: Sequence[int]) -> Tensor:
        """The padded states of these rows: (B, T, D); zeros where there is padding."""
        chosen = np.asarray(rows, dtype=np.int64)
        lengths = self.encoded.lengths[chosen]
        columns = np.arange(max(int(lengths.max()), 1))
        places = np.minimum(self.encoded.offsets[chosen][:, None] + columns, len(self.flat) - 1)
        mask = torch.from_numpy(columns < lengths[:, None]).unsqueeze(-1)
        return self.flat[torch.from_numpy(places)] * mask


@torch.no_grad()
def freeze_states(body: Encoder, encoded: Encoded) -> FrozenStates:
    """Run a frozen body over every text once, dropout off."""
    body.eval()
    device = next(body.parameters()).device
    flat = torch.empty(len(encoded.flat), body.hidden_size)
    for rows in by_length(encoded.lengths):
        input_ids, mask = encoded.pad(rows)
        hidden = body(input_ids.to(device), mask.to(device)).hidden.float().cpu()  # (B, T, D)
        places = np.concatenate([np.arange(encoded.offsets[r], encoded.offsets[r + 1]) for r in rows])
        flat[torch.from_numpy(places)] = hidden[mask.bool()]
    return FrozenStates(flat, encoded)
