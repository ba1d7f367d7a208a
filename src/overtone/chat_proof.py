"""The proof of a tuned decoder: its exam, how likely right answers are to it, what it forgot, the report."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from overtone import chat_likelihood, chat_system
from overtone.chat_likelihood import BASE
from overtone.chat_recipe import ChatRecipe
from overtone.chat_system import ChatSystem
from overtone.data.conversations import Conversations
from overtone.data.records import Record
from overtone.evaluation import exam_report, texts
from overtone.evaluation.benchmarks import qa
from overtone.evaluation.benchmarks.qa import Column, Graded
from overtone.evaluation.exam_report import ExamReport
from overtone.evaluation.findings import Licence, Origin, Training
from overtone.inference.embed import Embedder
from overtone.progress import step
from overtone.run import Run, write_atomic, write_json

ANSWERS = "answers.jsonl"
"""What each system said to each exam question, in the folder of a column under ``evaluation``."""

LIKELY = "likelihood.jsonl"
"""What each system gives each text, in the folder of the text under ``evaluation``."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of one column.

    Args:
        column: which.
        ids: of N questions.
        facts: what each is about.
        questions: as they are asked.
        golds: the right answers; None where there are none.
    """

    column: Column
    ids: tuple[str, ...]
    facts: tuple[str, ...]
    questions: tuple[str, ...]
    golds: tuple[str, ...] | None


def prove(recipe: ChatRecipe, prepared: Conversations, run: Run) -> None:
    """Ask the exam of the base, the run and, where it looks up, the grounded run; write scores and report.

    Raises:
        RunError: a file of the run is missing or damaged.
        WeightsError: the weights of the cosine's encoder are not at hand.
    """
    system = chat_system.load(run, recipe)
    found, pace = examined(system, prepared)
    for column, each in found.items():
        write(run.evaluation / column, each)
    standings = {}
    for likely in chat_likelihood.measured(system, prepared):
        found_in = run.evaluation / likely.text
        standings[likely.text] = texts.standings(likely, seed=recipe.seed, resamples=recipe.exam.resamples)
        texts.write(found_in / LIKELY, likely)
        write_json(found_in / "standings.json", [asdict(each) for each in standings[likely.text]])
    facts = run.facts()
    exam_report.write(
        ExamReport(
            origin=Origin(recipe.description, facts["command"], recipe.seed, facts),
            model=run.name,
            columns=found,
            pace=pace,
            likely=standings,
            training=Training(
                history=run.history(),
                metric=recipe.train.early_stopping.metric,
                seconds=facts["fit"]["seconds"],
                rows_per_second=facts["fit"]["rows_per_second"],
                parameters=facts["model"]["parameters"],
                trainable=facts["model"]["trainable"],
                peak_memory=facts["peak_memory_bytes"],
            ),
            licence=Licence(**facts["licence"]),
            data=prepared.report,
            mask=facts["mask"]["train"],
            sizes=[["tokens a second", f"{facts['tokens']['per_second']:,.0f}"]],
            resamples=recipe.exam.resamples,
        ),
        run.folder,
    )


def asked(recipe: ChatRecipe, prepared: Conversations) -> list[Asked]:
    """The columns of the exam that the data have questions for."""
    trained = [row for row in prepared.splits.train if "answer" in row.targets]
    if len(trained) > recipe.exam.trained:
        chance = random.Random(f"{recipe.rows_seed}/exam")
        trained = sorted(chance.sample(trained, recipe.exam.trained), key=lambda row: row.id)
    held_out = [row for row in prepared.splits.test if "answer" in row.targets]
    unknown = prepared.unknown("test")
    columns = [_of_rows("trained", trained), _of_rows("held_out", held_out)]
    ids = tuple(each.id for each in unknown)
    columns.append(Asked("unknown", ids, ids, tuple(each.text for each in unknown), None))
    return [each for each in columns if each.ids]


def _of_rows(column: Column, rows: Sequence[Record]) -> Asked:
    return Asked(
        column,
        tuple(row.id for row in rows),
        tuple(row.group or row.id for row in rows),
        tuple(row.text for row in rows),
        tuple(str(row.targets["answer"]) for row in rows),
    )


def examined(
    system: ChatSystem, prepared: Conversations
) -> tuple[dict[Column, dict[str, Graded]], dict[str, float]]:
    """What each system answers in each column, graded; and the answers a second of each."""
    exam = system.recipe.exam
    embedder = None if exam.embedder is None else exam.embedder.build()
    settings = exam.sampling.model_dump()
    sits: dict[str, Callable[[Sequence[str]], list[str]]] = {
        system.run.name: lambda questions: said(questions, tuned=True, grounded=False),
        BASE: lambda questions: said(questions, tuned=False, grounded=False),
    }
    if system.lookup is not None:
        sits[f"{system.run.name} grounded"] = lambda questions: said(questions, tuned=True, grounded=True)

    def said(questions: Sequence[str], *, tuned: bool, grounded: bool) -> list[str]:
        found = system.answer(questions, tuned=tuned, grounded=grounded, **settings)
        return [each.text for each in found]

    graded: dict[Column, dict[str, Graded]] = {}
    seconds, answered = dict.fromkeys(sits, 0.0), 0
    for each in asked(system.recipe, prepared):
        graded[each.column] = {}
        answered += len(each.ids)
        for name, sit in sits.items():
            with step(f"{name} answers {len(each.ids):,} questions, {each.column.replace('_', ' ')}"):
                begun = time.perf_counter()
                answers = sit(each.questions)
                seconds[name] += time.perf_counter() - begun
            graded[each.column][name] = _graded(each, answers, embedder)
    return graded, {name: answered / spent for name, spent in seconds.items() if spent}


def _graded(each: Asked, answers: Sequence[str], embedder: Embedder | None) -> Graded:
    return qa.grade(each.column, each.ids, each.facts, answers, each.golds, embedder)


def write(folder: Path, found: Mapping[str, Graded]) -> None:
    """One JSON line a question: what each system said, and its measures.

    Raises:
        RunError: it could not be written.
    """
    first = next(iter(found.values()))
    lines = []
    for place, name in enumerate(first.ids):
        systems = {
            system: {
                "answer": each.answers[place],
                **{measure: float(scores[place]) for measure, scores in each.scores.items()},
            }
            for system, each in found.items()
        }
        lines.append(
            json.dumps({"id": name, "fact": first.facts[place], "systems": systems}, ensure_ascii=False)
        )
    write_atomic(folder / ANSWERS, "\n".join(lines) + "\n")
