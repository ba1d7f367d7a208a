from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch

from overtone.inference.beam import BeamConfig, search
from overtone.inference.generate import SamplingConfig, generate
from overtone.models.seq2seq import Seq2SeqBody, Seq2SeqConfig

START, END = 0, 1


@dataclass(frozen=True)
class History:
    """All that was read, (B, n), of the row of the table that each began with, (B,)."""

    row: torch.Tensor
    read: torch.Tensor

    def choose(self, rows):
        return History(self.row[rows], self.read[rows])


class Table:
    """Scores that depend on everything before, drawn once."""

    def __init__(self, pieces, depth, rows=3, seed=0):
        drawn = torch.Generator().manual_seed(seed)
        histories = [(START, *h) for n in range(depth) for h in itertools.product(range(pieces), repeat=n)]
        self.scores = {
            (row, *h): 2 * torch.randn(pieces, generator=drawn) for row in range(rows) for h in histories
        }

    def step(self, state, tokens):
        read = torch.cat([state.read, tokens], dim=1)
        keys = zip(state.row.tolist(), read.tolist(), strict=True)
        return torch.stack([self.scores[row, *h] for row, h in keys]), History(state.row, read)


def begin(rows):
    return History(torch.tensor(rows), torch.empty(len(rows), 0, dtype=torch.long))


def starts(n):
    return torch.full((n, 1), START)


def best_of_all(table, row, pieces, depth, power):
    """The best answer among all there are: those that end, and those of full length that do not."""
    found = []
    for n in range(1, depth + 1):
        for words in itertools.product(range(pieces), repeat=n):
            if END in words[:-1] or (words[-1] != END and n < depth):
                continue
            history, total = (START,), 0.0
            for word in words:
                total += float(table.scores[row, *history].log_softmax(0)[word])
                history += (word,)
            found.append((total / n**power, list(words)))
    score, words = max(found)
    return score, words[:-1] if words[-1] == END else words


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_that_keeps_all_finds_the_best(power, seed):
    pieces, depth = 3, 4
    table = Table(pieces, depth, seed=seed)
    config = BeamConfig(size=pieces**depth, length_power=power, max_tokens=depth)
    found = search(table, begin([0, 1, 2]), starts(3), config, END)
    for row in range(3):
        score, words = best_of_all(table, row, pieces, depth, power)
        assert found.ids[row] == words
        assert float(found.scores[row]) == pytest.approx(score, rel=1e-5)
        assert found.state.read[row].tolist()[1 : 1 + len(words)] == words[: depth - 1]


def test_a_wider_beam_finds_no_worse_and_the_greedy_choice_is_not_the_best():
    table = Table(3, 5, rows=20, seed=1)
    rows = list(range(20))
    scores = []
    for size in (1, 3**5):
        config = BeamConfig(size=size, length_power=0.0, max_tokens=5)
        scores.append(search(table, begin(rows), starts(20), config, END).scores)
    assert bool((scores[1] >= scores[0] - 1e-5).all())
    assert bool((scores[1] > scores[0] + 1e-3).any())


def test_the_power_decides_between_short_and_long():
    table = Table(3, 2, rows=1)
    # At once over: p = 0.4. Or a word of p = 0.6 and then the end of p = 0.6: 0.36, but 0.6 a token.
    table.scores[0, START] = torch.tensor([1e-9, 0.4, 0.6]).log()
    table.scores[0, START, 2] = torch.tensor([0.4, 0.6, 1e-9]).log()
    for power, expected in ((0.0, []), (1.0, [2])):
        config = BeamConfig(size=3, length_power=power, max_tokens=2)
        assert search(table, begin([0]), starts(1), config, END).ids == [expected]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_row_does_not_depend_on_its_neighbours(size):
    table = Table(4, 5, rows=6, seed=2)
    config = BeamConfig(size=size, max_tokens=5)
    together = search(table, begin(list(range(6))), starts(6), config, END)
    for row in range(6):
        alone = search(table, begin([row]), starts(1), config, END)
        assert alone.ids == [together.ids[row]]
        assert float(alone.scores[0]) == pytest.approx(float(together.scores[row]))


class Asked:
    """A body that has read its questions, as ``generate`` steps it."""

    max_length = None

    def __init__(self, body, state):
        self.body, self.state = body, state

    def step(self, state, tokens):
        return self.body.step(self.state if state is None else state, tokens)


def answering(seed):
    """A body whose scores differ much, so that answers do, and what it made of three questions."""
    torch.manual_seed(seed)
    body = Seq2SeqBody(Seq2SeqConfig(embedding=6, hidden=8, layers=2), 9).eval().requires_grad_(False)
    body.output.weight.mul_(12)
    ids = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0], [5, 5, 5, 0]])
    return body, body.begin(ids, ids > 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_is_the_greedy_choice(seed):
    body, state = answering(seed)
    found = search(body, state, starts(3), BeamConfig(size=1, max_tokens=8), END)
    greedy = SamplingConfig(temperature=0, max_tokens=8)
    assert found.ids == generate(Asked(body, state), [[START]] * 3, greedy, END, "cpu")


@pytest.mark.parametrize("size", [1, 4])
def test_the_attention_is_that_of_the_answer_read_again(size):
    body, state = answering(3)
    found = search(body, state, starts(3), BeamConfig(size=size, max_tokens=8), END)
    steps = found.state.attention.shape[1]
    assert found.state.attention.shape == (3, steps, 4)
    assert steps <= 8
    for row, ids in enumerate(found.ids):
        read = torch.tensor([[START, *ids][:steps]])
        _, after = body.step(state.choose(torch.tensor([row])), read)
        torch.testing.assert_close(found.state.attention[row, : read.shape[1]], after.attention[0])
    torch.testing.assert_close(found.state.attention.sum(dim=-1), torch.ones(3, steps))
