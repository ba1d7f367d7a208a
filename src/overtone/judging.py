"""The answers of an exam, judged: what a judge thinks of each system, and what the judge itself is worth."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from overtone import chat_system, exam, kinds
from overtone.chat_recipe import DecoderRecipe
from overtone.data.fetch import SHIPPED
from overtone.errors import UsageError
from overtone.evaluation import agreement, judge
from overtone.evaluation.agreement import Examined, GradedAnswer
from overtone.evaluation.benchmarks import qa
from overtone.evaluation.benchmarks.qa import Column
from overtone.evaluation.compare import Interval
from overtone.evaluation.judge import MEASURE, Judge, LocalJudge
from overtone.exam import Asked
from overtone.models import causal
from overtone.models.causal import DecoderConfig
from overtone.progress import step
from overtone.run import Run, write_json

BY_HAND = SHIPPED / "knowledge" / "graded.jsonl"
"""Answers on the shipped facts that we graded by hand."""

JUDGED = "judged.json"
"""What a judge thinks, in the folder of the column under ``evaluation``."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge thinks of one system.

    Args:
        system: who answered.
        grade: the mean expected grade, 0..2, with its 95% interval from a bootstrap over facts.
        n: answers.
    """

    system: str
    grade: Interval
    n: int


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What a judge thinks of all systems in one column of an exam.

    Args:
        column: which questions.
        judge: its name, with whether it judges itself.
        examined: how far it agrees with grades by hand, without which none of its grades means much.
        systems: one each.
    """

    column: Column
    judge: str
    examined: Examined
    systems: tuple[Judged, ...]


def local(by: str, judged: str | None) -> LocalJudge:
    """A decoder as a judge.

    Args:
        by: a name from ``overtone weights list``, a folder of weights, or the folder of a tuned decoder.
        judged: the weights that gave the answers, if any did: who shares them judges itself.

    Raises:
        UsageError: a run, and not of a tuned decoder.
        RunError, WeightsError: it cannot be read.
    """
    run = Run(Path(by))
    if not run.recipe.exists():
        body = causal.load(DecoderConfig(weights=by)).to("cuda" if torch.cuda.is_available() else "cpu")
        return LocalJudge(body, by, judges_itself=by == judged)
    recipe = kinds.read(str(run.recipe))
    if not isinstance(recipe, DecoderRecipe):
        raise UsageError(f"{by} is no tuned decoder", hint="name one, or weights from: overtone weights list")
    body = chat_system.load(run, recipe).body
    return LocalJudge(body, run.name, tuned=True, judges_itself=recipe.body.weights == judged)


def judged(
    run: Run,
    asked: Asked,
    by: Judge,
    graded: Sequence[GradedAnswer],
    *,
    most: int,
    seed: int,
    resamples: int,
) -> Verdicts:
    """Have every system's answers in a column judged, after the judge is examined; and write it beside them.

    Args:
        run: with its exam.
        asked: the questions of the column.
        by: who judges.
        graded: answers graded by hand.
        most: questions at most, drawn by the seed.
        seed: of the resamples.
        resamples: how many.

    Raises:
        RunError: the exam is missing or damaged.
        UsageError: it has no such column, or its questions have no right answers.
        DataError, EndpointError, WeightsError: see the judges.
    """
    found = exam.read(run.evaluation)
    if asked.golds is None or asked.column not in found:
        raise UsageError(
            f"the exam has no right answers to {asked.column} questions", hint=f"it has: {', '.join(found)}"
        )
    with step(f"{by.name} judges {len(graded):,} answers that were graded by hand"):
        tried = judge.judge(
            by,
            [each.id for each in graded],
            [each.question for each in graded],
            [each.gold for each in graded],
            [each.answer for each in graded],
        )
    examined = agreement.examine(graded, tried, seed=seed, resamples=resamples)
    told = dict(zip(asked.ids, zip(asked.questions, asked.golds, strict=True), strict=True))
    drawn = sorted(told, key=lambda name: random.Random(f"{seed}/judge/{name}").random())[:most]
    texts, golds = zip(*(told[name] for name in drawn), strict=True)
    systems: tuple[Judged, ...] = ()
    for name, all_answers in found[asked.column].items():
        answers = exam.taken(all_answers, drawn)
        with step(f"{by.name} judges {len(drawn):,} answers of {name}"):
            heard = judge.judge(by, drawn, texts, golds, answers.answers)
        grade = qa.interval(judge.measured(answers, heard), MEASURE, seed=seed, resamples=resamples)
        systems = (*systems, Judged(name, grade, len(answers.ids)))
        verdicts = Verdicts(asked.column, by.name, examined, systems)
        write_json(run.evaluation / asked.column / JUDGED, asdict(verdicts))  # if it stops, what was paid for
    return verdicts
