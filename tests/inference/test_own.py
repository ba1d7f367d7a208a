"""An embedder that was trained here: how it cuts, text by text; what it is on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overtone.data import vocabulary as vocabularies
from overtone.data.text import fold
from overtone.data.vocabulary import BpeVocabulary
from overtone.errors import DataError, RunError, UsageError
from overtone.inference import own
from overtone.inference.embed import EmbedderConfig
from overtone.inference.own import Cutter
from overtone.models import embedder as embedders
from overtone.models.bag import BagConfig
from overtone.models.lstm import LstmConfig
from overtone.models.transformer import TransformerConfig
from toys import sentences

TEXTS = [text for text, _ in sentences(40)]
VOCABULARY = BpeVocabulary(size=300).build([" " + text for text in TEXTS])
BODIES = [
    BagConfig(width=8),
    LstmConfig(width=8, layers=1),
    TransformerConfig(width=8, layers=1, heads=2, max_length=32),
]


def one_by_one(text, max_length, folded):
    """The ids of one text, by the library's tokenizer alone."""
    read = " " + (fold(text) if folded else text)
    return VOCABULARY.backend.encode(read, add_special_tokens=False).ids[:max_length] or [VOCABULARY.end_id]


@given(st.lists(st.text(max_size=12), max_size=5), st.integers(1, 9), st.booleans())
def test_texts_are_cut_as_each_by_itself(texts, most, folded):
    found = Cutter(VOCABULARY, most, folded=folded)(texts)
    expected = [one_by_one(text, most, folded) for text in texts]
    assert [found.flat[a:b].tolist() for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)] == (
        expected
    )
    assert found.pad_id == VOCABULARY.end_id
    assert found.cut == sum(len(one_by_one(text, 1000, folded)) > most for text in texts)


def test_folded_texts_lose_case_and_punctuation():
    folded, plain = (Cutter(VOCABULARY, 20, folded=each) for each in (True, False))
    assert folded(["The DAY, was!"]).flat.tolist() == folded(["the day was"]).flat.tolist()
    assert plain(["The DAY, was!"]).flat.tolist() != plain(["the day was"]).flat.tolist()
    # The first word is the piece that it is inside a text.
    inside = VOCABULARY.encode(["was day"]).flat.tolist()
    assert plain(["day"]).flat.tolist() == inside[-len(plain(["day"]).flat) :]


def saved(folder, body, pooling="mean", dimensions=None, seed=0):
    torch.manual_seed(seed)
    model = embedders.build(body, pooling, torch.rand(len(VOCABULARY)) + 0.1).eval()
    own.save(folder, model, Cutter(VOCABULARY, 12, folded=True), body, pooling)
    return model


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.kind)
def test_it_comes_back_as_it_was(tmp_path, body, pooling, monkeypatch):
    if (body.kind, pooling) == ("bag", "last"):
        pytest.skip("a bag has no last state")
    model = saved(tmp_path, body, pooling)
    texts = [*TEXTS, "", "?!", "day " * 40]
    loaded = own.load(tmp_path)
    found = loaded.encode(texts)
    assert found.dtype == np.float32
    assert found.shape == (len(texts), loaded.dimensions) == (43, 8)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    monkeypatch.setattr(own, "BUDGET", 1)  # text by text, so nothing is padded
    heard = []
    alone = own.read(model, Cutter(VOCABULARY, 12, folded=True)(texts), told=heard.append)
    np.testing.assert_allclose(found, alone, atol=1e-6)
    assert heard == [1] * len(texts)
    np.testing.assert_array_equal(loaded.encode(texts, query=True), loaded.encode(texts))


def test_shorter_vectors_are_the_first_numbers_at_length_1(tmp_path):
    saved(tmp_path, BODIES[0])
    whole, short = own.load(tmp_path), own.load(tmp_path, 3)
    expected = whole.encode(TEXTS)[:, :3]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(short.encode(TEXTS), expected, atol=1e-6)
    assert (short.dimensions, short.name) == (3, f"{whole.name}, 3 numbers")
    for wrong in (0, 9):
        with pytest.raises(UsageError, match=f"{wrong} numbers of a vector of 8"):
            own.load(tmp_path, wrong)


def test_the_name_is_that_of_the_weights(tmp_path):
    names = set()
    for number, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(number)
        saved(folder, BODIES[0], seed=seed)
        names.add(own.load(folder).name)
    assert len(names) == 2


def test_a_run_is_opened_like_a_pretrained_encoder(tmp_path):
    saved(tmp_path / "model", BODIES[0])
    opened = EmbedderConfig(weights=str(tmp_path)).build()
    np.testing.assert_array_equal(opened.encode(TEXTS), own.load(tmp_path / "model").encode(TEXTS))


def test_no_text_gives_no_vector(tmp_path):
    saved(tmp_path, BODIES[0])
    assert own.load(tmp_path).encode([]).shape == (0, 8)


def test_what_is_damaged_is_said(tmp_path):
    saved(tmp_path, BODIES[0])
    facts = json.loads((tmp_path / own.FILE).read_text())
    for change in (
        {"body": {"kind": "bog"}},
        {"body": None},
        {"pooling": "most"},
        {"max_length": "many"},
        {"folded": ...},
    ):
        changed = {**facts, **change}
        (tmp_path / own.FILE).write_text(json.dumps({k: v for k, v in changed.items() if v is not ...}))
        with pytest.raises(RunError, match="damaged"):
            own.load(tmp_path)
    (tmp_path / own.FILE).write_text(json.dumps({**facts, "body": {"kind": "bag", "width": 9}}))
    with pytest.raises(RunError, match="not of this body and vocabulary"):
        own.load(tmp_path)
    (tmp_path / own.FILE).write_text(json.dumps(facts))
    BpeVocabulary(size=290).build(TEXTS).save(tmp_path)
    with pytest.raises(RunError, match="not of this body and vocabulary"):
        own.load(tmp_path)
    VOCABULARY.save(tmp_path)
    weights = (tmp_path / own.WEIGHTS).read_bytes()
    (tmp_path / own.WEIGHTS).write_bytes(weights[:50])
    with pytest.raises(RunError, match="damaged"):
        own.load(tmp_path)
    (tmp_path / own.WEIGHTS).write_bytes(weights)
    (tmp_path / vocabularies.FILE).unlink()
    with pytest.raises(DataError, match="is missing"):
        own.load(tmp_path)
    (tmp_path / own.FILE).unlink()
    with pytest.raises(RunError):
        own.load(tmp_path)
