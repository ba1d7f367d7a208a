"""The bidirectional body: token ids in, contextual states out."""

from __future__ import annotations

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
from transformers.masking_utils import create_bidirectional_mask
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from overtone.config import Config
from overtone.errors import UsageError, WeightsError
from overtone.models import weights
from overtone.models.body import Body, States

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


class Encoder(Body):
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

    @property
    def depth(self) -> int:
        """How many layers there are above the embeddings."""
        return int(self.backbone.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer layers, lowest first.

        Raises:
            UsageError: the backbone keeps them under a name that is not known.
        """
        for path in ("encoder.layer", "transformer.layer"):
            module: object = self.backbone
            for part in path.split("."):
                module = getattr(module, part, None)
            if isinstance(module, nn.ModuleList):
                return module
        raise UsageError(
            f"the layers of {type(self.backbone).__name__} were not found",
            hint="use train.freeze.kind=none or backbone",
        )

    def at_rest(self) -> list[nn.Module]:
        """The frozen part, lowest first."""
        if self.frozen is None:
            return []
        if self.frozen == self.depth:
            return [self.backbone]
        embeddings: nn.Module = self.backbone.embeddings  # type: ignore[assignment]
        return [embeddings, *self.layers[: self.frozen]]

    def forward(self, inputs: Tensor, attention_mask: Tensor) -> States:
        """Read a padded batch.

        Args:
            inputs: ids (B, T), or in their place the states of the frozen part (B, T, D), from ``bottom``.
            attention_mask: 1 where there is a token, (B, T).

        Returns:
            The last layer's states (B, T, D).
        """
        if inputs.ndim == 3:
            return States(
                self._continue(inputs, attention_mask, self.frozen or 0, self.depth), attention_mask
            )
        output = self.backbone(input_ids=inputs, attention_mask=attention_mask)
        return States(output.last_hidden_state, attention_mask)

    @torch.no_grad()
    def bottom(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The states that the frozen part hands on: ids and mask (B, T) → (B, T, D)."""
        layers = self.frozen or 0
        if layers == self.depth:
            whole: Tensor = self.backbone(
                input_ids=input_ids, attention_mask=attention_mask
            ).last_hidden_state
            return whole
        embedded = self.backbone.embeddings(input_ids=input_ids)  # type: ignore[operator]
        return self._continue(embedded, attention_mask, 0, layers)

    def _continue(self, hidden: Tensor, attention_mask: Tensor, first: int, end: int) -> Tensor:
        """Run the layers ``first`` to ``end`` (not included) as the backbone itself would."""
        if first == end:
            return hidden
        config: PretrainedConfig = self.backbone.config  # type: ignore[assignment]
        bias = create_bidirectional_mask(config=config, inputs_embeds=hidden, attention_mask=attention_mask)
        for layer in self.layers[first:end]:
            hidden = layer(hidden, bias)
        return hidden


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
