"""The teacher's share of a loss: by hand, against scipy's divergence, and its limits."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import expit, softmax
from scipy.stats import entropy

from overtone.training.distil import Distilled, TeacherConfig, joined
from overtone.training.losses import (
    MISSING,
    BinaryCrossEntropy,
    BinaryCrossEntropyConfig,
    Concordance,
    ConcordanceConfig,
    CrossEntropy,
    CrossEntropyConfig,
    Focal,
    FocalConfig,
    MeanSquaredError,
)

KINDS = ("classification", "multilabel", "regression")
ROWS, LABELS = 12, 3


def taught(**settings):
    return TeacherConfig(runs=(Path("runs/one"),), **settings)


def own_loss(kind):
    match kind:
        case "classification":
            return CrossEntropy(CrossEntropyConfig(class_weights=1.0), torch.tensor([8, 2, 2]))
        case "multilabel":
            config = BinaryCrossEntropyConfig(positive_weights=0.5)
            return BinaryCrossEntropy(config, torch.tensor([2, 4, 6]), ROWS)
    return MeanSquaredError()


def case(kind, seed=0):
    """The own loss, outputs, gold and a teacher's outputs of some rows; one row lacks each of the two."""
    chance = torch.Generator().manual_seed(seed)
    outputs, teacher, numbers = (torch.randn(ROWS, LABELS, generator=chance) * 2 for _ in range(3))
    gold = {
        "classification": torch.randint(LABELS, (ROWS,), generator=chance),
        "multilabel": (numbers > 0).float(),
        "regression": numbers,
    }[kind]
    gold[3] = MISSING if kind == "classification" else torch.nan
    teacher[5] = torch.nan
    return own_loss(kind), outputs, gold, teacher


def mean(loss, outputs, targets):
    return float(loss.total(outputs, targets) / loss.count(targets))


def test_classes_by_hand():
    """T = 2; the teacher's odds 16 : 1 become 4 : 1, the student's 1 : 1 stay: KL = log 2 − H(4/5)."""
    loss = Distilled(
        CrossEntropy(CrossEntropyConfig(), torch.tensor([1, 1])), taught(share=0.25), "classification", 2
    )
    targets = joined(torch.tensor([1]), torch.tensor([[math.log(16.0), 0.0]]))
    assert targets.tolist() == [[1.0, pytest.approx(math.log(16.0)), 0.0]]
    kl = math.log(2) + 0.8 * math.log(0.8) + 0.2 * math.log(0.2)
    found = float(loss.total(torch.zeros(1, 2), targets))
    assert found == pytest.approx(0.75 * math.log(2) + 0.25 * 4 * kl, abs=1e-6)
    assert float(loss.count(targets)) == 1


