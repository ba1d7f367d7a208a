"""The Education Dialogue Dataset: a teacher and a student talk about a topic; files that the user has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import digest
from overtone.data.records import Card, Record, Source
from overtone.data.rows import one_of
from overtone.data.sources.qa_file import files_at, items, plain, text
from overtone.data.text import fold
from overtone.errors import DataError, did_you_mean

NAME = "education-dialogue"
"""Of the data set."""

FILES = "conversations_train*.json"
"""What is read of a folder."""

ROLES = {"student": "user", "teacher": "assistant", "tutor": "assistant"}
"""Who speaks → the role in a chat template."""

PREFERENCES = {"The student prefers": "student_prefrences", "The teacher prefers": "teacher_prefrences"}
"""What is said of the two in the system's turn → its key, spelt as the source spells it."""

_END = re.compile(r"\[end of conversation\]", re.IGNORECASE)

Said = Sequence[tuple[str, str]]
"""Role and text of each turn."""


class EducationDialogueSource(Config):
    """Files in the format of the Education Dialogue Dataset."""

    kind: Literal["education-dialogue"] = Field(
        "education-dialogue", description="The Education Dialogue Dataset, or files in its format."
    )
    path: Path = Field(
        description="A JSON file, or a folder whose conversations_train*.json are read; each may be gzipped."
    )

    def build(self) -> Source:
        """The files as a data set.

        Raises:
            DataError: the path is not there, or a folder has no such file.
        """
        files = files_at(self.path, (FILES,))
        card = Card(
            name=NAME,
            title="Education Dialogue: conversations of a teacher and a student, both played by a model",
            licence="the licence that the Education Dialogue Dataset states",
            commercial=None,
            url="https://github.com/google-research-datasets/Education-Dialogue-Dataset",
            citation="Shani et al., Multi-turn Reinforcement Learning from Preference Human Feedback, "
            "NeurIPS 2024",
            files={file.name: digest(file) for file in files},
        )
        return Source(card, partial(_records, tuple(file.name for file in files)))


def _records(files: Sequence[str], folder: Path) -> Iterator[Record]:
    """The conversations; the teacher is the assistant.

    A system's turn says the topic and what the two prefer; where the teacher speaks first, the student is
    made to ask for the topic. How they react is left out: nobody could know it before. Ids are
    ``education-dialogue/conversations_train1-00001``, and ``group`` is the topic.

    Raises:
        DataError: a file is empty, broken or not UTF-8, or a conversation is not of this form.
    """
    for file in files:
        for number, (place, row) in enumerate(items(folder / file), start=1):
            about = background(row, place)
            topic = text(about, "topic", place) if about.get("topic") else ""
            lines = [f"Topic: {topic}"] if topic else []
            lines += [
                f"{what}: {text(about, key, place)}" for what, key in PREFERENCES.items() if about.get(key)
            ]
            opening = f"I would like to learn about {topic}." if topic else ""
            yield conversation(
                f"{NAME}/{plain(Path(file))}-{number:05d}",
                spoken(row, place),
                source=NAME,
                group=fold(topic) or None,
                system="\n".join(lines),
                opening=opening,
            )


def background(row: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """What is known of a conversation before it begins; nothing where the row does not say.

    Raises:
        DataError: it is not an object.
    """
    about = row.get("background_info") or {}
    if not isinstance(about, dict):
        raise DataError(f"{place}: 'background_info' is not an object", hint='write {"topic": "…"}')
    return about


def spoken(row: Mapping[str, Any], place: str) -> list[tuple[str, str]]:
    """The turns of a row in this format, each with its role in a chat template; a blank text is "".

    Raises:
        DataError: there is no list of turns, or a turn has an unknown role or no text.
    """
    if "conversation" not in row:
        raise DataError(
            f"{place}: no 'conversation'; it has {', '.join(map(repr, row)) or 'nothing'}",
            hint=did_you_mean("conversation", row),
        )
    found = row["conversation"]
    if not isinstance(found, list) or not found:
        raise DataError(
            f"{place}: 'conversation' is not a list of turns",
            hint='write [{"role": "Teacher", "text": "…"}, …]',
        )
    said: list[tuple[str, str]] = []
    for number, turn in enumerate(found, start=1):
        where = f"{place}, turn {number}"
        if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str) for key in ("role", "text")):
            raise DataError(
                f"{where}: not an object with the texts role and text",
                hint='write {"role": "Teacher", "text": "…"}',
            )
        role = ROLES[one_of(turn["role"].strip().lower(), ROLES, where, "a role")]
        said.append((role, text(turn, "text", where) if turn["text"].strip() else ""))
    return said


def conversation(
    name: str, said: Said, *, source: str, group: str | None, system: str = "", opening: str = ""
) -> Record:
    """A record of turns that a chat template takes: the user's and the assistant's by turns, in this order.

    Blank turns and ``[end of conversation]`` are left out, and neighbours of one role are joined by a line
    break. If the assistant speaks first, ``opening`` is what the user says before, and without one that turn
    is left out; what the user says last, unanswered, is left out too.

    Args:
        name: the id.
        said: role, ``user`` or ``assistant``, and text of each turn.
        source: the data set's name.
        group: see ``Record``.
        system: a first turn of the system; none where empty.
        opening: see above.

    Returns:
        Targets are ``roles`` and ``turns``, equally many; ``text`` is all turns, a line break between two.
        Nothing of it where no turn of the user is answered: no turns, and no text.
    """
    kept: list[tuple[str, str]] = []
    for role, raw in said:
        words = _END.sub("", raw).strip()
        if not words:
            continue
        if kept and kept[-1][0] == role:
            kept[-1] = (role, f"{kept[-1][1]}\n{words}")
        else:
            kept.append((role, words))
    if kept and kept[0][0] == "assistant":
        kept = [("user", opening), *kept] if opening else kept[1:]
    if kept and kept[-1][0] == "user":
        kept.pop()
    if kept and system:
        kept = [("system", system), *kept]
    turns = tuple(words for _, words in kept)
    roles = tuple(role for role, _ in kept)
    return Record(name, "\n".join(turns), {"roles": roles, "turns": turns}, source, group=group)
