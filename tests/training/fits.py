"""Fits in processes of their own, to be killed, starved and set to work together."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mixes
import torch

from overtone import pipeline, recipe
from overtone.data.tokenize import encode
from overtone.errors import OvertoneError
from overtone.run import Run
from overtone.training import cache
from overtone.training.cache import StateCache
from overtone.training.loop import Loop, TrainConfig
from overtone.training.stopping import InterruptedFitError
from toys import build_loop, build_model, parameters, records, sentences, settings

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["peft", "overtone.pipeline", "transformers.models.bert.modeling_bert"])


def start(target: Callable[..., None], *args: Any) -> multiprocessing.process.BaseProcess:
    """Start a function in a fresh process, forked from a server that has imported the slow modules."""
    process = SERVER.Process(target=target, args=args)
    process.start()
    return process


def long_settings(**changes: Any) -> Any:
    """Twelve epochs of five steps, saved at every other step."""
    return settings(
        epochs=12, checkpoint_every=2, early_stopping={"metric": "loss", "patience": 12}, **changes
    )


def fit(weights: Path, folder: Path, out: Path, starve: int | None = None) -> None:
    """Fit in this process; what came of it is written to ``out``.

    Args:
        weights: of the tiny encoder.
        folder: of the run.
        out: a JSON file for the result, beside which the parameters are written.
        starve: the step from which no file may grow beyond 16 KiB, as on a full disk.
    """
    torch.set_num_threads(1)
    loop = build_loop(build_model(weights, dropout=0.1), folder, long_settings())
    if starve is not None:
        step = loop._step

        def starving(*args: Any) -> Any:
            if loop.progress.step == starve:
                resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, resource.RLIM_INFINITY))
            return step(*args)

        loop._step = starving  # type: ignore[method-assign]
    try:
        with loop.run.lock():
            done = loop.fit()
    except OvertoneError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        out.write_text(json.dumps({"error": type(error).__name__, "message": str(error)}))
        raise SystemExit(3) from None
    torch.save(parameters(loop.model), out.with_suffix(".pt"))
    out.write_text(json.dumps({"loss": done.final_loss, "steps": done.steps}))


def keep_states(weights: Path, folder: str, limit: int | None = None, out: Path | None = None) -> None:
    """Compute the states of some texts in this process, and keep them on disk.

    Args:
        weights: of the tiny encoder.
        folder: of the cache.
        limit: bytes beyond which no file may grow, as on a full disk.
        out: what to write standard error to.
    """
    os.environ["OVERTONE_CACHE"] = folder
    torch.set_num_threads(1)
    cache.SLOW = -1.0
    model = build_model(weights)
    model.body.freeze(2)
    encoded = encode(model.body.tokenizer, [text for text, _ in sentences(20)], model.body.max_length)
    heard = io.StringIO()
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    with contextlib.redirect_stderr(heard):
        states = StateCache(model)(encoded, bf16=False)
    assert states is not None
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if out is not None:
        out.write_text(heard.getvalue())


def hold(folder: Path, ready: Path) -> None:
    """Hold a run's folder until killed."""
    with Run(folder).lock():
        ready.touch()
        time.sleep(60)


def shared() -> list[tuple[TrainConfig, int]]:
    """Settings and rows of fits that several processes share.

    Steps cut short; steps of a row or two; and stages that train more and then fewer layers.
    """
    tops = (0, None, 1)
    freeze = {"kind": "progressive", "stages": [{"epochs": 1, "top": top} for top in tops]}
    return [
        (settings(epochs=2), 37),
        (settings(epochs=1, batch_size=1, accumulation=3), 8),
        (settings(epochs=3, freeze=freeze), 16),
    ]


def work_together(weights: Path, out: Path) -> None:
    """What each process that torchrun starts does: the same fits, and then a whole run."""
    torch.set_num_threads(1)
    for number, (config, rows) in enumerate(shared()):
        model = build_model(weights).double()
        caching = StateCache(model)
        loop = build_loop(model, out / str(number), config, rows=records(rows), cache=caching)
        if number == 1:  # one process alone is asked to stop, and both go on later
            interrupt(loop, step=2, process=0)
            try:
                loop.fit()
            except InterruptedFitError:
                model = build_model(weights).double()
                loop = build_loop(model, out / str(number), config, rows=records(rows))
            else:
                raise AssertionError("it was not stopped")
        loop.fit()
        rank = loop.accelerator.process_index
        assert loop.accelerator.num_processes == 2
        torch.save(parameters(model), out / f"{number}.{rank}.pt")
    model = mixes.build(weights).double()
    mixes.loop_of(weights, out / "mixed", settings(epochs=2), model=model).fit()
    torch.save(parameters(model), out / f"mixed.{torch.distributed.get_rank()}.pt")
    pipeline.run(recipe.load(str(out / "recipe.yaml")), Run(out / "run"))
    torch.distributed.destroy_process_group()


def interrupt(loop: Loop, step: int, process: int) -> None:
    """Send one process Ctrl-C while it works on a step."""
    real = loop._step

    def wrapped(*args: Any) -> Any:
        if loop.progress.step == step and loop.accelerator.process_index == process:
            signal.raise_signal(signal.SIGINT)
        return real(*args)

    loop._step = wrapped  # type: ignore[method-assign]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.002)


if __name__ == "__main__":
    work_together(Path(sys.argv[1]), Path(sys.argv[2]))
