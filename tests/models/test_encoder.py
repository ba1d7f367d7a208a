from __future__ import annotations

import json
import shutil

import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from transformers import AutoModel

from overtone.data.tokenize import encode
from overtone.errors import UsageError, WeightsError
from overtone.models import encoder
from overtone.models.encoder import EncoderConfig
from toys import sentences

KINDS = ["bert", "roberta", "xlm-roberta", "distilbert"]


@pytest.fixture(scope="session")
def encoder_folder(encoder_folder, tmp_path_factory):
    """The folders of all tests, and one of XLM-RoBERTa, whose tensors have the names of RoBERTa's."""
    copied = shutil.copytree(encoder_folder("roberta"), tmp_path_factory.mktemp("weights") / "xlm-roberta")
    config = json.loads((copied / "config.json").read_text())
    config |= {"model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"]}
    (copied / "config.json").write_text(json.dumps(config))
    return lambda kind: copied if kind == "xlm-roberta" else encoder_folder(kind)


def test_the_copy_is_another_architecture(encoder_folder):
    body = encoder.build(EncoderConfig(weights=str(encoder_folder("xlm-roberta"))))
    assert type(body.backbone).__name__ == "XLMRobertaModel"


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


TEXTS = [text for text, _ in sentences(6)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1]])  # alone a text has no padding, and so no mask
def test_the_frozen_part_and_the_rest_are_the_whole(encoder_folder, kind, layers, bf16, texts):
    body = encoder.build(EncoderConfig(weights=str(encoder_folder(kind))))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        whole, ids, mask = states(body, texts)
        body.freeze(layers)
        with torch.no_grad():
            below = body.bottom(ids, mask)
            found = body(below, mask)
    assert torch.allclose(found.hidden[mask.bool()], whole.hidden[mask.bool()], atol=1e-6)
    assert torch.equal(found.mask, mask)
    assert torch.equal(below, whole.hidden) is (layers == 2)


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_layer_hands_on_is_what_transformers_says(encoder_folder, kind):
    folder = encoder_folder(kind)
    body = encoder.build(EncoderConfig(weights=str(folder)))
    theirs = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    _, ids, mask = states(body, TEXTS)
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    for layers in range(3):
        body.freeze(layers)
        found = body.bottom(ids, mask)
        assert torch.allclose(found[mask.bool()], expected[layers][mask.bool()], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_a_frozen_part_has_no_gradient_and_no_dropout(encoder_folder, kind, layers):
    body = encoder.build(EncoderConfig(weights=str(encoder_folder(kind)), dropout=0.3))
    every = {name for name, _ in body.named_parameters()}
    body.freeze(layers)
    trained = {name for name, p in body.named_parameters() if p.requires_grad}
    still = ("embeddings.", *(f"layer.{i}." for i in range(layers)))
    assert trained == {name for name in every if not any(part in name for part in still)}
    _, ids, mask = states(body, TEXTS)
    body.train()
    assert torch.equal(body.bottom(ids, mask), body.bottom(ids, mask))
    assert torch.equal(body(ids, mask).hidden, body(ids, mask).hidden) is (layers == 2)
    body.freeze(None)
    body.train()
    assert not torch.equal(body.bottom(ids, mask), body.bottom(ids, mask))


def test_more_layers_than_there_are(tiny):
    body = encoder.build(EncoderConfig(weights=str(tiny)))
    with pytest.raises(UsageError, match="3 layers are to be frozen, but the backbone has 2 layers"):
        body.freeze(3)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_found_lowest_first(encoder_folder, kind):
    body = encoder.build(EncoderConfig(weights=str(encoder_folder(kind))))
    assert len(body.layers) == body.depth == 2
    names = dict(body.named_modules())
    assert next(name for name, module in names.items() if module is body.layers[0]).endswith("layer.0")


def test_an_unknown_architecture(tiny):
    body = encoder.build(EncoderConfig(weights=str(tiny)))
    body.backbone = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match="the layers of Linear were not found") as caught:
        _ = body.layers
    assert "train.freeze.kind=none" in caught.value.hint


PROMPT = 'A: {context}\n"{text}" feels'


def reading(folder, **changes):
    return encoder.build(EncoderConfig(weights=str(folder), **changes))


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_states_of_several_layers_stand_side_by_side(encoder_folder, kind):
    body = reading(encoder_folder(kind), states=[0, 2, 1])
    found, ids, mask = states(body, [text for text, _ in sentences(6)])
    theirs = AutoModel.from_pretrained(encoder_folder(kind), attn_implementation="eager").eval()
    with torch.no_grad():
        every = theirs(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    expected = torch.cat([every[0], every[2], every[1]], dim=-1)
    assert found.hidden.shape[-1] == body.hidden_size == 96
    assert torch.allclose(found.hidden[mask.bool()], expected[mask.bool()], atol=1e-5)


def test_a_decoder_that_reads_is_causal(tiny_llama):
    body = reading(tiny_llama)
    one, ids, _ = states(body, ["a happy day after all of it"])
    with torch.no_grad():
        other = body(torch.cat([ids[:, :-1], ids[:, :1]], dim=1), torch.ones_like(ids)).hidden
    assert torch.allclose(one.hidden[:, :-1], other[:, :-1], atol=1e-6)
    assert not torch.allclose(one.hidden[:, -1], other[:, -1], atol=1e-3)


def test_what_is_frozen_whole_is_what_is_read(tiny_llama):
    body = reading(tiny_llama, states=[1, 2])
    whole, ids, mask = states(body, ["happy", "a happy day"])
    body.freeze(body.depth)
    assert torch.equal(body.bottom(ids, mask), whole.hidden)
    assert torch.equal(body(body.bottom(ids, mask), mask).hidden, whole.hidden)
    with pytest.raises(UsageError, match="several layers"):
        body.freeze(1)


def test_a_layer_that_there_is_not(tiny_llama):
    with pytest.raises(WeightsError, match="layers above 2"):
        reading(tiny_llama, states=[0, 3])


def test_a_prompt_stands_around_the_text(tiny):
    body = reading(tiny, prompt=PROMPT)
    found = body.encode(["a happy day", "sad"], [None, "what is it"])
    written = ['A: \n"a happy day" feels', 'A: what is it\n"sad" feels']
    expected = encode(body.tokenizer, written, body.max_length)
    assert found.flat.tolist() == expected.flat.tolist()
    assert found.offsets.tolist() == expected.offsets.tolist()


def test_of_a_long_prompt_the_question_stays(tiny):
    body = reading(tiny, prompt="{text} feels", max_length=8)
    long, short = body.encode(["sad " * 50 + "happy"]), body.encode(["happy"])
    assert len(long.flat) == 8
    assert long.flat[-3:].tolist() == short.flat[-3:].tolist()


@pytest.mark.parametrize("prompt", ["", "how does it feel?", "{text} and {text}"])
def test_a_prompt_without_one_text(prompt):
    with pytest.raises(ValidationError, match=r"one \{text\}"):
        EncoderConfig(prompt=prompt)
