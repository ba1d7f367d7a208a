from __future__ import annotations

import json
import shutil

import peft
import pytest
import safetensors.torch
import torch
from transformers import AutoModel

from overtone.data.tokenize import encode
from overtone.errors import RunError, WeightsError
from overtone.models import adapters, encoder
from overtone.models.adapters import LoraConfig
from overtone.models.encoder import EncoderConfig
from toys import build_model, sentences

KINDS = ["bert", "roberta", "distilbert"]
TARGETS = ["query-value", "all-linear"]


def disturb(model):
    """Give the adapter weights as if it had been trained; B starts at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)


def states(backbone, tokenizer):
    ids, mask = encode(tokenizer, [text for text, _ in sentences(5)], 64).pad(range(5))
    with torch.no_grad():
        return backbone.eval()(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()]


@pytest.fixture
def saved(encoder_folder, tmp_path, request):
    """A trained adapter on disk: its folder, the folder of its base, and the states it gave."""
    kind, targets = getattr(request, "param", ("bert", "query-value"))
    base = encoder_folder(kind)
    model = build_model(base, adapter=LoraConfig(r=3, alpha=5.0, targets=targets))
    disturb(model)
    adapters.save(model.body, tmp_path / "adapter", str(base))
    return tmp_path / "adapter", base, states(model.body.backbone, model.body.tokenizer)


@pytest.mark.parametrize("saved", [(kind, t) for kind in KINDS for t in TARGETS], indirect=True)
def test_peft_reads_what_we_write(saved):
    folder, base, expected = saved
    theirs = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(base), folder)
    body = encoder.build(EncoderConfig(weights=str(base)))
    assert torch.allclose(states(theirs, body.tokenizer), expected, atol=1e-5)
    plain = states(AutoModel.from_pretrained(base), body.tokenizer)
    assert not torch.allclose(plain, expected, atol=1e-2)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 3, 5.0)


@pytest.mark.parametrize("saved", [(kind, t) for kind in KINDS for t in TARGETS], indirect=True)
def test_merged_is_unmerged(saved):
    folder, base, expected = saved
    body = encoder.build(EncoderConfig(weights=str(base)))
    adapters.load_merged(body, folder)
    assert not [name for name, _ in body.named_parameters() if "lora_" in name]
    found = states(body.backbone, body.tokenizer)
    assert float((found - expected).abs().max()) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_query_and_value_alone(encoder_folder, kind):
    model = build_model(encoder_folder(kind), adapter=LoraConfig(r=2))
    adapted = {name.split(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name}
    assert {name.rsplit(".", 1)[1] for name in adapted} == set(adapters.QUERY_VALUE[kind])
    assert len(adapted) == 2 * 2
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name or name.startswith("heads.") for name in trained)


@pytest.mark.parametrize("kind", KINDS)
def test_every_linear_layer(encoder_folder, kind):
    model = build_model(encoder_folder(kind), adapter=LoraConfig(r=2, targets="all-linear"))
    adapted = {name.split(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name}
    assert len(adapted) == 2 * 6  # query, key, value, output, and two of the feed-forward


def test_a_new_adapter_changes_nothing(tiny):
    """B starts at zero (Hu et al. 2022)."""
    plain, adapted = build_model(tiny), build_model(tiny, adapter=LoraConfig())
    tokenizer = plain.body.tokenizer
    assert torch.allclose(states(plain.body.backbone, tokenizer), states(adapted.body.backbone, tokenizer))


def test_rank_alpha_and_dropout_are_what_the_recipe_says(tiny):
    model = build_model(tiny, adapter=LoraConfig(r=4, alpha=6.0, dropout=0.25))
    layer = next(module for module in model.modules() if hasattr(module, "lora_A"))
    assert layer.scaling == {"default": 1.5}
    assert layer.lora_A["default"].weight.shape == (4, 32)
    assert layer.lora_dropout["default"].p == 0.25


def test_an_unknown_architecture(tiny):
    body = build_model(tiny).body
    body.backbone.config.model_type = "novel"
    with pytest.raises(WeightsError, match="projections of 'novel' are not known") as caught:
        adapters.attach(body, LoraConfig())
    assert caught.value.hint == "set adapter.targets=all-linear"


def damage(folder, how):
    tensors = folder / "adapter_model.safetensors"
    config = folder / "adapter_config.json"
    match how:
        case "tensors cut short":
            tensors.write_bytes(tensors.read_bytes()[:-100])
        case "tensors empty":
            tensors.write_bytes(b"")
        case "tensors missing":
            tensors.unlink()
        case "one tensor missing":
            held = safetensors.torch.load_file(tensors)
            del held[sorted(held)[0]]
            safetensors.torch.save_file(held, tensors)
        case "config cut short":
            config.write_text(config.read_text()[:50])
        case "config missing":
            config.unlink()
        case "another rank":
            config.write_text(json.dumps({**json.loads(config.read_text()), "r": 7}))


@pytest.mark.parametrize(
    "how",
    [
        "tensors cut short",
        "tensors empty",
        "tensors missing",
        "one tensor missing",
        "config cut short",
        "config missing",
        "another rank",
    ],
)
def test_a_damaged_adapter(saved, how):
    folder, base, _ = saved
    damage(folder, how)
    body = encoder.build(EncoderConfig(weights=str(base)))
    with pytest.raises(RunError, match=r"the adapter in .* is damaged") as caught:
        adapters.load_merged(body, folder)
    assert caught.value.hint == "train the run again"


def test_an_adapter_of_another_architecture(saved, encoder_folder):
    folder, _, _ = saved
    body = encoder.build(EncoderConfig(weights=str(encoder_folder("distilbert"))))
    with pytest.raises(RunError, match="is damaged"):
        adapters.load_merged(body, folder)


def test_loading_asks_nobody(saved, monkeypatch):
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    folder, base, _ = saved
    moved = shutil.copytree(folder, folder.with_name("moved"))
    body = encoder.build(EncoderConfig(weights=str(base)))
    adapters.load_merged(body, moved)
