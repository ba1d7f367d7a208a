"""The body that converses: a causal language model with an adapter, scores made only where they count."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import peft
import safetensors
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import Field, model_validator
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from overtone.config import Config
from overtone.data.chat import COMPARED
from overtone.errors import MissingExtraError, WeightsError
from overtone.models import adapters, attention, decoder, weights
from overtone.models.adapters import LoraConfig
from overtone.models.answers import HEAD, AnswerTokens
from overtone.models.body import Body, States
from overtone.models.model import Model

_NO_HEADS: Mapping[str, nn.Module] = {}

_PACKED = 64
"""What the sizes of a 4-bit matrix are multiples of where it is packed."""

_NEAR = 1e-2
"""What rounding may change of a score, as a share of the largest."""


class DecoderConfig(Config):
    """Which decoder, and how its frozen weights are kept."""

    kind: Literal["decoder"] = "decoder"
    weights: str = Field(
        "smollm2-135m-instruct", description="a name from `overtone weights list`, or a folder"
    )
    max_length: int = Field(
        512, ge=4, description="tokens of a conversation; its oldest exchanges are cut first"
    )
    stored: Literal["fp32", "bf16", "int8", "nf4"] = Field(
        "bf16",
        description="how the frozen weights are kept; adapters are fp32; int8 and nf4 (QLoRA, Dettmers et "
        "al. 2023) need the extra 'bnb'",
    )
    half: Literal["bf16", "fp16"] = Field(
        "bf16",
        description="of int8 and nf4: what they are read into, and what is not quantised; fp16 goes with "
        "train.precision=fp16",
    )
    checkpointing: bool = Field(
        False, description="compute a layer's states again for its gradient: less memory, more time"
    )

    @property
    def quantised(self) -> bool:
        """Whether the frozen weights are kept in 8 or 4 bits."""
        return self.stored in ("int8", "nf4")

    @model_validator(mode="after")
    def _half_is_read(self) -> DecoderConfig:
        if self.half == "fp16" and not self.quantised:
            raise ValueError(f"half: is of int8 and nf4, and the weights are stored in {self.stored}")
        return self


@dataclass(frozen=True, slots=True)
class Past:
    """What a decoder has read, B rows of it; reading on changes it.

    Args:
        cache: keys and values of every place.
        padding: places before each row's first token, (B,); None where all rows begin at once.
    """

    cache: DynamicCache
    padding: Tensor | None = None

    @property
    def can_be_cropped(self) -> bool:
        """Whether every layer still has all of its places: a window that slides has let some go."""
        return bool(self.cache.is_croppable) and not any(self.cache.is_sliding)

    def crop(self, length: int) -> None:
        """Forget all but the first places, of which there are ``length`` or more, padding counted."""
        self.cache.crop(length - self.cache.get_seq_length())

    def where(self, n: int) -> dict[str, Tensor]:
        """The mask (B, places) and the positions (B, n) with which the next n tokens are read."""
        if self.padding is None:
            return {}
        before = self.cache.get_seq_length()
        places = torch.arange(before + n, device=self.padding.device)
        inside = places >= self.padding[:, None]
        own = (places[before:] - self.padding[:, None]).clamp(min=0)
        return {"attention_mask": inside.long(), "position_ids": own}


class CausalBody(Body):
    """A causal language model without its output layer.

    Several conversations may share a row: each has positions of its own, and sees nothing of the others.

    Args:
        backbone: a causal language model of transformers, perhaps with an adapter.
        tokenizer: its tokenizer.
    """

    def __init__(self, backbone: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokenizer = tokenizer
        self._casts = True  # as PEFT has it

    @property
    def causal(self) -> PreTrainedModel:
        """The language model itself, whatever adapter is in it."""
        inner = self.backbone
        if isinstance(inner, peft.PeftModel):
            inner = inner.get_base_model()
        assert isinstance(inner, PreTrainedModel)
        return inner

    @property
    def adapted(self) -> bool:
        """Whether there is an adapter that can be taken off."""
        return isinstance(self.backbone, peft.PeftModel)

    @property
    def hidden_size(self) -> int:
        """D, the width of the states."""
        return int(self.causal.config.hidden_size)

    @property
    def max_length(self) -> int:
        """How many tokens have a position."""
        return int(self.causal.config.max_position_embeddings)

    def forward(self, inputs: Tensor, attention_mask: Tensor) -> States:
        """Ids (B, T) and the marks of ``Chats.pad`` (B, T, 2) → states (B, T, D) and what is learnt."""
        numbers = attention_mask[..., 0]
        where: dict[str, Tensor] = {}
        if int(numbers.max()) > 1:
            where = {"attention_mask": apart(numbers), "position_ids": positions(numbers)}
        # Alone in its row, a conversation needs no mask: nothing in it sees the padding behind it.
        self._say_who_casts(inputs.device.type)
        output = self.causal.base_model(input_ids=inputs, use_cache=False, **where)
        return States(output.last_hidden_state, attention_mask[..., 1])

    def _say_who_casts(self, device: str) -> None:
        """Under autocast, adapters get their inputs as they are; else in the precision of their weights.

        PEFT brings each to the precision of the adapter's weights, and autocast brings it back: two copies
        for each of some hundred adapters. It stays so until the next pass: a layer may be computed again.
        """
        casts = not torch.is_autocast_enabled(device)
        if self.adapted and casts != self._casts:
            for module in self.backbone.modules():
                if isinstance(module, BaseTunerLayer):
                    module.cast_input_dtype_enabled = casts  # type: ignore[assignment]
            self._casts = casts

    def logits(self, states: Tensor) -> Tensor:
        """States (..., D) → scores (..., V)."""
        scores: Tensor = self.causal.get_output_embeddings()(states)  # type: ignore[no-untyped-call]
        return scores

    def begin(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Past]:
        """Read B prompts at once, the shorter padded on the left → scores (B, V), and the state."""
        device = next(self.parameters()).device
        width = max(len(prompt) for prompt in prompts)
        padding = [width - len(prompt) for prompt in prompts]
        ids = [[0] * missing + list(prompt) for missing, prompt in zip(padding, prompts, strict=True)]
        unequal = torch.tensor(padding, device=device) if any(padding) else None
        past = Past(DynamicCache(config=self.causal.config), unequal)
        return self.step(past, torch.tensor(ids, device=device))

    def step(self, state: Past | None, tokens: Tensor) -> tuple[Tensor, Past]:
        """Read the next tokens (B, n) on from a state, which is changed → scores (B, V), and the state."""
        self._say_who_casts(tokens.device.type)
        past = Past(DynamicCache(config=self.causal.config)) if state is None else state
        output = self.causal(
            input_ids=tokens,
            past_key_values=past.cache,
            use_cache=True,
            logits_to_keep=1,
            **past.where(tokens.shape[1]),
        )
        return output.logits[:, -1].float(), past

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """The model as it was before it was adapted."""
        assert isinstance(self.backbone, peft.PeftModel)
        with self.backbone.disable_adapter():
            yield


def positions(numbers: Tensor) -> Tensor:
    """The place of each token in its own conversation, from 0, (B, T)."""
    place = torch.arange(numbers.shape[1], device=numbers.device).expand_as(numbers)
    begins = torch.ones_like(numbers, dtype=torch.bool)
    begins[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
    return place - (place * begins).cummax(dim=1).values


def apart(numbers: Tensor) -> Tensor:
    """Which token sees which: an earlier one, or itself, of the same conversation; (B, 1, T, T)."""
    same = numbers[:, None, :, None] == numbers[:, None, None, :]
    return same.tril()


class ChatModel(Model):
    """A decoder as the loop trains it.

    Args:
        body: with its adapter.
        heads: what else is made of its states.
    """

    body: CausalBody

    def __init__(self, body: CausalBody, heads: Mapping[str, nn.Module] = _NO_HEADS) -> None:
        super().__init__(body, {HEAD: AnswerTokens(body.logits), **heads})

    def states(self, inputs: Tensor, attention_mask: Tensor) -> States:
        """The body's states, with those without the adapter where a head compares the two."""
        found = super().states(inputs, attention_mask)
        if not any(getattr(head, "needs_reference", False) for head in self.heads.values()):
            return found
        reference = torch.zeros_like(found.hidden)
        rows = ((found.mask & COMPARED) > 0).any(dim=1)
        if rows.any():
            with torch.no_grad(), self.body.without_adapter():
                reference[rows] = self.body(inputs[rows], attention_mask[rows]).hidden.to(reference.dtype)
        return replace(found, reference=reference)


