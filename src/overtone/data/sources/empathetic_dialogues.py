"""EmpatheticDialogues: a speaker tells of an emotion, a listener answers (Rashkin et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import need
from overtone.data.records import Card, Record, Source, SplitName
from overtone.data.rows import json_rows, one_of
from overtone.data.sources.education_dialogue import conversation
from overtone.data.sources.qa_file import text
from overtone.data.text import fold
from overtone.errors import DataError

LABELS = (
    *("afraid", "angry", "annoyed", "anticipating", "anxious", "apprehensive", "ashamed", "caring"),
    *("confident", "content", "devastated", "disappointed", "disgusted", "embarrassed", "excited"),
    *("faithful", "furious", "grateful", "guilty", "hopeful", "impressed", "jealous", "joyful", "lonely"),
    *("nostalgic", "prepared", "proud", "sad", "sentimental", "surprised", "terrified", "trusting"),
)
"""The emotions that a speaker was asked to tell of, target ``emotion``."""

ROLES = ("speaker", "listener")
"""Who speaks, by turns; the listener is the assistant."""

_SPLITS: dict[str, SplitName] = {"train": "train", "valid": "validation", "test": "test"}

CARD = Card(
    name="empathetic_dialogues",
    title="EmpatheticDialogues: a speaker with one of 32 emotions, and who listens",
    licence="CC-BY-NC-4.0",
    commercial=False,
    url="https://github.com/facebookresearch/EmpatheticDialogues",
    citation="Rashkin et al., Towards Empathetic Open-domain Conversation Models: a New Benchmark and "
    "Dataset, ACL 2019; Welivita and Pu, A Taxonomy of Empathetic Response Intents in Human Social "
    "Conversations, COLING 2020 (https://github.com/anuradha1992/EmpatheticIntents)",
    files={
        "train.jsonl": "92f5bc036cbe0b08d901ec72e84a06e906343b92fca2cce5673f23c33b6bdd0a",
        "valid.jsonl": "b32eb79171aa1304354ed88fd3ecfd5ae50aae613fbfdafc1eb8f81f4a2773a2",
        "test.jsonl": "60532f7807203ded3358bcd2f97d67f13e7f01960bfbcd6bdefc894f88672d5b",
    },
    sizes={"train": 19_518, "validation": 2_779, "test": 2_559},
    notes="Each conversation is in the official split that has its situation, so a figure is near one on the "
    "official split, and not the same. The emotion is what the speaker was asked to tell of; several "
    "are near each other (angry, furious), so no reader tells all of them apart. The labels of single "
    "utterances are a model's predictions and are not read.",
)


def records(folder: Path) -> Iterator[Record]:
    """The conversations; the listener is the assistant, the target ``emotion`` is one of ``LABELS``.

    What the speaker says last, unanswered, is left out; a conversation without an answer has no turns. Ids
    are ``empathetic_dialogues/hit:0_conv:1``, and ``group`` is the situation. These files have commas where
    the original writes ``_comma_``; of the texts, only white space is changed, to single spaces.

    Args:
        folder: with the files of the card.

    Raises:
        DataError: a file is missing, or a line is not a conversation of this form.
    """
    for name, split in _SPLITS.items():
        for place, row in json_rows(need(folder, f"{name}.jsonl")):
            found = conversation(
                f"{CARD.name}/{text(row, 'conv_id', place)}",
                _spoken(row, place),
                source=CARD.name,
                group=fold(text(row, "situation", place)),
            )
            emotion = one_of(row.get("emotion"), LABELS, place, "an emotion")
            yield replace(found, split=split, targets={**found.targets, "emotion": emotion})


def one_line(row: Mapping[str, Any], key: str, place: str) -> str:
    """A text of an object, its white space made single spaces.

    Raises:
        DataError: see ``qa_file.text``.
    """
    return " ".join(text(row, key, place).split())


def listed(row: Mapping[str, Any], key: str, place: str) -> list[Mapping[str, Any]]:
    """The utterances of a conversation.

    Raises:
        DataError: it is not a list of objects, or an empty one.
    """
    found = row.get(key)
    if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
        raise DataError(
            f"{place}: '{key}' is not a list of utterances", hint="docs/DATA.md says what the file is"
        )
    return found


def _spoken(row: Mapping[str, Any], place: str) -> list[tuple[str, str]]:
    """Role and text of each turn, of which the speaker has the first."""
    said = []
    for number, turn in enumerate(listed(row, "utterances", place), start=1):
        where = f"{place}, turn {number}"
        who = one_of(turn.get("speaker"), ROLES, where, "a side")
        if who != ROLES[(number - 1) % 2]:
            raise DataError(
                f"{where}: it is the {ROLES[(number - 1) % 2]}'s, and says '{who}'",
                hint="the sides speak by turns, the speaker first",
            )
        said.append(("user" if who == "speaker" else "assistant", one_line(turn, "text", where)))
    return said


SOURCE = Source(CARD, records)


class EmpatheticDialoguesSource(Config):
    """Conversations of a speaker with an emotion and a listener."""

    kind: Literal["empathetic_dialogues"] = Field("empathetic_dialogues", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
