from __future__ import annotations

import json

import pytest
import torch

from overtone.data.tokenize import encode
from overtone.errors import RunError
from overtone.models import store, weights
from overtone.models.adapters import LoraConfig
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.models.model import sweep
from toys import LABELS, build_model, sentences

KINDS = ["bert", "roberta", "distilbert"]
WAYS = ["full", "bottom", "lora", "frozen"]
HEADS = {"emotion": (HeadConfig(pooling="attention", hidden=(9,)), len(LABELS))}


def logits(model):
    encoded = encode(model.body.tokenizer, [text for text, _ in sentences(12)], model.body.max_length)
    return sweep(model.eval(), encoded, model.device)["emotion"]


def made(base, way):
    """A model whose trained parameters are not what they started as."""
    model = build_model(base, adapter=LoraConfig(r=2) if way == "lora" else None, head=HEADS["emotion"][0])
    if way == "frozen":
        model.body.freeze(model.body.depth)
    if way == "bottom":
        model.body.freeze(1)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_is_what_is_read(encoder_folder, tmp_path, kind, way):
    config = EncoderConfig(weights=str(encoder_folder(kind)))
    model = made(encoder_folder(kind), way)
    expected = logits(model)
    store.save(model, tmp_path / "model", config)
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert ("model.safetensors" in files) is (way in ("full", "bottom"))
    assert ("adapter_model.safetensors" in files) is (way == "lora")
    assert {"heads.safetensors", "tokenizer.json"} <= files
    found = store.load(tmp_path / "model", config, HEADS)
    assert float((logits(found) - expected).abs().max()) < 1e-5
    assert not found.training
    assert not [name for name, p in found.named_parameters() if p.requires_grad]


def test_a_whole_model_needs_nothing_else(tiny, tmp_path):
    """Its base weights are not read again, so they need not be at hand."""
    model = made(tiny, "full")
    store.save(model, tmp_path, EncoderConfig(weights=str(tiny)))
    found = store.load(tmp_path, EncoderConfig(weights="nowhere"), HEADS)
    assert torch.allclose(logits(found), logits(model), atol=1e-6)


def test_an_adapter_names_its_base_by_its_hub_id(tiny, tmp_path, monkeypatch):
    named = weights.Weights("toy", "org/toy", "MIT", 0.1)
    monkeypatch.setitem(weights.CATALOGUE, "toy", named)
    store.save(made(tiny, "lora"), tmp_path, EncoderConfig(weights="toy"))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/toy"


@pytest.mark.parametrize(
    ("way", "name", "what"),
    [
        ("full", "model.safetensors", "weights"),
        ("full", "heads.safetensors", "heads"),
        ("full", "config.json", "weights"),
        ("lora", "adapter_model.safetensors", "adapter"),
        ("lora", "adapter_config.json", "adapter"),
        ("lora", "heads.safetensors", "heads"),
        ("frozen", "heads.safetensors", "heads"),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.7])
def test_a_file_cut_short_is_an_error(tiny, tmp_path, way, name, what, share):
    config = EncoderConfig(weights=str(tiny))
    store.save(made(tiny, way), tmp_path, config)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(RunError, match=f"the {what} in .* damaged") as caught:
        store.load(tmp_path, config, HEADS)
    assert caught.value.hint == "train the run again"


def test_missing_heads(tiny, tmp_path):
    config = EncoderConfig(weights=str(tiny))
    store.save(made(tiny, "frozen"), tmp_path, config)
    (tmp_path / "heads.safetensors").unlink()
    with pytest.raises(RunError, match="the heads in"):
        store.load(tmp_path, config, HEADS)


def test_heads_of_another_shape(tiny, tmp_path):
    config = EncoderConfig(weights=str(tiny))
    store.save(made(tiny, "frozen"), tmp_path, config)
    with pytest.raises(RunError, match="the heads in"):
        store.load(tmp_path, config, {"emotion": (HeadConfig(), 4)})


def test_a_folder_that_cannot_be_written(tiny, tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(RunError, match="could not write"):
        store.save(made(tiny, "full"), tmp_path / "model", EncoderConfig(weights=str(tiny)))
