from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from overtone.training import losses
from overtone.training.losses import (
    MISSING,
    BinaryCrossEntropy,
    BinaryCrossEntropyConfig,
    CrossEntropy,
    CrossEntropyConfig,
)


def mean(loss, outputs, targets):
    return float(loss.total(outputs, targets) / loss.count(targets))


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


@pytest.mark.parametrize("config", [CrossEntropyConfig(), CrossEntropyConfig(class_weights=1.0)])
def test_totals_and_counts_add_up_over_pieces(batch, config):
    """What makes accumulation exact."""
    outputs, targets = batch
    loss = CrossEntropy(config, torch.bincount(targets))
    for part in (loss.total(outputs, targets), loss.count(targets)):
        assert part.ndim == 0
    pieces = [(outputs[rows], targets[rows]) for rows in (range(3), range(3, 4), range(4, 20))]
    assert sum(float(loss.total(*p)) for p in pieces) == pytest.approx(float(loss.total(outputs, targets)))
    assert sum(float(loss.count(t)) for _, t in pieces) == pytest.approx(float(loss.count(targets)))


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


def test_half_precision_outputs_are_summed_in_full(batch):
    outputs, targets = batch
    loss = CrossEntropy(CrossEntropyConfig(), torch.bincount(targets))
    assert loss.total(outputs.bfloat16(), targets).dtype == torch.float32
