"""A LoRA epoch in Overtone's loop beside the same work in transformers.Trainer, in turn, in one process.

Equal: the same model, rows, batch size, bf16 and length grouping on both sides.
Default: Trainer as it comes (fp32, random batches) against our defaults (bf16, length buckets), with the
accuracy of both on held-out rows.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from overtone import pipeline
from overtone.data.records import Record
from overtone.data.tokenize import encode
from overtone.evaluation.compare import paired_statistic
from overtone.evaluation.results import Figure, write_results
from overtone.models import store
from overtone.models.model import Model, sweep
from overtone.recipe import Recipe
from overtone.recipe import load as load_recipe
from overtone.run import Run
from overtone.training import losses, tasks
from overtone.training.loop import Loop, TrainingData

RESULTS = Path(__file__).parent / "results" / "loop_speed.json"


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


def fresh(recipe: Recipe) -> Model:
    """The same model at the start of every fit."""
    torch.manual_seed(recipe.seed)
    heads = {name: (task.head, len(task.data.labels)) for name, task in recipe.tasks.items()}
    return store.build(recipe.body, recipe.adapter, heads)


def ours(recipe: Recipe, data: TrainingData, loss: losses.Loss) -> tuple[Model, float]:
    """Fit with the loop: the model and the seconds of the whole fit."""
    model = fresh(recipe)
    epochs = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            model=model,
            tasks=[tasks.Task("emotion", "classification", loss, 1.0)],
            data=data,
            validate=lambda _: {"loss": -float(next(epochs))},  # each epoch counts as the best, as in Trainer
            config=recipe.train,
            run=Run(Path(folder)),
            seed=recipe.seed,
        )
        begun = time.perf_counter()
        loop.fit()
    return model, time.perf_counter() - begun


def theirs(recipe: Recipe, data: TrainingData, loss: losses.Loss, *, equal: bool) -> tuple[Model, float]:
    """Fit with Trainer: the model and the seconds of the whole fit."""
    model = fresh(recipe)
    ids = [
        data.encoded.flat[a:b] for a, b in zip(data.encoded.offsets, data.encoded.offsets[1:], strict=False)
    ]
    rows = [
        {"input_ids": row, "labels": int(target), "length": len(row)}
        for row, target in zip(ids, data.targets["emotion"], strict=True)
    ]

    def collate(batch: list[dict[str, np.ndarray]]) -> dict[str, Tensor]:
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
            num_train_epochs=recipe.train.epochs,
            per_device_train_batch_size=recipe.train.batch_size,
            learning_rate=recipe.train.optim.lr,
            weight_decay=recipe.train.optim.weight_decay,
            lr_scheduler_type="cosine",
            warmup_steps=recipe.train.schedule.warmup_steps,
            bf16=equal,
            train_sampling_strategy="group_by_length" if equal else "random",
            use_cpu=not torch.cuda.is_available(),
            seed=recipe.seed,
            save_strategy="no",
            report_to="none",
            logging_steps=recipe.train.log_every,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = Trainer(WithLoss(model, loss), arguments, train_dataset=rows, data_collator=collate)
        begun = time.perf_counter()
        trainer.train()
    return model, time.perf_counter() - begun


def right(model: Model, data: TrainingData) -> np.ndarray:
    """Which held-out rows the model decides right, (N,)."""
    logits = sweep(model.eval(), data.encoded, model.device)["emotion"]
    return (logits.argmax(1) == data.targets["emotion"]).numpy()


def tokenised(recipe: Recipe, records: list[Record]) -> TrainingData:
    """Ids and classes of rows."""
    tokenizer = fresh(recipe).body.tokenizer
    encoded = encode(tokenizer, [row.text for row in records], recipe.body.max_length)
    targets = tasks.encode_targets(records, "emotion", recipe.only[1].data.labels, "classification")
    return TrainingData(encoded, {"emotion": targets})


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    changes = [f"train.epochs={options.epochs}", "train.schedule.warmup_steps=20"]
    recipe = load_recipe("emotion", [*changes, "train.early_stopping.metric=loss"])
    splits = pipeline.divide(recipe).splits["emotion"]
    order = np.random.default_rng(recipe.seed).permutation(len(splits.train))[: options.rows]
    train = tokenised(recipe, [splits.train[i] for i in order])
    test = tokenised(recipe, list(splits.test))
    loss = losses.build(recipe.only[1].loss, train.targets["emotion"], len(recipe.only[1].data.labels))
    equal, default, scores = [], [], {}
    for _ in range(options.repeats):
        model, our_seconds = ours(recipe, train, loss)
        scores["ours"] = right(model, test)
        _, their_seconds = theirs(recipe, train, loss, equal=True)
        equal.append(their_seconds / our_seconds)
        model, their_seconds = theirs(recipe, train, loss, equal=False)
        scores["theirs"] = right(model, test)
        default.append(their_seconds / our_seconds)
        print(f"equal {equal[-1]:.2f}, default {default[-1]:.2f}")
    gain = paired_statistic(
        lambda rows: float(scores["ours"][rows].mean() - scores["theirs"][rows].mean()),
        len(test.encoded),
        seed=7,
    )
    n = options.rows * options.epochs
    figures = [
        Figure("loop.lora.equal.ratio", statistics.median(equal), min(equal), max(equal), n, "ratio"),
        Figure("loop.lora.default.ratio", statistics.median(default), min(default), max(default), n, "ratio"),
        Figure("loop.lora.accuracy.difference", gain.value, gain.low, gain.high, len(test.encoded), "share"),
        Figure("loop.lora.accuracy.ours", float(scores["ours"].mean()), n=len(test.encoded)),
        Figure("loop.lora.accuracy.trainer", float(scores["theirs"].mean()), n=len(test.encoded)),
    ]
    write_results(options.output, "python benchmarks/loop_speed.py", recipe.seed, figures)
    for figure in figures:
        print(f"{figure.name} {figure.value:.4g} {figure.unit}")


if __name__ == "__main__":
    main()
