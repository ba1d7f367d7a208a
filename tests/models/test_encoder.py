from __future__ import annotations

import json
import shutil

import pytest
import safetensors.torch
import torch
from transformers import AutoModel

from overtone.data.tokenize import encode
from overtone.errors import WeightsError
from overtone.models import encoder
from overtone.models.encoder import EncoderConfig
from toys import sentences

KINDS = ["bert", "roberta", "distilbert"]


def states(body, texts):
    ids, mask = encode(body.tokenizer, texts, body.max_length).pad(range(len(texts)))
    with torch.no_grad():
        return body.eval()(ids, mask), ids, mask


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_those_of_transformers(encoder_folder, kind):
    folder = encoder_folder(kind)
    body = encoder.build(EncoderConfig(weights=str(folder)))
    found, ids, mask = states(body, [text for text, _ in sentences(6)])
    theirs = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
    assert found.hidden.shape == (6, ids.shape[1], body.hidden_size) == (6, ids.shape[1], 32)
    kept = mask.bool()
    assert torch.allclose(found.hidden[kept], expected[kept], atol=1e-5)
    assert torch.equal(found.mask, mask)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pooler_is_left_out(encoder_folder, kind):
    body = encoder.build(EncoderConfig(weights=str(encoder_folder(kind))))
    assert not [name for name, _ in body.named_parameters() if "pooler" in name]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_dropout_is_what_the_recipe_says(encoder_folder, kind, share):
    body = encoder.build(EncoderConfig(weights=str(encoder_folder(kind)), dropout=share))
    found = {module.p for module in body.modules() if isinstance(module, torch.nn.Dropout)}
    assert found == {share}
    ids, mask = encode(body.tokenizer, ["happy day"], 8).pad([0])
    body.train()
    one, other = (body(ids, mask).hidden for _ in range(2))
    assert torch.equal(one, other) is (share == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_beyond_the_last_position_is_cut(encoder_folder, kind):
    """The longest text that has positions is read, with RoBERTa's, which start after the padding's."""
    body = encoder.build(EncoderConfig(weights=str(encoder_folder(kind)), max_length=512))
    assert body.max_length == 64
    found, _, _ = states(body, ["a " * 500])
    assert found.hidden.shape[1] == 64
    assert encoder.build(EncoderConfig(weights=str(encoder_folder(kind)), max_length=10)).max_length == 10


@pytest.fixture
def copied(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "copied")


def test_a_missing_tensor_is_not_filled_with_random_numbers(copied):
    path = copied / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    del tensors["encoder.layer.1.attention.self.query.weight"]
    safetensors.torch.save_file(tensors, path, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"lack 1 tensors, such as 'encoder\.layer\.1\.att"):
        encoder.build(EncoderConfig(weights=str(copied)))


def test_a_missing_pooler_is_fine(copied, tiny):
    path = copied / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}
    assert len(kept) < len(tensors)
    safetensors.torch.save_file(kept, path, {"format": "pt"})
    one, other = (encoder.build(EncoderConfig(weights=str(folder))) for folder in (copied, tiny))
    assert torch.equal(states(one, ["happy"])[0].hidden, states(other, ["happy"])[0].hidden)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_cut_short(copied, name):
    path = copied / name
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="cannot be read"):
        encoder.build(EncoderConfig(weights=str(copied)))


def test_weights_of_another_width(copied):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "hidden_size": 16}))
    with pytest.raises(WeightsError, match="cannot be read"):
        encoder.build(EncoderConfig(weights=str(copied)))


def test_no_weights_at_all(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        encoder.build(EncoderConfig(weights=str(copied)))
