"""CANINE: characters for tokens, and states that do not depend on how far a batch is padded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import CanineConfig, CanineModel, CanineTokenizer

from overtone.errors import UsageError, WeightsError
from overtone.inference.embed import EmbedderConfig
from overtone.models import adapters, encoder
from overtone.models.encoder import CanineEncoder, EncoderConfig

TEXTS = ["a", "", "The library closes at six.", "né\u0301e 日本語 😀", "\ue000 and\ue001 stay\x00", "x" * 200]
WINDOW, POSITIONS = 16, 140
LONGEST = 8 * WINDOW - 6  # of the whole windows, less four characters of a deep state and two looked ahead


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random CANINE of two deep layers of width 32, and nothing beside: it has no tokenizer's file."""
    place = tmp_path_factory.mktemp("canine")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    tables = {"num_hash_buckets": POSITIONS, "max_position_embeddings": POSITIONS}
    model = CanineModel(CanineConfig(**sizes, **tables, local_transformer_stride=WINDOW))
    with torch.no_grad():  # the usual scale of 0.02 makes every text nearly alike at this width
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    model.save_pretrained(place)
    assert sorted(each.name for each in place.iterdir()) == ["config.json", "model.safetensors"]
    return place


@pytest.fixture(scope="module")
def body(folder):
    found = encoder.build(EncoderConfig(weights=str(folder), max_length=64, dropout=0.0)).eval()
    assert isinstance(found, CanineEncoder)
    return found.requires_grad_(False)


@pytest.fixture(scope="module")
def theirs(folder):
    """The states of one text, by transformers alone, padded as far as there are positions."""
    model, tokenizer = CanineModel.from_pretrained(folder).eval(), CanineTokenizer()

    @torch.no_grad()
    def states(text):
        inputs = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        length = inputs["input_ids"].shape[1]
        more = 8 * WINDOW - length
        padded = {name: torch.nn.functional.pad(each, (0, more)) for name, each in inputs.items()}
        return model(**padded).last_hidden_state[0, :length]

    return states


def test_a_text_is_cut_as_transformers_cuts_it(body):
    found = body.encode(TEXTS)
    expected = CanineTokenizer()(TEXTS, truncation=True, max_length=64)["input_ids"]
    rows = [found.flat[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)]
    assert rows == expected
    # By hand: code points between 0xE000 and 0xE001, which a text may hold too, and at most 64 of them.
    assert rows[0] == [0xE000, ord("a"), 0xE001]
    assert rows[4] == [0xE000, *map(ord, TEXTS[4]), 0xE001]
    assert rows[5] == [0xE000, *[ord("x")] * 62, 0xE001]
    assert (found.pad_id, found.cut) == (0, 1)


def test_states_are_those_of_transformers(body, theirs):
    encoded = body.encode(TEXTS)
    ids, mask = encoded.pad(range(len(TEXTS)))
    found = body(ids, mask)
    assert found.hidden.shape == (len(TEXTS), 64, body.hidden_size) == (len(TEXTS), 64, 32)
    for text, hidden, kept in zip(TEXTS, found.hidden, mask.bool(), strict=True):
        torch.testing.assert_close(hidden[kept], theirs(text), atol=1e-5, rtol=0)


@pytest.mark.parametrize("length", [1, 2, 3, 9, 10, 11, 15, 16, 17, 26, 32, 42, 60])
def test_padding_changes_nothing(body, length):
    """Around the windows' borders, too, with a batch of another length beside it."""
    torch.manual_seed(length)
    ids = torch.randint(1, 0x10FFFF, (1, length))
    alone = body(ids, torch.ones_like(ids)).hidden
    for longer in (length + 1, length + 5, 70, LONGEST):
        more = (0, longer - length)
        padded = torch.nn.functional.pad(ids, more)
        mask = torch.nn.functional.pad(torch.ones_like(ids), more)
        torch.testing.assert_close(body(padded, mask).hidden[:, :length], alone, atol=1e-5, rtol=0)


def test_the_longest_text_that_has_positions(folder):
    body = encoder.build(EncoderConfig(weights=str(folder), max_length=512)).eval()
    assert body.max_length == LONGEST
    ids, mask = body.encode(["x" * 500]).pad([0])
    assert body(ids, mask).hidden.shape == (1, LONGEST, 32)


def test_vectors_are_the_mean_of_a_text_alone(folder, theirs):
    embedder = EmbedderConfig(weights=str(folder), max_length=64, precision="fp32").build()
    means = [theirs(text).mean(dim=0) for text in TEXTS]
    expected = np.stack([(mean / mean.norm()).numpy() for mean in means])
    np.testing.assert_allclose(embedder.encode(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(embedder.encode(TEXTS, query=True), expected, atol=1e-5)


def test_it_is_frozen_whole_or_not_at_all(folder):
    body = encoder.build(EncoderConfig(weights=str(folder), dropout=0.3))
    ids, mask = body.encode(TEXTS).pad(range(len(TEXTS)))
    with pytest.raises(UsageError, match="cannot be frozen by itself"):
        body.freeze(1)
    body.freeze(body.depth)
    body.train()
    assert not [name for name, each in body.named_parameters() if each.requires_grad]
    below = body.bottom(ids, mask)
    assert torch.equal(body(below, mask).hidden, body(ids, mask).hidden)
    body.freeze(None)
    body.train()
    assert not torch.equal(body(ids, mask).hidden, body(ids, mask).hidden)


def test_states_of_several_layers_are_refused(folder):
    with pytest.raises(WeightsError, match="states of different lengths"):
        encoder.build(EncoderConfig(weights=str(folder), states=[0, 1]))


def test_it_takes_adapters(folder):
    body = encoder.build(EncoderConfig(weights=str(folder)))
    adapters.attach(body, adapters.LoraConfig(r=2))
    assert isinstance(body.backbone, PeftModel)
    trained = {name.split(".lora_")[0] for name, each in body.named_parameters() if each.requires_grad}
    assert {name.rsplit(".", 1)[1] for name in trained} == {"query", "value"}
    assert len(trained) == 2 * 4  # of two deep layers, and those of characters below and above
