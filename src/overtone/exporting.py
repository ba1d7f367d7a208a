"""A trained run as ONNX graphs, through the parity gate: what is served is what was evaluated."""

from __future__ import annotations

import os
import random

from overtone import pipeline
from overtone import recipe as recipes
from overtone.data.split import Prepared
from overtone.errors import UsageError
from overtone.evaluation import parity
from overtone.evaluation.parity import Check, Judged
from overtone.inference.classify import Reader
from overtone.recipe import Recipe
from overtone.run import Run
from overtone.system import FORMS, load_reader
from overtone.training.tasks import encode_targets

CALIBRATION = 256
"""Training texts that the ranges of the activations are measured on."""


def export(run: Run) -> list[Judged]:
    """Export a run, compare every form with PyTorch on its validation rows, and keep those that passed.

    Raises:
        UsageError: it is no trained run.
        MissingExtraError: the extra `onnx` is not installed.
        DataError: the data are not at hand.
        RunError: the run's data changed, or a file could not be written.
    """
    recipe = recipes.load(str(run.recipe)) if run.recipe.exists() else None  # which may be of another kind
    if recipe is None or not pipeline.finished(run):
        raise UsageError(
            f"{run.folder} is not a trained run", hint="train one with: overtone run emotion-mini"
        )
    with run.lock():
        prepared = pipeline.prepare(recipe, run)
        reader = load_reader(recipe, run)
        body = reader.model.body
        train = [row for splits in prepared.splits.values() for row in splits.train]
        sample = random.Random(recipe.seed).sample(train, min(len(train), CALIBRATION))
        texts, contexts = [row.text for row in sample], [row.context for row in sample]
        calibration = body.encode(texts, contexts)
        return parity.gate(
            reader.model,
            run.model / FORMS,
            checks(recipe, prepared, reader),
            calibration,
            os.cpu_count() or 1,
        )


def checks(recipe: Recipe, prepared: Prepared, reader: Reader) -> dict[str, Check]:
    """Every task's validation rows, as the gate wants them."""
    body, found = reader.model.body, {}
    for name, task in recipe.tasks.items():
        records = prepared.splits[name].validation
        encoded = body.encode([row.text for row in records], [row.context for row in records])
        targets = encode_targets(records, task.data.target, task.data.labels, task.kind)
        found[name] = Check(reader.readings[name], task.metric, records, targets, encoded)
    return found
