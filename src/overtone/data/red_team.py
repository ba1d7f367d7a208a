"""What a listener's safety is tried with: prompts that tempt it, and openers that do not.

Both were written for this project. No prompt holds instructions for harm, and no reply that passes would.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from overtone.data import turns
from overtone.data.chat import Turn
from overtone.data.fetch import SHIPPED
from overtone.data.rows import json_rows, one_of
from overtone.errors import DataError

PROMPTS = SHIPPED / "red_team" / "prompts.jsonl"
"""The prompts that the package ships."""

OPENERS = SHIPPED / "red_team" / "openers.jsonl"
"""The openers that the package ships."""

Expected = Literal["support", "decline_kindly", "correct", "normal"]
"""What a good reply does: comforts and points to people, declines without coldness, does not agree with what
is false or harmful, or simply answers."""

INNOCENT = "innocent"
"""The kind that only looks dangerous; it, and no other, is to be answered as usual."""

KINDS = (
    "self_harm",
    "suicide_methods",
    "abuse_and_violence",
    "medical",
    "minors",
    "manipulation",
    "jailbreak",
    "eating_disorder",
    "substances",
    "hate",
    "illegal",
    "privacy",
    "pressure_to_agree",
    "dependence",
    INNOCENT,
)
"""What the prompts are about."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation whose next reply is graded.

    Args:
        id: unique in a file.
        kind: one of ``KINDS``.
        innocent: whether it only looks dangerous.
        turns: what was said, by turns; the first and the last by the user.
        expect: what a good reply does.
        must_not: regular expressions, searched in the reply in lower case; a failing reply has one.
        why: a sentence for whoever grades by hand.
    """

    id: str
    kind: str
    innocent: bool
    turns: tuple[Turn, ...]
    expect: Expected
    must_not: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Opener:
    """What somebody opens a conversation with, for reading what comes of it.

    Args:
        id: unique in a file.
        theme: what it is about, such as ``grief``.
        text: what is said.
    """

    id: str
    theme: str
    text: str


_PROMPT = tuple(field.name for field in fields(Prompt))
_OPENER = tuple(field.name for field in fields(Opener))


def read_prompts(path: Path = PROMPTS) -> tuple[Prompt, ...]:
    """The prompts of a file of JSON lines, each with the keys of ``Prompt``.

    Raises:
        DataError: the file is missing or empty, a line is not a prompt, an expression is none, or an id
            stands twice.
    """
    found: dict[str, Prompt] = {}
    for place, row in json_rows(path):
        turns.keys(place, row, _PROMPT)
        name = turns.new(place, turns.text(place, row, "id"), found)
        kind = one_of(row["kind"], KINDS, place, "a kind of prompt")
        expect = one_of(row["expect"], get_args(Expected), place, "what a reply may be expected to do")
        innocent = turns.flag(place, row, "innocent")
        if not innocent == (kind == INNOCENT) == (expect == "normal"):
            raise DataError(
                f"{place}: 'kind', 'innocent' and 'expect' do not agree",
                hint=f"what is {INNOCENT}, and nothing else, has innocent true and expects normal",
            )
        found[name] = Prompt(
            name,
            kind,
            innocent,
            turns.turns(place, row),
            cast("Expected", expect),
            _expressions(place, row["must_not"]),
            turns.text(place, row, "why"),
        )
    if not found:
        raise DataError(f"{path} holds no prompt", hint=f"one JSON object a line: {', '.join(_PROMPT)}")
    return tuple(found.values())


def read_openers(path: Path = OPENERS) -> tuple[Opener, ...]:
    """The openers of a file of JSON lines, each with the keys of ``Opener``.

    Raises:
        DataError: the file is missing or empty, a line is not an opener, or an id stands twice.
    """
    found: dict[str, Opener] = {}
    for place, row in json_rows(path):
        turns.keys(place, row, _OPENER)
        name = turns.new(place, turns.text(place, row, "id"), found)
        found[name] = Opener(name, turns.text(place, row, "theme"), turns.text(place, row, "text"))
    if not found:
        raise DataError(f"{path} holds no opener", hint=f"one JSON object a line: {', '.join(_OPENER)}")
    return tuple(found.values())


def _expressions(place: str, listed: Any) -> tuple[str, ...]:  # noqa: ANN401 - any JSON value
    """What a reply must not contain, each a regular expression that compiles."""
    if not isinstance(listed, list) or not all(isinstance(each, str) and each.strip() for each in listed):
        raise DataError(f"{place}: 'must_not' is no list of texts", hint='write ["…", "…"], or []')
    for each in listed:
        try:
            re.compile(each)
        except re.error as error:
            raise DataError(
                f"{place}: '{each}' is no regular expression ({error})",
                hint="put a backslash before a sign that is meant as it stands",
            ) from error
    return tuple(listed)
