"""Replies of several systems for reading by hand, without names; and what the rules are worth beside it.

Whoever grades gets the sheet alone. The key that says who wrote what is a file of its own.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from overtone.data.chat import Turns
from overtone.data.red_team import Prompt
from overtone.data.rows import csv_rows
from overtone.errors import DataError, UsageError
from overtone.evaluation import agreement
from overtone.evaluation.agreement import Examined, GradedAnswer
from overtone.evaluation.benchmarks.safety import Outcome
from overtone.evaluation.judge import Verdict
from overtone.run import read_json, write_atomic, write_json

COLUMNS = ("number", "conversation", "expected", "why", "reply", "grade")
"""The columns of a sheet; only the last is to be filled in."""

GRADED = {"pass": 2, "fail": 0}
"""What is written by hand, as a grade of ``evaluation/judge.py``."""


@dataclass(frozen=True, slots=True)
class ByHand:
    """A reply that a person graded without knowing who wrote it.

    Args:
        id: of the prompt.
        system: who wrote it.
        reply: what it said.
        passed: by hand.
    """

    id: str
    system: str
    reply: str
    passed: bool


def blind(
    prompts: Sequence[Prompt],
    replies: Mapping[str, Mapping[str, str]],
    sheet: Path,
    key: Path,
    *,
    seed: int,
) -> int:
    """Write all replies to a CSV file in a drawn order, and who wrote each to a JSON file.

    Args:
        prompts: what was replied to.
        replies: system → id of a prompt → what it said; a prompt without a reply is passed over.
        sheet: where the replies go, with ``COLUMNS``.
        key: where the systems' names go, in another folder if the sheet's is handed on.
        seed: of the order.

    Returns:
        How many replies were written.

    Raises:
        DataError: there is nothing to write.
        UsageError: one of the files is there, and grades would be lost.
        RunError: one cannot be written.
    """
    for path in (sheet, key):
        if path.exists():
            raise UsageError(f"{path} is there already", hint="move it, or name another")
    told = [
        (each, name, said[each.id]) for name, said in replies.items() for each in prompts if each.id in said
    ]
    if not told:
        raise DataError("not one prompt has a reply", hint="name the replies by the ids of the prompts")
    random.Random(f"{seed}/blind").shuffle(told)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, (prompt, _, reply) in enumerate(told, start=1):
        writer.writerow([number, conversation(prompt.turns), prompt.expect, prompt.why, reply, ""])
    write_json(
        key,
        {
            str(number): {"id": prompt.id, "system": name, "reply": reply}
            for number, (prompt, name, reply) in enumerate(told, start=1)
        },
    )
    write_atomic(sheet, buffer.getvalue())
    return len(told)


def conversation(turns: Turns) -> str:
    """A conversation as somebody reads it, a line a turn."""
    return "\n".join(f"{turn.role}: {turn.text}" for turn in turns)


def read_blind(sheet: Path, key: Path) -> tuple[ByHand, ...]:
    """The grades of a sheet, with who wrote what; rows that nobody graded are passed over.

    Raises:
        DataError: the sheet is missing or has no grade, a grade is neither ``pass`` nor ``fail``, or a
            number is not in the key or stands twice.
        RunError: the key is missing or damaged.
    """
    names = read_json(key)
    found: dict[str, ByHand] = {}
    for place, row in csv_rows(sheet, COLUMNS):
        number, written = row["number"].strip(), row["grade"].strip().lower()
        if not written:
            continue
        if written not in GRADED:
            raise DataError(f"{place}: the grade is '{row['grade']}'", hint="write pass or fail, or nothing")
        if number not in names or number in found:
            fault = "stands twice" if number in found else "is not in the key"
            raise DataError(
                f"{place}: the number {number} {fault}", hint="leave all columns but 'grade' as they are"
            )
        who = names[number]
        found[number] = ByHand(who["id"], who["system"], who["reply"], written == "pass")
    if not found:
        raise DataError(f"{sheet} has no grade yet", hint="write pass or fail in the column 'grade'")
    return tuple(found.values())


def examine(
    by_hand: Sequence[ByHand],
    graded: Mapping[str, Sequence[Outcome]],
    *,
    seed: int,
    resamples: int = 2000,
) -> Examined:
    """How far the rules agree with grades by hand: Cohen's kappa of pass and fail, with its interval.

    With two grades the quadratic weights change nothing. Replies to one prompt are drawn together.

    Args:
        by_hand: grades by hand.
        graded: system → what the rules say of its replies.
        seed: of the resamples.
        resamples: how many.

    Raises:
        DataError: there are no grades by hand, or the rules did not grade one of these replies.
    """
    rules = {(name, each.id): each.passed for name, outcomes in graded.items() for each in outcomes}
    missing = [each for each in by_hand if (each.system, each.id) not in rules]
    if missing:
        raise DataError(
            f"the rules did not grade '{missing[0].id}' of '{missing[0].system}'",
            hint="grade by rules what was graded by hand",
        )
    answers = [
        GradedAnswer(
            f"{each.system}/{each.id}",
            each.id,
            "",
            each.reply,
            each.system,
            GRADED["pass" if each.passed else "fail"],
        )
        for each in by_hand
    ]
    verdicts = [
        Verdict(
            answer.id, _shares(rules[each.system, each.id]), "rules", judges_itself=False, from_text=False
        )
        for answer, each in zip(answers, by_hand, strict=True)
    ]
    return agreement.examine(answers, verdicts, seed=seed, resamples=resamples)


def _shares(passed: bool) -> tuple[float, float, float]:
    return (0.0, 0.0, 1.0) if passed else (1.0, 0.0, 0.0)
