"""Which parts of a body are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from overtone.config import Config
from overtone.errors import UsageError
from overtone.models.encoder import Encoder


class NothingFrozen(Config):
    """Every weight is trained (or every adapter, where there is one)."""

    kind: Literal["none"] = "none"


class BackboneFrozen(Config):
    """Only the heads are trained; the body's states are computed once."""

    kind: Literal["backbone"] = "backbone"


class BottomFrozen(Config):
    """The embeddings and the lowest layers stay as they are."""

    kind: Literal["bottom"] = "bottom"
    layers: int = Field(4, ge=0, description="how many layers above the embeddings are frozen")


FreezeConfig = Annotated[NothingFrozen | BackboneFrozen | BottomFrozen, Field(discriminator="kind")]


def layers_of(backbone: nn.Module) -> nn.ModuleList:
    """The list of transformer layers, lowest first.

    Raises:
        UsageError: the backbone keeps them under a name that is not known.
    """
    for path in ("encoder.layer", "transformer.layer"):
        module: object = backbone
        for part in path.split("."):
            module = getattr(module, part, None)
        if isinstance(module, nn.ModuleList):
            return module
    raise UsageError(
        f"the layers of {type(backbone).__name__} were not found",
        hint="use train.freeze.kind=none or backbone",
    )


def freeze(body: Encoder, config: NothingFrozen | BackboneFrozen | BottomFrozen) -> None:
    """Mark what is not trained."""
    if isinstance(config, BackboneFrozen):
        body.backbone.requires_grad_(False)
    elif isinstance(config, BottomFrozen):
        layers = layers_of(body.backbone)
        if config.layers > len(layers):
            raise UsageError(
                f"train.freeze.layers is {config.layers}, but the backbone has {len(layers)} layers"
            )
        body.backbone.embeddings.requires_grad_(False)
        for layer in layers[: config.layers]:
            layer.requires_grad_(False)
