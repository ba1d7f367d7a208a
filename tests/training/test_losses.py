from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from overtone.training import losses
from overtone.training.losses import (
    MISSING,
    Asymmetric,
    AsymmetricConfig,
    BinaryCrossEntropy,
    BinaryCrossEntropyConfig,
    BinaryFocal,
    BinaryFocalConfig,
    Concordance,
    ConcordanceConfig,
    CrossEntropy,
    CrossEntropyConfig,
    Focal,
    FocalConfig,
    MeanSquaredError,
    MeanSquaredErrorConfig,
)


def mean(loss, outputs, targets):
    return float(loss.total(outputs, targets) / loss.count(targets))


def without(targets, rows):
    """The same targets, some rows without any."""
    masked = targets.clone()
    masked[rows] = torch.nan if targets.is_floating_point() else MISSING
    return masked


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    outputs = torch.randn(20, 4, generator=generator)
    return outputs, torch.randint(4, (20,), generator=generator)


def test_cross_entropy_by_hand():
    """Two rows: −log 1/2 for even logits, and −log of softmax(log 1, log 3) = 1/4 at the first class."""
    loss = CrossEntropy(CrossEntropyConfig(), torch.tensor([5, 5]))
    outputs = torch.tensor([[0.0, 0.0], [math.log(1.0), math.log(3.0)]])
    targets = torch.tensor([1, 0])
    assert float(loss.total(outputs, targets)) == pytest.approx(math.log(2) + math.log(4), abs=1e-6)
    assert float(loss.count(targets)) == pytest.approx(2)


def test_cross_entropy_is_sklearn_s(batch):
    outputs, targets = batch
    loss = CrossEntropy(CrossEntropyConfig(), torch.bincount(targets))
    expected = log_loss(targets.numpy(), outputs.double().softmax(dim=1).numpy(), labels=range(4))
    assert mean(loss, outputs, targets) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torch_s_weighted_mean(batch, power, smoothing):
    outputs, targets = batch
    frequencies = torch.tensor([100, 10, 40, 50])
    loss = CrossEntropy(CrossEntropyConfig(class_weights=power, label_smoothing=smoothing), frequencies)
    expected = functional.cross_entropy(outputs, targets, weight=loss.weights, label_smoothing=smoothing)
    assert mean(loss, outputs, targets) == pytest.approx(float(expected), abs=1e-6)


def test_class_weights():
    frequencies = torch.tensor([100, 10, 40, 50])
    classes = np.repeat(np.arange(4), frequencies.numpy())
    balanced = compute_class_weight("balanced", classes=np.arange(4), y=classes)
    loss = CrossEntropy(CrossEntropyConfig(class_weights=1.0), frequencies)
    assert loss.weights.numpy() == pytest.approx(balanced / balanced.mean(), rel=1e-6)
    root = CrossEntropy(CrossEntropyConfig(class_weights=0.5), frequencies)
    assert float(root.weights[1] / root.weights[0]) == pytest.approx(math.sqrt(10), rel=1e-6)
    assert CrossEntropy(CrossEntropyConfig(), frequencies).weights.tolist() == [1, 1, 1, 1]
    assert torch.isfinite(
        CrossEntropy(CrossEntropyConfig(class_weights=1.0), torch.tensor([0, 5])).weights
    ).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_rows_without_a_class_count_nothing(batch, smoothing):
    outputs, targets = batch
    config = CrossEntropyConfig(class_weights=0.5, label_smoothing=smoothing)
    loss = CrossEntropy(config, torch.bincount(targets))
    masked = targets.clone()
    masked[::3] = MISSING
    kept = masked != MISSING
    assert float(loss.total(outputs, masked)) == pytest.approx(
        float(loss.total(outputs[kept], targets[kept]))
    )
    assert float(loss.count(masked)) == pytest.approx(float(loss.count(targets[kept])))
    none = torch.full_like(targets, MISSING)
    assert (float(loss.total(outputs, none)), float(loss.count(none))) == (0.0, 0.0)


def test_binary_by_hand():
    """One row, three labels: log 2 for each undecided one, log(1 + e^−2) for the one that is right by 2."""
    loss = BinaryCrossEntropy(BinaryCrossEntropyConfig(), torch.tensor([1.0, 1.0, 1.0]), 2)
    outputs = torch.tensor([[0.0, 0.0, 2.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0]])
    assert float(loss.total(outputs, targets)) == pytest.approx(2 * math.log(2) + math.log1p(math.exp(-2)))
    assert int(loss.count(targets)) == 1


