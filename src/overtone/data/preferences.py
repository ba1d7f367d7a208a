"""Preferences: of two replies to one conversation, which is better; of the user's own, from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from overtone.data.chat import Role, Turn
from overtone.data.files import digest
from overtone.data.records import Card
from overtone.data.rows import one_of
from overtone.data.sources.qa_file import items, plain, text
from overtone.data.text import fold
from overtone.errors import DataError

ROLES = ("system", "user", "assistant")
"""Who may speak in a prompt that is a list of turns."""


@dataclass(frozen=True, slots=True)
class Preference:
    """A conversation with a better and a worse reply, as Rafailov et al. (2023) train on them.

    Args:
        id: unique within its data set.
        context: what was said before, the user's turn last.
        chosen: the better reply.
        rejected: the worse one, which is another text.
        source: the data set's name.
        groups: the conversations that it is made of, at least one; pairs that share one are not independent.
    """

    id: str
    context: tuple[Turn, ...]
    chosen: str
    rejected: str
    source: str
    groups: tuple[str, ...]


def card(path: Path) -> Card:
    """What a manifest keeps of a user's file; nobody says what may be done with it.

    Raises:
        DataError: the file cannot be read.
    """
    name = plain(path)
    title = f"Your own preferences {path.name}"
    return Card(name, title, "not known", None, str(path), "", {path.name: digest(path)})


def own(path: Path) -> Iterator[Preference]:
    """The preferences of a user's file: JSON lines (.jsonl) or a JSON list (.json), perhaps gzipped.

    An object has ``prompt``, ``chosen`` and ``rejected``. Each is a text, or a list of turns such as
    ``{"role": "user", "content": "…"}``; as a list, a reply is one turn of the assistant. Ids are
    ``<file>/000001``.

    Args:
        path: the file.

    Raises:
        DataError: the file cannot be read or is empty, or an object is not of this form; the message names
            the line.
    """
    name = plain(path)
    for number, (place, row) in enumerate(items(path), start=1):
        chosen, rejected = _reply(row, "chosen", place), _reply(row, "rejected", place)
        if fold(chosen) == fold(rejected):
            raise DataError(
                f"{place}: 'chosen' and 'rejected' are the same text", hint="leave the object out"
            )
        said = _prompt(row, place)
        group = fold(" ".join(turn.text for turn in said))
        yield Preference(f"{name}/{number:06d}", said, chosen, rejected, name, (group,))


def _prompt(row: Mapping[str, Any], place: str) -> tuple[Turn, ...]:
    if not isinstance(row.get("prompt"), list):
        return (Turn("user", text(row, "prompt", place)),)
    said = _turns(row, "prompt", place)
    spoken = [turn.role for turn in said if turn.role != "system"]
    system_later = any(turn.role == "system" for turn in said[1:])
    if system_later or spoken != ["user", "assistant"] * (len(spoken) // 2) + ["user"]:
        raise DataError(
            f"{place}: 'prompt' has turns of {', '.join(turn.role for turn in said) or 'nobody'}",
            hint="perhaps one of the system, then the user's and the assistant's by turns, the user's last",
        )
    return tuple(said)


def _reply(row: Mapping[str, Any], key: str, place: str) -> str:
    if not isinstance(row.get(key), list):
        return text(row, key, place)
    said = _turns(row, key, place)
    if [turn.role for turn in said] != ["assistant"]:
        raise DataError(
            f"{place}: '{key}' is not one turn of the assistant",
            hint='write [{"role": "assistant", "content": "…"}], and what was said before in `prompt`',
        )
    return said[0].text


def _turns(row: Mapping[str, Any], key: str, place: str) -> list[Turn]:
    said = []
    for number, turn in enumerate(row[key], start=1):
        where = f"{place}, '{key}', turn {number}"
        if not isinstance(turn, dict):
            raise DataError(f"{where}: not an object", hint='write {"role": "user", "content": "…"}')
        role = cast("Role", one_of(turn.get("role"), ROLES, where, "a role"))
        said.append(Turn(role, text(turn, "content", where)))
    return said
