"""A recurrent model's way from questions and answers to trained weights, on one screen."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from overtone import claim as claims
from overtone.data import conversations, exchanges
from overtone.data import vocabulary as vocabularies
from overtone.data.batches import by_length
from overtone.data.chat import Turn
from overtone.data.conversations import Conversations
from overtone.data.exchanges import Exchanges
from overtone.data.records import Record
from overtone.data.vocabulary import Vocabulary
from overtone.models import seq2seq
from overtone.models.answers import HEAD
from overtone.models.model import Model
from overtone.models.seq2seq import Seq2SeqBody, Seq2SeqModel
from overtone.progress import step
from overtone.run import Run, write_json, writes
from overtone.seq2seq_recipe import Seq2SeqRecipe
from overtone.seq2seq_system import FACTS
from overtone.training.answer_loss import AnswerLoss
from overtone.training.loop import Fit, Loop, TrainingData
from overtone.training.tasks import Task

TOKENS = 8192
"""Tokens of a batch of validation questions."""


def begin(recipe: Seq2SeqRecipe, run: Run, *, overwrite: bool) -> None:
    """Claim the run's folder and write the resolved recipe.

    Raises:
        RunError: another recipe's run, or a finished one, stands there.
    """
    claims.folder(recipe, run, overwrite=overwrite)


def finished(run: Run) -> bool:
    """Whether the run's model is trained and written."""
    return (run.model / FACTS).exists()


def divide(recipe: Seq2SeqRecipe) -> Conversations:
    """The conversations, divided and checked; the same where only other settings differ.

    Raises:
        DataError: see ``conversations.prepare``.
    """
    with step("reading conversations, looking for leaks"):
        return conversations.prepare(recipe.data, recipe.leakage, recipe.rows_seed)


def prepare(recipe: Seq2SeqRecipe, run: Run) -> Conversations:
    """Read, divide and check the conversations, and note it in the manifest.

    Raises:
        DataError: see ``conversations.prepare``.
        RunError: something is trained already, and on other data.
    """
    begun = time.perf_counter()
    prepared = divide(recipe)
    claims.refuse_other_data(prepared.fingerprints, run)
    report = prepared.report
    licence = claims.from_scratch(report)
    claims.note_data(run, conversations.LABEL, report, prepared.fingerprints, licence, begun)
    return prepared


@dataclass(frozen=True)
class Validation:
    """The answers that choose the best step.

    Args:
        rows: of the validation split.
    """

    rows: Exchanges

    @torch.inference_mode()
    def __call__(self, model: Model) -> dict[str, float]:
        """Nats a token of the answers as ``loss``, each token read as it is."""
        objective, total = AnswerLoss(self.rows), 0.0
        for batch in by_length(self.rows.lengths, TOKENS):
            ids, mask = self.rows.pad(batch)
            outputs = model(ids.to(model.device), mask.to(model.device))[HEAD]
            total += float(objective.total(outputs, torch.tensor(batch)))
        return {"loss": total / int(self.rows.counts.sum())}


def train(recipe: Seq2SeqRecipe, prepared: Conversations, run: Run) -> Fit:
    """Make the vocabulary of what is learnt, fit the model, and write its best step.

    Raises:
        DataError: there is no question with an answer, or the vocabulary is too small.
        TrainingError: see ``Loop.fit``.
    """
    vocabulary = _vocabulary(recipe, prepared, run)
    rows = {
        name: exchanges.encode(vocabulary, *pairs(prepared.splits[name]), recipe.max_tokens)
        for name in ("train", "validation")
    }
    torch.manual_seed(recipe.seed)
    body = Seq2SeqBody(recipe.body, len(vocabulary))
    model = Seq2SeqModel(body)
    loop = Loop(
        model=model,
        tasks=[Task(HEAD, "classification", AnswerLoss(rows["train"]), 1.0)],
        data=TrainingData(rows["train"], {HEAD: torch.arange(len(rows["train"].questions))}),
        validate=Validation(rows["validation"]),
        config=recipe.train,
        run=run,
        seed=recipe.seed,
    )
    body.epoch = lambda: loop.progress.epoch
    fit = loop.fit()
    if loop.accelerator.is_main_process:
        seq2seq.save(body, run.model)
        run.note(
            fit=asdict(fit),
            model=model.sizes(),
            pieces=len(vocabulary),
            exchanges={name: len(each.questions) for name, each in rows.items()},
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )
        write_json(run.model / FACTS, {"vocabulary": len(vocabulary)})
    loop.accelerator.wait_for_everyone()
    return fit


def pairs(records: Sequence[Record]) -> tuple[list[str], list[str]]:
    """What was said, and what was answered: of a conversation every answer, with the turn before it alone."""
    said: list[str] = []
    answered: list[str] = []
    for record in records:
        before: Turn | None = None
        for turn in conversations.turns(record):
            if turn.role == "assistant" and before is not None:
                said.append(before.text)
                answered.append(turn.text)
            before = turn
    return said, answered


def _vocabulary(recipe: Seq2SeqRecipe, prepared: Conversations, run: Run) -> Vocabulary:
    """The run's own vocabulary where it is written already, else one made of what is learnt alone."""
    if (run.model / vocabularies.FILE).exists():
        return vocabularies.load(run.model)
    with step("making the vocabulary"):
        said, answered = pairs(prepared.splits.train)
        vocabulary = recipe.vocabulary.build([*said, *answered])
        exchanges.add_marks(vocabulary)
    if writes():
        vocabulary.save(run.model)
    return vocabulary
