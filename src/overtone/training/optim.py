"""AdamW with parameter groups, and learning-rate schedules as small states that JSON can hold."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from overtone.config import Config
from overtone.errors import MissingExtraError
from overtone.models.model import Model


class OptimConfig(Config):
    """AdamW (Loshchilov and Hutter 2019); weight decay on matrices alone."""

    lr: float = Field(1e-4, gt=0, description="peak learning rate of the body and its adapters")
    head_lr: float = Field(1e-3, gt=0, description="peak learning rate of the heads")
    layer_decay: float = Field(1.0, gt=0, le=1.0, description="factor on lr for each layer further down")
    weight_decay: float = Field(0.01, ge=0, description="share of a matrix taken off at rate 1")
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of the mean of gradients")
    beta2: float = Field(0.999, ge=0, lt=1, description="decay of the mean of their squares")
    paged: bool = Field(
        False,
        description="on a GPU, both means may be paged out to the host where memory is short (QLoRA, "
        "Dettmers et al. 2023); needs the extra 'bnb'; nothing is paged on a CPU",
    )


_WARMUP = "optimiser steps; at most half of a fit's steps warm up, so that a short fit has its peak too"


class CosineSchedule(Config):
    """Linear warm-up, then half a cosine to nothing."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: int = Field(100, ge=0, description=_WARMUP)


class LinearSchedule(Config):
    """Linear warm-up, then a straight line to nothing."""

    kind: Literal["linear"] = "linear"
    warmup_steps: int = Field(100, ge=0, description=_WARMUP)


class PlateauSchedule(Config):
    """Linear warm-up, then a cut whenever the named metric stands still."""

    kind: Literal["plateau"] = "plateau"
    warmup_steps: int = Field(100, ge=0, description=_WARMUP)
    patience: int = Field(2, ge=0, description="validations without a gain before a cut")
    factor: float = Field(0.5, gt=0, lt=1, description="what a cut multiplies the rate by")


ScheduleConfig = Annotated[CosineSchedule | LinearSchedule | PlateauSchedule, Field(discriminator="kind")]


@dataclass
class Plateau:
    """How often the rate was cut, and how long nothing was gained."""

    cuts: int = 0
    stale: int = 0

    def after_validation(self, config: PlateauSchedule, *, gained: bool) -> None:
        """Count a validation, and cut when patience is out."""
        self.stale = 0 if gained else self.stale + 1
        if self.stale > config.patience:
            self.cuts += 1
            self.stale = 0


def multiplier(
    config: CosineSchedule | LinearSchedule | PlateauSchedule, step: int, steps: int, plateau: Plateau
) -> float:
    """What the peak rate is multiplied by at a step (counted from 0) of ``steps``, in 0..1."""
    warmup = min(config.warmup_steps, steps // 2)
    if step < warmup:
        return (step + 1) / warmup
    if isinstance(config, PlateauSchedule):
        return config.factor**plateau.cuts
    done = (step - warmup) / max(steps - warmup, 1)
    if isinstance(config, CosineSchedule):
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return max(0.0, 1 - done)


def groups(model: Model, config: OptimConfig) -> list[dict[str, Any]]:
    """Parameter groups by learning rate and weight decay; only what is trained, names kept beside."""
    depth = model.body.depth
    found: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        if name.startswith("heads."):
            rate = config.head_lr
        else:
            layer = re.search(r"layer\.(\d+)\.", name)
            below = depth - 1 - int(layer.group(1)) if layer else depth
            rate = config.lr * config.layer_decay**below
        group = found.setdefault(
            (rate, decay), {"params": [], "names": [], "lr": rate, "peak": rate, "weight_decay": decay}
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(found.values())


def build(model: Model, config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW over what is trained.

    Raises:
        MissingExtraError: it is to be paged, and bitsandbytes is not installed.
    """
    found = groups(model, config)
    if config.paged and model.device.type == "cuda":
        return paged(found, config)
    return torch.optim.AdamW(found, betas=(config.beta1, config.beta2), fused=True)


def paged(found: list[dict[str, Any]], config: OptimConfig) -> torch.optim.Optimizer:
    """AdamW over parameter groups, whose states a GPU may page out.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    try:
        import bitsandbytes
    except ImportError as error:
        raise MissingExtraError("bnb", "train.optim.paged=true") from error
    kind: Any = bitsandbytes.optim.PagedAdamW32bit  # type: ignore[attr-defined]
    made: torch.optim.Optimizer = kind(found, betas=(config.beta1, config.beta2))
    return made
