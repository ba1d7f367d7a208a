"""A tiny model of three tasks, rows of each, and a fit of them all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from overtone.data.tokenize import encode
from overtone.models import store
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.models.model import Model
from overtone.run import Run
from overtone.training import losses
from overtone.training.loop import Loop, TrainConfig, TrainingData
from overtone.training.losses import MISSING
from overtone.training.tasks import Kind, Task
from toys import sentences

KINDS: dict[str, Kind] = {"mood": "classification", "tone": "regression", "rare": "classification"}
WEIGHTS = {"mood": 1.5, "tone": 0.5, "rare": 1.0}


def build(tiny: Path, seed: int = 0) -> Model:
    """A body with a head of three classes, one of two numbers and one of two classes."""
    torch.manual_seed(seed)
    head = HeadConfig(hidden=(), dropout=0.0)
    return store.build(
        EncoderConfig(weights=str(tiny), dropout=0.0),
        None,
        {"mood": (head, 3), "tone": (head, 2), "rare": (head, 2)},
    )


def mixed(model: Model, sizes: tuple[int, int, int] = (24, 12, 2)) -> TrainingData:
    """Rows of three tasks; each carries the targets of its own task alone."""
    texts = [text for text, _ in sentences(sum(sizes))]
    groups = np.repeat(np.arange(3), sizes)
    generator = torch.Generator().manual_seed(0)
    mood = torch.where(torch.from_numpy(groups == 0), torch.arange(len(texts)) % 3, MISSING)
    rare = torch.where(torch.from_numpy(groups == 2), torch.arange(len(texts)) % 2, MISSING)
    tone = torch.randn(len(texts), 2, generator=generator)
    tone[groups != 1] = torch.nan
    encoded = encode(model.body.tokenizer, texts, model.body.max_length)
    return TrainingData(encoded, {"mood": mood, "tone": tone, "rare": rare}, groups)


def tasks_of(data: TrainingData) -> list[Task]:
    """The tasks, each with its weight."""
    configs = {
        "classification": losses.CrossEntropyConfig(),
        "regression": losses.MeanSquaredErrorConfig(),
    }
    return [
        Task(name, kind, losses.build(configs[kind], data.targets[name], 3 if name == "mood" else 2), weight)
        for (name, kind), weight in zip(KINDS.items(), WEIGHTS.values(), strict=True)
    ]


def loop_of(tiny: Path, folder: Path, config: TrainConfig, *, model: Model | None = None) -> Loop:
    """A loop over them; its validation says the same every time."""
    model = model or build(tiny)
    data = mixed(model)
    folder.mkdir(parents=True, exist_ok=True)
    return Loop(model, tasks_of(data), data, lambda _: {"loss": 1.0}, config, Run(folder), seed=7)
