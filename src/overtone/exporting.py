"""A trained run as others read it, through the parity gate: what is served is what was evaluated."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import torch

from overtone import chat_model, kinds, pipeline
from overtone import recipe as recipes
from overtone.chat_prompt import framed
from overtone.chat_recipe import DecoderRecipe
from overtone.chat_system import FACTS
from overtone.data import chat, conversations
from overtone.data.records import Record
from overtone.data.split import Prepared
from overtone.errors import UsageError
from overtone.evaluation import parity, parity_chat
from overtone.evaluation.parity import Check, Judged
from overtone.evaluation.parity_chat import Tolerance
from overtone.inference import export_chat, gguf_file
from overtone.inference.classify import Reader
from overtone.inference.export_chat import FormName
from overtone.inference.gguf_file import About, Precision
from overtone.models import adapters, causal
from overtone.models.causal import CausalBody
from overtone.progress import step
from overtone.recipe import Recipe
from overtone.run import Run, read_json
from overtone.system import FORMS, load_reader
from overtone.training.tasks import encode_targets

CALIBRATION = 256
"""Training texts that the ranges of the activations are measured on."""

TOLERANCE = Tolerance()


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


def converses(run: Run) -> bool:
    """Whether it is a run of a tuned decoder, which ``export_decoder`` is for.

    Raises:
        UsageError: its recipe is damaged.
    """
    return run.recipe.exists() and isinstance(kinds.read(str(run.recipe)), DecoderRecipe)


def export_decoder(
    run: Run, precision: Precision | None = "f16", tolerance: Tolerance = TOLERANCE
) -> list[parity_chat.Judged]:
    """Merge a tuned decoder's adapter into it, write it as others read it, and keep what says the same.

    ``model/merged`` holds the weights, tokenizer and template in transformers' layout, ``gguf/model.gguf``
    and ``parity.json``. It replaces that of an earlier export once all of it is written and judged.

    Args:
        run: of a decoder that was tuned.
        precision: of the GGUF file's matrices; None writes no such file.
        tolerance: how far a form may be from the run.

    Returns:
        The forms, those that were refused among them.

    Raises:
        UsageError: it is no trained run, or one whose weights are kept in 8 or 4 bits.
        MissingExtraError: the extra `gguf` is not installed.
        WeightsError: no GGUF is known of this architecture or tokenizer, or the weights are not at hand.
        DataError: the data are not at hand.
        RunError: the run's data changed, the adapter is damaged, or something could not be written.
    """
    recipe = kinds.read(str(run.recipe)) if run.recipe.exists() else None
    if not isinstance(recipe, DecoderRecipe) or not chat_model.finished(run):
        raise UsageError(
            f"{run.folder} is not a trained run", hint="train one with: overtone run tutor-knowledge"
        )
    stored = export_chat.storage(recipe.body)
    if precision is not None:
        gguf_file.package()
    forms: list[FormName] = ["merged"] if precision is None else ["merged", "gguf"]
    with run.lock():
        rows = chat_model.prepare(recipe, run).splits.validation
        licence = run.facts()["licence"]
        about = About(
            name=run.name,
            licence=licence["data"],
            origin=f"data: {licence['data']}; weights: {licence['weights']}",
            end=read_json(run.model / FACTS)["end_of_turn"],
        )
        with export_chat.replaced(run.model / export_chat.FOLDER) as folder:
            with step("merging the adapter"):
                body = export_chat.merged(recipe.body, run.model)
                export_chat.write(body, folder, stored, precision, about)
            del body  # before the run is loaded
            reference = _as_evaluated(recipe, run)
            return parity_chat.gate(
                reference,
                folder,
                forms,
                _conversations(recipe, reference, rows, tolerance.conversations),
                tolerance,
                stored=stored,
                facts={"licence": licence, "precision": precision},
            )


def _as_evaluated(recipe: DecoderRecipe, run: Run) -> CausalBody:
    """The decoder with its adapter on, as it answered the exam."""
    body = causal.build(recipe.body, recipe.adapter).body
    adapters.restore(body, run.model)
    body.requires_grad_(False).eval().to("cuda" if torch.cuda.is_available() else "cpu")
    return body


def _conversations(
    recipe: DecoderRecipe, body: CausalBody, rows: Sequence[Record], most: int
) -> list[parity_chat.Check]:
    """Validation conversations as the run reads them."""
    drawn = random.Random(recipe.seed).sample(rows, min(len(rows), most))
    told = [framed(conversations.turns(row), recipe.system) for row in drawn]
    length, answers = recipe.body.max_length, recipe.answers
    return [parity_chat.Check(turns, chat.encode(body.tokenizer, turns, length, answers)) for turns in told]
