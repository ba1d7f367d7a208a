"""A model on disk: the adapter in PEFT's format or the full weights, the heads, the tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from overtone.errors import RunError
from overtone.models import adapters, encoder, weights
from overtone.models.adapters import LoraConfig
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import Head, HeadConfig
from overtone.models.model import EncoderModel
from overtone.run import write_atomic

HEADS = "heads.safetensors"
"""The file of the heads in a run's ``model``."""


def build(
    config: EncoderConfig, adapter: LoraConfig | None, heads: Mapping[str, tuple[HeadConfig, int]]
) -> EncoderModel:
    """A fresh model: pretrained body, new adapter, new heads.

    Args:
        config: which body.
        adapter: its adapter, where there is one.
        heads: task name → head config and number of outputs.

    Raises:
        WeightsError: the body's weights are not at hand.
    """
    body = encoder.build(config)
    if adapter is not None:
        adapters.attach(body, adapter)
    width = body.hidden_size
    return EncoderModel(body, {name: Head(head, width, outputs) for name, (head, outputs) in heads.items()})


def save(model: EncoderModel, folder: Path, config: EncoderConfig) -> None:
    """Write a trained model; a body that was not trained is named, not copied.

    Raises:
        RunError: the folder could not be written.
    """
    save_heads(model.heads, folder)
    backbone = model.body.backbone
    if hasattr(backbone, "peft_config"):
        named = weights.CATALOGUE.get(config.weights)
        adapters.save(model.body, folder, named.hub if named else config.weights)
    elif any(p.requires_grad for p in backbone.parameters()):
        tensors = {name: p.detach().cpu().contiguous() for name, p in backbone.state_dict().items()}
        write_atomic(folder / "model.safetensors", safetensors.torch.save(tensors, {"format": "pt"}))
    try:
        model.body.tokenizer.save_pretrained(folder)
        if (folder / "model.safetensors").exists():
            backbone.config.save_pretrained(folder)  # type: ignore[union-attr, operator]
    except OSError as error:
        raise RunError(
            f"could not write {folder}: {error.strerror or error}", hint="free some space"
        ) from error


def load(folder: Path, config: EncoderConfig, heads: Mapping[str, tuple[HeadConfig, int]]) -> EncoderModel:
    """Read a model back for inference, its adapter merged into the weights.

    Raises:
        RunError: a file is missing, cut short or of another shape.
        WeightsError: the base weights are not at hand.
    """
    if (folder / "model.safetensors").exists():
        try:
            body = encoder.load(folder, config)
        except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
            raise RunError(
                f"the weights in {folder} are damaged: {error}", hint="train the run again"
            ) from error
    else:
        body = encoder.build(config)
        if (folder / "adapter_config.json").exists():
            adapters.load_merged(body, folder)
    width = body.hidden_size
    model = EncoderModel(body, {name: Head(head, width, outputs) for name, (head, outputs) in heads.items()})
    load_heads(model.heads, folder)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def save_heads(heads: nn.ModuleDict, folder: Path) -> None:
    """Write what the heads have learnt."""
    tensors = {name: p.detach().cpu().contiguous() for name, p in heads.state_dict().items()}
    write_atomic(folder / HEADS, safetensors.torch.save(tensors))


def load_heads(heads: nn.ModuleDict, folder: Path) -> None:
    """Read back what they have learnt.

    Raises:
        RunError: the file is missing, cut short, or of other heads.
    """
    try:
        heads.load_state_dict(safetensors.torch.load((folder / HEADS).read_bytes()))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise RunError(f"the heads in {folder} are damaged: {error}", hint="train the run again") from error
