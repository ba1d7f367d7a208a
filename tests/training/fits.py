"""Fits in processes of their own, to be killed, starved and set to work together."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from overtone.errors import OvertoneError
from toys import build_loop, build_model, parameters, settings

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


def fit(
    weights: Path, folder: Path, out: Path, environment: dict[str, str], starve: int | None = None
) -> None:
    """Fit in this process; what came of it is written to ``out``.

    Args:
        weights: of the tiny encoder.
        folder: of the run.
        out: a JSON file for the result, beside which the parameters are written.
        environment: variables that torchrun would set.
        starve: the step from which no file may grow beyond 16 KiB, as on a full disk.
    """
    torch.set_num_threads(1)
    os.environ.update(environment)
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


def hold(folder: Path, ready: Path) -> None:
    """Hold a run's folder until killed."""
    from overtone.run import Run

    with Run(folder).lock():
        ready.touch()
        time.sleep(60)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.002)
