from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from overtone.errors import RunError
from overtone.training import weighting
from overtone.training.weighting import (
    EqualConfig,
    FixedConfig,
    InverseVarianceConfig,
    UncertaintyConfig,
    WeightingConfig,
)

KINDS = {"emotion": "multilabel", "vad": "regression", "intent": "classification"}
FIXED = {"emotion": 1.5, "vad": 1.0, "intent": 0.8}
CONFIGS = [FixedConfig(), EqualConfig(), UncertaintyConfig(), InverseVarianceConfig(window=5)]

finite = st.floats(0, 3e38, allow_nan=False, allow_infinity=False)
"""What a loss in fp32 can be."""


def build(config, kinds=KINDS):
    return weighting.build(config, {name: FIXED[name] for name in kinds}, kinds)


def after(config, losses, steps, kinds=KINDS):
    """A weighting that saw the same losses at every step."""
    made = build(config, kinds)
    for _ in range(steps):
        made.observe(losses)
    return made


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("fixed", FixedConfig()),
        ("equal", EqualConfig()),
        ("uncertainty", UncertaintyConfig(bound=3.0)),
        ("inverse_variance", InverseVarianceConfig()),
    ],
)
def test_a_kind_picks_the_config(kind, config):
    assert TypeAdapter(WeightingConfig).validate_python({"kind": kind}) == config


def test_bounds_of_the_settings():
    for values in ({"bound": 0}, {"bound": 21}, {"lr": 0}):
        with pytest.raises(ValidationError):
            UncertaintyConfig(**values)
    for values in ({"window": 1}, {"floor": 0}):
        with pytest.raises(ValidationError):
            InverseVarianceConfig(**values)


def test_fixed_and_equal():
    losses = {"emotion": 3.0, "vad": 0.1}
    assert after(FixedConfig(), losses, 10).weights() == FIXED
    assert after(EqualConfig(), losses, 10).weights() == dict.fromkeys(KINDS, 1.0)


def test_a_step_of_uncertainty_by_hand():
    """At s = 0: classes move by −lr (½ − L), regression by −lr (½ − L / 2); a task without rows stays."""
    made = build(UncertaintyConfig(lr=0.1))
    assert made.weights() == {"emotion": 1.0, "vad": 0.5, "intent": 1.0}
    made.observe({"emotion": 2.5, "vad": 0.2})
    assert made.state()["log_variance"] == pytest.approx({"emotion": 0.2, "vad": -0.04, "intent": 0.0})
    assert made.weights() == pytest.approx(
        {"emotion": math.exp(-0.2), "vad": math.exp(0.04) / 2, "intent": 1.0}
    )
    made.observe({"emotion": 1.0})
    moved = 0.2 - 0.1 * (0.5 - math.exp(-0.2))
    assert made.state()["log_variance"]["emotion"] == pytest.approx(moved)


@given(losses=st.lists(st.floats(0, 5), min_size=1, max_size=30))
@settings(max_examples=25)
def test_uncertainty_is_autograd_s_descent(losses):
    """Against the paper's objective with s as a parameter of SGD, clamped after each step."""
    made = build(UncertaintyConfig(lr=0.05, bound=1.0))
    s = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([s], lr=0.05)
    for loss in losses:
        classes = (-s[0]).exp() * loss + s[0] / 2
        numbers = (-s[1]).exp() * (2 * loss) / 2 + s[1] / 2
        optimizer.zero_grad()
        (classes + numbers).backward()
        optimizer.step()
        with torch.no_grad():
            s.clamp_(-1, 1)
        made.observe({"emotion": loss, "vad": 2 * loss})
    found = made.state()["log_variance"]
    assert [found["emotion"], found["vad"]] == pytest.approx(s.tolist(), abs=1e-9)


