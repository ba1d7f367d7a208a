from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fits
import mixes
import pytest
import torch

from overtone import pipeline, recipe
from overtone.errors import RunError, TrainingError
from overtone.run import Run
from overtone.training import checkpoint, optim
from overtone.training.processes import accelerator
from toys import build_loop, build_model, parameters, records, settings, task


def whole_recipe(tiny, table):
    """A recipe without dropout, whose random numbers are each process's own."""
    return recipe.parse(
        {
            "name": "together",
            "body": {"weights": str(tiny), "dropout": 0.0},
            "adapter": {"dropout": 0.0},
            "tasks": {"emotion": task(table)},
            "train": {"epochs": 1, "precision": "fp32", "batch_size": 16, "log_every": 1},
            "evaluate": {"baselines": ["majority"], "resamples": 100},
        },
        "test",
    )


@pytest.fixture(scope="module")
def together(tiny, table, tmp_path_factory):
    """What two processes made of the fits, started by torchrun on the CPU."""
    out = tmp_path_factory.mktemp("together")
    (out / "recipe.yaml").write_text(whole_recipe(tiny, table).to_yaml())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    path = os.pathsep.join([str(Path(fits.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, fits.__file__, str(tiny), str(out)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@pytest.mark.parametrize("number", range(len(fits.shared())))
def test_two_processes_are_one(tiny, tmp_path, together, number):
    config, rows = fits.shared()[number]
    model = build_model(tiny).double()
    loop = build_loop(model, tmp_path, config, rows=records(rows))
    loop.fit()
    shared = Run(together / str(number))
    alone, both = loop.run.history(), shared.history()
    assert [row["step"] for row in both] == [row["step"] for row in alone]  # one process writes, not two
    for one, other in zip(both, alone, strict=True):
        for key in ("loss", "lr", "gradient_norm"):
            assert one.get(key) == pytest.approx(other.get(key), abs=1e-5)
        assert one.get("validation") == pytest.approx(other.get("validation"), abs=1e-5)
    mine = parameters(model)
    for rank in (0, 1):
        theirs = torch.load(together / f"{number}.{rank}.pt", weights_only=True)
        assert max(float((mine[name] - theirs[name]).abs().max()) for name in mine) < 1e-5


def test_two_processes_leave_a_head_without_rows_alone_as_one_does(tiny, tmp_path, together):
    model = mixes.build(tiny).double()
    loop = mixes.loop_of(tiny, tmp_path, settings(epochs=2), model=model)
    loop.fit()
    rows, both = loop.run.history(), Run(together / "mixed").history()
    assert any(len(row["losses"]) < len(mixes.KINDS) for row in rows if "losses" in row)
    for one, other in zip(rows, both, strict=True):
        assert one.get("losses") == pytest.approx(other.get("losses"), abs=1e-5)
    mine = parameters(model)
    for rank in (0, 1):
        theirs = torch.load(together / f"mixed.{rank}.pt", weights_only=True)
        assert max(float((mine[name] - theirs[name]).abs().max()) for name in mine) < 1e-5


def test_a_whole_run_of_two_processes(tiny, table, tmp_path, together):
    """Both train; one of them claims the folder, writes, evaluates and reports."""
    alone = pipeline.run(whole_recipe(tiny, table), Run(tmp_path / "alone"))
    both = Run(together / "run")
    losses = [[row["loss"] for row in run.history() if "loss" in row] for run in (alone, both)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert {path.name for path in both.folder.iterdir()} == {path.name for path in alone.folder.iterdir()}
    assert both.facts()["fit"]["steps"] == alone.facts()["fit"]["steps"]


def test_a_checkpoint_of_two_processes_is_not_resumed_by_one(tiny, tmp_path, together):
    states = together / "0" / "checkpoints" / "last"
    model = build_model(tiny).double()
    optimizer = optim.build(model, settings().optim)
    with pytest.raises(RunError, match="of 2 processes, and now there are 1") as caught:
        checkpoint.resume(states, optimizer, 0, 1)
    assert "start 2" in caught.value.hint
    checkpoint.resume(states, optimizer, 1, 2)


def test_a_checkpoint_of_one_process_is_not_resumed_by_two(tiny, tmp_path):
    build_loop(build_model(tiny), tmp_path, settings(epochs=1)).fit()
    model = build_model(tiny)
    optimizer = optim.build(model, settings().optim)
    for process in (0, 1):
        with pytest.raises(RunError, match="of 1 processes, and now there are 2"):
            checkpoint.resume(tmp_path / "checkpoints" / "last", optimizer, process, 2)


def test_fewer_processes_than_were_started_is_an_error(monkeypatch):
    accelerator()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="2 processes were started, but 1 take part") as caught:
        accelerator()
    assert "torchrun" in caught.value.hint


def test_a_run_belongs_to_one_process_until_it_ends(tmp_path):
    folder, ready = tmp_path / "run", tmp_path / "ready"
    holder = fits.start(fits.hold, folder, ready)
    try:
        fits.wait_for(ready.exists)
        with pytest.raises(RunError, match="another process works in") as caught, Run(folder).lock():
            pass
        assert "--name" in caught.value.hint
    finally:
        holder.kill()
        holder.join()
    with Run(folder).lock():  # a process that was killed holds nothing
        pass


def test_the_processes_of_one_fit_share_its_folder(tmp_path, monkeypatch):
    with Run(tmp_path).lock():
        monkeypatch.setenv("RANK", "1")
        with Run(tmp_path).lock():
            pass
