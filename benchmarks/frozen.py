"""What it saves to compute once what is frozen: beside the same loop without it, and transformers.Trainer.

Conversations of EmpatheticDialogues with 32 emotions, on MiniLM-L6, the sides in turn in one process. A
cached fit of a frozen backbone begins with an empty cache, and is timed whole: ten epochs, and the computing
and writing of the states. Elsewhere an epoch is the same work every time: two are timed, to count as ten.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from overtone.data.batches import Encoded
from overtone.data.tokenize import encode
from overtone.errors import DataError
from overtone.evaluation.results import Figure, write_results
from overtone.models import store
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.models.model import Model
from overtone.models.states import FrozenStates
from overtone.run import Run
from overtone.training import cache, losses, tasks
from overtone.training.cache import StateCache
from overtone.training.loop import Loop, TrainConfig, TrainingData

RESULTS = Path(__file__).parent / "results" / "frozen.json"
SEED = 7
EPOCHS = 10
TIMED = 2
"""Epochs that stand for ten of them, where each is the same work."""

COMPARED = 64
"""Rows of the fits whose losses are compared, where four layers are frozen."""


class WithLoss(nn.Module):
    """The same model, in the shape that Trainer wants."""

    def __init__(self, model: Model, loss: losses.Loss) -> None:
        super().__init__()
        self.inner = model
        self.loss = loss

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Ids, mask and classes → loss and logits."""
        logits = self.inner(input_ids, attention_mask)["emotion"]
        return {"loss": self.loss.total(logits, labels) / self.loss.count(labels), "logits": logits}


def fresh(labels: int) -> Model:
    """The same model at the start of every fit."""
    torch.manual_seed(SEED)
    head = HeadConfig(pooling="mean", hidden=(256, 128), dropout=0.3)
    return store.build(EncoderConfig(weights="minilm-l6"), None, {"emotion": (head, labels)})


def conversations(rows: int) -> tuple[TrainingData, int]:
    """The first rows of the training conversations, their turns joined, and how many emotions there are.

    Raises:
        DataError: the data set is not at hand.
    """
    path = Path(os.environ.get("OVERTONE_DATA", ".")) / "empathetic_dialogues" / "train.jsonl.gz"
    if not path.exists():
        raise DataError(f"{path} is missing", hint="set OVERTONE_DATA to the folder of the data sets")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in itertools.islice(file, rows)]
    body = fresh(2).body
    texts = [" ".join(turn["text"] for turn in row["utterances"]) for row in found]
    place = {name: i for i, name in enumerate(sorted({row["emotion"] for row in found}))}
    targets = torch.tensor([place[row["emotion"]] for row in found])
    return TrainingData(encode(body.tokenizer, texts, body.max_length), {"emotion": targets}), len(place)


def first(data: TrainingData, rows: int) -> TrainingData:
    """The first rows alone."""
    return TrainingData(data.encoded.take(range(rows)), {"emotion": data.targets["emotion"][:rows]})


def settings(freeze: dict[str, object], precision: str, *, patience: int) -> TrainConfig:
    """Ten epochs of batches of 32, their rates those of a frozen encoder."""
    return TrainConfig.model_validate(
        {
            "epochs": EPOCHS,
            "precision": precision,
            "freeze": freeze,
            "optim": {"lr": 1e-4, "head_lr": 1e-3},
            "schedule": {"kind": "cosine", "warmup_steps": 10},
            "early_stopping": {"metric": "loss", "patience": patience},
            "log_every": 1,
        }
    )


class Timed(StateCache):
    """A cache that knows how long it took."""

    seconds = 0.0

    def __call__(self, encoded: Encoded, *, bf16: bool) -> FrozenStates | None:
        """As the cache."""
        begun = time.perf_counter()
        found = super().__call__(encoded, bf16=bf16)
        self.seconds += time.perf_counter() - begun
        return found


def fit(
    data: TrainingData, labels: int, freeze: dict[str, object], precision: str, *, cached: bool, epochs: int
) -> tuple[float, float, list[float]]:
    """Fit with the loop: its seconds, those of them that went into the cache, and the losses of its steps.

    A fit of fewer than ten epochs is one of ten that runs out of patience, so that its steps are the same.
    """
    model = fresh(labels)
    loss = losses.build(losses.CrossEntropyConfig(), data.targets["emotion"], labels)
    caching = Timed(model) if cached else None
    seen = itertools.count(1)
    cache._remembered.clear()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OVERTONE_CACHE"] = str(Path(folder) / "cache")
        loop = Loop(
            model=model,
            tasks=[tasks.Task("emotion", "classification", loss, 1.0)],
            data=data,
            validate=lambda _: {"loss": -float(next(seen)) if epochs == EPOCHS else 1.0},
            config=settings(freeze, precision, patience=max(epochs - 1, 1)),
            run=Run(Path(folder)),
            seed=SEED,
            cache=caching,
        )
        begun = time.perf_counter()
        done = loop.fit()
        seconds = time.perf_counter() - begun
        assert done.epochs == epochs
        found = [row["loss"] for row in loop.run.history() if "loss" in row]
    return seconds, caching.seconds if caching else 0.0, found


