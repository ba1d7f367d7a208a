from __future__ import annotations

import math
import sys

import pytest
import torch
from pydantic import ValidationError
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from overtone.errors import MissingExtraError
from overtone.models.adapters import LoraConfig
from overtone.training import checkpoint, optim
from overtone.training.optim import (
    CosineSchedule,
    LinearSchedule,
    OptimConfig,
    Plateau,
    PlateauSchedule,
    multiplier,
)
from toys import build_model, identical, parameters


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (8, 0.5), (12, 0.0), (13, 0.0)],
)
def test_cosine_by_hand(step, expected):
    """Four steps of warm-up, then half a cosine over eight: its middle is at step 8."""
    assert multiplier(CosineSchedule(warmup_steps=4), step, 12, Plateau()) == pytest.approx(expected)


def test_cosine_at_a_quarter():
    found = multiplier(CosineSchedule(warmup_steps=0), 25, 100, Plateau())
    assert found == pytest.approx((1 + math.sqrt(0.5)) / 2)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.25), (3, 1.0), (4, 1.0), (6, 0.75), (10, 0.25), (12, 0.0), (20, 0.0)]
)
def test_linear_by_hand(step, expected):
    assert multiplier(LinearSchedule(warmup_steps=4), step, 12, Plateau()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("config", "theirs"),
    [
        (CosineSchedule(warmup_steps=7), get_cosine_schedule_with_warmup),
        (LinearSchedule(warmup_steps=7), get_linear_schedule_with_warmup),
    ],
)
def test_schedules_are_those_of_transformers(config, theirs):
    """After warm-up at the same step; in warm-up one step ahead, since a first step at rate 0 is wasted."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = theirs(optimizer, 7, 40)
    factors = []
    for _ in range(41):
        factors.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    ours = [multiplier(config, step, 40, Plateau()) for step in range(41)]
    assert ours[7:] == pytest.approx(factors[7:])
    assert ours[:7] == pytest.approx(factors[1:8])


def test_a_fit_shorter_than_its_warm_up():
    for config in (CosineSchedule(warmup_steps=10), LinearSchedule(warmup_steps=10)):
        assert [multiplier(config, step, 4, Plateau()) for step in range(3)] == [0.5, 1.0, 1.0]
        assert multiplier(config, 3, 4, Plateau()) == pytest.approx(0.5)  # the middle of the way down
        assert multiplier(config, 0, 1, Plateau()) == 1.0
    config = PlateauSchedule(warmup_steps=10)
    assert [multiplier(config, step, 5, Plateau()) for step in range(5)] == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_plateau_by_hand():
    config = PlateauSchedule(warmup_steps=2, patience=1, factor=0.5)
    state = Plateau()
    assert multiplier(config, 0, 99, state) == 0.5
    found = []
    for gained in (True, False, False, False, True, False, False):
        state.after_validation(config, gained=gained)
        found.append(multiplier(config, 50, 99, state))
    assert found == [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25]
    assert multiplier(config, 1, 99, state) == 1.0  # warm-up is warm-up


def rate_of(groups, part):
    return {
        (group["peak"], group["weight_decay"]) for group in groups for name in group["names"] if part in name
    }


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_groups(encoder_folder, kind):
    model = build_model(encoder_folder(kind))
    config = OptimConfig(lr=0.1, head_lr=0.7, layer_decay=0.5, weight_decay=0.3)
    groups = optim.groups(model, config)
    named = dict(model.named_parameters())
    for group in groups:
        assert group["lr"] == group["peak"]
        for name, parameter in zip(group["names"], group["params"], strict=True):
            assert named[name] is parameter
            assert group["weight_decay"] == (0.3 if parameter.ndim > 1 else 0.0)
            assert (group["weight_decay"] == 0) == (name.endswith("bias") or "norm" in name.lower())
    assert sorted(name for group in groups for name in group["names"]) == sorted(named)
    assert rate_of(groups, "heads.") == {(0.7, 0.3), (0.7, 0.0)}
    assert rate_of(groups, "layer.1.") == {(0.1, 0.3), (0.1, 0.0)}  # the top one
    assert rate_of(groups, "layer.0.") == {(0.05, 0.3), (0.05, 0.0)}
    assert rate_of(groups, "word_embeddings") == {(0.025, 0.3)}


def test_groups_hold_what_is_trained_alone(tiny):
    model = build_model(tiny, adapter=LoraConfig(r=2))
    config = OptimConfig(lr=0.1, head_lr=0.7, layer_decay=0.5)
    groups = optim.groups(model, config)
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(name for name, p in model.named_parameters() if p.requires_grad)
    assert rate_of(groups, "layer.0.") == {(0.05, 0.01)}
    assert rate_of(groups, "layer.1.") == {(0.1, 0.01)}


def test_the_optimiser_is_adamw_as_configured(tiny):
    made = optim.build(build_model(tiny), OptimConfig(beta1=0.8, beta2=0.95))
    assert isinstance(made, torch.optim.AdamW)
    assert {group["betas"] for group in made.param_groups} == {(0.8, 0.95)}
    assert {group["weight_decay"] for group in made.param_groups} == {0.01, 0.0}


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_paged_it_is_the_same_optimiser(tiny):
    """On a CPU, where bitsandbytes pages nothing; on a GPU it is what ``build`` takes."""
    pytest.importorskip("bitsandbytes")
    config, found = OptimConfig(paged=True, lr=1e-2), []
    for make in (optim.build, lambda model, config: optim.paged(optim.groups(model, config), config)):
        model = build_model(tiny)
        made = make(model, config)
        for step in range(3):
            torch.manual_seed(step)
            for group in made.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.randn_like(parameter)
            made.step()
        found.append(parameters(model))
    assert type(made).__name__ == "PagedAdamW32bit"
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-6) for name in found[0])


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_paged_it_resumes(tiny, tmp_path):
    """Three steps are two, a checkpoint, and one more."""
    pytest.importorskip("bitsandbytes")

    def begun():
        model = build_model(tiny)
        return model, optim.paged(optim.groups(model, OptimConfig(lr=1e-2)), OptimConfig(paged=True))

    def go(made, steps):
        for step in steps:
            torch.manual_seed(step)
            for group in made.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.randn_like(parameter)
            made.step()

    (whole, one), (stopped, two), (resumed, three) = begun(), begun(), begun()
    go(one, range(3))
    go(two, range(2))
    state = checkpoint.State(checkpoint.Progress(step=2, loss=0.0), {}, {})
    checkpoint.save(tmp_path / "last", two, state, torch.get_rng_state()[None])
    assert checkpoint.resume(tmp_path / "last", three, 0, 1) == state
    go(three, [2])
    assert identical(parameters(resumed), parameters(whole))
    assert not identical(parameters(stopped), parameters(whole))


def test_paged_without_bitsandbytes_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match="bnb"):
        optim.paged([], OptimConfig(paged=True))


@pytest.mark.parametrize("values", [{"lr": 0}, {"layer_decay": 1.1}, {"beta1": 1.0}, {"weight_decay": -1}])
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        OptimConfig.model_validate(values)
