"""What the verbs do with each kind of recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from overtone import (
    chat_model,
    chat_proof,
    companion_model,
    companion_proof,
    embedder_model,
    embedder_proof,
    language_model,
    language_proof,
    pipeline,
    preference_model,
    preference_proof,
    proof,
    seq2seq_model,
    seq2seq_proof,
)
from overtone.chat_recipe import ChatRecipe
from overtone.companion_recipe import CompanionRecipe
from overtone.embedder_recipe import EmbedderRecipe
from overtone.kinds import AnyRecipe
from overtone.language_recipe import LanguageRecipe
from overtone.preference_recipe import PreferenceRecipe
from overtone.run import Run, read_json, writes
from overtone.seq2seq_recipe import Seq2SeqRecipe


@dataclass(frozen=True, slots=True)
class Verbs:
    """The steps of one kind of run; each takes the recipe first.

    Args:
        begin: recipe, run, ``overwrite``: claim the folder.
        finished: run → whether its model is trained.
        prepare: recipe, run → the data, noted in the manifest.
        train: recipe, data, run: fit the model.
        prove: recipe, data, run: evaluate it, and write the report.
        divide: recipe → the data, and nothing is written; its reports by name are ``reports`` of it.
        reports: data → name → what was done to get it, a ``DataReport``.
        told: recipe, run → the figures of the test rows, as JSON values.
        example: a command to try next, with ``{}`` for the run's folder.
    """

    begin: Callable[..., None]
    finished: Callable[[Run], bool]
    prepare: Callable[..., Any]
    train: Callable[..., Any]
    prove: Callable[..., None]
    divide: Callable[..., Any]
    reports: Callable[[Any], dict[str, Any]]
    told: Callable[[Any, Run], dict[str, Any]]
    example: str


def _standings(recipe: AnyRecipe, run: Run) -> dict[str, Any]:
    """What a run wrote of every system on each part of its test."""
    return {path.parent.name: read_json(path) for path in sorted(run.evaluation.glob("*/standings.json"))}


READER = Verbs(
    begin=pipeline.begin,
    finished=pipeline.finished,
    prepare=pipeline.prepare,
    train=pipeline.train,
    prove=proof.prove,
    divide=pipeline.divide,
    reports=lambda prepared: dict(prepared.reports),
    told=lambda recipe, run: {
        name: read_json(run.evaluation / name / "test.summary.json") for name in recipe.tasks
    },
    example='overtone classify {} "I finally did it!"',
)

LANGUAGE = Verbs(
    begin=language_model.begin,
    finished=language_model.finished,
    prepare=language_model.prepare,
    train=language_model.train,
    prove=language_proof.prove,
    divide=language_model.divide,
    reports=lambda documents: {"documents": documents.report},
    told=_standings,
    example='overtone generate {} "The first"',
)

EMBEDDER = Verbs(
    begin=embedder_model.begin,
    finished=embedder_model.finished,
    prepare=embedder_model.prepare,
    train=embedder_model.train,
    prove=embedder_proof.prove,
    divide=embedder_model.divide,
    reports=lambda questions: {"questions": questions.report},
    told=_standings,
    example="overtone search index notes --output notes.index --weights {}",
)


CHAT = Verbs(
    begin=chat_model.begin,
    finished=chat_model.finished,
    prepare=chat_model.prepare,
    train=chat_model.train,
    prove=chat_proof.prove,
    divide=chat_model.divide,
    reports=lambda conversations: {"conversations": conversations.report},
    told=_standings,
    example="overtone chat {}",
)


COMPANION = replace(
    CHAT, begin=companion_model.begin, train=companion_model.train, prove=companion_proof.prove
)

PREFERENCE = replace(CHAT, train=preference_model.train, prove=preference_proof.prove)


SEQ2SEQ = Verbs(
    begin=seq2seq_model.begin,
    finished=seq2seq_model.finished,
    prepare=seq2seq_model.prepare,
    train=seq2seq_model.train,
    prove=seq2seq_proof.prove,
    divide=seq2seq_model.divide,
    reports=lambda conversations: {"conversations": conversations.report},
    told=_standings,
    example="overtone data show deaf-knowledge",
)


def of(recipe: AnyRecipe) -> Verbs:
    """The steps of a recipe's kind."""
    if isinstance(recipe, ChatRecipe):
        return CHAT
    if isinstance(recipe, CompanionRecipe):
        return COMPANION
    if isinstance(recipe, PreferenceRecipe):
        return PREFERENCE
    if isinstance(recipe, Seq2SeqRecipe):
        return SEQ2SEQ
    if isinstance(recipe, EmbedderRecipe):
        return EMBEDDER
    return LANGUAGE if isinstance(recipe, LanguageRecipe) else READER


def run(recipe: AnyRecipe, run: Run, *, overwrite: bool = False) -> Run:
    """All steps of a recipe, whatever its kind; a run that was stopped goes on where it stood.

    Raises:
        OvertoneError: whatever is wrong, and what to do next.
    """
    verbs = of(recipe)
    with run.lock():
        verbs.begin(recipe, run, overwrite=overwrite)
        prepared = verbs.prepare(recipe, run)
        if not verbs.finished(run):
            verbs.train(recipe, prepared, run)
        if writes():
            verbs.prove(recipe, prepared, run)
    return run
