"""Learning from pairs which of two answers is better: direct preference optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Paired(Protocol):
    """N pairs of conversations; a batch of B of them is their B better ones, then their B worse ones."""

    def wanted(self, rows: Sequence[int]) -> Tensor:
        """The tokens that are learnt of these pairs, in the order of a batch, (M,)."""

    def counts_of(self, rows: Sequence[int]) -> Tensor:
        """How many those are of each conversation of a batch, (2B,)."""


class PreferenceLoss:
    """−log σ(β (log p/p₀ of the better answer − log p/p₀ of the worse)), p₀ as it was before the fit.

    Rafailov et al., Direct Preference Optimization, NeurIPS 2023, equation 7; with β > 0, and smoothed as
    by Chowdhury et al. 2024, who take a share of the pairs to be the wrong way round. What p₀ says never
    changes, so it is computed once.

    Args:
        pairs: what the targets are the numbers of.
        reference: log p₀ in nats of the better and of the worse answer of each, (N, 2).
        beta: β, how dear it is to move.
        smoothing: the share of pairs that may be the wrong way round, 0..½.
    """

    whole_step: ClassVar[bool] = False

    def __init__(self, pairs: Paired, reference: Tensor, *, beta: float, smoothing: float = 0.0) -> None:
        self.pairs = pairs
        self.reference = reference
        self.beta = beta
        self.smoothing = smoothing

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scores of the M tokens that are learnt of some pairs (M, V), and the pairs' numbers (B,) → ()."""
        return self.of_margins(self.margins(outputs, targets))

    def of_margins(self, margins: Tensor) -> Tensor:
        """The summed loss of pairs with these margins (B,), ()."""
        right, wrong = functional.logsigmoid(margins), functional.logsigmoid(-margins)
        return -((1 - self.smoothing) * right + self.smoothing * wrong).sum()

    def margins(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """β times how much more the better answer of each has gained than the worse, (B,)."""
        rows = targets.tolist()
        better, worse = likelihoods(
            outputs, self.pairs.wanted(rows).to(outputs.device), self.pairs.counts_of(rows)
        ).chunk(2)
        before = self.reference[targets.cpu()].to(outputs.device)
        return self.beta * ((better - before[:, 0]) - (worse - before[:, 1]))

    def count(self, targets: Tensor) -> Tensor:
        """How many pairs there are, ()."""
        return torch.tensor(len(targets))


def likelihoods(scores: Tensor, tokens: Tensor, counts: Tensor) -> Tensor:
    """The log-likelihood in nats of each answer.

    Args:
        scores: of M tokens, one answer after the other, (M, V).
        tokens: what was said, (M,).
        counts: tokens of each of B answers, (B,), M together.

    Returns:
        (B,), in fp32.
    """
    each = -functional.cross_entropy(scores.float(), tokens, reduction="none")
    answers = torch.repeat_interleave(torch.arange(len(counts)), counts).to(each.device)
    return each.new_zeros(len(counts)).index_add(0, answers, each)
