"""Several tasks in one fit: their rows mixed, their losses weighed, and a head without rows left alone."""

from __future__ import annotations

import dataclasses
import itertools
import signal

import numpy as np
import pytest
import torch
from mixes import WEIGHTS, build, loop_of, mixed
from torch.nn import functional

from overtone.data.batches import mixture, plan
from overtone.errors import UsageError
from overtone.training import losses
from overtone.training.stopping import InterruptedFitError
from toys import identical, parameters, settings


def logged(loop):
    return [row for row in loop.run.history() if "loss" in row]


def by_hand(model, data, rows):
    """The mean loss of each task that has rows among these, and the outputs that they come from."""
    outputs = model(*data.encoded.pad(rows))
    groups, found = data.groups[rows], {}
    for place, name in enumerate(("mood", "tone", "rare")):
        mine = torch.from_numpy(groups == place)
        if mine.any():
            gold, said = data.targets[name][rows][mine], outputs[name][mine]
            found[name] = (
                (said - gold).square().mean() if name == "tone" else functional.cross_entropy(said, gold)
            )
    return found


def test_losses_by_task_are_the_means_over_their_own_rows(tiny, tmp_path):
    """Every step of the fit again by hand: masked means, fixed weights, one AdamW."""
    rates = {"lr": 1e-3, "head_lr": 3e-3, "weight_decay": 0.0}
    config = settings(epochs=1, clip=1e9, optim=rates, schedule={"kind": "cosine", "warmup_steps": 0})
    loop = loop_of(tiny, tmp_path, config, model=build(tiny).double())
    loop.fit()
    model = build(tiny).double()
    data = mixed(model)
    optimizer = torch.optim.AdamW(
        [
            {"params": list(model.body.parameters()), "lr": 1e-3},
            {"params": list(model.heads.parameters()), "lr": 3e-3},
        ],
        weight_decay=0.0,
    )
    steps = plan(data.encoded.lengths, 8, 1, seed=7 * 100_003)
    for number, (rows, row) in enumerate(zip(steps, logged(loop), strict=True)):
        expected = by_hand(model.train(), data, rows[0])
        assert row["losses"] == pytest.approx({n: v.item() for n, v in expected.items()}, abs=1e-6)
        total = sum(WEIGHTS[name] * value for name, value in expected.items())
        assert row["loss"] == pytest.approx(sum(WEIGHTS[n] * row["losses"][n] for n in row["losses"]))
        assert row["weights"] == WEIGHTS
        optimizer.zero_grad()
        total.backward()
        for group, peak in zip(optimizer.param_groups, (1e-3, 3e-3), strict=True):
            group["lr"] = peak * 0.5 * (1 + np.cos(np.pi * number / len(steps)))
        optimizer.step()
    assert any(len(row["losses"]) < 3 for row in logged(loop))


def test_a_head_without_rows_in_a_step_stays_as_it_is(tiny, tmp_path):
    """Neither its weights nor its moments: no decay, no momentum."""
    loop = loop_of(tiny, tmp_path, settings(epochs=2))
    real, seen = loop._step, []

    def watched(micro_batches, total):
        before = {name: parameters(head) for name, head in loop.model.heads.items()}
        step = real(micro_batches, total)
        groups = set(loop.data.groups[micro_batches[0]].tolist())
        for place, (name, head) in enumerate(loop.model.heads.items()):
            assert identical(before[name], parameters(head)) is (place not in groups)
            assert (name in step.losses) is (place in groups)
        seen.append(len(groups))
        return step

    loop._step = watched
    loop.fit()
    assert min(seen) < 3


