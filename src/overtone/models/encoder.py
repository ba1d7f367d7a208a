"""The bidirectional body: token ids in, contextual states out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from overtone.config import Config
from overtone.errors import WeightsError
from overtone.models import weights

# Weights of this size are read in a blink, so a bar a load only litters the screen; and what transformers
# would report of missing tensors is looked at in `load`, where it is an error.
disable_progress_bar()  # type: ignore[no-untyped-call]
set_verbosity_error()  # type: ignore[no-untyped-call]


class EncoderConfig(Config):
    """Which encoder, and how it reads."""

    kind: Literal["encoder"] = "encoder"
    weights: str = Field("minilm-l6", description="a name from `overtone weights list`, or a folder")
    max_length: int = Field(128, ge=4, le=8192, description="tokens read of a text; the rest is cut")
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="dropout inside the backbone while training")


@dataclass(frozen=True, slots=True)
class States:
    """What a body returns.

    Args:
        hidden: the last layer's states, (B, T, D).
        mask: 1 where there is a token, 0 where there is padding, (B, T).
    """

    hidden: Tensor
    mask: Tensor


class Encoder(nn.Module):
    """A transformers encoder with the pooler left out.

    Args:
        backbone: maps ids and mask (B, T) to states (B, T, D).
        tokenizer: its tokenizer.
        max_length: tokens read of a text.
    """

    def __init__(self, backbone: nn.Module, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.max_length = max_length

    @property
    def hidden_size(self) -> int:
        """D, the width of the states."""
        return int(self.backbone.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> States:
        """Read a padded batch: ids and mask (B, T) → states (B, T, D)."""
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        return States(output.last_hidden_state, attention_mask)


def _dropout(config: object, share: float) -> None:
    """Set the dropout that this architecture names in its own words."""
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
        if hasattr(config, name):
            setattr(config, name, share)


def build(config: EncoderConfig) -> Encoder:
    """Load a pretrained encoder.

    Raises:
        WeightsError: the weights are not at hand, damaged or not those of their config.
    """
    folder = weights.resolve(config.weights)
    try:
        return load(folder, config)
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"the weights in {folder} cannot be read: {error}", hint="get them again"
        ) from error


def load(folder: Path, config: EncoderConfig) -> Encoder:
    """Load an encoder in transformers' layout from a folder.

    Raises:
        ValueError: a tensor is missing; transformers would fill it with random numbers and go on.
        OSError, RuntimeError, safetensors.SafetensorError: a file is missing, cut short or of another shape.
    """
    settings = AutoConfig.from_pretrained(folder)
    _dropout(settings, config.dropout)
    backbone: PreTrainedModel
    backbone, found = AutoModel.from_pretrained(
        folder,
        config=settings,
        attn_implementation="sdpa",
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
    )
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ValueError(f"they lack {len(missing)} tensors, such as '{missing[0]}'")
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # type: ignore[assignment]  # states are pooled by the heads; an unused layer would train nothing
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Encoder(backbone, tokenizer, min(config.max_length, _positions(settings)))


def _positions(settings: PretrainedConfig) -> int:
    """How many tokens have a position; RoBERTa counts them from the one after its padding's."""
    positions = int(settings.max_position_embeddings)
    return positions - settings.pad_token_id - 1 if "roberta" in settings.model_type else positions
