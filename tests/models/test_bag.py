from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overtone.models.bag import Bag, BagConfig
from overtone.models.embedder import HEAD, EmbedderModel

PIECES = 11


def made(width=4, seed=0):
    torch.manual_seed(seed)
    return Bag(BagConfig(width=width), torch.rand(PIECES) + 0.1).requires_grad_(False)


def padded(rows):
    width = max(1, *(len(row) for row in rows))
    ids = torch.tensor([row + [10] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


texts = st.lists(st.integers(0, PIECES - 1), min_size=1, max_size=7)


@given(st.lists(texts, min_size=1, max_size=4))
def test_it_is_the_weighted_mean_of_embeddings(rows):
    bag = made()
    weights, embeddings = bag.weights.exp().numpy(), bag.embedding.weight.numpy()
    expected = [np.average(embeddings[row], axis=0, weights=weights[row]) for row in rows]
    states = bag(*padded(rows))
    assert states.hidden.shape == (len(rows), 1, bag.hidden_size)
    assert states.mask.tolist() == [[1]] * len(rows)
    np.testing.assert_allclose(states.hidden[:, 0].numpy(), expected, atol=1e-5)


@given(texts, st.randoms())
def test_neither_order_nor_padding_changes_it(row, chance):
    bag, other = made(), list(row)
    chance.shuffle(other)
    alone = bag(*padded([row])).hidden
    torch.testing.assert_close(bag(*padded([other, [1] * 9])).hidden[:1], alone)


def test_its_weights_start_as_rare_as_the_pieces_are():
    idf = torch.linspace(0.1, 9, PIECES)
    torch.testing.assert_close(Bag(BagConfig(), idf).weights.exp(), idf)


@pytest.mark.parametrize("weights", ["learnt", "rarity", "even"])
def test_weights_are_learnt_or_stay(weights):
    """Fixed, they are what they were after a step; a fixed even mean is numpy's."""
    torch.manual_seed(0)
    idf = torch.linspace(0.1, 9, PIECES)
    bag = Bag(BagConfig(width=4, weights=weights), idf)
    before, rows = bag.weights.exp().detach().clone(), [[1, 2, 2], [5, 9]]
    torch.testing.assert_close(before, torch.ones(PIECES) if weights == "even" else idf)
    found = bag(*padded(rows)).hidden[:, 0]
    if weights == "even":
        expected = [bag.embedding.weight.detach().numpy()[row].mean(axis=0) for row in rows]
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-6)
    found.square().sum().backward()
    torch.optim.SGD([each for each in bag.parameters() if each.requires_grad], lr=0.1).step()
    assert torch.equal(bag.weights.exp(), before) is (weights != "learnt")


def test_an_empty_text_is_0_and_trains_nothing():
    model = EmbedderModel(made().requires_grad_(True), "mean")
    found = model(*padded([[], [3, 4]]))[HEAD]
    assert found[0].tolist() == [0, 0, 0, 0]
    assert found[1].norm().item() == torch.tensor(1.0)
    found.sum().backward()
    for parameter in model.parameters():
        assert parameter.grad.isfinite().all()
    assert model.body.embedding.weight.grad[10].tolist() == [0, 0, 0, 0]
