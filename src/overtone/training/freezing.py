"""Which parts of a body are trained, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from overtone.config import Config
from overtone.errors import UsageError


class NothingFrozen(Config):
    """Every weight is trained (or every adapter, where there is one)."""

    kind: Literal["none"] = "none"


class BackboneFrozen(Config):
    """Only the heads are trained; the body's states are computed once."""

    kind: Literal["backbone"] = "backbone"


class BottomFrozen(Config):
    """The embeddings and the lowest layers stay as they are; their states are computed once."""

    kind: Literal["bottom"] = "bottom"
    layers: int = Field(4, ge=0, description="how many layers above the embeddings are frozen")


class Stage(Config):
    """Some epochs in which the same part of the body is trained."""

    epochs: int = Field(ge=1, description="how long it lasts; the last stage lasts to the end of the fit")
    top: int | None = Field(
        ge=0, description="layers trained, from the top; 0: the heads alone; null: all, and the embeddings"
    )


class ProgressiveFrozen(Config):
    """From stage to stage another part of the body is trained (Howard and Ruder 2018, gradual unfreezing)."""

    kind: Literal["progressive"] = "progressive"
    stages: tuple[Stage, ...] = Field(
        (Stage(epochs=2, top=0), Stage(epochs=2, top=2), Stage(epochs=3, top=None)),
        min_length=1,
        description="one after the other",
    )


FreezeConfig = Annotated[
    NothingFrozen | BackboneFrozen | BottomFrozen | ProgressiveFrozen, Field(discriminator="kind")
]


def frozen_layers(
    config: NothingFrozen | BackboneFrozen | BottomFrozen | ProgressiveFrozen, epoch: int, depth: int
) -> int | None:
    """How many layers above the embeddings are frozen in an epoch; None where nothing is.

    Args:
        config: what to freeze.
        epoch: counted from 0.
        depth: layers of the body.

    Raises:
        UsageError: there are not so many layers.
    """
    match config:
        case NothingFrozen():
            return None
        case BackboneFrozen():
            return depth
        case BottomFrozen(layers=layers):
            if layers > depth:
                raise UsageError(f"train.freeze.layers is {layers}, but the backbone has {depth} layers")
            return layers
    frozen = [_below(stage, place, depth) for place, stage in enumerate(config.stages)]
    end = 0
    for stage, layers_below in zip(config.stages, frozen, strict=True):
        end += stage.epochs
        if epoch < end:
            return layers_below
    return frozen[-1]


def _below(stage: Stage, place: int, depth: int) -> int | None:
    """How many layers a stage leaves frozen."""
    if stage.top is None:
        return None
    if stage.top > depth:
        raise UsageError(
            f"train.freeze.stages.{place}.top is {stage.top}, but the backbone has {depth} layers",
            hint="null trains all of them, and the embeddings",
        )
    return depth - stage.top


def ever_frozen(
    config: NothingFrozen | BackboneFrozen | BottomFrozen | ProgressiveFrozen, epochs: int, depth: int
) -> int | None:
    """How many layers above the embeddings are frozen in every epoch of a fit; None where none is.

    Raises:
        UsageError: there are not so many layers.
    """
    counts = [frozen_layers(config, epoch, depth) for epoch in range(epochs)]
    known = [count for count in counts if count is not None]
    return min(known) if len(known) == len(counts) else None
