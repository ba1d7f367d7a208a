"""The loss of preferences, by hand and against TRL's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from overtone.training.preference import PreferenceLoss, likelihoods


class Pairs:
    """Two pairs, whose answers have 2, 1 and 1, 3 tokens."""

    tokens = (((4, 1), (0,)), ((2,), (3, 3, 1)))

    def _batch(self, rows):
        return [self.tokens[row][side] for side in (0, 1) for row in rows]

    def wanted(self, rows):
        return torch.tensor([token for answer in self._batch(rows) for token in answer])

    def counts_of(self, rows):
        return torch.tensor([len(answer) for answer in self._batch(rows)])


REFERENCE = torch.tensor([[-3.0, -2.0], [-1.5, -6.0]])


def scores(rows, seed=0):
    torch.manual_seed(seed)
    return torch.randn(len(Pairs().wanted(rows)), 5, requires_grad=True)


def by_hand(outputs, rows, beta, smoothing=0.0):
    shares = outputs.detach().double().log_softmax(-1)
    place, said = 0, []
    for answer in Pairs()._batch(rows):
        said.append(sum(float(shares[place + n, token]) for n, token in enumerate(answer)))
        place += len(answer)
    total = 0.0
    for at, row in enumerate(rows):
        better, worse = said[at], said[at + len(rows)]
        margin = beta * ((better - float(REFERENCE[row, 0])) - (worse - float(REFERENCE[row, 1])))
        right = 1 / (1 + math.exp(-margin))
        total -= (1 - smoothing) * math.log(right) + smoothing * math.log(1 - right)
    return total


@pytest.mark.parametrize("rows", [[0], [1], [0, 1], [1, 0]])
@pytest.mark.parametrize(("beta", "smoothing"), [(0.1, 0.0), (0.5, 0.0), (0.1, 0.2)])
def test_it_is_the_equation(rows, beta, smoothing):
    loss = PreferenceLoss(Pairs(), REFERENCE, beta=beta, smoothing=smoothing)
    outputs = scores(rows)
    found = loss.total(outputs, torch.tensor(rows))
    assert float(found.detach()) == pytest.approx(by_hand(outputs, rows, beta, smoothing), rel=1e-5)
    assert int(loss.count(torch.tensor(rows))) == len(rows)


def test_where_nothing_has_moved_it_is_the_logarithm_of_two():
    outputs = scores([0, 1])
    said = likelihoods(outputs, Pairs().wanted([0, 1]), Pairs().counts_of([0, 1])).detach()
    loss = PreferenceLoss(Pairs(), said.view(2, 2).T, beta=0.3)
    assert float(loss.total(outputs, torch.tensor([0, 1])).detach()) == pytest.approx(2 * math.log(2))
    assert loss.margins(outputs, torch.tensor([0, 1])).abs().max() < 1e-6


def test_a_step_makes_the_better_answer_likelier():
    loss = PreferenceLoss(Pairs(), REFERENCE, beta=1.0)
    outputs = scores([0, 1])
    loss.total(outputs, torch.tensor([0, 1])).backward()
    moved = (outputs - 0.1 * outputs.grad).detach()
    rows = torch.tensor([0, 1])
    assert (loss.margins(moved, rows) > loss.margins(outputs.detach(), rows)).all()


def test_likelihoods_are_those_of_each_answer():
    outputs, counts = scores([0, 1]), Pairs().counts_of([0, 1])
    tokens = Pairs().wanted([0, 1])
    found = likelihoods(outputs, tokens, counts).detach()
    pieces = zip(outputs.detach().split(counts.tolist()), tokens.split(counts.tolist()), strict=True)
    expected = [-float(nn.functional.cross_entropy(piece, said, reduction="sum")) for piece, said in pieces]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
