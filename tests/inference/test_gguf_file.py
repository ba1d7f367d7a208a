from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from decoders import SPARE, write_merging
from overtone.errors import MissingExtraError, RunError, WeightsError
from overtone.inference import gguf_file
from overtone.inference.gguf_file import About
from overtone.models import causal
from overtone.models.causal import DecoderConfig
from toys import write_chat

gguf = pytest.importorskip("gguf")

ABOUT = About("guide", "CC-BY-4.0", "data: CC-BY-4.0; weights: a toy", end=2)
TEXTS = ("the thesis is this", "a  1 and 22\n\n 3", "<|im_start|>user\nno<|im_end|>", "Ünïcödé \t ½ 手話")


def load(folder):
    return causal.load(DecoderConfig(weights=str(folder), stored="fp32"))


def written(body, folder, precision="f32"):
    folder.mkdir(exist_ok=True)
    gguf_file.write(body, folder / "model.gguf", precision, ABOUT)
    return folder / "model.gguf"


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    return load(write_merging(tmp_path_factory.mktemp("weights")))


@pytest.fixture(scope="module")
def file(body, tmp_path_factory):
    return written(body, tmp_path_factory.mktemp("gguf"))


def fields(path):
    return {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items()}


def tensors(path):
    return {each.name: each for each in gguf.GGUFReader(path).tensors}


@torch.inference_mode()
def scores(body):
    ids = torch.arange(3, 60)[None]
    return body.causal(input_ids=ids).logits


def same_words(one, other):
    return all(
        one.tokenizer(text, add_special_tokens=False)["input_ids"]
        == other.tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in TEXTS
    )


def test_what_is_read_back_is_what_was_written(body, file):
    """By transformers' own reader, which is not ours."""
    back = gguf_file.read(file)
    assert torch.allclose(scores(back), scores(body), atol=1e-5)
    assert same_words(back, body)
    assert back.tokenizer.chat_template == body.tokenizer.chat_template
    assert (back.tokenizer.bos_token_id, back.tokenizer.eos_token_id) == (1, 2)
    assert back.causal.config.tie_word_embeddings