@pytest.mark.parametrize("loss", [0.1, 0.5, 1.0, 4.0])
def test_uncertainty_rests_where_every_task_has_the_same_share(loss):
    """For a constant loss d/ds = 0 at exp(s) = 2 c L, which makes weight × loss ½ in every task."""
    losses = dict.fromkeys(KINDS, loss)
    made = after(UncertaintyConfig(lr=0.05), losses, 2000)
    weights = made.weights()
    assert weights == pytest.approx(dict.fromkeys(KINDS, 1 / (2 * loss)), rel=1e-6)
    assert math.exp(made.state()["log_variance"]["intent"]) == pytest.approx(2 * loss, rel=1e-6)
    assert math.exp(made.state()["log_variance"]["vad"]) == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_no_weight_diverges_when_a_loss_goes_to_0(config):
    """Thousands of steps in which one head learns its data by heart, and another never learns."""
    made = build(config)
    random = np.random.default_rng(0)
    highest = {"fixed": 1.5, "equal": 1.0, "uncertainty": math.exp(3.0), "inverse_variance": 3.0}[config.kind]
    for step in range(6000):
        noise = 1 + 0.1 * random.standard_normal()
        made.observe({"emotion": noise * math.exp(-step / 20), "vad": 0.9 * noise, "intent": 1e6 * noise})
        weights = made.weights()
        assert all(math.isfinite(weight) and weight > 0 for weight in weights.values())
        assert max(weights.values()) <= highest + 1e-9
    made.observe(dict.fromkeys(KINDS, 0.0))  # and to 0 itself
    assert max(made.weights().values()) <= highest + 1e-9


def test_training_goes_on_beside_a_head_that_is_done():
    """Two linear heads on one linear body: one fits its targets exactly, the other has noise to the end."""
    torch.manual_seed(0)
    inputs = torch.randn(64, 4)
    body, heads = torch.nn.Linear(4, 4), {name: torch.nn.Linear(4, 1) for name in ("vad", "intent")}
    noise = torch.randn(64, 1)
    targets = {"vad": inputs @ torch.randn(4, 1), "intent": inputs.sum(dim=1, keepdim=True) + noise}
    parameters = [p for module in (body, *heads.values()) for p in module.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.005)
    made = build(UncertaintyConfig(lr=0.05), {"vad": "regression", "intent": "classification"})
    for _ in range(3000):
        losses = {name: (head(body(inputs)) - targets[name]).square().mean() for name, head in heads.items()}
        weights = made.weights()
        optimizer.zero_grad()
        sum(weights[name] * loss for name, loss in losses.items()).backward()
        optimizer.step()
        made.observe({name: loss.item() for name, loss in losses.items()})
    assert losses["vad"].item() < 1e-6
    assert made.weights()["vad"] == pytest.approx(math.exp(3) / 2)
    noise_left = losses["intent"].item()
    least = np.linalg.lstsq(np.c_[inputs, np.ones(64)], targets["intent"], rcond=None)[1].item() / 64
    assert noise_left == pytest.approx(least, rel=0.01)
    assert made.weights()["intent"] == pytest.approx(1 / (2 * noise_left), rel=0.01)


def test_a_bound_is_reached_and_left_again():
    """A weight that stood at its bound comes down when the loss returns."""
    made = after(UncertaintyConfig(bound=1.0, lr=0.1), dict.fromkeys(KINDS, 0.0), 1000)
    top = made.weights()
    assert top == pytest.approx({"emotion": math.e, "vad": math.e / 2, "intent": math.e})
    made.observe(dict.fromkeys(KINDS, 1.0))
    assert all(made.weights()[name] < top[name] for name in KINDS)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
