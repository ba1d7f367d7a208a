from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import fits
import pytest
import torch

from overtone.errors import RunError
from overtone.training import checkpoint
from overtone.training.stopping import InterruptedFitError
from toys import build_loop, build_model, identical, parameters, records, settings

SHORT = {
    "epochs": 3,
    "batch_size": 4,
    "checkpoint_every": 1,
    "schedule": {"kind": "linear", "warmup_steps": 2},
}


class KilledError(BaseException):
    """The end of the process; nothing in the package catches it."""


@pytest.fixture(scope="module")
def model(tiny):
    """A model with dropout, so that the random state matters; copied for each fit."""
    return build_model(tiny, dropout=0.1)


def loop_of(model, folder, config=None, **changes):
    return build_loop(copy.deepcopy(model), folder, config or settings(**SHORT), rows=records(8), **changes)


def history(loop):
    return [{k: v for k, v in row.items() if k != "rows_per_second"} for row in loop.run.history()]


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """The fit that nobody stopped."""
    loop = loop_of(model, tmp_path_factory.mktemp("whole"))
    fit = loop.fit()
    return fit, parameters(loop.model), history(loop)


def same(loop, fit, whole):
    expected, tensors, rows = whole
    assert fit.final_loss == expected.final_loss
    assert (fit.steps, fit.best, fit.best_step) == (expected.steps, expected.best, expected.best_step)
    assert identical(parameters(loop.model), tensors)
    assert history(loop) == rows


def saved(folder):
    """The step from which a fit would go on."""
    last = folder / "checkpoints" / "last"
    if not checkpoint.exists(last):
        return 0
    return checkpoint._read_folder(last)[1]["progress"]["step"]


def doomed(monkeypatch, moment):
    """Die before the n-th of everything that touches a file; returns the counter."""
    count = [0]

    def before(owner, name):
        real = getattr(owner, name)

        def wrapped(*args, **named):
            count[0] += 1
            if count[0] == moment:
                raise KilledError
            return real(*args, **named)

        monkeypatch.setattr(owner, name, wrapped)

    for owner, name in (
        (os, "fsync"),
        (Path, "replace"),
        (Path, "rename"),
        (shutil, "rmtree"),
        (Path, "open"),
    ):
        before(owner, name)
    return count


def test_the_moments_to_die_at_are_all_there(model, tmp_path, monkeypatch):
    count = doomed(monkeypatch, -1)
    loop_of(model, tmp_path).fit()
    assert 60 < count[0] < 160


@pytest.mark.parametrize("first", [1, 2, 3])
def test_killed_at_any_moment_and_resumed(model, whole, tmp_path, first):
    """Before every ninth write, rename and removal, from the given one on: nothing is lost or twice."""
    for moment in range(first, 160, 9):
        folder = tmp_path / str(moment)
        with pytest.MonkeyPatch.context() as patch:
            doomed(patch, moment)
            dead = loop_of(model, folder)
            try:
                dead.fit()
            except KilledError:
                assert dead.progress.step - saved(folder) <= 1
            else:
                break  # the fit ended before that moment
        again = loop_of(model, folder)
        same(again, again.fit(), whole)
    assert moment > 60


def finished(folder, out, weights):
    """Run a fit to its end in a process; its figures and parameters."""
    process = fits.start(fits.fit, weights, folder, out)
    process.join()
    assert process.exitcode == 0
    return json.loads(out.read_text()), torch.load(out.with_suffix(".pt"), weights_only=True)


@pytest.fixture(scope="module")
def whole_process(tiny, tmp_path_factory):
    """A longer fit, in a process that nobody killed."""
    folder = tmp_path_factory.mktemp("process")
    return finished(folder / "run", folder / "out.json", tiny)


