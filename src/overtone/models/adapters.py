"""Low-rank adapters on a body (LoRA, Hu et al. 2022), through PEFT."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

import peft
import safetensors
import safetensors.torch
from pydantic import Field
from torch import Tensor, nn

from overtone.config import Config
from overtone.errors import RunError, WeightsError
from overtone.models.dropout import Dropout
from overtone.run import write_atomic

QUERY_VALUE = {
    "bert": ("query", "value"),
    "roberta": ("query", "value"),
    "xlm-roberta": ("query", "value"),
    "canine": ("query", "value"),
    "distilbert": ("q_lin", "v_lin"),
    "llama": ("q_proj", "v_proj"),
    "qwen2": ("q_proj", "v_proj"),
    "qwen3": ("q_proj", "v_proj"),
}
"""What the query and value projections are called in each architecture."""


class LoraConfig(Config):
    """W + (alpha / r) B A, with A and B trained and W frozen."""

    kind: Literal["lora"] = "lora"
    r: int = Field(8, ge=1, le=512, description="the rank")
    alpha: float = Field(16.0, gt=0, description="the scale is alpha / r")
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="dropout on the adapter's input")
    targets: Literal["query-value", "all-linear"] = Field("query-value", description="what is adapted")


class Adapted(Protocol):
    """A body whose backbone is one of transformers, or that with an adapter."""

    backbone: nn.Module


def attach(body: Adapted, config: LoraConfig, *, causal: bool = False) -> None:
    """Freeze the body's backbone and put trainable adapters into it.

    Args:
        body: a fresh one.
        config: which adapters.
        causal: whether it is a causal language model with its output layer, which is not adapted.

    Raises:
        WeightsError: this architecture's projections have no known names.
    """
    targets: str | list[str] = "all-linear"
    if config.targets == "query-value":
        kind = str(body.backbone.config.model_type)  # type: ignore[union-attr]
        if kind not in QUERY_VALUE:
            raise WeightsError(
                f"the query and value projections of '{kind}' are not known",
                hint="set adapter.targets=all-linear",
            )
        targets = list(QUERY_VALUE[kind])
    settings = peft.LoraConfig(
        r=config.r,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # declared int, and used as a number
        lora_dropout=config.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM" if causal else None,
    )
    with _quiet():
        body.backbone = peft.get_peft_model(body.backbone, settings)
    if (
        causal and config.dropout
    ):  # a decoder has so many adapters that drawing their masks is a share of a step
        for module in body.backbone.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer):
                module.lora_dropout["default"] = Dropout(config.dropout)


def save(body: Adapted, folder: Path, base: str) -> None:
    """Write the adapter in PEFT's format; ``base`` is the hub id or folder of what it sits on."""
    backbone = body.backbone
    assert isinstance(backbone, peft.PeftModel)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(backbone).items()}
    settings = backbone.peft_config["default"].to_dict()
    settings.update(base_model_name_or_path=base, inference_mode=True)
    settings["target_modules"] = sorted(settings["target_modules"])
    readable = {key: value for key, value in settings.items() if _is_json(value)}
    write_atomic(folder / "adapter_model.safetensors", safetensors.torch.save(tensors))
    write_atomic(folder / "adapter_config.json", json.dumps(readable, indent=2, sort_keys=True) + "\n")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without PEFT's warnings of an old name that it uses, and of lacking tensors, an error here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        warnings.filterwarnings("ignore", message="Found missing adapter keys")
        yield


def _tensors(adapted: peft.PeftModel) -> dict[str, Tensor]:
    """The adapter's own tensors; the vocabulary is never changed here, so PEFT need not ask the hub."""
    tensors: dict[str, Tensor] = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    return tensors


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def load_merged(body: Adapted, folder: Path) -> None:
    """Read an adapter from its folder and merge it into the body's weights.

    Raises:
        RunError: the adapter is missing, cut short or of another shape.
    """
    try:
        written = safetensors.torch.load((folder / "adapter_model.safetensors").read_bytes())
        with _quiet():
            adapted = peft.PeftModel.from_pretrained(body.backbone, folder)
        lacking = sorted(set(_tensors(adapted)) - set(written))
        if lacking:  # peft would only warn, and leave these layers as they were before training
            raise ValueError(f"it lacks {len(lacking)} tensors, such as '{lacking[0]}'")
        body.backbone = adapted.merge_and_unload()
    except (OSError, ValueError, TypeError, RuntimeError, KeyError, safetensors.SafetensorError) as error:
        raise RunError(f"the adapter in {folder} is damaged: {error}", hint="train the run again") from error


def restore(body: Adapted, folder: Path) -> None:
    """Read an adapter's tensors from its folder into the body's, to be trained on or to be asked.

    Raises:
        RunError: they are missing, cut short, or of another shape.
    """
    adapted = body.backbone
    assert isinstance(adapted, peft.PeftModel)
    try:
        written = safetensors.torch.load((folder / "adapter_model.safetensors").read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"the adapter in {folder} is damaged: {error}", hint="train the run again") from error
    own = {name: tensor.shape for name, tensor in _tensors(adapted).items()}
    if own != {name: tensor.shape for name, tensor in written.items()}:
        raise RunError(
            f"the adapter in {folder} is not of this model and rank",
            hint="give the recipe the `body` and the `adapter` of that run",
        )
    peft.set_peft_model_state_dict(adapted, written)
