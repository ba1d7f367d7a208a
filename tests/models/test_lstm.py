from __future__ import annotations

import pytest
import torch
from torch import nn

from overtone.models.lstm import LstmConfig, LstmModel


def build(seed=0, vocabulary=50, **changes):
    torch.manual_seed(seed)
    return LstmModel(LstmConfig(**{"width": 16, **changes}), vocabulary).eval()


def tokens(batch=3, length=11, vocabulary=50, seed=1):
    return torch.randint(0, vocabulary, (batch, length), generator=torch.Generator().manual_seed(seed))


def test_shapes():
    model, ids = build(), tokens()
    hidden = model(ids)
    assert hidden.shape == (3, 11, model.hidden_size)
    assert model.logits(hidden).shape == (3, 11, 50)
    scores, state = model.step(None, ids)
    assert scores.shape == (3, 50)
    assert state.hidden.shape == state.cell.shape == (2, 3, 16)


def test_it_is_torch_s_lstm_step_by_step():
    model, ids = build(), tokens()
    cells = [nn.LSTMCell(16, 16) for _ in range(2)]
    for layer, cell in enumerate(cells):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).data.copy_(getattr(model.lstm, f"{name}_l{layer}").data)
    states = [(torch.zeros(3, 16), torch.zeros(3, 16)) for _ in cells]
    state = None
    with torch.no_grad():
        whole = model.logits(model(ids))
        for t in range(ids.shape[1]):
            value = model.embedding(ids[:, t])
            for layer, cell in enumerate(cells):
                states[layer] = cell(value, states[layer])
                value = states[layer][0]
            scores, state = model.step(state, ids[:, t : t + 1])
            expected = model.head(value)
            torch.testing.assert_close(scores, expected)
            torch.testing.assert_close(whole[:, t], expected)
            torch.testing.assert_close(state.hidden, torch.stack([h for h, _ in states]))
            torch.testing.assert_close(state.cell, torch.stack([c for _, c in states]))


@pytest.mark.parametrize("cuts", [(11,), (1, 2, 5, 11), (10, 11)])
def test_stepwise_is_the_whole(cuts):
    model, ids = build(), tokens()
    whole = model.logits(model(ids))
    state, start = None, 0
    for end in cuts:
        scores, state = model.step(state, ids[:, start:end])
        torch.testing.assert_close(scores, whole[:, end - 1])
        start = end


def test_a_later_token_changes_nothing_before_it():
    model, ids = build(), tokens()
    before = model.logits(model(ids))
    for place in range(1, ids.shape[1]):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % 50
        after = model.logits(model(changed))
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.equal(after[:, place], before[:, place])


def test_padding_on_the_right_changes_nothing():
    model, ids = build(), tokens()
    padded = torch.cat([ids, torch.zeros(3, 4, dtype=torch.long)], dim=1)
    torch.testing.assert_close(model(padded)[:, :11], model(ids))


def test_the_sizes_are_those_of_the_design():
    count = {
        tied: sum(p.numel() for p in LstmModel(LstmConfig(tied=tied), 2000).parameters())
        for tied in (False, True)
    }
    layer = 4 * (256 * 256 + 256 * 256 + 2 * 256)
    assert count[False] == 2 * layer + 2 * 2000 * 256 + 2000 == 2_078_672
    assert count[True] == count[False] - 2000 * 256


def test_tied_embeddings_are_one():
    model = build(tied=True)
    assert model.head.weight.data_ptr() == model.embedding.weight.data_ptr()
    before = model.embedding.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.logits(model(tokens())).sum().backward()
    optimizer.step()
    assert not torch.equal(model.embedding.weight, before)
    assert torch.equal(model.head.weight, model.embedding.weight)
    apart = build()
    assert apart.head.weight.data_ptr() != apart.embedding.weight.data_ptr()


def test_dropout_is_off_in_evaluation_and_the_seed_decides_the_weights():
    model, ids = build(dropout=0.5, seed=3), tokens()
    assert torch.equal(model(ids), model(ids))
    assert torch.equal(model(ids), build(dropout=0.5, seed=3)(ids))
    model.train()
    assert not torch.equal(model(ids), model(ids))


def test_one_layer_needs_no_dropout_between():
    assert build(layers=1, dropout=0.5).lstm.dropout == 0


@pytest.mark.parametrize("tied", [False, True])
def test_the_first_weights(tied):
    model = build(vocabulary=500, tied=tied)
    for layer in range(2):
        back = getattr(model.lstm, f"weight_hh_l{layer}")
        for gate in back.chunk(4):
            torch.testing.assert_close(gate @ gate.T, torch.eye(16))
        bias = getattr(model.lstm, f"bias_ih_l{layer}") + getattr(model.lstm, f"bias_hh_l{layer}")
        assert [set(gate.tolist()) for gate in bias.chunk(4)] == [{0.0}, {1.0}, {0.0}, {0.0}]
    assert (model.embedding.weight is model.head.weight) == tied
    # Small scores make a nearly even first guess; embeddings of their own are larger.
    assert model.head.weight.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert model.embedding.weight.std().item() == pytest.approx(0.1 / 3**0.5 if tied else 1, rel=0.05)
