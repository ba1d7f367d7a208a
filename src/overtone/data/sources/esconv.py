"""ESConv: emotional support, with the strategy of each utterance (Liu et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import need
from overtone.data.records import Card, Record, Source, SplitName
from overtone.data.rows import json_rows, one_of
from overtone.data.sources.education_dialogue import conversation
from overtone.data.sources.empathetic_dialogues import listed, one_line
from overtone.data.sources.qa_file import items, text
from overtone.errors import DataError

LABELS = (
    "Affirmation and Reassurance",
    "Information",
    "Others",
    "Providing Suggestions",
    "Question",
    "Reflection of feelings",
    "Restatement or Paraphrasing",
    "Self-disclosure",
)
"""The support strategies, target ``strategy``."""

SPELLINGS = {
    "Approval and Reassurance": "Affirmation and Reassurance",
    "Direct Guidance": "Providing Suggestions",
    "Other": "Others",
    "Questions": "Question",
    "Restatement": "Restatement or Paraphrasing",
}
"""What the failed conversations have in place of some of ``LABELS``."""

RATINGS = ("1", "2", "3", "4", "5")
"""How helpful a seeker found what was said, from not at all to very, target ``rating``."""

OPENING = "Hello."
"""What the seeker is made to say where the supporter speaks first."""

FAILED = "failed.json"
"""The conversations that the authors rejected."""

_SPLITS: dict[str, SplitName] = {"train": "train", "valid": "validation", "test": "test"}

CARD = Card(
    name="esconv",
    title="ESConv: emotional support conversations, with eight strategies",
    licence="CC-BY-NC-4.0, for academic research only",
    commercial=False,
    url="https://github.com/thu-coai/Emotional-Support-Conversation",
    citation="Liu et al., Towards Emotional Support Dialog Systems, ACL 2021",
    files={
        "train.jsonl": "04318db8fa0aad00cf132972ebe4d4ade091f5db4df5da1df3f74af918365c7e",
        "valid.jsonl": "a33a78ac9eb970d4a6ff27cac33acc059fdb9e979e5929cb65457717396c0778",
        "test.jsonl": "04e8f343318415946087af0a9c93514db746da7482f56bafc994530e3ed00960",
        FAILED: "d21bad5409d88ecbca18abfee26a8c188d09c34b03962cb53a4c30d8de95b279",
    },
    sizes={"train": 910, "validation": 195, "test": 195},
    notes="The supporters are trained crowd workers, not therapists, and suggest what no therapist would. "
    "Where a supporter says several things in a row, their strategies mostly differ: the first one's counts. "
    "Two situations stand in train and in test. The failed conversations are no rows: they are for "
    "preference pairs alone.",
)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one side says at once.

    Args:
        role: ``user``, the seeker, or ``assistant``, the supporter.
        text: what.
        strategy: of a supporter, one of ``LABELS``; else "".
        rating: of a seeker, one of ``RATINGS``, about what the supporter said just before; "" where none.
    """

    role: str
    text: str
    strategy: str = ""
    rating: str = ""


def records(folder: Path) -> Iterator[Record]:
    """The conversations; the supporter is the assistant. Ids are ``esconv/train-0000``.

    Several utterances of one side in a row are one turn, a line break between two. Where the supporter speaks
    first, the seeker is made to say ``OPENING``; what the seeker says last, unanswered, is left out.

    Targets beside the turns, one a turn each, "" where a turn has none:

    - ``strategy``: of the first utterance of a supporter's turn, since a head that reads before the reply
      decides how it begins.
    - ``rating``: the first that the seeker gives in the turn after. It was asked for after every two or so
      utterances of the supporter, so it may mean an earlier turn too.

    ``problem`` is what the conversation is about, one label.

    Args:
        folder: with the files of the card.

    Raises:
        DataError: a file is missing, or a line is not a conversation of this form.
    """
    for name, split in _SPLITS.items():
        for place, row in json_rows(need(folder, f"{name}.jsonl")):
            yield replace(_whole(text(row, "id", place), row, utterances(row, place), place), split=split)


