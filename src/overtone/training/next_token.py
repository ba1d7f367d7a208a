"""The loss of a language model: the cross-entropy of every next token."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional


class NextTokenLoss:
    """−log p(next token) in nats, summed over the tokens of a batch and divided by their number.

    Computed in fp32 from the logits, whatever precision those come in.
    """

    whole_step: ClassVar[bool] = False

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scores (B, T, V) and the tokens that came (B, T) → the sum, ()."""
        return functional.cross_entropy(
            outputs.flatten(0, 1).float(), targets.flatten().to(outputs.device), reduction="sum"
        )

    def count(self, targets: Tensor) -> Tensor:
        """How many tokens (B, T) holds, ()."""
        return torch.tensor(targets.numel())
