"""Vectors of texts: beside the encoder read text by text, and against the meaning of sentences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from overtone.inference import embed
from overtone.inference.embed import EmbedderConfig, mean_pooled
from overtone.models.body import States
from toys import sentences

TEXTS = [text for text, _ in sentences(30)] + ["", "day"]


def one_by_one(folder, texts):
    """The mean of the last states of each text, by transformers alone, without padding."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    with torch.inference_mode():
        for text in texts:
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            mean = hidden.mean(dim=0)
            rows.append((mean / mean.norm()).numpy())
    return np.stack(rows)


def built(folder, **changes):
    return EmbedderConfig(weights=str(folder), **{"precision": "fp32", **changes}).build()


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_batches_give_what_single_texts_give(encoder_folder, kind, monkeypatch):
    monkeypatch.setattr(embed, "BLOCK", 7)
    folder = encoder_folder(kind)
    found = built(folder).encode(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(found, one_by_one(folder, TEXTS), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_bf16_is_near(tiny):
    near = (built(tiny, precision="bf16").encode(TEXTS) * one_by_one(tiny, TEXTS)).sum(axis=1)
    assert near.min() > 0.99


def test_questions_are_read_in_full_precision(tiny):
    found = built(tiny, precision="bf16").encode(TEXTS, query=True)
    np.testing.assert_allclose(found, one_by_one(tiny, TEXTS), atol=1e-5)


def test_prefixes_stand_before_the_text(tiny):
    embedder = built(tiny, query_prefix="happy ", passage_prefix="cry ")
    np.testing.assert_allclose(
        embedder.encode(["day"], query=True), one_by_one(tiny, ["happy day"]), atol=1e-5
    )
    np.testing.assert_allclose(embedder.encode(["day"]), one_by_one(tiny, ["cry day"]), atol=1e-5)


def test_the_name_says_what_changes_a_vector(tiny):
    names = {
        built(tiny, **changes).name
        for changes in ({}, {"max_length": 32}, {"query_prefix": "a"}, {"passage_prefix": "a"})
    }
    assert len(names) == 4
    assert built(tiny, precision="bf16").name == built(tiny).name
    assert built(tiny, max_length=512).name.endswith(", 64 tokens")  # it has no more positions


def test_progress_counts_every_text_once(tiny):
    told = []
    built(tiny).encode(TEXTS, told=told.append)
    assert sum(told) == len(TEXTS)
    assert built(tiny).encode([]).shape == (0, 32)


def test_padding_does_not_count():
    hidden = torch.tensor([[[3.0, 0.0], [3.0, 8.0], [99.0, 99.0]]])
    found = mean_pooled(States(hidden, torch.tensor([[1, 1, 0]])))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8]]))


def test_minilm_knows_what_is_alike(minilm):
    embedder = EmbedderConfig().build()
    passages = embedder.encode(["The library shuts its doors at six.", "Bread is baked during the night."])
    query = embedder.encode(["when does the reading room close?"], query=True)[0]
    assert embedder.dimensions == 384
    assert embedder.name == "minilm-l6, 192 tokens"
    assert passages[0] @ query > passages[1] @ query + 0.2
    np.testing.assert_allclose(
        embedder.encode(["Bread is baked during the night."], query=True)[0],
        one_by_one(minilm, ["Bread is baked during the night."])[0],
        atol=1e-5,
    )
