from __future__ import annotations

import copy
import math

import pytest
import torch

from overtone.errors import TrainingError
from overtone.training.precision import LossScale, products
from overtone.training.stopping import InterruptedFitError
from overtone.training.tasks import Task
from toys import Judge, build_loop, build_model, identical, parameters, settings

HALF = settings(precision="fp16", epochs=2)


def losses_of(loop):
    return [row["loss"] for row in loop.run.history() if "loss" in row]


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_products_are_in_the_precision(precision, dtype):
    with products("cpu", precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_a_fit_in_fp16_is_nearly_one_in_fp32(tiny, tmp_path):
    found = {}
    for precision in ("fp32", "fp16"):
        loop = build_loop(build_model(tiny), tmp_path / precision, settings(precision=precision))
        loop.fit()
        found[precision] = losses_of(loop)
    assert found["fp16"] == pytest.approx(found["fp32"], rel=5e-3)
    assert found["fp16"] != found["fp32"]


def test_gradients_too_small_for_fp16_are_kept(tiny, tmp_path):
    """Of a loss that counts a hundred-thousandth Adam makes the same steps, if anything is left of it."""
    found = {}
    for precision in ("fp32", "fp16"):
        loop = build_loop(build_model(tiny), tmp_path / precision, settings(precision=precision, clip=1e9))
        (task,) = loop.tasks
        loop.tasks = [Task(task.name, task.kind, task.loss, 1e-5)]
        loop.fit()
        found[precision] = loop.run.history()[-2]["losses"]["emotion"]
    assert found["fp16"] == pytest.approx(found["fp32"], rel=2e-2)


def test_a_step_that_overflows_is_left_out_and_the_scale_halved(tiny, tmp_path):
    loop = build_loop(build_model(tiny), tmp_path, settings(precision="fp16", epochs=1, batch_size=40))
    (task,) = loop.tasks
    loop.tasks = [Task(task.name, task.kind, task.loss, 1e5)]
    before = parameters(loop.model)
    loop.fit()
    assert identical(before, parameters(loop.model))
    (row, _) = loop.run.history()
    assert row["gradient_norm"] is None
    assert math.isfinite(row["loss"])
    assert loop.scale.state()["scale"] == 2.0**15


def test_where_no_scale_is_left_it_says_so(tiny, tmp_path):
    loop = build_loop(build_model(tiny), tmp_path, settings(precision="fp16", epochs=30))
    (task,) = loop.tasks
    loop.tasks = [Task(task.name, task.kind, task.loss, 1e25)]
    with pytest.raises(TrainingError, match="overflows") as caught:
        loop.fit()
    assert "bf16" in caught.value.hint


def test_resumed_it_is_the_uninterrupted_fit(tiny, tmp_path):
    """The scale and how long it has held go on."""
    model = build_model(tiny, dropout=0.1)
    whole = build_loop(copy.deepcopy(model), tmp_path / "whole", HALF)
    whole.fit()

    class Dying(Judge):
        def __call__(self, judged):
            if len(calls) == 1:
                raise InterruptedFitError("stopped")
            calls.append(1)
            return super().__call__(judged)

    calls = []
    stopped = build_loop(copy.deepcopy(model), tmp_path / "cut", HALF)
    stopped.validate = Dying(stopped.model)
    with pytest.raises(InterruptedFitError):
        stopped.fit()
    resumed = build_loop(copy.deepcopy(model), tmp_path / "cut", HALF)
    resumed.fit()
    assert identical(parameters(resumed.model), parameters(whole.model))
    assert resumed.scale.state() == whole.scale.state()
    assert whole.scale.state()["_growth_tracker"] == 10


def test_in_other_precisions_nothing_is_scaled():
    scale = LossScale("cpu", "bf16")
    assert not scale.scales
    assert scale.state() == {}
    assert scale.scaled(torch.tensor(3.0)) == 3.0
