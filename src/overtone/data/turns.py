"""What a person and a listener said, read from a line of a shipped file and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from overtone.data.chat import Turn
from overtone.errors import DataError, did_you_mean


def keys(place: str, row: Mapping[str, Any], columns: Collection[str]) -> None:
    """Check that a line has these keys and no others.

    Raises:
        DataError: one is missing or unknown.
    """
    for key in row:
        if key not in columns:
            raise DataError(f"{place}: no key is called '{key}'", hint=did_you_mean(key, columns))
    for key in columns:
        if key not in row:
            raise DataError(
                f"{place}: '{key}' is missing", hint=f"write an object with the keys {', '.join(columns)}"
            )


def text(place: str, row: Mapping[str, Any], key: str) -> str:
    """A text that is not blank.

    Raises:
        DataError: it is blank, missing or none.
    """
    found = row.get(key)
    if not isinstance(found, str) or not found.strip():
        raise DataError(f"{place}: '{key}' holds no text", hint="write it between quotation marks")
    return found


def flag(place: str, row: Mapping[str, Any], key: str) -> bool:
    """A truth value.

    Raises:
        DataError: it is none.
    """
    found = row.get(key)
    if not isinstance(found, bool):
        raise DataError(f"{place}: '{key}' is {found!r}", hint="write true or false, unquoted")
    return found


def new(place: str, name: str, seen: Collection[str]) -> str:
    """An id that no line before has.

    Raises:
        DataError: one has.
    """
    if name in seen:
        raise DataError(f"{place}: the id '{name}' stands twice", hint="give one of them another")
    return name


def turns(place: str, row: Mapping[str, Any]) -> tuple[Turn, ...]:
    """The turns of a line: a user's and an assistant's in alternation, the first and the last the user's.

    Raises:
        DataError: there are none, one has no text, or they do not alternate so.
    """
    listed = row.get("turns")
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{place}: 'turns' holds no turns", hint='write [{"role": "user", "text": …}]')
    found: list[Turn] = []
    for number, each in enumerate(listed, start=1):
        where = f"{place}, turn {number}"
        if not isinstance(each, dict):
            raise DataError(f"{where}: not an object", hint='write {"role": "user", "text": …}')
        keys(where, each, ("role", "text"))
        role = "user" if number % 2 else "assistant"
        if each["role"] != role:
            raise DataError(
                f"{where}: the role is {each['role']!r} where it is the {role}'s turn",
                hint="let user and assistant speak by turns, the user first",
            )
        found.append(Turn("user" if number % 2 else "assistant", text(where, each, "text")))
    if not len(found) % 2:
        raise DataError(f"{place}: the last turn is not the user's", hint="end with what is to be answered")
    return tuple(found)