@pytest.mark.parametrize("rows", [1, 33])
def test_a_process_is_killed_and_resumed(tiny, tmp_path, whole_process, rows):
    """The real thing: SIGKILL from outside, and a new process that goes on."""
    folder, out = tmp_path / "run", tmp_path / "out.json"
    process = fits.start(fits.fit, tiny, folder, out)
    metrics = folder / "metrics.jsonl"
    fits.wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= rows)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not out.exists()
    figures, tensors = finished(folder, out, tiny)
    assert figures == whole_process[0]
    assert identical(tensors, whole_process[1])


def interrupting(loop, step, *numbers):
    """Send this process signals while a step is under way."""
    real = loop._step

    def wrapped(*args):
        if loop.progress.step == step:
            for number in numbers:
                signal.raise_signal(number)
        return real(*args)

    loop._step = wrapped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_stopped_fit_is_resumable(model, whole, tmp_path, number, step):
    handler = signal.getsignal(number)
    loop = loop_of(model, tmp_path, settings(**{**SHORT, "checkpoint_every": 100}))
    interrupting(loop, step, number)
    with pytest.raises(InterruptedFitError, match=f"stopped after step {step + 1}") as caught:
        loop.fit()
    assert caught.value.hint == f"overtone run {tmp_path}"
    assert signal.getsignal(number) is handler
    again = loop_of(model, tmp_path)
    same(again, again.fit(), whole)


def test_stopped_while_it_validates(model, whole, tmp_path):
    """Also after the last epoch, where no step follows that could notice."""
    loop = loop_of(model, tmp_path)
    judge, calls = loop.validate, []

    def validate(model):
        calls.append(None)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return judge(model)

    loop.validate = validate
    with pytest.raises(InterruptedFitError, match="stopped after step 6"):
        loop.fit()
    again = loop_of(model, tmp_path)
    same(again, again.fit(), whole)


