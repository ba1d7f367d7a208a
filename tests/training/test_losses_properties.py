"""What holds for every loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overtone.training import losses
from overtone.training.losses import (
    MISSING,
    AsymmetricConfig,
    BinaryCrossEntropyConfig,
    BinaryFocalConfig,
    ConcordanceConfig,
    CrossEntropyConfig,
    FocalConfig,
    MeanSquaredErrorConfig,
)

CLASSES = [
    CrossEntropyConfig(class_weights=0.5, label_smoothing=0.1),
    FocalConfig(class_weights=1.0, label_smoothing=0.1),
    FocalConfig(gamma=0.5),
]
LABELS = [
    BinaryCrossEntropyConfig(positive_weights=0.5),
    BinaryFocalConfig(positive_weights=1.0),
    AsymmetricConfig(),
    AsymmetricConfig(gamma_positive=1.0, gamma_negative=0.5, margin=0.0),
]
NUMBERS = [MeanSquaredErrorConfig(), ConcordanceConfig(mse=0.5)]
EVERY = [*CLASSES, *LABELS, *NUMBERS]
SUMS = [config for config in EVERY if not isinstance(config, ConcordanceConfig)]


def case(config, seed=0, rows=12, scale=3.0):
    """A loss, and outputs and targets of its kind, (rows, 4)."""
    generator = torch.Generator().manual_seed(seed)
    outputs = scale * torch.randn(rows, 4, generator=generator)
    if config in CLASSES:
        targets = torch.randint(4, (rows,), generator=generator)
    elif config in LABELS:
        targets = (torch.rand(rows, 4, generator=generator) < 0.3).float()
    else:
        targets = torch.randn(rows, 4, generator=generator)
    return losses.build(config, targets, 4), outputs, targets


def without(targets, rows):
    """The same targets, some rows without any."""
    masked = targets.clone()
    masked[rows] = torch.nan if targets.is_floating_point() else MISSING
    return masked


def test_only_concordance_belongs_to_a_whole_step():
    """What accumulation would change is said, and is so."""
    flags = {type(config).__name__: case(config)[0].whole_step for config in EVERY}
    assert [name for name, whole in flags.items() if whole] == ["ConcordanceConfig"]
    loss, outputs, targets = case(ConcordanceConfig())
    pieces = sum(float(loss.total(outputs[rows], targets[rows])) for rows in (range(4), range(4, 12)))
    assert pieces != pytest.approx(float(loss.total(outputs, targets)), rel=1e-3)


@pytest.mark.parametrize("config", SUMS, ids=repr)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 12))
@settings(max_examples=15)
def test_sums_add_up_over_any_split(config, seed, cut):
    loss, outputs, targets = case(config, seed)
    targets = without(targets, [seed % 12])
    pieces = [(outputs[rows], targets[rows]) for rows in (slice(0, cut), slice(cut, 12))]
    total = sum(float(loss.total(*piece)) for piece in pieces)
    assert total == pytest.approx(float(loss.total(outputs, targets)), rel=1e-5, abs=1e-6)
    count = sum(float(loss.count(t)) for _, t in pieces)
    assert count == pytest.approx(float(loss.count(targets)), rel=1e-5)


@pytest.mark.parametrize("config", EVERY, ids=repr)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.01, 1.0, 30.0]))
@settings(max_examples=15)
def test_no_loss_is_below_0(config, seed, scale):
    loss, outputs, targets = case(config, seed, scale=scale)
    assert float(loss.total(outputs, targets)) >= 0
    assert float(loss.count(targets)) > 0


@pytest.mark.parametrize("config", EVERY, ids=repr)
@given(
    seed=st.integers(0, 10_000),
    hidden=st.sets(st.integers(0, 11), max_size=10),
    noise=st.sampled_from([1e30, torch.inf, torch.nan]),
)
@settings(max_examples=15)
def test_rows_without_a_target_change_nothing(config, seed, hidden, noise):
    """Not the sum, not the count, and no gradient reaches them, whatever their outputs are."""
    loss, outputs, targets = case(config, seed)
    rows, kept = sorted(hidden), sorted(set(range(12)) - hidden)
    masked = without(targets, rows)
    noisy = outputs.clone()
    noisy[rows] = noise
    noisy.requires_grad_()
    total = loss.total(noisy, masked)
    assert total.item() == pytest.approx(float(loss.total(outputs[kept], targets[kept])), rel=1e-5)
    assert float(loss.count(masked)) == pytest.approx(float(loss.count(targets[kept])), rel=1e-6)
    total.backward()
    assert bool(noisy.grad.isfinite().all())
    assert not noisy.grad[rows].any()


@pytest.mark.parametrize("config", EVERY, ids=repr)
def test_certain_outputs_have_finite_losses_and_gradients(config):
    """Logits of ±10,000, at which every probability is 0 or 1."""
    loss, outputs, targets = case(config)
    for values in (1e4 * outputs.sign(), torch.zeros_like(outputs)):
        values.requires_grad_()
        total = loss.total(values, targets)
        total.backward()
        assert bool(total.isfinite())
        assert bool(values.grad.isfinite().all())


@pytest.mark.parametrize("config", EVERY, ids=repr)
def test_every_loss_is_of_full_precision(config):
    """Also inside the region where the model's products are in bf16."""
    loss, outputs, targets = case(config)
    half = outputs.bfloat16()
    expected = float(loss.total(half.float(), targets))
    with torch.autocast("cpu", torch.bfloat16):
        total = loss.total(half, targets)
    assert total.dtype == torch.float32
    assert float(total) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("config", EVERY, ids=repr)
@pytest.mark.parametrize("device", ["meta", "cuda"])
def test_losses_follow_their_outputs_to_a_device(config, device):
    """On 'meta' there are no numbers: a tensor left behind, or a sum that waits for one, is an error."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    loss, outputs, targets = case(config)
    expected = float(loss.total(outputs, targets))
    total = loss.total(outputs.to(device), targets.to(device))
    count = loss.count(targets.to(device))
    assert total.device.type == count.device.type == device
    assert total.shape == count.shape == ()
    if device == "cuda":
        assert float(total) == pytest.approx(expected, rel=1e-4)
        assert float(count) == pytest.approx(float(loss.count(targets)), rel=1e-6)
