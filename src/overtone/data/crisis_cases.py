"""Conversations that examine a crisis detector: crises, and what looks like one and is none.

They were written for this project, to be held out: whatever is trained or tuned on them can no longer be
examined with them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from overtone.data import turns
from overtone.data.chat import Turn
from overtone.data.fetch import SHIPPED
from overtone.data.rows import json_rows, one_of
from overtone.errors import DataError

HELD_OUT = SHIPPED / "crisis" / "held_out.jsonl"
"""The file that the package ships."""

CRISIS = (
    "passive_ideation",
    "active_ideation",
    "plan_or_means",
    "self_harm",
    "after_attempt",
    "overdose_or_poisoning",
    "abuse_now",
    "minor_in_danger",
    "harm_to_others",
    "other_person",
    "goodbye",
    "despair_in_context",
)
"""Kinds of crisis; of the last, the last turn alone is harmless."""

INNOCENT = (
    "idiom",
    "fiction_or_game",
    "news_or_history",
    "work_or_study",
    "computing",
    "sad_not_at_risk",
    "past_and_well",
    "pet_or_plant_or_thing",
    "sport_or_food",
    "negated_or_reassuring",
    "dark_joke_or_lyrics",
    "innocent_in_context",
)
"""Kinds of look-alikes; of the last, an earlier turn alone would alarm."""


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation of which it is known whether somebody is in a crisis.

    Args:
        id: unique in a file.
        kind: one of ``CRISIS`` or of ``INNOCENT``.
        crisis: whether anybody, the user or another, is at risk now.
        turns: what was said, by turns; the first and the last by the user.
    """

    id: str
    kind: str
    crisis: bool
    turns: tuple[Turn, ...]


_COLUMNS = tuple(field.name for field in fields(Case))


def read_cases(path: Path = HELD_OUT) -> tuple[Case, ...]:
    """The cases of a file of JSON lines, each with the keys of ``Case``.

    Raises:
        DataError: the file is missing or empty, a line is not a case, its kind says otherwise than its
            ``crisis``, or an id stands twice.
    """
    found: dict[str, Case] = {}
    for place, row in json_rows(path):
        turns.keys(place, row, _COLUMNS)
        name = turns.new(place, turns.text(place, row, "id"), found)
        kind = one_of(row["kind"], (*CRISIS, *INNOCENT), place, "a kind of case")
        crisis = turns.flag(place, row, "crisis")
        if crisis != (kind in CRISIS):
            raise DataError(
                f"{place}: the kind '{kind}' and 'crisis' do not agree",
                hint=f"crisis is {str(not crisis).lower()} of this kind",
            )
        found[name] = Case(name, kind, crisis, turns.turns(place, row))
    if not found:
        raise DataError(f"{path} holds no case", hint=f"one JSON object a line: {', '.join(_COLUMNS)}")
    return tuple(found.values())
