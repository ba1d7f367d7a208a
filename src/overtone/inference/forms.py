"""The ways to compute a model's outputs: one interface, whatever does the sums."""

from __future__ import annotations

import copy
from typing import Literal, Protocol

import torch
from torch import Tensor

from overtone.data.batches import Encoded
from overtone.models.model import Model, sweep


class Form(Protocol):
    """One way to compute a model's outputs."""

    @property
    def name(self) -> str:
        """What it is called in a table, such as ``torch-bf16``."""

    def __call__(self, encoded: Encoded) -> dict[str, Tensor]:
        """Task → raw outputs of N texts, (N, L), fp32, on the CPU, in the texts' order."""


class TorchForm:
    """A model in PyTorch, over batches of even length.

    Args:
        model: in evaluation mode; bf16 takes a copy of it.
        precision: of the weights and of every product.
    """

    def __init__(self, model: Model, precision: Literal["fp32", "bf16"]) -> None:
        self.name = f"torch-{precision}"
        self.model = copy.deepcopy(model).to(torch.bfloat16) if precision == "bf16" else model

    def __call__(self, encoded: Encoded) -> dict[str, Tensor]:
        """Task → raw outputs of N texts, (N, L), fp32, on the CPU, in the texts' order."""
        return sweep(self.model, encoded, self.model.device)