def test_binary_is_sklearn_s():
    generator = torch.Generator().manual_seed(5)
    outputs = torch.randn(30, 3, generator=generator)
    targets = (torch.rand(30, 3, generator=generator) < 0.4).float()
    loss = losses.build(BinaryCrossEntropyConfig(), targets, 3)
    shares = outputs.double().sigmoid().numpy()
    expected = sum(log_loss(targets[:, i].numpy(), shares[:, i]) for i in range(3))
    assert mean(loss, outputs, targets) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("power", "weights"), [(0.0, [1, 1]), (1.0, [9, 1]), (0.5, [3, 1])])
def test_weights_of_positives(power, weights):
    """Ten rows: one positive to nine negatives, five to five."""
    config = BinaryCrossEntropyConfig(positive_weights=power)
    loss = BinaryCrossEntropy(config, torch.tensor([1.0, 5.0]), 10)
    assert loss.positive.tolist() == pytest.approx(weights)
    total = loss.total(torch.zeros(1, 2), torch.ones(1, 2))
    assert float(total) == pytest.approx(sum(weights) * math.log(2), rel=1e-6)
    assert float(loss.total(torch.zeros(1, 2), torch.zeros(1, 2))) == pytest.approx(2 * math.log(2))


def test_rows_without_labels_count_nothing():
    """Neither in the loss nor among the negatives that weigh the positives."""
    config = BinaryCrossEntropyConfig(positive_weights=1.0)
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [torch.nan, torch.nan]])
    outputs = torch.tensor([[0.3, -1.0], [0.5, 0.1], [2.0, 0.0], [torch.inf, 4.0]])
    loss = losses.build(config, targets, 2)
    assert loss.positive.tolist() == [2.0, 2.0]
    known = losses.build(config, targets[:3], 2)
    assert float(loss.total(outputs, targets)) == pytest.approx(float(known.total(outputs[:3], targets[:3])))
    assert int(loss.count(targets)) == 3
    nothing = targets[3:]
    assert (float(loss.total(outputs[3:], nothing)), int(loss.count(nothing))) == (0.0, 0)


def test_a_label_that_never_holds_has_a_finite_weight():
    loss = losses.build(BinaryCrossEntropyConfig(positive_weights=1.0), torch.tensor([[1.0, 0.0]] * 4), 2)
    assert torch.isfinite(loss.positive).all()
    assert bool((loss.positive > 0).all())


def test_build_counts_the_classes():
    targets = torch.tensor([0, 0, 0, 2, MISSING])
    loss = losses.build(CrossEntropyConfig(class_weights=1.0), targets, 4)
    assert isinstance(loss, CrossEntropy)
    assert float(loss.weights[2] / loss.weights[0]) == pytest.approx(3)
    assert len(loss.weights) == 4


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CrossEntropyConfig(), CrossEntropy),
        (FocalConfig(), Focal),
        (BinaryCrossEntropyConfig(), BinaryCrossEntropy),
        (BinaryFocalConfig(), BinaryFocal),
        (AsymmetricConfig(), Asymmetric),
        (MeanSquaredErrorConfig(), MeanSquaredError),
        (ConcordanceConfig(), Concordance),
    ],
)
def test_build(config, expected):
    targets = torch.tensor([0, 1]) if expected in (CrossEntropy, Focal) else torch.zeros(2, 2)
    assert type(losses.build(config, targets, 2)) is expected


def test_a_kind_picks_the_config():
    """The same word means the form that fits the targets."""
    kinds = {losses.ClassLoss: FocalConfig, losses.LabelLoss: BinaryFocalConfig}
    for union, expected in kinds.items():
        assert TypeAdapter(union).validate_python({"kind": "focal"}) == expected()
        assert expected().gamma == 2.0
    assert TypeAdapter(losses.LabelLoss).validate_python({"kind": "asymmetric"}) == AsymmetricConfig()
    assert TypeAdapter(losses.NumberLoss).validate_python({"kind": "ccc"}) == ConcordanceConfig()
    assert TypeAdapter(losses.NumberLoss).validate_python({"kind": "mse"}) == MeanSquaredErrorConfig()


def test_focal_by_hand():
    """Gold shares of 1/4 and 1/2: (3/4)^γ log 4 + (1/2)^γ log 2."""
    outputs = torch.tensor([[math.log(1.0), math.log(3.0)], [0.7, 0.7]])
    targets = torch.tensor([0, 1])
    for gamma in (1.0, 2.0):
        expected = 0.75**gamma * math.log(4) + 0.5**gamma * math.log(2)
        loss = Focal(FocalConfig(gamma=gamma), torch.tensor([5, 5]))
        assert float(loss.total(outputs, targets)) == pytest.approx(expected, abs=1e-6)
        assert float(loss.count(targets)) == pytest.approx(2)


