"""Conversations with and without a person at risk, written for this project: kinds, needs, and their file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from overtone.data import turns
from overtone.data.chat import Turn
from overtone.data.fetch import SHIPPED
from overtone.data.rows import json_rows, one_of
from overtone.errors import DataError

FOLDER = SHIPPED / "crisis"
"""Where the files of the crisis policy are."""

TRAIN, HELD_OUT = FOLDER / "train.jsonl", FOLDER / "held_out.jsonl"
"""What the detector learns from; what judges it, written apart."""

Need = Literal["suicide", "abuse", "poison", "violence", "someone"]
"""What help is needed for: one's own life or body, harm done by others, something taken or breathed in, harm
one might do to others, or somebody else's safety."""

NEEDS: tuple[Need, ...] = get_args(Need)

NEED_OF: Mapping[str, Need] = {
    "passive_ideation": "suicide",
    "active_ideation": "suicide",
    "plan_or_means": "suicide",
    "self_harm": "suicide",
    "after_attempt": "suicide",
    "overdose_or_poisoning": "poison",
    "abuse_now": "abuse",
    "minor_in_danger": "abuse",
    "harm_to_others": "violence",
    "other_person": "someone",
    "goodbye": "suicide",
    "despair_in_context": "suicide",
}
"""Kind of conversation with somebody at risk → the need that it mostly is."""

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
    "everyday",
)
"""Kinds without anybody at risk: twelve that look like one, and everyday talk, which is never held out."""

KINDS = (*NEED_OF, *INNOCENT)
"""All 25 kinds."""


@dataclass(frozen=True, slots=True)
class CrisisCase:
    """A conversation, and whether somebody in it is at risk now.

    Args:
        id: unique within its file.
        kind: one of ``KINDS``.
        turns: the last is the user's.
    """

    id: str
    kind: str
    turns: tuple[Turn, ...]

    @property
    def crisis(self) -> bool:
        """Whether somebody is at risk."""
        return self.kind in NEED_OF

    @property
    def text(self) -> str:
        """All that is said, a turn a line."""
        return "\n".join(turn.text for turn in self.turns)


_COLUMNS = ("id", "kind", "crisis", "turns")


def read_cases(path: Path) -> list[CrisisCase]:
    """The conversations of a file of JSON lines, each with ``id``, ``kind``, ``crisis`` and ``turns``.

    Raises:
        DataError: the file is missing or empty, a line is not of this form, its kind says otherwise than its
            ``crisis``, or an id stands twice.
    """
    found: dict[str, CrisisCase] = {}
    for place, row in json_rows(path):
        turns.keys(place, row, _COLUMNS)
        name = turns.new(place, turns.text(place, row, "id"), found)
        kind = one_of(row["kind"], KINDS, place, "a kind of case")
        crisis = turns.flag(place, row, "crisis")
        found[name] = CrisisCase(name, kind, turns.turns(place, row))
        if crisis != found[name].crisis:
            raise DataError(
                f"{place}: the kind '{kind}' and 'crisis' do not agree",
                hint=f"crisis is {str(not crisis).lower()} of this kind",
            )
    if not found:
        raise DataError(f"{path} holds no case", hint=f"one JSON object a line: {', '.join(_COLUMNS)}")
    return list(found.values())