def test_neighbours_are_turned(body, file):
    """Attention's scores by llama.cpp's rotation of the file's rows, and by that of transformers."""
    rng, config = np.random.default_rng(0), body.causal.config
    x, dim = rng.normal(size=(2, config.hidden_size)), config.head_dim
    angles = np.array([[5], [3]]) * config.rope_parameters["rope_theta"] ** (-np.arange(0, dim, 2) / dim)
    layer = body.causal.base_model.layers[1].self_attn
    plain = [each.weight.detach().numpy() for each in (layer.q_proj, layer.k_proj)]
    stored = [tensors(file)[f"blk.1.attn_{name}.weight"].data for name in "qk"]
    heads = (config.num_attention_heads, config.num_key_value_heads)

    def turned(weight, count, row, neighbours):
        vector = (weight.astype(float) @ x[row]).reshape(count, dim)
        pairs = vector.reshape(count, -1, 2) if neighbours else vector.reshape(count, 2, -1).swapaxes(1, 2)
        return (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * angles[row])

    def attention(weights, neighbours):
        query, key = (turned(weights[i], heads[i], i, neighbours) for i in (0, 1))
        key = key.repeat(heads[0] // heads[1], axis=0)
        return (query * key.conj()).real.sum(axis=1)

    assert np.allclose(attention(plain, False), attention(stored, True))
    assert not np.allclose(attention(plain, False), attention(plain, True))


def test_what_it_says_of_itself(body, file):
    said, size = fields(file), body.causal.config.vocab_size
    assert said["general.architecture"] == "llama"
    assert said["general.license"] == "CC-BY-4.0"
    assert said["tokenizer.ggml.pre"] == "gpt-2"
    assert said["tokenizer.ggml.eot_token_id"] == 2
    assert not said["tokenizer.ggml.add_bos_token"]
    tokens, types = said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"]
    assert len(tokens) == len(types) == size
    assert types[:3] == [3, 3, 3]  # the special ones
    assert set(types[3:-SPARE]) == {1}
    assert types[-SPARE:] == [5] * SPARE
    assert said["tokenizer.ggml.merges"][:2] == ["t h", "th e"]


@pytest.mark.parametrize("precision", ["f16", "q8_0"])
def test_fewer_bits(body, tmp_path, precision):
    found = tensors(written(body, tmp_path, precision))
    plain = body.causal.state_dict()
    norm, wide, odd = (
        found["output_norm.weight"],
        found["blk.0.ffn_up.weight"],
        found["blk.0.ffn_down.weight"],
    )
    kinds = gguf.GGMLQuantizationType
    assert norm.tensor_type == kinds.F32
    assert wide.tensor_type == (kinds.F16 if precision == "f16" else kinds.Q8_0)
    assert odd.tensor_type == kinds.F16  # rows of 48
    weight = plain["model.layers.0.mlp.up_proj.weight"].numpy()
    back = gguf.dequantize(wide.data, wide.tensor_type)
    # Half a step, and what rounding its scale to fp16 makes of 127 of them.
    step = np.abs(weight).reshape(-1, 32).max(axis=1) / 127
    worst = np.abs(back - weight).reshape(-1, 32).max(axis=1)
    assert (worst <= (0.57 * step if precision == "q8_0" else np.abs(weight).max() * 2**-11)).all()
    assert (worst > 0).any()


def test_digits_that_are_cut_one_by_one(tmp_path):
    digits = {"type": "Digits", "individual_digits": True}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    both = {"type": "Sequence", "pretokenizers": [digits, bytes_]}
    body = load(write_merging(tmp_path / "weights", both))
    path = written(body, tmp_path / "gguf")
    assert fields(path)["tokenizer.ggml.pre"] == "smollm"
    assert same_words(gguf_file.read(path), body)
    plain = load(write_merging(tmp_path / "plain"))
    assert not same_words(plain, body)  # so that the name makes a difference


def test_an_output_layer_of_its_own(tmp_path):
    folder = write_merging(tmp_path / "weights")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    model.save_pretrained(folder)
    body = load(folder)
    path = written(body, tmp_path / "gguf")
    assert torch.allclose(scores(gguf_file.read(path)), scores(body), atol=1e-5)


def test_another_architecture(tmp_path):
    write_merging(tmp_path / "weights")
    config = Qwen2Config(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
    )
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "weights")
    with pytest.raises(WeightsError, match=r"architecture 'qwen2'; known: llama[^\n]*\n.*--gguf none"):
        written(load(tmp_path / "weights"), tmp_path / "gguf")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attention_bias": True}, "biases"),
        ({"hidden_act": "gelu"}, "the activation gelu"),
        (
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
            "scaled positions",
        ),
    ],
)
def test_what_a_file_cannot_say(body, tmp_path, change, said):
    config = body.causal.config
    before = {name: getattr(config, name) for name in change}
    try:
        for name, value in change.items():
            setattr(config, name, value)
        with pytest.raises(WeightsError, match=said):
            written(body, tmp_path)
    finally:
        for name, value in before.items():
            setattr(config, name, value)
    assert not (tmp_path / "model.gguf").exists()


def test_another_tokenizer(tmp_path):
    with pytest.raises(WeightsError, match="known: byte-level BPE"):  # one that merges nothing
        written(load(write_chat(tmp_path / "weights")), tmp_path / "gguf")
    spaces = {"type": "Whitespace"}
    with pytest.raises(WeightsError, match="gpt-2 or smollm"):
        written(load(write_merging(tmp_path / "spaces", spaces)), tmp_path / "gguf")


def test_beside_another_tokenizer(body, tmp_path):
    path = written(body, tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({}))
    with pytest.raises(RunError, match="holds another tokenizer"):
        gguf_file.read(path)


def test_a_damaged_file(file, tmp_path):
    (tmp_path / "model.gguf").write_bytes(file.read_bytes()[:300])
    with pytest.raises(RunError, match="cannot be read"):
        gguf_file.read(tmp_path / "model.gguf")


def test_without_the_package(body, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"overtone\[gguf\]"):
        written(body, tmp_path)