def test_focal_with_smoothing_and_weights_by_hand():
    """p = (1/4, 3/4), gold the first, to which ε = 0.2 leaves 0.9; weights 1.8 and 0.2, a tenth made 1."""
    config = FocalConfig(gamma=1.0, label_smoothing=0.2, class_weights=1.0)
    loss = Focal(config, torch.tensor([10, 90]))
    assert loss.weights.tolist() == pytest.approx([0.9 * 1.8 + 0.1, 0.9 * 0.2 + 0.1])
    outputs, targets = torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([0])
    expected = 0.9 * 1.72 * 0.75 * math.log(4) + 0.1 * 0.28 * 0.25 * math.log(4 / 3)
    assert float(loss.total(outputs, targets)) == pytest.approx(expected, abs=1e-6)
    assert float(loss.count(targets)) == pytest.approx(1.72)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15)
def test_focal_is_cross_entropy_at_gamma_0(power, smoothing, seed):
    generator = torch.Generator().manual_seed(seed)
    outputs = 8 * torch.randn(9, 5, generator=generator)
    targets = without(torch.randint(5, (9,), generator=generator), slice(0, 2))
    shared = {"class_weights": power, "label_smoothing": smoothing}
    plain = losses.build(CrossEntropyConfig(**shared), targets, 5)
    focal = losses.build(FocalConfig(gamma=0.0, weight_smoothing=0.0, **shared), targets, 5)
    assert torch.allclose(focal.total(outputs, targets), plain.total(outputs, targets), rtol=1e-5)
    assert torch.equal(focal.count(targets), plain.count(targets))


def test_binary_focal_by_hand():
    """p = 3/4 twice: (1/4)² log 4/3 where it holds, (3/4)² log 4 where it does not."""
    loss = BinaryFocal(BinaryFocalConfig(), torch.tensor([1.0, 1.0]), 2)
    outputs, targets = torch.full((1, 2), math.log(3.0)), torch.tensor([[1.0, 0.0]])
    expected = math.log(4 / 3) / 16 + 9 / 16 * math.log(4)
    assert float(loss.total(outputs, targets)) == pytest.approx(expected, abs=1e-6)
    assert int(loss.count(targets)) == 1


def test_weights_of_positives_are_smoothed():
    """Nine negatives to a positive: 9, of which a tenth is 1."""
    loss = BinaryFocal(BinaryFocalConfig(gamma=0.0, positive_weights=1.0), torch.tensor([1.0]), 10)
    assert loss.positive.tolist() == pytest.approx([0.9 * 9 + 0.1])
    assert float(loss.total(torch.zeros(1, 1), torch.ones(1, 1))) == pytest.approx(8.2 * math.log(2))
    assert float(loss.total(torch.zeros(1, 1), torch.zeros(1, 1))) == pytest.approx(math.log(2))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15)
def test_binary_forms_are_cross_entropy_at_gamma_0(power, seed):
    generator = torch.Generator().manual_seed(seed)
    outputs = 8 * torch.randn(9, 5, generator=generator)
    targets = without((torch.rand(9, 5, generator=generator) < 0.4).float(), slice(0, 2))
    plain = losses.build(BinaryCrossEntropyConfig(positive_weights=power), targets, 5)
    config = BinaryFocalConfig(gamma=0.0, positive_weights=power, weight_smoothing=0.0)
    focal = losses.build(config, targets, 5)
    assert torch.allclose(focal.total(outputs, targets), plain.total(outputs, targets), rtol=1e-5)
    unweighted = losses.build(BinaryCrossEntropyConfig(), targets, 5)
    asymmetric = losses.build(AsymmetricConfig(gamma_negative=0.0, margin=0.0), targets, 5)
    assert torch.allclose(asymmetric.total(outputs, targets), unweighted.total(outputs, targets), rtol=1e-5)
    assert int(focal.count(targets)) == int(asymmetric.count(targets)) == int(plain.count(targets)) == 7


@pytest.mark.parametrize(("gamma", "factor"), [(0.0, 1.0), (1.0, 0.25)])
def test_asymmetric_by_hand(gamma, factor):
    """p = 3/4: −log p, times 1/4 at γ₊ = 1; as a negative p_m = 0.7 and −0.7⁴ log 0.3."""
    loss = Asymmetric(AsymmetricConfig(gamma_positive=gamma))
    outputs = torch.full((1, 2), math.log(3.0))
    expected = factor * math.log(4 / 3) - 0.7**4 * math.log(0.3)
    assert float(loss.total(outputs, torch.tensor([[1.0, 0.0]]))) == pytest.approx(expected, abs=1e-6)


