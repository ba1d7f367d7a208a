"""The loss of a model that answers: the cross-entropy of the answers' tokens alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from overtone.training.next_token import NextTokenLoss


class Answered(Protocol):
    """Rows of which some tokens are learnt."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """Tokens of each that are learnt, (N,)."""

    def wanted(self, rows: Sequence[int]) -> Tensor:
        """The tokens that are learnt of these rows, one row after the other, (M,)."""


class AnswerLoss:
    """−log p(token) in nats, summed over what is learnt of the rows; questions and padding count nothing.

    Args:
        rows: what the targets are the numbers of.
    """

    whole_step: ClassVar[bool] = False

    def __init__(self, rows: Answered) -> None:
        self.rows = rows
        self.counts = torch.from_numpy(rows.counts)

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scores of the M tokens that are learnt of some rows (M, V), and the rows' numbers (B,) → ()."""
        return NextTokenLoss().total(outputs[None], self.rows.wanted(targets.tolist())[None])

    def count(self, targets: Tensor) -> Tensor:
        """How many tokens of these rows (B,) are learnt, ()."""
        return self.counts[targets.cpu()].sum()
