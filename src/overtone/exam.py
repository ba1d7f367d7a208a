"""The exam of what answers questions: three columns that are never one figure, sat by several systems."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from overtone.chat_recipe import ExamConfig
from overtone.data.conversations import Conversations
from overtone.data.records import Record
from overtone.errors import RunError
from overtone.evaluation.benchmarks import qa
from overtone.evaluation.benchmarks.qa import Column, Graded
from overtone.progress import step
from overtone.run import write_atomic

ANSWERS = "answers.jsonl"
"""What each system said to each question, in the folder of a column under ``evaluation``."""

NEAREST = "nearest"
"""The system that repeats the answer of the trained question which shares most words with the one asked."""

COLUMNS: tuple[Column, ...] = ("trained", "held_out", "unknown")
"""In the order in which they are told."""

Sit = Callable[[Sequence[str]], list[str]]
"""N questions → what a system answers, (N,)."""

Columns = Mapping[Column, Mapping[str, Graded]]
"""Column → system → its graded answers."""


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


def asked(config: ExamConfig, seed: int, prepared: Conversations) -> list[Asked]:
    """The columns of the exam that the data have questions for; the seed draws the trained ones."""
    trained = [row for row in prepared.splits.train if "answer" in row.targets]
    if len(trained) > config.trained:
        # A row by itself, so that two recipes which hold out different rows ask nearly the same questions.
        drawn = sorted(trained, key=lambda row: random.Random(f"{seed}/exam/{row.id}").random())
        trained = sorted(drawn[: config.trained], key=lambda row: row.id)
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


def sit(
    sits: Mapping[str, Sit], questions: Sequence[Asked], config: ExamConfig
) -> tuple[dict[Column, dict[str, Graded]], dict[str, float]]:
    """What each system answers in each column, graded; and the answers a second of each.

    Raises:
        WeightsError: the weights of the cosine's encoder are not at hand.
    """
    embedder = None if config.embedder is None or not questions else config.embedder.build()
    graded: dict[Column, dict[str, Graded]] = {each.column: {} for each in questions}
    seconds = dict.fromkeys(sits, 0.0)
    for each in questions:
        for name, answers in sits.items():
            with step(f"{name} answers {len(each.ids):,} questions, {each.column.replace('_', ' ')}"):
                begun = time.perf_counter()
                said = answers(each.questions)
                seconds[name] += time.perf_counter() - begun
            graded[each.column][name] = qa.grade(
                each.column, each.ids, each.facts, said, each.golds, embedder
            )
    answered = sum(len(each.ids) for each in questions)
    return graded, {name: answered / spent for name, spent in seconds.items() if spent}


def nearest(rows: Sequence[Record]) -> Sit:
    """The baseline ``NEAREST``, by the cosine of TF-IDF; what has no answer among the rows is passed over."""
    known = [row for row in rows if "answer" in row.targets]
    words = TfidfVectorizer(sublinear_tf=True)
    vectors = words.fit_transform([row.text for row in known]) if known else None

    def answers(questions: Sequence[str]) -> list[str]:
        if vectors is None:
            return [""] * len(questions)
        best = (words.transform(questions) @ vectors.T).argmax(axis=1)
        return [str(known[place].targets["answer"]) for place in best.A1]

    return answers


def write(folder: Path, found: Columns) -> None:
    """One JSON line a question in the folder of its column: what each system said, and its measures.

    Raises:
        RunError: it could not be written.
    """
    for column, systems in found.items():
        first = next(iter(systems.values()))
        lines = []
        for place, name in enumerate(first.ids):
            told = {
                system: {
                    "answer": each.answers[place],
                    **{measure: float(scores[place]) for measure, scores in each.scores.items()},
                }
                for system, each in systems.items()
            }
            row = {"id": name, "fact": first.facts[place], "systems": told}
            lines.append(json.dumps(row, ensure_ascii=False))
        write_atomic(folder / column / ANSWERS, "\n".join(lines) + "\n")


def read(folder: Path) -> dict[Column, dict[str, Graded]]:
    """What ``write`` wrote, without the vectors behind the cosines.

    Raises:
        RunError: no column is there, or a line is damaged.
    """
    found: dict[Column, dict[str, Graded]] = {}
    for column in COLUMNS:
        path = folder / column / ANSWERS
        if path.exists():
            found[column] = _read(path, column)
    if not found:
        raise RunError(f"{folder} has no exam", hint="evaluate the run: overtone run RUN")
    return found


def _read(path: Path, column: Column) -> dict[str, Graded]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        ids, facts = (tuple(str(row[key]) for row in rows) for key in ("id", "fact"))
        graded = {}
        for name, first in rows[0]["systems"].items():
            told = [row["systems"][name] for row in rows]
            scores = {
                measure: np.array([float(each[measure]) for each in told])
                for measure in first
                if measure != "answer"
            }
            graded[name] = Graded(column, ids, facts, tuple(str(each["answer"]) for each in told), scores)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{path} is damaged: {error!r}", hint="evaluate the run again") from error
    return graded


def taken(graded: Graded, ids: Sequence[str]) -> Graded:
    """The answers to these questions alone, in this order; each was asked."""
    place = {name: number for number, name in enumerate(graded.ids)}
    rows = [place[name] for name in ids]
    return Graded(
        graded.column,
        tuple(ids),
        tuple(graded.facts[row] for row in rows),
        tuple(graded.answers[row] for row in rows),
        {measure: scores[rows] for measure, scores in graded.scores.items()},
    )
