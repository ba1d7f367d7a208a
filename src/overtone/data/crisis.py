"""Conversations with and without a person at risk, written for this project: kinds, needs, and their file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from overtone.data.chat import Turn
from overtone.data.fetch import SHIPPED
from overtone.data.files import lines
from overtone.errors import DataError, did_you_mean

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


def read_cases(path: Path) -> list[CrisisCase]:
    """The conversations of a file of JSON lines.

    A line has ``id``, ``kind``, ``crisis`` and ``turns``, each turn ``role`` and ``text``.

    Raises:
        DataError: the file is missing, or a line is not of this form.
    """
    if not path.exists():
        raise DataError(
            f"{path} is missing", hint="install overtone again, or put a file of your own in its place"
        )
    cases: list[CrisisCase] = []
    seen: set[str] = set()
    for number, line in lines(path):
        place = f"{path}, line {number}"
        try:
            case = _case(json.loads(line))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{place}: not a conversation ({error!r})",
                hint='{"id": …, "kind": …, "crisis": …, "turns": [{"role": "user", "text": …}]}',
            ) from error
        if case.kind not in KINDS:
            raise DataError(f"{place}: unknown kind '{case.kind}'", hint=did_you_mean(case.kind, KINDS))
        if case.crisis != json.loads(line)["crisis"]:
            raise DataError(f"{place}: '{case.kind}' and its `crisis` disagree", hint="correct one of them")
        if case.id in seen:
            raise DataError(f"{place}: '{case.id}' stands twice", hint="give each an id of its own")
        seen.add(case.id)
        cases.append(case)
    return cases


def _case(row: Mapping[str, Any]) -> CrisisCase:
    turns: Sequence[Mapping[str, str]] = row["turns"]
    made = tuple(Turn(_role(turn["role"]), str(turn["text"])) for turn in turns)
    if not made or made[-1].role != "user" or not all(turn.text.strip() for turn in made):
        raise ValueError("the last turn is the user's, and none is empty")
    return CrisisCase(str(row["id"]), str(row["kind"]), made)


def _role(role: str) -> Literal["user", "assistant"]:
    if role == "user":
        return "user"
    if role == "assistant":
        return "assistant"
    raise ValueError(f"role '{role}'")
