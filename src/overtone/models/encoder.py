"""The body that reads: token ids in, contextual states out, of an encoder or of a decoder that only reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import safetensors
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional
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
from overtone.data.batches import Encoded
from overtone.data.tokenize import encode
from overtone.errors import UsageError, WeightsError
from overtone.models import decoder, weights
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
    prompt: str | None = Field(
        None, description="what is read in place of a text, with {text} and perhaps {context} in it"
    )
    states: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None,
        description="layers whose states are read, side by side, 0 the embeddings; the last one without. "
        "Then the backbone is frozen whole or not at all",
    )

    @field_validator("prompt")
    @classmethod
    def _prompt_holds_the_text(cls, prompt: str | None) -> str | None:
        if prompt is not None and prompt.count("{text}") != 1:
            raise ValueError("a prompt has one {text} in it")
        return prompt


class Encoder(Body):
    """A transformers model without what stands above its states; a decoder sees earlier tokens alone.

    Args:
        backbone: maps ids and mask (B, T) to states (B, T, D).
        tokenizer: its tokenizer.
        max_length: tokens read of a text.
        prompt: what is read in place of a text; see ``EncoderConfig``.
        read: layers whose states are read, side by side; None: the last.
    """

    def __init__(
        self,
        backbone: nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        prompt: str | None = None,
        read: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.prompt = prompt
        self.read = read

    @property
    def hidden_size(self) -> int:
        """D, the width of the states."""
        width = int(self.backbone.config.hidden_size)  # type: ignore[union-attr, arg-type]
        return width if self.read is None else width * len(self.read)

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

    def encode(self, texts: Sequence[str], contexts: Sequence[str | None] | None = None) -> Encoded:
        """Tokenise texts as this body reads them; see ``tokenize.encode``.

        Of a prompt that is too long the beginning is cut, so that its end, the question, stays.
        """
        if self.prompt is None:
            return encode(self.tokenizer, texts, self.max_length, contexts)
        before = [None] * len(texts) if contexts is None else contexts
        asked = [
            self.prompt.replace("{context}", context or "").replace("{text}", text)
            for text, context in zip(texts, before, strict=True)
        ]
        return encode(self.tokenizer, asked, self.max_length)

    def freeze(self, layers: int | None) -> None:
        """See ``Body.freeze``.

        Raises:
            UsageError: likewise, and where some layers are to be frozen of a body that reads the states of
                several.
        """
        if self.read is not None and layers not in (None, self.depth):
            raise UsageError(
                "the bottom of a body whose states are read at several layers cannot be frozen by itself",
                hint="set train.freeze.kind to none or backbone, or body.states to null",
            )
        super().freeze(layers)

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
            The states that are read (B, T, D).
        """
        if inputs.ndim == 3:
            return States(
                self._continue(inputs, attention_mask, self.frozen or 0, self.depth), attention_mask
            )
        return States(self._whole(inputs, attention_mask), attention_mask)

    def _whole(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The states that are read, of all of the backbone: ids and mask (B, T) → (B, T, D)."""
        several = self.read is not None
        output = self.backbone(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=several
        )
        if self.read is not None:
            return torch.cat([output.hidden_states[layer] for layer in self.read], dim=-1)
        last: Tensor = output.last_hidden_state
        return last

    @torch.no_grad()
    def bottom(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The states that the frozen part hands on: ids and mask (B, T) → (B, T, D)."""
        layers = self.frozen or 0
        if layers == self.depth:
            return self._whole(input_ids, attention_mask)
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


class CanineEncoder(Encoder):
    """CANINE (Clark et al., TACL 2022): a token is a character, and the deep layers see one state for four.

    What it makes of the end of a text depends on how far the text is padded, since its last deep state gives
    way to the first. So a batch is padded to whole windows of local attention, with room left at its end:
    beyond that, padding changes nothing, and a text's states are the same in every batch.
    """

    def freeze(self, layers: int | None) -> None:
        """See ``Body.freeze``.

        Raises:
            UsageError: likewise, and where some layers are to be frozen, whose states are of another length.
        """
        if layers not in (None, self.depth):
            raise UsageError(
                "the bottom of CANINE cannot be frozen by itself",
                hint="set train.freeze.kind to none or backbone",
            )
        super().freeze(layers)

    def _whole(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The last states: ids and mask (B, T) → (B, T, D)."""
        settings: PretrainedConfig = self.backbone.config  # type: ignore[assignment]
        length, room = input_ids.shape[1], _room(settings)
        more = (0, room + -(length + room) % settings.local_transformer_stride)
        padded = functional.pad(input_ids, more, value=int(settings.pad_token_id))
        return super()._whole(padded, functional.pad(attention_mask, more))[:, :length]


def _room(settings: PretrainedConfig) -> int:
    """Characters kept free after a text of CANINE: a deep state that gives way, and those looked ahead at."""
    return int(settings.downsampling_rate) + int(settings.upsampling_kernel_size) // 2


def _dropout(config: object, share: float) -> None:
    """Set the dropout that this architecture names in its own words."""
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
        if hasattr(config, name):
            setattr(config, name, share)


def build(config: EncoderConfig) -> Encoder:
    """Load a pretrained encoder, or a decoder that is to read.

    Raises:
        WeightsError: the weights are not at hand, damaged or not those of their config.
        MissingExtraError: reading GGUF needs the package ``gguf``.
    """
    folder = weights.resolve(config.weights)
    try:
        return load(decoder.converted(folder), config)
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"the weights in {folder} cannot be read: {error}", hint="get them again"
        ) from error


def load(folder: Path, config: EncoderConfig) -> Encoder:
    """Load an encoder in transformers' layout from a folder.

    Raises:
        ValueError: a tensor is missing; transformers would fill it with random numbers and go on. Or a layer
            is to be read that there is not, or one of several of CANINE.
        OSError, RuntimeError, safetensors.SafetensorError: a file is missing, cut short or of another shape.
    """
    settings = AutoConfig.from_pretrained(folder)
    _dropout(settings, config.dropout)
    backbone: PreTrainedModel
    backbone, found = AutoModel.from_pretrained(
        folder,
        config=settings,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
    )
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ValueError(f"they lack {len(missing)} tensors, such as '{missing[0]}'")
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # type: ignore[assignment]  # states are pooled by the heads; an unused layer would train nothing
    if config.states is not None and max(config.states, default=-1) > int(settings.num_hidden_layers):
        raise ValueError(f"body.states names layers above {settings.num_hidden_layers}, the last there is")
    kind = Encoder
    if settings.model_type == "canine":
        kind = CanineEncoder
        if config.states is not None:
            raise ValueError("body.states: the layers of CANINE have states of different lengths")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:  # decoders often have none; what is padded is masked
        tokenizer.pad_token = tokenizer.eos_token
    if config.prompt is not None:
        tokenizer.truncation_side = "left"
    length = min(config.max_length, _positions(settings))
    return kind(backbone, tokenizer, length, config.prompt, config.states)


def _positions(settings: PretrainedConfig) -> int:
    """How many tokens have a position; RoBERTa counts them from the one after its padding's."""
    positions = int(settings.max_position_embeddings)
    if settings.model_type == "canine":
        return positions - positions % int(settings.local_transformer_stride) - _room(settings)
    return positions - settings.pad_token_id - 1 if "roberta" in settings.model_type else positions
