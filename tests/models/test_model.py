from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overtone.data import batches
from overtone.data.batches import Encoded
from overtone.data.tokenize import encode
from overtone.models import model as models
from overtone.models.adapters import LoraConfig
from overtone.models.model import sweep
from overtone.models.states import FrozenStates
from toys import build_model, sentences


def lengths_to_encoded(lengths):
    """Row i holds the id i + 1, as often as its length says."""
    flat = np.repeat(np.arange(len(lengths)) + 1, lengths)
    return Encoded(flat, np.concatenate([[0], np.cumsum(lengths)]), pad_id=0, cut=0)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_rows_come_back_in_order(lengths):
    encoded = lengths_to_encoded(lengths)

    def run(ids, mask):
        return {"first": ids[:, 0], "count": mask.sum(dim=1)}

    found = sweep(run, encoded, torch.device("cpu"))
    assert found["first"].tolist() == [row + 1 for row in range(len(lengths))]
    assert found["count"].tolist() == lengths


@pytest.mark.parametrize("budget", [1, 30, 100, 10_000])
def test_the_budget_changes_nothing(tiny, monkeypatch, budget):
    model = build_model(tiny).eval()
    encoded = encode(model.body.tokenizer, [text for text, _ in sentences(30)], 64)
    plain = sweep(model, encoded, torch.device("cpu"))["emotion"]
    monkeypatch.setattr(models, "by_length", lambda lengths: batches.by_length(lengths, budget))
    assert torch.allclose(sweep(model, encoded, torch.device("cpu"))["emotion"], plain, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(model(*encoded.pad(range(30)))["emotion"], plain, atol=1e-5)


def test_a_sweep_keeps_no_graph_and_returns_fp32(tiny):
    model = build_model(tiny).eval().to(torch.bfloat16)
    encoded = encode(model.body.tokenizer, ["happy", "sad"], 64)
    found = sweep(model, encoded, model.device)["emotion"]
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_states_in_place_of_ids(tiny):
    model = build_model(tiny).eval()
    ids, mask = encode(model.body.tokenizer, ["happy day", "a"], 64).pad([0, 1])
    for layers in (1, 2):
        model.body.freeze(layers)
        hidden = model.body.bottom(ids, mask)
        assert torch.allclose(model(ids, mask)["emotion"], model(hidden, mask)["emotion"], atol=1e-6)


def test_a_sweep_over_states_is_one_over_ids(tiny):
    model = build_model(tiny).eval()
    model.body.freeze(1)
    encoded = encode(model.body.tokenizer, [text for text, _ in sentences(30)], 64)
    rows = [model.body.bottom(*encoded.pad([row]))[0] for row in range(30)]
    states = FrozenStates(torch.cat(rows), encoded.offsets)
    found = sweep(model, states, model.device)["emotion"]
    assert torch.allclose(found, sweep(model, encoded, model.device)["emotion"], atol=1e-5)


def test_sizes(tiny):
    model = build_model(tiny, adapter=LoraConfig(r=2))
    adapters = 2 * 2 * 2 * (2 * 32)  # layers × (query, value) × (A, B) × r 2 × width 32
    assert model.sizes()["trainable"] == adapters + 32 * 3 + 3
    assert model.sizes()["parameters"] == sum(p.numel() for p in model.parameters())
    assert model.device == torch.device("cpu")