def test_a_second_signal_stops_at_once(model, whole, tmp_path):
    loop = loop_of(model, tmp_path)
    interrupting(loop, 3, signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.fit()
    again = loop_of(model, tmp_path)
    same(again, again.fit(), whole)


def test_a_fit_in_a_thread_leaves_signals_alone(model, whole, tmp_path):
    loop = loop_of(model, tmp_path)
    found = []
    thread = threading.Thread(target=lambda: found.append(loop.fit()))
    thread.start()
    thread.join()
    same(loop, found[0], whole)


def test_out_of_patience_stays_out_of_patience(model, tmp_path):
    """Killed between the last checkpoint and the model's folder, a resumed fit does not train on."""
    stopping = {"metric": "emotion.accuracy", "patience": 1}
    config = settings(**{**SHORT, "epochs": 9}, early_stopping=stopping)
    figures = iter([0.5, 0.5])
    loop = loop_of(model, tmp_path, config, validate=lambda _: {"emotion.accuracy": next(figures)})
    fit = loop.fit()
    assert (fit.epochs, fit.stopped_early) == (2, True)
    again = loop_of(model, tmp_path, config, validate=lambda _: pytest.fail("it went on"))
    resumed = again.fit()
    assert resumed == fit
    assert identical(parameters(again.model), parameters(loop.model))


def test_a_plateau_is_resumed(model, tmp_path):
    """The cuts of the rate are a part of the state."""
    schedule = {"kind": "plateau", "warmup_steps": 1, "patience": 0, "factor": 0.5}
    config = settings(**{**SHORT, "epochs": 4, "schedule": schedule})

    def validator():
        return lambda model: {"loss": 1.0}

    one = loop_of(model, tmp_path / "one", config, validate=validator())
    one.fit()
    broken = loop_of(model, tmp_path / "two", config, validate=validator())
    interrupting(broken, 5, signal.SIGINT)
    with pytest.raises(InterruptedFitError):
        broken.fit()
    again = loop_of(model, tmp_path / "two", config, validate=validator())
    again.fit()
    assert history(again) == history(one)
    assert {row["lr"] for row in history(one) if "lr" in row} >= {3e-3, 1.5e-3, 7.5e-4}


@pytest.fixture
def stopped(model, tmp_path):
    """The folder of a fit that was stopped after three of six steps."""
    loop = loop_of(model, tmp_path)
    interrupting(loop, 2, signal.SIGINT)
    with pytest.raises(InterruptedFitError):
        loop.fit()
    return tmp_path


FILES = ["model.safetensors", "optimizer.safetensors", "random.safetensors", "state.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_checkpoint_cut_short_is_named(model, stopped, name, share):
    path = stopped / "checkpoints" / "last" / name
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(RunError, match=f"{name} is damaged") as caught:
        loop_of(model, stopped).fit()
    assert caught.value.hint


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(model, stopped, name):
    (stopped / "checkpoints" / "last" / name).unlink()
    with pytest.raises(RunError, match=name):
        loop_of(model, stopped).fit()


def test_a_checkpoint_changed_by_one_bit_is_found(model, stopped):
    path = stopped / "checkpoints" / "last" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match=r"model\.safetensors is damaged or cut short"):
        loop_of(model, stopped).fit()


def test_between_the_two_renames(model, whole, stopped):
    last = stopped / "checkpoints" / "last"
    last.rename(last.with_name(".last.old"))
    assert checkpoint.exists(last)
    again = loop_of(model, stopped)
    same(again, again.fit(), whole)
    assert not last.with_name(".last.old").exists()


@pytest.mark.parametrize("moment", range(19, 31))
def test_killed_twice(model, whole, stopped, moment):
    """Between the two renames, and again before the next checkpoint stands: one is always whole."""
    last = stopped / "checkpoints" / "last"
    last.rename(last.with_name(".last.old"))
    with pytest.MonkeyPatch.context() as patch:
        doomed(patch, moment)
        with pytest.raises(KilledError):
            loop_of(model, stopped).fit()
    assert saved(stopped) >= 3
    again = loop_of(model, stopped)
    same(again, again.fit(), whole)


def test_a_checkpoint_of_another_model_is_refused(tiny, stopped):
    other = build_model(tiny)
    other.heads["emotion"].requires_grad_(False)
    with pytest.raises(RunError, match="of another model"):
        build_loop(other, stopped, settings(**SHORT), rows=records(8)).fit()
    wider = build_model(tiny)
    wider.heads["emotion"].layers[1] = torch.nn.Linear(32, 4)
    with pytest.raises(RunError, match=r"is \(3,.*, not \(4,"):
        build_loop(wider, stopped, settings(**SHORT), rows=records(8)).fit()


def test_nothing_is_pickled(stopped):
    for path in (stopped / "checkpoints").rglob("*"):
        assert path.is_dir() or path.suffix in (".json", ".safetensors")


def test_a_full_disk(tiny, tmp_path, whole_process):
    """No file may grow any more: the older checkpoint stays whole, and with space again the fit goes on."""
    folder, out = tmp_path / "run", tmp_path / "out.json"
    process = fits.start(fits.fit, tiny, folder, out, 4)
    process.join()
    assert process.exitcode == 3
    result = json.loads(out.read_text())
    assert result["error"] == "RunError"
    assert "could not write" in result["message"]
    assert "free some space" in result["message"]
    state = json.loads((folder / "checkpoints" / "last" / "state.json").read_text())
    assert state["progress"]["step"] == 4
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["last"]

    figures, tensors = finished(folder, out, tiny)
    assert figures == whole_process[0]
    assert identical(tensors, whole_process[1])


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB, of this test's own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_file_system_without_space(model, whole, small_disk):
    folder, filler = small_disk / "run", small_disk / "filler"
    loop = loop_of(model, folder)
    step = loop._step

    def filling(*args):
        if loop.progress.step == 3:
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 4096)
                except OSError:
                    pass
        return step(*args)

    loop._step = filling
    with pytest.raises(RunError, match="could not write"):
        loop.fit()
    state = json.loads((folder / "checkpoints" / "last" / "state.json").read_text())
    assert state["progress"]["step"] == 3
    filler.unlink()
    again = loop_of(model, folder)
    same(again, again.fit(), whole)