def test_a_negative_below_the_margin_teaches_nothing():
    """p = 0.04 and 0.06 about a margin of 0.05."""
    shares = torch.tensor([[0.04, 0.06]])
    outputs = (shares / (1 - shares)).log().requires_grad_()
    total = Asymmetric(AsymmetricConfig(gamma_negative=1.0)).total(outputs, torch.zeros(1, 2))
    total.backward()
    assert total.item() == pytest.approx(-0.01 * math.log(0.99), rel=1e-3)
    assert float(outputs.grad[0, 0]) == 0
    assert float(outputs.grad[0, 1]) > 0


def test_mean_squared_error_by_hand():
    """(1 + 4) / 2 and (0 + 9) / 2; a third row has no target."""
    outputs = torch.tensor([[1.0, 2.0], [5.0, 3.0], [7.0, 7.0]])
    targets = torch.tensor([[0.0, 0.0], [5.0, 0.0], [torch.nan, torch.nan]])
    loss = MeanSquaredError()
    assert float(loss.total(outputs, targets)) == pytest.approx(2.5 + 4.5)
    assert int(loss.count(targets)) == 2
    assert mean(loss, outputs, targets) == pytest.approx(mean_squared_error(targets[:2], outputs[:2]))


def test_concordance_by_hand():
    """Gold 1, 2, 3 read as 2, 3, 4: both variances 2/3, means 1 apart, so CCC = (4/3) / (4/3 + 1) = 4/7."""
    gold = torch.tensor([[1.0], [2.0], [3.0]])
    loss = Concordance(ConcordanceConfig())
    for found, expected in ((gold + 1, 3 / 7), (gold, 0.0), (4 - gold, 2.0), (torch.zeros(3, 1) + 2, 1.0)):
        assert mean(loss, found, gold) == pytest.approx(expected, abs=1e-5)
    both = torch.cat([gold + 1, 4 - gold], dim=1)
    assert mean(loss, both, gold.expand(3, 2)) == pytest.approx((3 / 7 + 2) / 2, abs=1e-5)
    assert float(loss.total(gold + 1, gold)) == pytest.approx(3 * 3 / 7, abs=1e-5)
    added = Concordance(ConcordanceConfig(mse=0.5))
    assert mean(added, gold + 1, gold) == pytest.approx(3 / 7 + 0.5, abs=1e-5)


@given(seed=st.integers(0, 10_000), rows=st.integers(2, 40), shift=st.floats(-2, 2))
@settings(max_examples=40)
def test_concordance_is_lin_s(seed, rows, shift):
    """Against the definition of the paper, 2 cov / (var + var + (mean − mean)²), in numpy."""
    random = np.random.default_rng(seed)
    gold = random.normal(size=(rows, 3))
    found = 0.5 * gold + random.normal(size=(rows, 3)) + shift
    expected = []
    for p, g in zip(found.T, gold.T, strict=True):
        (var_p, cov), (_, var_g) = np.cov(p, g, bias=True)
        expected.append(2 * cov / (var_p + var_g + (p.mean() - g.mean()) ** 2))
    loss = Concordance(ConcordanceConfig())
    value = mean(loss, torch.from_numpy(found), torch.from_numpy(gold).float())
    assert value == pytest.approx(1 - np.mean(expected), abs=2e-4)


def test_concordance_needs_two_rows():
    loss = Concordance(ConcordanceConfig(mse=1.0))
    outputs = torch.tensor([[3.0], [1.0], [1.0]], requires_grad=True)
    for targets in (without(torch.ones(3, 1), [1, 2]), without(torch.ones(3, 1), [0, 1, 2])):
        total = loss.total(outputs, targets)
        assert (total.item(), int(loss.count(targets))) == (0.0, 0)
        assert not torch.autograd.grad(total, outputs)[0].any()


def test_concordance_of_equal_numbers_is_finite():
    """No variance on either side: nothing to divide by, and nothing that explodes."""
    loss = Concordance(ConcordanceConfig())
    for outputs, expected in ((torch.ones(4, 1), 0.0), (torch.full((4, 1), 3.0), 1.0)):
        outputs.requires_grad_()
        total = loss.total(outputs, torch.ones(4, 1))
        total.backward()
        assert total.item() / 4 == pytest.approx(expected, abs=1e-5)
        assert float(outputs.grad.abs().max()) < 1e-3


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focus_takes_weight_from_easy_rows(gamma):
    """Of two rows, one easy and one hard, focal gives the hard one a larger share of the gradient."""
    shares = []
    for config in (CrossEntropyConfig(), FocalConfig(gamma=gamma)):
        outputs = torch.tensor([[2.0, 0.0], [0.0, 2.0]], requires_grad=True)
        targets = torch.tensor([0, 0])
        losses.build(config, targets, 2).total(outputs, targets).backward()
        easy, hard = outputs.grad.abs().sum(dim=1).tolist()
        shares.append(hard / (easy + hard))
    assert shares[1] > shares[0] > 0.5