def test_accumulated_mixed_batches_are_one_batch(tiny, tmp_path):
    found = []
    for size, accumulation in ((2, 4), (8, 1)):
        config = settings(batch_size=size, accumulation=accumulation, epochs=2)
        loop = loop_of(tiny, tmp_path / str(size), config, model=build(tiny).double())
        loop.fit()
        found.append((parameters(loop.model), [row["losses"] for row in logged(loop)]))
    for one, other in zip(*(rows for _, rows in found), strict=True):
        assert one == pytest.approx(other, abs=1e-6)
    for name, tensor in found[0][0].items():
        assert torch.allclose(tensor, found[1][0][name], atol=1e-6), name


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_each_epoch_reads_the_rows_of_its_mixture(tiny, tmp_path, temperature):
    config = settings(epochs=3, mix={"temperature": temperature})
    loop = loop_of(tiny, tmp_path, config)
    real, read = loop._step, []

    def watched(micro_batches, total):
        read.append(list(itertools.chain(*micro_batches)))
        return real(micro_batches, total)

    loop._step = watched
    loop.fit()
    steps = len(read) // 3
    epochs = [sorted(itertools.chain(*read[i * steps : (i + 1) * steps])) for i in range(3)]
    for epoch, rows in enumerate(epochs):
        expected = mixture(loop.data.groups, temperature, 7 * 100_003 + epoch)
        assert rows == sorted(expected.tolist())
    counts = np.bincount(loop.data.groups[epochs[0]])
    assert (counts.tolist() == [24, 12, 2]) is (temperature == 1.0)
    if temperature > 1:
        assert counts[2] > 2
        assert epochs[0] != epochs[1]


CONFIGS = {
    "sampled": {"mix": {"temperature": 3.0}},
    "uncertainty": {"weighting": {"kind": "uncertainty", "lr": 0.5}},
    "inverse variance": {"weighting": {"kind": "inverse_variance", "window": 3}},
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("step", [2, 6])
def test_resumed_bit_for_bit(tiny, tmp_path, name, step):
    """In the middle of a sampled epoch, and with weights that follow the losses."""
    config = settings(epochs=3, checkpoint_every=100, **CONFIGS[name])
    whole = loop_of(tiny, tmp_path / "whole", config)
    whole.fit()
    broken = loop_of(tiny, tmp_path / "broken", config)
    real = broken._step

    def stopping(*args):
        if broken.progress.step == step:
            signal.raise_signal(signal.SIGTERM)
        return real(*args)

    broken._step = stopping
    with pytest.raises(InterruptedFitError):
        broken.fit()
    again = loop_of(tiny, tmp_path / "broken", config)
    again.fit()
    for one, other in zip(logged(again), logged(whole), strict=True):
        assert {**one, "rows_per_second": 0} == {**other, "rows_per_second": 0}
    assert identical(parameters(again.model), parameters(whole.model))
    if name != "sampled":
        assert logged(whole)[-1]["weights"] != logged(whole)[0]["weights"]


def test_the_weighting_is_told_the_losses_of_the_tasks_that_had_rows(tiny, tmp_path, monkeypatch):
    told = []

    class Told:
        def weights(self):
            return {"mood": 1.0, "tone": 2.0 + len(told), "rare": 1.0}

        def observe(self, losses):
            told.append(dict(losses))

        def state(self):
            return {}

    monkeypatch.setattr("overtone.training.weighting.build", lambda config, fixed, kinds: Told())
    loop = loop_of(tiny, tmp_path, settings(epochs=1))
    loop.fit()
    assert told == [row["losses"] for row in logged(loop)]
    assert [row["weights"]["tone"] for row in logged(loop)] == [2.0 + i for i in range(len(told))]


def test_the_weighting_is_built_of_the_tasks(tiny, tmp_path):
    for kind, expected in (("fixed", WEIGHTS), ("equal", dict.fromkeys(WEIGHTS, 1.0))):
        loop = loop_of(tiny, tmp_path / kind, settings(epochs=1, weighting={"kind": kind}))
        loop.fit()
        assert logged(loop)[0]["weights"] == expected


def test_a_loss_of_a_whole_step_is_not_divided(tiny, tmp_path):
    loop = loop_of(tiny, tmp_path, settings(accumulation=2, batch_size=4))
    made = losses.build(losses.ConcordanceConfig(), loop.data.targets["tone"], 2)
    loop.tasks[1] = dataclasses.replace(loop.tasks[1], loss=made)
    with pytest.raises(UsageError, match=r"the loss of 'tone' is of a whole step, .* in 2 pieces"):
        loop.fit()
    loop.config = settings(epochs=1)
    loop.fit()
    assert logged(loop)[0]["losses"]["tone"] > 0