def theirs(data: TrainingData, labels: int) -> float:
    """Seconds of ten epochs of the same heads on the same frozen body with Trainer, in fp32."""
    model = fresh(labels)
    model.body.backbone.requires_grad_(False)
    loss = losses.build(losses.CrossEntropyConfig(), data.targets["emotion"], labels)
    offsets = data.encoded.offsets
    rows = [
        {"input_ids": data.encoded.flat[a:b], "labels": int(target), "length": int(b - a)}
        for a, b, target in zip(offsets, offsets[1:], data.targets["emotion"], strict=False)
    ]

    def collate(batch: list[dict[str, object]]) -> dict[str, Tensor]:
        padded = model.body.tokenizer.pad(
            {"input_ids": [row["input_ids"] for row in batch]}, return_tensors="pt"
        )
        return {
            "input_ids": padded["input_ids"],
            "attention_mask": padded["attention_mask"],
            "labels": torch.tensor([row["labels"] for row in batch]),
        }

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=TIMED,
            per_device_train_batch_size=32,
            learning_rate=1e-3,
            weight_decay=0.01,
            lr_scheduler_type="cosine",
            warmup_steps=10,
            train_sampling_strategy="group_by_length",
            use_cpu=not torch.cuda.is_available(),
            seed=SEED,
            save_strategy="no",
            report_to="none",
            logging_steps=1,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = Trainer(WithLoss(model, loss), arguments, train_dataset=rows, data_collator=collate)
        begun = time.perf_counter()
        trainer.train()
        return (time.perf_counter() - begun) * EPOCHS / TIMED


def whole(precision: str, data: TrainingData, labels: int) -> tuple[float, float, float]:
    """Seconds of ten epochs with the cache and without, and the largest difference between their losses."""
    freeze: dict[str, object] = {"kind": "backbone"}
    plain, _, expected = fit(data, labels, freeze, precision, cached=False, epochs=TIMED)
    kept, _, found = fit(data, labels, freeze, precision, cached=True, epochs=EPOCHS)
    gap = max(abs(a - b) for a, b in zip(expected, found, strict=False))
    return kept, plain * EPOCHS / TIMED, gap


def partial(data: TrainingData, labels: int) -> tuple[float, float]:
    """How often ten cached epochs with four of six layers frozen fit into ten of full fine-tuning, in bf16.

    And the largest difference between the losses of the cached and the uncached one; in fp32, as in bf16 the
    same products in another order differ by more.
    """
    bottom: dict[str, object] = {"kind": "bottom", "layers": 4}
    full, _, _ = fit(data, labels, {"kind": "none"}, "bf16", cached=False, epochs=TIMED)
    kept, building, _ = fit(data, labels, bottom, "bf16", cached=True, epochs=TIMED)
    some = first(data, COMPARED)
    pair = [fit(some, labels, bottom, "fp32", cached=cached, epochs=TIMED)[2] for cached in (False, True)]
    gap = max(abs(a - b) for a, b in zip(*pair, strict=True))
    return full * EPOCHS / TIMED / (building + (kept - building) * EPOCHS / TIMED), gap


def middle(name: str, values: list[float], rows: int, against: str | None = None) -> Figure:
    """The median of a ratio's repeats, with the smallest and the largest."""
    return Figure(name, statistics.median(values), min(values), max(values), rows, "ratio", against)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=768, help="conversations, where the backbone is frozen")
    parser.add_argument("--partial-rows", type=int, default=320, help="where four layers are")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    data, labels = conversations(options.rows)
    some = first(data, options.partial_rows)
    found: dict[str, list[float]] = {
        name: [] for name in ("fp32", "trainer", "gap", "bf16", "partial", "below")
    }
    for _ in range(options.repeats):
        kept, plain, gap = whole("fp32", data, labels)
        found["fp32"].append(plain / kept)
        found["gap"].append(gap)
        found["trainer"].append(theirs(data, labels) / kept)
        kept, plain, _ = whole("bf16", data, labels)
        found["bf16"].append(plain / kept)
        ratio, gap = partial(some, labels)
        found["partial"].append(ratio)
        found["below"].append(gap)
        print(", ".join(f"{name} {values[-1]:.3g}" for name, values in found.items()))
    figures = [
        middle("frozen.cached.ratio", found["fp32"], options.rows, "10 is possible"),
        middle("frozen.cached-bf16.ratio", found["bf16"], options.rows, "10 is possible"),
        middle("frozen.trainer.ratio", found["trainer"], options.rows),
        middle("frozen.partial.ratio", found["partial"], options.partial_rows),
        Figure("frozen.cached.gap", max(found["gap"]), n=options.rows * TIMED, unit="nats"),
        Figure("frozen.partial.gap", max(found["below"]), n=COMPARED * TIMED, unit="nats"),
    ]
    write_results(options.output, "python benchmarks/frozen.py", SEED, figures)
    for figure in figures:
        print(f"{figure.name} {figure.value:.4g} {figure.unit}")


if __name__ == "__main__":
    main()
