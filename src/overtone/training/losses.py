"""Losses as objects: each gives the summed loss of a batch, and beforehand what that sum is divided by.

Sums are divided once, by the count of the whole optimiser step, so gradient accumulation and several
processes give the same update as one large batch.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from overtone.config import Config


class Loss(Protocol):
    """A summed loss and its normaliser."""

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The weighted sum over the rows of a batch: outputs (B, L), targets (B,) or (B, L) → ()."""

    def count(self, targets: Tensor) -> Tensor:
        """What that sum is divided by; known from the targets alone → ()."""


class CrossEntropyConfig(Config):
    """−log p(gold), with label smoothing (Szegedy et al. 2016) and class weights."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="mass given evenly to all labels")
    class_weights: float = Field(
        0.0, ge=0.0, le=1.0, description="weight of a class ∝ frequency^−p, mean 1; 0 none, 1 balanced"
    )


class BinaryCrossEntropyConfig(Config):
    """−y log p − (1 − y) log (1 − p), summed over the labels of a row."""

    kind: Literal["binary_cross_entropy"] = "binary_cross_entropy"
    positive_weights: float = Field(
        0.0, ge=0.0, le=1.0, description="weight of a positive = (negatives / positives)^p; 0 none"
    )


MISSING = -100
"""The class of a row that carries no target."""


class CrossEntropy:
    """Cross-entropy over L classes; rows with the class ``MISSING`` count nothing.

    Args:
        config: smoothing and the power of the class weights.
        frequencies: rows of each class in training, (L,).
    """

    def __init__(self, config: CrossEntropyConfig, frequencies: Tensor) -> None:
        self.smoothing = config.label_smoothing
        weights = frequencies.float().clamp(min=1).pow(-config.class_weights)
        self.weights = weights / weights.mean()

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows: outputs (B, L) logits, targets (B,) classes → ()."""
        return functional.cross_entropy(
            outputs.float(),
            targets,
            weight=self.weights.to(outputs.device),
            ignore_index=MISSING,
            label_smoothing=self.smoothing,
            reduction="sum",
        )

    def count(self, targets: Tensor) -> Tensor:
        """The summed class weights of the rows that carry a target."""
        return self.weights.to(targets.device)[targets[targets != MISSING]].sum()


class BinaryCrossEntropy:
    """Binary cross-entropy over L independent labels; rows of NaN count nothing.

    Args:
        config: the power of the weights of positives.
        frequencies: positive rows of each label in training, (L,).
        rows: rows in training that carry targets.
    """

    def __init__(self, config: BinaryCrossEntropyConfig, frequencies: Tensor, rows: int) -> None:
        positives = frequencies.float().clamp(min=1)
        self.positive = ((rows - positives).clamp(min=1) / positives).pow(config.positive_weights)

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows and labels: outputs (B, L) logits, targets (B, L) of 0 and 1 → ()."""
        known = ~targets[:, 0].isnan()
        return functional.binary_cross_entropy_with_logits(
            outputs[known].float(),
            targets[known],
            pos_weight=self.positive.to(outputs.device),
            reduction="sum",
        )

    def count(self, targets: Tensor) -> Tensor:
        """The rows that carry targets."""
        return (~targets[:, 0].isnan()).sum()


def build(
    config: CrossEntropyConfig | BinaryCrossEntropyConfig, targets: Tensor, labels: int
) -> CrossEntropy | BinaryCrossEntropy:
    """The loss of a task, with the class frequencies of its training targets."""
    if isinstance(config, CrossEntropyConfig):
        return CrossEntropy(config, torch.bincount(targets[targets != MISSING], minlength=labels))
    return BinaryCrossEntropy(config, targets.nansum(dim=0), int((~targets[:, 0].isnan()).sum()))