def failed(folder: Path) -> Iterator[Record]:
    """The conversations that the authors rejected as poor support, in the form of ``records``.

    Ids are ``esconv/failed-000``. They are for training alone, and as what is not to be said.

    Raises:
        DataError: the file is missing, or an item is not a conversation of this form.
    """
    for number, (place, row) in enumerate(items(need(folder, FAILED))):
        name = f"failed-{number:03d}"
        yield replace(_whole(name, row, failed_utterances(row, place), place), split="train")


def utterances(row: Mapping[str, Any], place: str) -> list[Utterance]:
    """What is said in a conversation of the splits, in order.

    Raises:
        DataError: it is not of this form; the message names the turn.
    """
    said = []
    for number, turn in enumerate(listed(row, "dialog", place), start=1):
        where = f"{place}, turn {number}"
        if one_of(turn.get("speaker"), ("usr", "sys"), where, "a side") == "sys":
            strategy = one_of(turn.get("strategy"), LABELS, where, "a strategy")
            said.append(Utterance("assistant", one_line(turn, "text", where), strategy))
        else:
            said.append(Utterance("user", one_line(turn, "text", where), rating=_rating(turn, where)))
    return said


def failed_utterances(row: Mapping[str, Any], place: str) -> list[Utterance]:
    """The same of a failed conversation, whose file names all of it otherwise.

    Raises:
        DataError: it is not of this form; the message names the turn.
    """
    said = []
    for number, turn in enumerate(listed(row, "dialog", place), start=1):
        where, about = f"{place}, turn {number}", turn.get("annotation")
        if not isinstance(about, dict):
            raise DataError(f"{where}: no 'annotation' object", hint="docs/DATA.md says what the file is")
        content = one_line(turn, "content", where)
        if one_of(turn.get("speaker"), ("speaker", "listener"), where, "a side") == "listener":
            named = about.get("strategy")
            strategy = one_of(SPELLINGS.get(str(named), named), LABELS, where, "a strategy")
            said.append(Utterance("assistant", content, strategy))
        else:
            said.append(Utterance("user", content, rating=_rating({"rating": about.get("feedback")}, where)))
    return said


def _rating(turn: Mapping[str, Any], where: str) -> str:
    value = turn.get("rating")
    return "" if value is None else one_of(value, RATINGS, where, "a rating")


def _whole(name: str, row: Mapping[str, Any], said: Sequence[Utterance], place: str) -> Record:
    """A conversation of utterances as a record with its targets."""
    found = conversation(
        f"{CARD.name}/{name}",
        [(each.role, each.text) for each in said],
        source=CARD.name,
        group=None,
        opening=OPENING,
    )
    sides = [(role, list(each)) for role, each in groupby(said, key=lambda one: one.role)]
    strategies, ratings = list[str](), list[str]()
    for number, (role, each) in enumerate(sides):
        if role == "assistant":
            after = sides[number + 1][1] if number + 1 < len(sides) else []
            strategies.append(each[0].strategy)
            ratings.append(next((one.rating for one in after if one.rating), ""))
    roles = found.targets["roles"]
    assert isinstance(roles, tuple)
    return replace(
        found,
        targets={
            **found.targets,
            "strategy": _spread(roles, strategies),
            "rating": _spread(roles, ratings),
            "problem": text(row, "problem_type", place).lower(),
        },
    )


def _spread(roles: Sequence[object], values: Sequence[str]) -> tuple[str, ...]:
    """The values of the assistant's turns, in order, and "" for every other turn."""
    left = iter(values)
    return tuple(next(left) if role == "assistant" else "" for role in roles)


SOURCE = Source(CARD, records)


class EsconvSource(Config):
    """Emotional support conversations; the failed ones are not among them."""

    kind: Literal["esconv"] = Field("esconv", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