def test_labels_and_numbers_by_hand():
    """One label at T = 1, p = 3/4 against 1/2; and numbers that are off by 1 and 3."""
    config = taught(share=1.0, temperature=1.0)
    labels = Distilled(
        BinaryCrossEntropy(BinaryCrossEntropyConfig(), torch.tensor([1]), 2), config, "multilabel", 1
    )
    targets = joined(torch.tensor([[1.0]]), torch.tensor([[math.log(3.0)]]))
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(labels.total(torch.zeros(1, 1), targets)) == pytest.approx(kl, abs=1e-6)
    numbers = Distilled(MeanSquaredError(), taught(share=0.5, temperature=9.0), "regression", 2)
    targets = joined(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 3.0]]))
    assert float(numbers.total(torch.zeros(1, 2), targets)) == pytest.approx(0.5 * 2 + 0.5 * 5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_divergence_is_that_of_scipy(temperature):
    config = taught(share=1.0, temperature=temperature)
    for kind in ("classification", "multilabel"):
        own, outputs, gold, teacher = case(kind)
        found = float(Distilled(own, config, kind, LABELS).total(outputs, joined(gold, teacher)))
        student, teacher = outputs.double().numpy(), teacher.double().numpy()
        expected = 0.0
        for row in range(ROWS):
            if row == 5:
                continue
            s, t = student[row] / temperature, teacher[row] / temperature
            if kind == "classification":
                expected += entropy(softmax(t), softmax(s))
            else:
                expected += sum(
                    entropy([expit(b), expit(-b)], [expit(a), expit(-a)]) for a, b in zip(s, t, strict=True)
                )
        assert found == pytest.approx(temperature**2 * expected, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_share_it_is_the_own_loss(kind):
    own, outputs, gold, teacher = case(kind)
    loss, targets = Distilled(own, taught(share=0.0), kind, LABELS), joined(gold, teacher)
    assert float(loss.total(outputs, targets)) == pytest.approx(float(own.total(outputs, gold)))
    assert float(loss.count(targets)) == pytest.approx(float(own.count(gold)))


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_teacher_it_is_the_own_mean(kind):
    """What the loop makes smaller is the same, whatever the share, while no row is taught."""
    own, outputs, gold, teacher = case(kind)
    loss = Distilled(own, taught(share=0.7), kind, LABELS)
    targets = joined(gold, torch.full_like(teacher, torch.nan))
    assert mean(loss, outputs, targets) == pytest.approx(mean(own, outputs, gold))


@pytest.mark.parametrize("kind", KINDS)
def test_agreeing_with_the_teacher_leaves_no_gradient(kind):
    own, outputs, gold, _ = case(kind)
    outputs.requires_grad_(True)
    loss = Distilled(own, taught(share=1.0, temperature=3.0), kind, LABELS)
    total = loss.total(outputs, joined(gold, outputs.detach().clone()))
    total.backward()
    assert float(total.detach()) == pytest.approx(0.0, abs=1e-5)
    assert outputs.grad.abs().max() < 1e-5
    if kind == "classification":  # logits that differ by a constant mean the same
        moved = outputs.detach() + 7.0
        assert float(loss.total(moved, joined(gold, outputs.detach()))) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_down_the_gradient_nears_the_teacher(kind):
    own, outputs, gold, teacher = case(kind)
    outputs.requires_grad_(True)
    loss, targets = Distilled(own, taught(share=1.0), kind, LABELS), joined(gold, teacher)
    before = loss.total(outputs, targets)
    before.backward()
    after = loss.total(outputs.detach() - 0.05 * outputs.grad, targets)
    assert float(after) < float(before.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_counts_what_it_carries(kind):
    own, outputs, gold, teacher = case(kind)
    loss = Distilled(own, taught(share=0.25), kind, LABELS)
    rows = (0, 3, 5)  # both, the teacher alone, gold alone
    weights = [float(own.count(gold[[row]])) for row in rows]
    counts = [float(loss.count(joined(gold[[row]], teacher[[row]]))) for row in rows]
    assert weights[1] == 0
    assert counts == pytest.approx([0.75 * weights[0] + 0.25, 0.25, 0.75 * weights[2]])
    neither = joined(gold[[3]], teacher[[5]])
    assert float(loss.count(neither)) == 0
    outputs.requires_grad_(True)
    loss.total(outputs[[3]], neither).backward()
    assert torch.equal(outputs.grad, torch.zeros_like(outputs))


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, ROWS), share=st.floats(0, 1))
@settings(max_examples=15)
def test_sums_add_up_over_any_split(kind, seed, cut, share):
    """So accumulation and several processes make the step of one large batch."""
    own, outputs, gold, teacher = case(kind, seed)
    loss, targets = Distilled(own, taught(share=share), kind, LABELS), joined(gold, teacher)
    for what in (loss.total, lambda outputs, targets: loss.count(targets)):
        pieces = sum(float(what(outputs[rows], targets[rows])) for rows in (slice(0, cut), slice(cut, ROWS)))
        assert pieces == pytest.approx(float(what(outputs, targets)), rel=1e-4, abs=1e-5)


def test_extreme_outputs_stay_finite():
    far = torch.tensor([[90.0, -90.0, 0.0], [-90.0, 90.0, 0.0]])
    for kind in KINDS[:2]:
        own, *_ = case(kind)
        outputs = far.clone().requires_grad_(True)
        gold = torch.tensor([0, 1]) if kind == "classification" else (far > 0).float()
        loss = Distilled(own, taught(share=0.5), kind, LABELS)
        loss.total(outputs, joined(gold, far.flip(0))).backward()
        assert outputs.grad.isfinite().all()


def test_bf16_outputs_are_computed_in_fp32():
    own, outputs, gold, teacher = case("classification")
    loss, targets = Distilled(own, taught(), "classification", LABELS), joined(gold, teacher)
    half = outputs.bfloat16()
    assert loss.total(half, targets).dtype == torch.float32
    assert float(loss.total(half, targets)) == pytest.approx(float(loss.total(half.float(), targets)))


def test_any_loss_can_be_wrapped():
    focal = Focal(FocalConfig(), torch.tensor([4, 4, 4]))
    assert not Distilled(focal, taught(), "classification", LABELS).whole_step
    assert Distilled(Concordance(ConcordanceConfig()), taught(), "regression", LABELS).whole_step


@pytest.mark.parametrize(
    "settings",
    [{"share": 1.1}, {"share": -0.1}, {"temperature": 0}, {"runs": []}, {"runs": ["a", "b", "a"]}, {"t": 2}],
)
def test_a_config_that_makes_no_sense(settings):
    with pytest.raises(ValidationError):
        TeacherConfig.model_validate({"runs": ["a"], **settings})
