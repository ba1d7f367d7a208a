from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from overtone import doctor, kinds, memory
from overtone.errors import UsageError, WeightsError
from overtone.models import causal, weights
from toys import chat, write_answers, write_chat

DECODERS = [name for name, each in weights.CATALOGUE.items() if each.decoder is not None]


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_is_as_large_as_the_published_one(name):
    """The published number of parameters, in millions."""
    known = weights.CATALOGUE[name]
    with torch.device("meta"):
        config = AutoConfig.for_model(known.decoder.kind, **known.decoder.settings())
        model = AutoModelForCausalLM.from_config(config)
    count = sum(each.numel() for each in model.parameters()) / 1e6
    assert count == pytest.approx(known.parameters, rel=0.001)


@pytest.fixture
def recipe(tmp_path):
    values = chat(write_chat(tmp_path / "decoder"), write_answers(tmp_path / "facts.jsonl"))
    return kinds.parse(values, "test")


def changed(recipe, **body):
    return recipe.model_copy(update={"body": recipe.body.model_copy(update=body)})


def test_what_is_counted_is_what_there_is(recipe):
    """Weights and adapter of the model that a run would have, byte by byte."""
    found = memory.need(recipe)
    body = causal.build(recipe.body, recipe.adapter).body
    frozen = sum(each.numel() * 4 for each in body.parameters() if not each.requires_grad)
    trained = sum(each.numel() for each in body.parameters() if each.requires_grad)
    assert found.weights == frozen
    assert found.adapter == 16 * trained
    assert found.total == found.weights + found.adapter + found.states + found.scores


def test_what_a_layer_keeps_grows_with_the_tokens_alone(recipe):
    """Twice the rows are twice the states; checkpointing keeps less, the same weights."""
    twice = recipe.model_copy(update={"train": recipe.train.model_copy(update={"batch_size": 8})})
    one, two, spared = (memory.need(each) for each in (recipe, twice, changed(recipe, checkpointing=True)))
    assert two.states == pytest.approx(2 * one.states, rel=1e-6)
    assert two.scores == 2 * one.scores
    assert spared.states < one.states
    assert spared.weights == one.weights


def test_a_layer_keeps_at_least_what_its_products_read(recipe):
    """Of each token the inputs of seven projections, in fp32, and not twenty times that."""
    width, inside, layers = 32, 48, 2
    tokens = recipe.train.batch_size * recipe.body.max_length
    least = 4 * (2 * width + 2 * width + inside) * tokens * layers
    assert least < memory.need(recipe).states < 20 * least


@pytest.mark.parametrize(("stored", "factor"), [("bf16", 0.5), ("fp32", 1.0)])
def test_storage_is_counted(recipe, stored, factor):
    whole = memory.need(recipe).weights
    assert memory.need(changed(recipe, stored=stored)).weights == factor * whole


def test_four_bits_are_less_than_eight(recipe):
    sizes = [memory.need(changed(recipe, stored=stored)).weights for stored in ("nf4", "int8", "bf16")]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


def test_what_lies_in_memory_is_what_is_counted(recipe):
    """To the byte where nothing is quantised; tied weights once."""
    for stored in ("fp32", "bf16"):
        given = changed(recipe, stored=stored)
        body = causal.build(given.body, given.adapter).body
        adapted = sum(each.numel() * 4 for each in body.parameters() if each.requires_grad)
        buffers = sum(each.numel() * each.element_size() for each in body.buffers())
        assert memory.held(body) == memory.need(given).weights + adapted + buffers


def test_in_four_bits_a_weight_takes_what_is_published(tmp_path):
    """A layer of 1,024 × 1,024: the paper's 4.127 bits, and some hundred bytes to read it by."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    settings = {"bias": False, "compress_statistics": True, "quant_type": "nf4"}
    layer = bitsandbytes.nn.Linear4bit(1024, 1024, **settings).to("cpu")
    assert memory.held(layer) == pytest.approx(1024**2 * memory.BYTES["nf4"], rel=0.01)


@pytest.mark.parametrize("name", ["tutor-qwen", "companion-qwen"])
def test_doctor_tells_it(name):
    found = doctor.memory_of(name, [])
    assert set(found) == {"weights", "adapter", "states", "scores", "total", "here"}
    assert found["weights"].endswith(" GB")


def test_what_it_cannot_tell(recipe):
    with pytest.raises(UsageError, match="recipes that tune a decoder"):
        doctor.memory_of("emotion-mini", [])
    with pytest.raises(WeightsError, match="no weights are named 'nobody'"):
        memory.need(changed(recipe, weights="nobody"))
