from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM

from overtone.errors import UsageError
from overtone.models.transformer import TransformerConfig, TransformerModel

POSITIONS = ("rotary", "learned")


def build(seed=0, vocabulary=50, **changes):
    torch.manual_seed(seed)
    values = {"width": 16, "layers": 2, "heads": 4, "max_length": 24, **changes}
    model = TransformerModel(TransformerConfig(**values), vocabulary).eval()
    with torch.no_grad():  # the usual scale of 0.02 makes every text nearly alike at this width
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model


def tokens(batch=3, length=11, vocabulary=50, seed=1):
    return torch.randint(0, vocabulary, (batch, length), generator=torch.Generator().manual_seed(seed))


def gpt2(model):
    """GPT-2 of transformers with the same weights."""
    config = GPT2Config(
        vocab_size=50, n_positions=24, n_embd=16, n_layer=2, n_head=4, activation_function="gelu"
    )
    config.tie_word_embeddings = False
    other = GPT2LMHeadModel(config).eval()
    state = {
        "transformer.wte.weight": model.embedding.weight,
        "transformer.wpe.weight": model.position.weight,
        "transformer.ln_f.weight": model.norm.weight,
        "transformer.ln_f.bias": model.norm.bias,
        "lm_head.weight": model.head.weight,
    }
    for i, block in enumerate(model.blocks):
        for theirs, ours in {
            "ln_1": block.attention_norm,
            "attn.c_attn": block.attention.inputs,
            "attn.c_proj": block.attention.output,
            "ln_2": block.perceptron_norm,
            "mlp.c_fc": block.up,
            "mlp.c_proj": block.down,
        }.items():
            weight = ours.weight.T if theirs.split(".")[-1].startswith("c_") else ours.weight
            state |= {
                f"transformer.h.{i}.{theirs}.weight": weight,
                f"transformer.h.{i}.{theirs}.bias": ours.bias,
            }
    other.load_state_dict(state)
    return other


def gpt_neox(model):
    """GPT-NeoX of transformers with the same weights."""
    config = GPTNeoXConfig(
        vocab_size=50,
        max_position_embeddings=24,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        hidden_act="gelu",
        use_parallel_residual=False,
        attention_dropout=0.0,
        hidden_dropout=0.0,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0},
    )
    other = GPTNeoXForCausalLM(config).eval()
    state = {
        "gpt_neox.embed_in.weight": model.embedding.weight,
        "gpt_neox.final_layer_norm.weight": model.norm.weight,
        "gpt_neox.final_layer_norm.bias": model.norm.bias,
        "lm_head.weight": model.head.weight,
    }
    for i, block in enumerate(model.blocks):
        place = f"gpt_neox.layers.{i}"
        for theirs, ours in {
            "input_layernorm": block.attention_norm,
            "attention.dense": block.attention.output,
            "post_attention_layernorm": block.perceptron_norm,
            "mlp.dense_h_to_4h": block.up,
            "mlp.dense_4h_to_h": block.down,
        }.items():
            state |= {f"{place}.{theirs}.weight": ours.weight, f"{place}.{theirs}.bias": ours.bias}
        inputs = (
            block.attention.inputs
        )  # ours: all queries, keys, values; theirs: the three of head after head
        state[f"{place}.attention.query_key_value.weight"] = (
            inputs.weight.view(3, 4, 4, 16).transpose(0, 1).reshape(48, 16)
        )
        state[f"{place}.attention.query_key_value.bias"] = (
            inputs.bias.view(3, 4, 4).transpose(0, 1).reshape(48)
        )
    other.load_state_dict(state)
    return other


@pytest.mark.parametrize(("positions", "reference"), [("learned", gpt2), ("rotary", gpt_neox)])
def test_it_is_the_published_architecture(positions, reference):
    model, ids = build(positions=positions), tokens()
    other = reference(model)
    with torch.no_grad():
        ours = model.logits(model(ids))
        torch.testing.assert_close(ours, other(ids).logits, rtol=1e-4, atol=1e-4)
    assert ours.std(dim=1).min() > 0.02  # the places are not all alike


