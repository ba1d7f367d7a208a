"""What is frozen is computed once: the states of a body's frozen part, kept for every epoch."""

from __future__ import annotations

import numpy as np
import torch

from overtone.data.batches import Encoded, by_length
from overtone.models.encoder import States
from overtone.models.heads import mean_pool
from overtone.models.model import Model
from overtone.models.states import FrozenStates


class StateCache:
    """Texts in, and the states of what is frozen out.

    Args:
        model: whose body's frozen part is asked for.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def __call__(self, encoded: Encoded, *, bf16: bool) -> FrozenStates | None:
        """What the model reads in place of these texts' ids; None where no layer is frozen.

        Where the whole backbone is frozen and all heads pool alike, the mean or the first token, a text is
        that one vector.

        Args:
            encoded: N texts.
            bf16: whether matrix products are in bf16, as in training.
        """
        if not self.model.body.frozen:
            return None
        return _compute(self.model, encoded, self._pooling(), bf16=bf16)

    def _pooling(self) -> str | None:
        """How every head makes one vector of a text, where that can be done beforehand."""
        if self.model.body.frozen != self.model.body.depth:
            return None
        kinds = {str(head.pooling) for head in self.model.heads.values()}
        kind = kinds.pop()
        return kind if not kinds and kind in ("mean", "cls") else None


@torch.no_grad()
def _compute(model: Model, encoded: Encoded, pooling: str | None, *, bf16: bool) -> FrozenStates:
    """Run the frozen part over every text once."""
    body, device = model.body, model.device
    training = body.training
    body.eval()
    offsets = encoded.offsets if pooling is None else np.arange(len(encoded) + 1)
    flat = torch.empty(int(offsets[-1]), body.hidden_size, dtype=next(body.parameters()).dtype)
    for rows in by_length(encoded.lengths):
        input_ids, mask = (tensor.to(device) for tensor in encoded.pad(rows))
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            hidden = body.bottom(input_ids, mask)  # (B, T, D)
        if pooling is None:
            places = np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in rows])
            flat[torch.from_numpy(places)] = hidden[mask.bool()].to("cpu", flat.dtype)
        else:
            vectors = hidden[:, 0] if pooling == "cls" else mean_pool(States(hidden, mask))
            flat[torch.tensor(rows)] = vectors.to("cpu", flat.dtype)
    body.train(training)
    return FrozenStates(flat, offsets)
