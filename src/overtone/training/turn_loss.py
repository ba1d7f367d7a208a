"""Losses of what heads make of a conversation's places; rows are conversations, targets their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from overtone.training.losses import Loss


class Labelled(Protocol):
    """Rows whose answers have labels, and some of whose places are compared with the base."""

    def labels(self, target: str, rows: Sequence[int]) -> Tensor:
        """The class of each answer of these rows, in their order, ``MISSING`` where unknown, (M,)."""

    def compared(self, rows: Sequence[int]) -> int:
        """How many places of these rows are compared with the base."""


class TurnLoss:
    """Any loss of classes, on the answers of conversations.

    Args:
        rows: what the targets are the numbers of.
        target: which of their labels.
        loss: of the classes.
    """

    def __init__(self, rows: Labelled, target: str, loss: Loss) -> None:
        self.rows = rows
        self.target = target
        self.loss = loss

    @property
    def whole_step(self) -> bool:
        """Whether the loss of the classes is."""
        return self.loss.whole_step

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scores of the M answers of some rows (M, L), and the rows' numbers (B,) → ()."""
        return self.loss.total(outputs, self._labels(targets).to(outputs.device))

    def count(self, targets: Tensor) -> Tensor:
        """What the sum over these rows (B,) is divided by, ()."""
        return self.loss.count(self._labels(targets))

    def _labels(self, targets: Tensor) -> Tensor:
        return self.rows.labels(self.target, targets.tolist())


class KeptLoss:
    """The mean divergence from the base over the places that are compared.

    Args:
        rows: what the targets are the numbers of.
    """

    whole_step: ClassVar[bool] = False

    def __init__(self, rows: Labelled) -> None:
        self.rows = rows

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Divergences at the M places of some rows (M,), and the rows' numbers (B,) → ()."""
        return outputs.sum()

    def count(self, targets: Tensor) -> Tensor:
        """How many places of these rows (B,) are compared, ()."""
        return torch.tensor(self.rows.compared(targets.tolist()))
