"""What this machine has, and whether it can train: ask it first when something is slow or missing."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from overtone import kinds, memory
from overtone.data.fetch import catalogue, locate
from overtone.data.records import Record
from overtone.data.sources import overtone_emotions
from overtone.errors import DataError, WeightsError
from overtone.evaluation.results import environment
from overtone.models import store, weights
from overtone.models.adapters import LoraConfig
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.models.model import Model
from overtone.run import Run
from overtone.training import losses, tasks
from overtone.training.loop import Loop, TrainConfig, TrainingData
from overtone.training.stopping import EarlyStopping

SECONDS = 8.0
"""About how long the smoke training takes; it ends with the epoch under way, so epochs are short."""
ROWS = 16


def examine(console: Console) -> dict[str, Any]:
    """Versions, threads, memory, devices, weights, data, and rows a second of a short LoRA training."""
    found: dict[str, Any] = {
        "versions": environment()["versions"],
        "hardware": environment()["hardware"],
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": _load(),
        "memory": _memory(),
        "disk": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free here",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "bf16": _bf16(),
        "weights": {name: str(weights.find(name) or "not at hand") for name in weights.CATALOGUE},
        "data": {name: _where(name) for name in catalogue()},
    }
    try:
        with console.status("training for a few seconds"):
            found["training"] = _smoke()
    except WeightsError as error:
        found["training"] = f"not tried: {error}"
    return found


def memory_of(recipe: str, overrides: Sequence[str]) -> dict[str, Any]:
    """What the largest step of a recipe takes of memory, an estimate, beside what this machine has.

    Raises:
        UsageError: no such recipe, or it tunes no decoder.
        WeightsError: nothing is known of the decoder's sizes.
    """
    found: dict[str, Any] = dict(memory.of(kinds.read(recipe, overrides)).as_dict())
    if torch.cuda.is_available():
        return {
            **found,
            "here": f"{torch.cuda.get_device_properties(0).total_memory / 1e9:.2f} GB on the GPU",
        }
    return {**found, "here": _memory()}


def _load() -> float | str:
    """Processes that wanted a core over the last minute; not every system counts them."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return "unknown"


def _memory() -> str:
    """Memory there is, and free where the system says (macOS does not)."""
    try:
        page = os.sysconf("SC_PAGE_SIZE") / 2**30
        found = f"{os.sysconf('SC_PHYS_PAGES') * page:.1f} GiB"
    except (AttributeError, ValueError, OSError):
        return "unknown"
    try:
        return f"{found}, {os.sysconf('SC_AVPHYS_PAGES') * page:.1f} GiB free"
    except (ValueError, OSError):
        return found


def _bf16() -> str:
    """Whether bf16 matrix products are faster here, measured side by side."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    times: dict[torch.dtype, float] = {}
    for kind in (torch.float32, torch.bfloat16):
        a = torch.randn(768, 768, device=device, dtype=kind)
        a @ a
        begun = time.perf_counter()
        for _ in range(10):
            (a @ a)[0, 0].item()
        times[kind] = time.perf_counter() - begun
    ratio = times[torch.float32] / times[torch.bfloat16]
    return f"{ratio:.1f} times the speed of fp32" + ("" if ratio > 1 else ": set train.precision=fp32")


def _where(name: str) -> str:
    try:
        return str(locate(catalogue()[name].card))
    except DataError:
        return "not at hand"


def _smoke() -> dict[str, str]:
    """LoRA on a few shipped rows, in both precisions."""
    source = overtone_emotions.SOURCE
    records = [row for row, _ in zip(source.records(locate(source.card)), range(ROWS), strict=False)]
    found = {}
    for precision in ("fp32", "bf16"):
        rows, loss, seconds = _train(records, precision)
        found[precision] = f"{rows / seconds:.0f} rows a second, loss {loss:.2f}"
    return found


def _train(records: list[Record], precision: str) -> tuple[int, float, float]:
    """A short fit: rows trained on, last loss, seconds."""
    labels = overtone_emotions.LABELS
    torch.manual_seed(0)
    model = store.build(EncoderConfig(), LoraConfig(), {"emotion": (HeadConfig(), len(labels))})
    encoded = model.body.encode([row.text for row in records])
    targets = tasks.encode_targets(records, "emotion", labels, "classification")
    loss = losses.build(losses.CrossEntropyConfig(), targets, len(labels))
    config = TrainConfig.model_validate(
        {
            "epochs": 1000,
            "batch_size": 8,
            "precision": precision,
            "log_every": 1,
            "early_stopping": {"metric": "loss"},
        }
    )
    begun = time.perf_counter()

    def enough(_: Model) -> dict[str, float]:
        """Pretend a gain until the time is up, so that patience ends the fit."""
        elapsed = time.perf_counter() - begun
        return {"loss": -elapsed if elapsed < SECONDS / 2 else 0.0}

    config = config.model_copy(update={"early_stopping": EarlyStopping(metric="loss", patience=1)})
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            model=model,
            tasks=[tasks.Task("emotion", "classification", loss, 1.0)],
            data=TrainingData(encoded, {"emotion": targets}),
            validate=enough,
            config=config,
            run=Run(Path(folder)),
            seed=0,
        )
        fit = loop.fit()
    return round(fit.rows_per_second * fit.seconds), fit.final_loss, fit.seconds
