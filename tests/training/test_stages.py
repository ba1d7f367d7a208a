"""Progressive freezing: each stage trains its own layers and touches nothing else."""

from __future__ import annotations

import itertools
import signal

import pytest
import torch

from overtone.training.cache import StateCache
from overtone.training.stopping import InterruptedFitError
from toys import build_loop, build_model, identical, parameters, settings

PARTS = ("embeddings.", "layer.0.", "layer.1.", "heads.")


def staged(*tops, epochs=1):
    return {"kind": "progressive", "stages": [{"epochs": epochs, "top": top} for top in tops]}


def watched(model, folder, config, **changes):
    """A loop that notes the weights and the moments at the start and after each epoch."""
    seen = []
    loop = build_loop(model, folder, config, **changes)
    judge = loop.validate

    def validate(model):
        moments = {
            name: {key: value.clone() for key, value in loop.optimizer.state.get(parameter, {}).items()}
            for group in loop.optimizer.param_groups
            for name, parameter in zip(group["names"], group["params"], strict=True)
        }
        seen.append((parameters(model), moments))
        return judge(model)

    loop.validate = validate
    return loop, seen


def changed(before, after):
    """Which parts of the model differ."""
    names = {name for name in before if not torch.equal(before[name], after[name])}
    return {part for part in PARTS if any(part in name for name in names)}


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    ("tops", "trained"),
    [
        ((0, 1, None), [{"heads."}, {"layer.1.", "heads."}, set(PARTS)]),
        ((None, 0, 1), [set(PARTS), {"heads."}, {"layer.1.", "heads."}]),
        ((2, 0), [{"layer.0.", "layer.1.", "heads."}, {"heads."}]),
    ],
)
def test_each_stage_trains_its_layers_alone(encoder_folder, tmp_path, kind, cached, tops, trained):
    model = build_model(encoder_folder(kind))
    stopping = {"metric": "loss", "patience": 9}
    config = settings(epochs=len(tops), freeze=staged(*tops), early_stopping=stopping)
    start = parameters(model)
    loop, seen = watched(model, tmp_path, config, cache=StateCache(model) if cached else None)
    loop.fit()
    weights = [start, *(found for found, _ in seen)]
    assert [changed(*pair) for pair in itertools.pairwise(weights)] == trained
    for ((_, before), (_, after)), parts in zip(itertools.pairwise(seen), trained[1:], strict=True):
        for name, moments in before.items():  # moments of what is frozen stand still, steps included
            same = all(torch.equal(value, after[name][key]) for key, value in moments.items())
            assert same is (not any(part in name for part in parts)) or not moments


def test_what_was_ever_trained_is_written_and_counted(tiny, tmp_path):
    """Though the last stage trains the heads alone."""
    model = build_model(tiny)
    everything = sum(p.numel() for p in model.parameters())
    build_loop(model, tmp_path, settings(epochs=2, freeze=staged(None, 0))).fit()
    assert model.sizes()["trainable"] == everything
    assert model.body.frozen is None


def losses(loop):
    return [row["loss"] for row in loop.run.history() if "loss" in row]


def test_cached_stages_are_the_uncached_ones(tiny, tmp_path):
    """From a stage that trains all to one that trains the heads: the states are those of the new weights."""
    stopping = {"metric": "loss", "patience": 9}
    config = settings(epochs=6, freeze=staged(0, None, 0, 1, None, 1), early_stopping=stopping)
    found = {}
    for cached in (False, True):
        model = build_model(tiny, dropout=0.1)
        loop = build_loop(model, tmp_path / str(cached), config, cache=StateCache(model) if cached else None)
        loop.fit()
        found[cached] = losses(loop)
    assert found[True] == pytest.approx(found[False], abs=1e-5)


def staged_loop(tiny, folder, cached):
    config = settings(epochs=3, freeze=staged(0, 1, None), checkpoint_every=3)
    model = build_model(tiny, dropout=0.1)
    return build_loop(model, folder, config, cache=StateCache(model) if cached else None)


@pytest.fixture(scope="module")
def wholes(tiny, tmp_path_factory):
    """The fits that nobody stopped, uncached and cached."""
    loops = [staged_loop(tiny, tmp_path_factory.mktemp("whole"), cached) for cached in (False, True)]
    for loop in loops:
        loop.fit()
    return loops


@pytest.mark.parametrize(("step", "cached"), [(2, True), (4, True), (6, True), (8, False), (13, True)])
def test_resumed_inside_any_stage(tiny, tmp_path, step, cached, wholes):
    """Five steps an epoch, one epoch a stage; 4 is the last step of the first."""
    whole, broken = wholes[cached], staged_loop(tiny, tmp_path, cached)
    real = broken._step

    def stopping(*args):
        if broken.progress.step == step:
            signal.raise_signal(signal.SIGTERM)
        return real(*args)

    broken._step = stopping
    with pytest.raises(InterruptedFitError):
        broken.fit()
    again = staged_loop(tiny, tmp_path, cached)
    again.fit()
    assert losses(again) == losses(whole)
    assert identical(parameters(again.model), parameters(whole.model))
