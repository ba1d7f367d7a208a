"""What the matrix products of a fit are computed in; the trained weights are fp32 in any case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from overtone.errors import TrainingError

Precision = Literal["fp32", "bf16", "fp16"]
"""bf16 has the range of fp32; fp16 has not, and is for devices that have no bf16."""

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def products(device: str, precision: Precision) -> torch.autocast:
    """The context in which a kind of device computes products in a precision."""
    return torch.autocast(device, _DTYPES.get(precision), enabled=precision in _DTYPES)


@dataclass
class LossScale:
    """In fp16, a factor on the loss, so that small gradients do not vanish (Micikevicius et al. 2018).

    A step whose gradient overflowed is left out and the scale halved; after many that did not, it is doubled.
    In other precisions nothing is scaled.

    Args:
        device: kind of device.
        precision: of the products.
    """

    device: str
    precision: Precision

    def __post_init__(self) -> None:
        self._scaler = torch.amp.GradScaler(self.device, enabled=self.precision == "fp16")

    @property
    def scales(self) -> bool:
        """Whether a gradient may overflow without an end."""
        return self._scaler.is_enabled()

    def scaled(self, loss: Tensor) -> Tensor:
        """A loss, (), as its gradient is to be taken of."""
        scaled: Tensor = self._scaler.scale(loss)
        return scaled

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Make the gradients what they are, before they are clipped."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """One optimiser step, left out where a gradient overflowed.

        Raises:
            TrainingError: no scale is left at which the gradient is finite.
        """
        self._scaler.step(optimizer)
        self._scaler.update()
        if self.scales and self._scaler.get_scale() < 1:
            raise TrainingError(
                "in fp16 the gradient overflows at any scale",
                hint="lower train.optim.lr, or set train.precision=bf16; the last checkpoint is whole",
            )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; empty where nothing is scaled."""
        return dict(self._scaler.state_dict())

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what a checkpoint kept."""
        self._scaler.load_state_dict(dict(state))
