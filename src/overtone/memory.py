"""What tuning a decoder takes of memory, told before anybody has its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import peft
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from overtone.chat_recipe import DecoderRecipe
from overtone.errors import UsageError, WeightsError, did_you_mean
from overtone.models import adapters, decoder, weights
from overtone.training.precision import products

BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.0, "nf4": 0.516}
"""Of a stored weight; NF4 with double quantisation has 4.127 bits (Dettmers et al. 2023, section 3)."""

TRAINED = 4.0 + 4.0 + 8.0
"""Bytes of a trained weight: itself, its gradient, and the two moments of Adam, all in fp32."""

PROBE = 128
"""Tokens that one layer is asked to read, to see what it keeps of each."""

ANSWER = 0.5
"""Share of the tokens that are taken for trained: scores over the vocabulary are kept of these alone."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes at the largest step of a fit, without what Python and PyTorch take by themselves.

    Args:
        weights: frozen, as they are stored.
        adapter: trained weights, gradients and the optimiser's moments.
        states: what the backward pass needs of the forward one.
        scores: over the vocabulary, and their gradient.
    """

    weights: int
    adapter: int
    states: int
    scores: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.adapter + self.states + self.scores

    def as_dict(self) -> dict[str, str]:
        """Each part in GB, for people."""
        parts = {**asdict(self), "total": self.total}
        return {name: f"{size / 1e9:.2f} GB" for name, size in parts.items()}


def held(body: nn.Module) -> int:
    """Bytes of a model's weights as they lie in memory, with what a quantised one is read by."""
    stored = [*body.parameters(), *body.buffers()]
    for parameter in body.parameters():
        state: Any = getattr(parameter, "quant_state", None)
        parts = () if state is None else state.as_dict(packed=True).values()
        stored += [part for part in parts if isinstance(part, Tensor)]
    sizes = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in stored}
    return sum(sizes.values())


def need(recipe: DecoderRecipe) -> Need:
    """What the largest step of a recipe takes; an estimate, from counted weights and a layer that is tried.

    Rows are taken to be as long as they may be. Weights are counted on the model without storage. What a
    layer keeps for its gradient is seen on one of its true widths with random weights, which reads some
    tokens and tells what autograd saved of them; kernels of a GPU may keep less.

    Raises:
        WeightsError: nothing is known of the decoder's sizes.
    """
    config = _config(recipe.body.weights)
    with torch.device("meta"):
        model = _built(config, torch.bfloat16)
    embeddings = sum(each.weight.numel() for each in model.modules() if isinstance(each, nn.Embedding))
    every = sum(each.numel() for each in model.parameters())
    stored = BYTES[recipe.body.stored]
    # Quantised, embeddings are left in half precision.
    spared = embeddings * (BYTES[recipe.body.half] - stored) if recipe.body.quantised else 0.0
    adapted = _adapted(model, recipe)
    tokens = recipe.train.batch_size * recipe.body.max_length
    layers, width = int(config.num_hidden_layers), int(config.hidden_size)
    kept = _kept(config, recipe)  # bytes a token of one layer
    if recipe.body.checkpointing:  # the input of every layer, and all of the one that is computed again
        states = tokens * (layers * width * BYTES["bf16"] + kept)
    else:
        states = tokens * layers * kept
    # Of each score: itself and its gradient, as autocast has them.
    scores = tokens * ANSWER * int(config.vocab_size) * 2 * BYTES[recipe.train.precision]
    return Need(int(every * stored + spared), int(adapted * TRAINED), int(states), int(scores))


def _config(name: str) -> PreTrainedConfig:
    """The configuration of named weights: their own where they are at hand, else the published one.

    Raises:
        WeightsError: neither is known.
    """
    known = weights.CATALOGUE.get(name)
    if known is not None and known.decoder is not None:
        found: PreTrainedConfig = AutoConfig.for_model(known.decoder.kind, **known.decoder.settings())
        return found
    folder = weights.find(name)
    if folder is None:
        raise WeightsError(f"the sizes of '{name}' are not known", hint=did_you_mean(name, weights.CATALOGUE))
    read: PreTrainedConfig = AutoConfig.from_pretrained(decoder.converted(folder))
    return read


class _Body(nn.Module):
    """What ``adapters.attach`` takes.

    Args:
        backbone: a causal language model.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone


def _adapted(model: nn.Module, recipe: DecoderRecipe) -> int:
    """How many weights are trained; the model has its adapter afterwards."""
    body = _Body(model)
    with torch.device("meta"):
        adapters.attach(body, recipe.adapter, causal=True)
    return sum(each.numel() for each in body.parameters() if each.requires_grad)


def _kept(config: PreTrainedConfig, recipe: DecoderRecipe) -> float:
    """Bytes that one layer with its adapters keeps of a token for its gradient."""
    each_layer = ("layer_types",)  # a list of one a layer, made anew where it is left out
    settings = {name: value for name, value in config.to_dict().items() if name not in each_layer}
    one = type(config).from_dict({**settings, "num_hidden_layers": 1, "vocab_size": 8})
    body = _Body(_built(one, torch.float16 if recipe.body.half == "fp16" else torch.bfloat16))
    adapters.attach(body, recipe.adapter, causal=True)
    body.train()
    # What does not grow with the tokens, such as weights in another precision, is in both and falls out.
    return (_saved(body, recipe, 2 * PROBE) - _saved(body, recipe, PROBE)) / PROBE


def _saved(body: _Body, recipe: DecoderRecipe, tokens: int) -> int:
    """Bytes that autograd saves while a model reads some tokens, its own weights left out."""
    own = {each.untyped_storage().data_ptr() for each in body.parameters()}
    alive: list[Tensor] = []  # while they live, no two share an address

    def keep(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        return tensor

    assert isinstance(body.backbone, peft.PeftModel)
    base: Any = body.backbone.get_base_model()
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        products("cpu", recipe.train.precision),
    ):
        base.base_model(input_ids=torch.zeros(1, tokens, dtype=torch.long), use_cache=False)
    sizes = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in alive}
    return sum(size for place, size in sizes.items() if place not in own)


def _built(config: PreTrainedConfig, dtype: torch.dtype) -> nn.Module:
    """A causal language model with random weights."""
    made: nn.Module = AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    return made


def of(recipe: object) -> Need:
    """The same for a recipe of any kind.

    Raises:
        UsageError: it tunes no decoder.
        WeightsError: see ``need``.
    """
    if not isinstance(recipe, DecoderRecipe):
        raise UsageError(
            "memory is told of recipes that tune a decoder", hint="overtone doctor --recipe tutor-knowledge"
        )
    return need(recipe)
