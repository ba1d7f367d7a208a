"""The loss of a language model: the cross-entropy of every next token."""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from torch import Tensor

ROWS = 256
"""Rows of scores that are worked on at once: in fp32 they stay in a core's cache."""


class NextTokenLoss:
    """−log p(next token) in nats, summed over the tokens of a batch and divided by their number.

    Computed in fp32 from the logits, whatever precision those come in.
    """

    whole_step: ClassVar[bool] = False

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scores (B, T, V) and the tokens that came (B, T) → the sum, ()."""
        total: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
            outputs.flatten(0, 1), targets.flatten().to(outputs.device)
        )
        return total

    def count(self, targets: Tensor) -> Tensor:
        """How many tokens (B, T) holds, ()."""
        return torch.tensor(targets.numel())


class _Context(Protocol):
    """What autograd keeps between forward and backward."""

    saved_tensors: tuple[Tensor, ...]

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep them."""


class _CrossEntropy(torch.autograd.Function):
    """The summed cross-entropy, a few rows at a time, with its gradient made on the same way.

    The gradient of a row of scores is p - onehot(target), so it needs nothing from above but a factor. All
    rows at once, as PyTorch has it, go through the memory in fp32 six times.
    """

    @staticmethod
    def forward(ctx: _Context, scores: Tensor, targets: Tensor) -> Tensor:
        """Scores (N, V) and targets (N,) → the sum, ()."""
        total = torch.zeros((), device=scores.device)
        gradient = torch.empty_like(scores)
        for rows, wanted, out in zip(
            *(torch.split(each, ROWS) for each in (scores, targets[:, None], gradient)), strict=True
        ):
            likelihoods = rows.float().log_softmax(-1)
            total -= likelihoods.gather(1, wanted).sum()
            shares = likelihoods.exp_()
            out.copy_(shares.scatter_add_(1, wanted, -torch.ones_like(wanted, dtype=shares.dtype)))
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: _Context, *outer: Tensor) -> tuple[Tensor, None]:
        """The factor from above, () → the gradient of the scores (N, V), in their precision."""
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0].to(gradient.dtype), None