def build(config: DecoderConfig, adapter: LoraConfig) -> ChatModel:
    """Pretrained weights, frozen, and a fresh adapter, drawn from torch's random state.

    Raises:
        WeightsError: the weights are not at hand, damaged or not those of a decoder that is known.
        MissingExtraError: a package for GGUF or for quantised weights is not installed.
    """
    body = load(config)
    adapters.attach(body, adapter, causal=True)
    if config.checkpointing:
        body.causal.activation_checkpointing_enable({"use_reentrant": False})
    return ChatModel(body)


def load(config: DecoderConfig) -> CausalBody:
    """The pretrained weights alone.

    Raises:
        WeightsError, MissingExtraError: see ``build``.
    """
    folder = decoder.converted(weights.resolve(config.weights))
    try:
        return _read(folder, config)
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise WeightsError(
            f"the weights in {folder} cannot be read: {error}", hint="get them again"
        ) from error


def _read(folder: Path, config: DecoderConfig) -> CausalBody:
    attention.register()
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        attn_implementation="sdpa" if torch.cuda.is_available() else attention.WRITTEN_OUT,
        use_safetensors=True,
        output_loading_info=True,
        **_storage(config),
    )
    backbone: nn.Module = loaded[0]
    missing = sorted(loaded[1]["missing_keys"])
    if missing:  # transformers would fill them with random numbers and go on
        raise ValueError(f"they lack {len(missing)} tensors, such as '{missing[0]}'")
    body = CausalBody(backbone.eval(), AutoTokenizer.from_pretrained(folder))
    pack_four_bits(body, allowed=False)
    _check_output_layer(body)
    return body