def test_the_gradients_are_the_published_ones_too():
    model, ids = build(positions="learned"), tokens()
    other = gpt2(model)
    loss = functional.cross_entropy(model.logits(model(ids[:, :-1])).flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    theirs = other(ids, labels=ids).loss
    theirs.backward()
    torch.testing.assert_close(loss, theirs)
    for i, block in enumerate(model.blocks):
        expected = other.transformer.h[i].attn.c_attn.weight.grad.T
        torch.testing.assert_close(block.attention.inputs.weight.grad, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_shapes(positions):
    model, ids = build(positions=positions), tokens()
    hidden = model(ids)
    assert hidden.shape == (3, 11, model.hidden_size)
    assert model.logits(hidden).shape == (3, 11, 50)
    scores, cache = model.step(None, ids)
    assert scores.shape == (3, 50)
    assert cache.length == 11
    assert [key.shape for key in cache.keys] == [(3, 4, 11, 4)] * 2


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("cuts", [(11,), (1, 2, 5, 11), (4, 11), (10, 11)])
def test_stepwise_is_the_whole(positions, cuts):
    model, ids = build(positions=positions), tokens()
    whole = model.logits(model(ids))
    cache, start = None, 0
    for end in cuts:
        scores, cache = model.step(cache, ids[:, start:end])
        torch.testing.assert_close(scores, whole[:, end - 1], rtol=1e-4, atol=1e-4)
        start = end


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_later_token_changes_nothing_before_it(positions):
    model, ids = build(positions=positions), tokens()
    before = model.logits(model(ids))
    for place in range(1, ids.shape[1]):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % 50
        after = model.logits(model(changed))
        torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=0)
        assert not torch.equal(after[:, place], before[:, place])


@pytest.mark.parametrize("positions", POSITIONS)
def test_padding_on_the_right_changes_nothing(positions):
    model, ids = build(positions=positions), tokens()
    padded = torch.cat([ids, torch.zeros(3, 4, dtype=torch.long)], dim=1)
    torch.testing.assert_close(model(padded)[:, :11], model(ids), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_the_order_of_tokens_counts(positions):
    model = build(positions=positions)
    one, other = (model(torch.tensor([ids]))[0, -1] for ids in ([1, 2, 3, 4], [2, 1, 3, 4]))
    assert not torch.allclose(one, other)


def test_a_rotary_score_depends_on_the_distance_alone():
    model = build(positions="rotary", layers=1)
    query, key = torch.randn(4), torch.randn(4)

    def score(i, j):
        def turned(vector, place):
            cosine, sine = model.cosines[place], model.sines[place]
            return vector * cosine + torch.cat([-vector[2:], vector[:2]]) * sine

        return turned(query, i) @ turned(key, j)

    torch.testing.assert_close(score(9, 4), score(20, 15), rtol=1e-4, atol=1e-5)


def test_the_sizes_are_those_of_the_design():
    def count(**changes):
        return sum(p.numel() for p in TransformerModel(TransformerConfig(**changes), 2000).parameters())

    block = 12 * 256 * 256 + (3 + 1 + 4 + 1) * 256 + 4 * 256  # matrices, biases, norms
    assert count() == 3 * block + 2 * 2000 * 256 + 2 * 256 == 3_393_792
    assert count(positions="learned", max_length=128) == count() + 128 * 256
    assert count(tied=True) == count() - 2000 * 256


def test_tied_embeddings_are_one():
    model = build(tied=True)
    assert model.head.weight.data_ptr() == model.embedding.weight.data_ptr()
    assert sum(name == "head.weight" for name, _ in model.named_parameters()) == 0
    apart = build()
    assert apart.head.weight.data_ptr() != apart.embedding.weight.data_ptr()


def test_first_weights_are_gpt2_s():
    torch.manual_seed(0)
    model = TransformerModel(TransformerConfig(), 2000)
    assert model.embedding.weight.detach().std().item() == pytest.approx(0.02, rel=0.02)
    assert model.blocks[0].up.weight.detach().std().item() == pytest.approx(0.02, rel=0.02)
    assert model.blocks[0].down.weight.detach().std().item() == pytest.approx(0.02 / 6**0.5, rel=0.02)
    assert model.blocks[0].attention.output.weight.detach().std().item() == pytest.approx(
        0.02 / 6**0.5, rel=0.02
    )
    assert float(model.blocks[0].up.bias.detach().abs().max()) == 0
    assert bool((model.norm.weight == 1).all())


def test_dropout_is_off_in_evaluation():
    model, ids = build(dropout=0.5), tokens()
    assert torch.equal(model(ids), model(ids))
    model.train()
    assert not torch.equal(model(ids), model(ids))


def test_too_many_tokens_are_refused():
    model = build(max_length=8)
    with pytest.raises(UsageError, match="9 tokens, but this Transformer has 8 positions"):
        model(tokens(length=9))
    _, cache = model.step(None, tokens(length=8))
    with pytest.raises(UsageError, match="9 tokens"):
        model.step(cache, tokens(length=1))


@pytest.mark.parametrize(("width", "heads", "positions"), [(16, 3, "learned"), (12, 4, "rotary")])
def test_heads_have_to_divide_the_width(width, heads, positions):
    with pytest.raises(ValidationError, match=f"a width of {width} does not divide into {heads} heads"):
        TransformerConfig(width=width, heads=heads, positions=positions)


def test_weights_on_disk_do_not_hold_the_angles():
    assert not {"cosines", "sines"} & set(build().state_dict())
