"""The loss of an embedder beside sums over single questions in double precision, written in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from overtone.training.contrastive import ContrastiveConfig, ContrastiveLoss

ASKED = np.array([0, 1, 2, 0, 3])
ANSWERS = np.array([[0, 4], [1, 5], [2, 0], [0, 6], [3, 2]])
"""Rows 0 and 3 are of one question and passage, which also is a negative of row 2."""


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def outputs_of(rows, width=6, seed=0):
    """Vectors of the questions, then of the passages of each row: each text always has the same vector."""
    generator = np.random.default_rng(seed)
    questions, passages = generator.normal(size=(4, width)), generator.normal(size=(7, width))
    chosen = [questions[ASKED[rows]], passages[ANSWERS[rows].reshape(-1)]]
    return torch.tensor(np.concatenate(chosen))


def teachers(seed=1, width=5):
    generator = np.random.default_rng(seed)
    made = unit(generator.normal(size=(7, width))), unit(generator.normal(size=(4, width)))
    return tuple(torch.tensor(each) for each in made)


def loss_of(config, *vectors):
    return ContrastiveLoss(config, torch.from_numpy(ASKED), torch.from_numpy(ANSWERS), *vectors)


def by_hand(rows, config, taught=None, width=None):
    """One question at a time, by exponentials and logarithms of floats."""
    vectors = unit(outputs_of(rows).numpy()[:, :width])
    asked, passages = vectors[: len(rows)], vectors[len(rows) :]
    names = ANSWERS[rows].reshape(-1).tolist()
    total = 0.0
    for n, row in enumerate(rows):
        own = 2 * n
        twins = [at for at, name in enumerate(names) if name == names[own] and at != own]
        far = [float(taught[1][ASKED[row]] @ taught[0][name]) for name in names] if taught else None
        held = [at for at in range(len(names)) if at not in twins]
        if config.contrastive:
            counted = held
            if far and config.margin is not None:
                counted = [at for at in held if at == own or far[at] <= far[own] + config.margin]
            scores = {at: np.exp(asked[n] @ passages[at] / config.temperature) for at in counted}
            total -= config.contrastive * np.log(scores[own] / sum(scores.values()))
        if config.distillation:
            wanted = np.array([np.exp(far[at] / config.teacher_temperature) for at in held])
            said = np.array([np.exp(asked[n] @ passages[at] / config.temperature) for at in held])
            wanted, said = wanted / wanted.sum(), said / said.sum()
            total += config.distillation * float((wanted * (np.log(wanted) - np.log(said))).sum())
    return total


@pytest.mark.parametrize(
    "parts",
    [
        {"temperature": 0.2},
        {"contrastive": 0.3, "temperature": 1.0},
        {"margin": 0.1},
        {"margin": None},
        {"contrastive": 0.0, "distillation": 1.0, "teacher_temperature": 0.3},
        {"contrastive": 0.4, "distillation": 2.0, "temperature": 0.4, "margin": -0.2},
    ],
)
@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [2, 0], [3]])
@pytest.mark.parametrize("taught", [False, True])
def test_the_sum_is_that_of_single_questions(parts, rows, taught):
    config = ContrastiveConfig(**parts)
    if config.distillation and not taught:
        pytest.skip("nothing to learn from")
    vectors = teachers() if taught else ()
    loss = loss_of(config, *vectors)
    found = loss.total(outputs_of(rows), torch.tensor(rows))
    assert found.item() == pytest.approx(by_hand(rows, config, vectors or None), rel=1e-6, abs=1e-9)
    assert loss.count(torch.tensor(rows)) == len(rows)


def test_without_twins_it_is_torchs_cross_entropy():
    answers = torch.tensor([[0], [1], [2]])
    loss = ContrastiveLoss(ContrastiveConfig(temperature=0.1), torch.arange(3), answers)
    vectors = torch.nn.functional.normalize(torch.randn(6, 4, dtype=torch.float64), dim=1)
    expected = torch.nn.functional.cross_entropy(
        vectors[:3] @ vectors[3:].T / 0.1, torch.arange(3), reduction="sum"
    )
    torch.testing.assert_close(loss.total(vectors, torch.arange(3)), expected)


def test_a_passage_is_no_negative_of_itself():
    """Rows 0 and 3 share their passage; were one a negative of the other, this could not be near 0."""
    loss = ContrastiveLoss(ContrastiveConfig(), torch.tensor([0, 1]), torch.tensor([[0], [0]]))
    assert loss.total(torch.eye(3)[[0, 1, 2, 2]], torch.arange(2)).item() == 0


def test_short_vectors_count_as_much_as_long_ones():
    rows = [0, 1, 2, 3, 4]
    config = ContrastiveConfig(dimensions=(2, 3), distillation=0.5)
    found = loss_of(config, *teachers()).total(outputs_of(rows), torch.tensor(rows))
    expected = np.mean([by_hand(rows, config, teachers(), width) for width in (2, 3, 6)])
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_the_order_of_the_batch_changes_nothing():
    config = ContrastiveConfig(distillation=0.5, dimensions=(3,))
    loss = loss_of(config, *teachers())
    rows = [0, 1, 2, 3, 4]
    for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        found = loss.total(outputs_of(order), torch.tensor(order))
        torch.testing.assert_close(found, loss.total(outputs_of(rows), torch.tensor(rows)))


def test_a_gradient_reaches_what_is_compared_and_no_more():
    """What the teacher ranks above the right passage is no negative: nothing pulls it away."""
    passages, questions = torch.eye(2), torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    vectors = torch.nn.functional.normalize(torch.rand(4, 3), dim=1).requires_grad_()
    loss = ContrastiveLoss(
        ContrastiveConfig(margin=0.0), torch.arange(2), torch.tensor([[0], [1]]), passages, questions
    )
    loss.total(vectors, torch.arange(2)).backward()
    assert torch.equal(vectors.grad[0], torch.zeros(3))  # it has but one candidate left: itself
    assert (vectors.grad[[1, 2, 3]].abs().sum(dim=1) > 0).all()


def test_there_is_something_to_learn():
    with pytest.raises(ValidationError, match="nothing to learn"):
        ContrastiveConfig(contrastive=0)