def _storage(config: DecoderConfig) -> dict[str, Any]:
    """What ``from_pretrained`` is told.

    Raises:
        MissingExtraError: quantised weights need bitsandbytes.
    """
    if not config.quantised:
        return {"dtype": torch.float32 if config.stored == "fp32" else torch.bfloat16}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("bnb", f"body.stored={config.stored}")
    half = torch.bfloat16 if config.half == "bf16" else torch.float16
    if config.stored == "int8":
        eight = BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
        return {"dtype": half, "quantization_config": eight}
    settings = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=half,
    )
    return {"dtype": half, "quantization_config": settings}


def pack_four_bits(body: CausalBody, *, allowed: bool) -> None:
    """Whether 4-bit weights may be packed anew for a CPU, which then reads them faster and learns no more.

    ``bitsandbytes`` does so the first time that it reads in evaluation mode. From then on no gradient passes
    through the weights, in training mode neither, and nothing is said but a warning of autograd.
    """
    for module in body.backbone.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            sizes = (int(module.in_features), int(module.out_features))  # type: ignore[arg-type]
            fits = all(size % _PACKED == 0 for size in sizes) and _has_kernel()
            module.support_avx512bf16_for_cpu = allowed and fits  # type: ignore[assignment]


def _has_kernel() -> bool:
    from bitsandbytes.functional import has_avx512bf16

    return bool(has_avx512bf16())  # type: ignore[no-untyped-call]


@torch.inference_mode()
def _check_output_layer(body: CausalBody) -> None:
    """Some decoders scale or cap the scores of their output layer, which ``logits`` would leave out.

    Raises:
        ValueError: this is one of them.
    """
    ids = torch.tensor([[1, 0]], device=next(body.parameters()).device)
    whole = body.causal(input_ids=ids).logits
    ours = body.logits(body.causal.base_model(input_ids=ids).last_hidden_state)
    if not torch.allclose(whole.float(), ours.float(), atol=_NEAR * float(whole.abs().max())):
        raise ValueError("its scores are not those of its output layer alone")
