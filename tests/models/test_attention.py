from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from overtone.models import attention

SIZES = st.tuples(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(0, 4)
)


def drawn(batch, groups, serves, n, before):
    torch.manual_seed(batch + 10 * groups + 100 * n)
    query = torch.randn(batch, groups * serves, n, 4)
    return query, *(torch.randn(batch, groups, before + n, 4) for _ in "kv")


@given(SIZES)
def test_it_is_pytorch_s(sizes):
    """The last n of S tokens, none of which sees a later one."""
    query, key, value = drawn(*sizes)
    n, seen = query.shape[2], key.shape[2]
    earlier = torch.ones(n, seen, dtype=torch.bool).tril(seen - n)
    wanted = functional.scaled_dot_product_attention(query, key, value, attn_mask=earlier, enable_gqa=True)
    assert torch.allclose(attention.attended(query, key, value), wanted, atol=1e-6)
    assert torch.allclose(attention.attended(query, key, value, earlier[None, None]), wanted, atol=1e-6)


@pytest.mark.parametrize("n", [4, 8, 10])
def test_a_long_row_is_read_in_blocks(n, monkeypatch):
    """The same values and gradients, whether or not the blocks come out even, and with a mask."""
    monkeypatch.setattr(attention, "BLOCK", 4)
    query, key, value = (each.requires_grad_() for each in drawn(2, 2, 3, n, 3))
    earlier = torch.ones(n, n + 3, dtype=torch.bool).tril(3)
    found = []
    for made in (
        attention.attended(query, key, value),
        attention.attended(query, key, value, earlier[None, None].expand(2, -1, -1, -1)),
        functional.scaled_dot_product_attention(query, key, value, attn_mask=earlier, enable_gqa=True),
    ):
        found.append((made, *torch.autograd.grad(made.square().sum(), (query, key, value))))
    for one, other, wanted in zip(*found, strict=True):
        assert torch.allclose(one, wanted, atol=1e-5)
        assert torch.allclose(other, wanted, atol=1e-5)


@given(SIZES)
def test_a_mask_may_be_added(sizes):
    query, key, value = drawn(*sizes)
    added = torch.randn(1, 1, query.shape[2], key.shape[2])
    wanted = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=added, enable_gqa=True, scale=0.3
    )
    assert torch.allclose(attention.attended(query, key, value, added, 0.3), wanted, atol=1e-6)


@pytest.mark.parametrize("padded", [False, True])
def test_a_decoder_gives_the_same_with_it(padded):
    """Scores and gradients of a Llama with grouped queries, padded on the left or not."""
    attention.register()
    ids = torch.arange(1, 15).view(2, 7)
    where = {"attention_mask": torch.tensor([[1] * 7, [0, 0, 1, 1, 1, 1, 1]])} if padded else {}
    found = []
    for name in ("sdpa", attention.WRITTEN_OUT):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=20,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            attn_implementation=name,
        )
        model = LlamaForCausalLM(config)
        scores = model(ids, **where).logits[0 if padded else slice(None)]
        scores.square().sum().backward()
        found.append((scores, model.model.layers[0].self_attn.k_proj.weight.grad))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