@given(steps=st.lists(st.dictionaries(st.sampled_from(sorted(KINDS)), finite), max_size=40))
@settings(max_examples=50)
def test_weights_are_finite_and_positive_whatever_the_losses(config, steps):
    made = build(config)
    for losses in steps:
        made.observe(losses)
        weights = made.weights()
        assert weights.keys() == KINDS.keys()
        assert all(math.isfinite(weight) and weight > 0 for weight in weights.values())
        if config.kind == "uncertainty":
            scale = {"emotion": 1.0, "vad": 0.5, "intent": 1.0}
            assert all(
                abs(math.log(weight / scale[name])) <= config.bound + 1e-9 for name, weight in weights.items()
            )
        if config.kind == "inverse_variance":
            assert sum(weights.values()) == pytest.approx(len(KINDS))


def test_inverse_variance_by_hand():
    """Variances of the last three: 2/3 of (1, 2, 3), 6 of (0, 3, 6), 0 of (5, 5, 5), taken as 1/3."""
    made = build(InverseVarianceConfig(window=3, floor=1 / 3))
    for losses in ((9.0, 9.0, 9.0), (1.0, 0.0, 5.0), (2.0, 3.0, 5.0)):
        assert made.weights() == dict.fromkeys(KINDS, 1.0)
        made.observe(dict(zip(KINDS, losses, strict=True)))
    made.observe(dict(zip(KINDS, (3.0, 6.0, 5.0), strict=True)))
    total = 3 / 2 + 1 / 6 + 3
    expected = {"emotion": 3 * 1.5 / total, "vad": 3 / 6 / total, "intent": 9 / total}
    assert made.weights() == pytest.approx(expected)


def test_inverse_variance_is_numpy_s():
    random = np.random.default_rng(2)
    losses = random.gamma(2.0, size=(30, 3)) * [1.0, 0.3, 2.0]
    made = build(InverseVarianceConfig(window=10))
    for row in losses:
        made.observe(dict(zip(KINDS, row.tolist(), strict=True)))
    inverse = 1 / losses[-10:].var(axis=0)
    assert list(made.weights().values()) == pytest.approx(3 * inverse / inverse.sum())


def test_weights_are_1_until_every_task_has_enough_losses():
    """The slowest task decides; a step without its rows adds nothing to its window."""
    made = after(InverseVarianceConfig(window=4), {"emotion": 1.0, "vad": 2.0}, 50)
    for loss in (1.0, 2.0, 3.0):
        made.observe({"intent": loss})
        assert made.weights() == dict.fromkeys(KINDS, 1.0)
    made.observe({"intent": 4.0})
    assert made.weights()["intent"] < 0.01 < made.weights()["emotion"]


def test_one_task_keeps_its_weight():
    made = after(InverseVarianceConfig(window=2), {"vad": 1.0}, 5, kinds={"vad": "regression"})
    assert made.weights() == pytest.approx({"vad": 1.0})


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_a_resumed_weighting_goes_on_to_the_bit(config):
    """Through JSON, as in a checkpoint."""
    random = np.random.default_rng(1)
    rows = [dict(zip(KINDS, random.gamma(2.0, size=3).tolist(), strict=True)) for _ in range(30)]
    whole, first, second = build(config), build(config), build(config)
    for losses in rows[:13]:
        whole.observe(losses)
        first.observe(losses)
    second.restore(json.loads(json.dumps(first.state())))
    for losses in rows[13:]:
        whole.observe(losses)
        second.observe(losses)
        assert second.weights() == whole.weights()
    assert second.state() == whole.state()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_a_state_of_something_else_is_refused(config):
    others = [build(other).state() for other in CONFIGS if build(other).state() != build(config).state()]
    others.append(build(UncertaintyConfig(), kinds={"vad": "regression"}).state())
    for state in others:
        with pytest.raises(RunError, match="another weighting"):
            build(config).restore(state)


def test_a_state_is_a_copy():
    made = after(InverseVarianceConfig(window=2), dict.fromkeys(KINDS, 1.0), 2)
    state = made.state()
    made.observe(dict.fromkeys(KINDS, 7.0))
    assert state["losses"]["vad"] == [1.0, 1.0]
    weights = made.weights()
    weights.clear()
    assert made.weights()
