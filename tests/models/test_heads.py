from __future__ import annotations

import pytest
import torch
from torch import nn

from overtone.data.tokenize import encode
from overtone.models.encoder import States
from overtone.models.heads import Head, HeadConfig, mean_pool
from toys import build_model, sentences

POOLINGS = ["mean", "cls", "attention"]


@pytest.fixture
def states():
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    return States(torch.randn(3, 4, 5), mask)


def test_mean_by_hand(states):
    found = mean_pool(states)
    assert torch.allclose(found[0], states.hidden[0].mean(dim=0))
    assert torch.allclose(found[1], states.hidden[1, :2].mean(dim=0))
    assert torch.allclose(found[2], states.hidden[2, 0])


def test_cls_is_the_first_state(states):
    assert torch.equal(Head(HeadConfig(pooling="cls"), 5, 2).pool(states), states.hidden[:, 0])


def test_attention_by_hand(states):
    head = Head(HeadConfig(pooling="attention"), 5, 2)
    for row, length in enumerate((4, 2, 1)):
        kept = states.hidden[row, :length]
        share = head.attention(kept).softmax(dim=0)
        assert torch.allclose(head.pool(states)[row], (share * kept).sum(dim=0), atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_counts_nothing(states, pooling):
    head = Head(HeadConfig(pooling=pooling, hidden=(7,)), 5, 2).eval()
    longer = States(
        torch.cat([states.hidden, torch.full((3, 6, 5), 1e4)], dim=1),
        torch.cat([states.mask, torch.zeros(3, 6, dtype=torch.long)], dim=1),
    )
    noisy = States(
        torch.where(states.mask.bool().unsqueeze(-1), states.hidden, torch.tensor(99.0)), states.mask
    )
    for other in (longer, noisy):
        assert torch.allclose(head(states), head(other), atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_a_text_s_outputs_do_not_depend_on_its_batch(encoder_folder, kind, pooling):
    model = build_model(encoder_folder(kind), head=HeadConfig(pooling=pooling, hidden=(6,))).eval()
    encoded = encode(model.body.tokenizer, [text for text, _ in sentences(9)] + ["", "a"], 64)
    with torch.no_grad():
        alone = torch.cat([model(*encoded.pad([row]))["emotion"] for row in range(11)])
        together = model(*encoded.pad(range(11)))["emotion"]
        turned = model(*encoded.pad(range(10, -1, -1)))["emotion"].flip(0)
    assert torch.allclose(alone, together, atol=1e-5)
    assert torch.allclose(alone, turned, atol=1e-5)


def test_hidden_layers():
    head = Head(HeadConfig(hidden=(7, 6), dropout=0.25), 5, 2)
    kinds = [type(layer) for layer in head.layers]
    block = [nn.Dropout, nn.Linear, nn.LayerNorm, nn.GELU]
    assert kinds == [*block, *block, nn.Dropout, nn.Linear]
    shapes = [
        (layer.in_features, layer.out_features) for layer in head.layers if isinstance(layer, nn.Linear)
    ]
    assert shapes == [(5, 7), (7, 6), (6, 2)]
    assert {layer.p for layer in head.layers if isinstance(layer, nn.Dropout)} == {0.25}
    assert [type(layer) for layer in Head(HeadConfig(), 5, 2).layers] == [nn.Dropout, nn.Linear]


def test_only_attention_has_weights_of_its_own():
    counts = {
        pooling: sum(p.numel() for p in Head(HeadConfig(pooling=pooling), 5, 2).parameters())
        for pooling in POOLINGS
    }
    assert counts == {"mean": 12, "cls": 12, "attention": 18}


def test_a_row_without_a_token_is_finite():
    empty = States(torch.randn(1, 3, 5), torch.zeros(1, 3, dtype=torch.long))
    for pooling in POOLINGS:
        assert bool(Head(HeadConfig(pooling=pooling), 5, 2)(empty).isfinite().all())
