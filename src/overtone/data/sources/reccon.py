"""RECCON: dialogues of DailyDialog with an emotion a turn, annotated anew (Poria et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import need
from overtone.data.records import Card, Record, Source, SplitName
from overtone.data.rows import json_rows, one_of
from overtone.errors import DataError

LABELS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""The emotions, target ``emotion``."""

SPELLINGS = {
    "angry": "anger",
    "excited": "happiness",
    "happines": "happiness",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}
"""What a few turns have in place of one of ``LABELS``."""

_SPLITS: dict[str, SplitName] = {"train": "train", "valid": "validation", "test": "test"}
_FILE = "reccon_{}.jsonl"

CARD = Card(
    name="reccon",
    title="RECCON: dialogues of DailyDialog with an emotion a turn",
    licence="CC-BY-NC-SA-4.0",
    commercial=False,
    url="https://github.com/declare-lab/RECCON",
    citation="Poria et al., Recognizing Emotion Cause in Conversations, Cognitive Computation 2021; Li et "
    "al., DailyDialog: A Manually Labelled Multi-turn Dialogue Dataset, IJCNLP 2017",
    files={
        "reccon_train.jsonl": "4a77b5f58bfdd9588349aeb23dbfb6b7a2495c573ba1d220e4fd1b52028ff9fc",
        "reccon_valid.jsonl": "354ab8854975b0ef32f11b173375f5a6da9b167a21721be0024aa82b76c7b8de",
        "reccon_test.jsonl": "da2979147d45f759df5cf57abd827725dd00faf23ed783c3fccf5d1af3eb7a59",
    },
    sizes={"train": 8_206, "validation": 493, "test": 2_405},
    notes="The licence is that of DailyDialog, since the source states none of its own. Its splits are not "
    "those of DailyDialog, and about one in six dialogues is also in `dailydialog`: do not train on one and "
    "test on the other without the leakage check. A few emotions are misspelt or adjectives; they are read "
    "as what they mean.",
    folder="dailydialog",
)


def records(folder: Path, *, context: bool = True) -> Iterator[Record]:
    """The turns, target ``emotion`` (one of ``LABELS``).

    Ids are ``reccon/tr_4466-3``: DailyDialog's dialogue, and turn from 1. ``group`` is the dialogue.

    Args:
        folder: with the files of the card.
        context: whether a row carries the turn before it; the first of a dialogue has none.

    Raises:
        DataError: a file is missing, or a line is not a dialogue of this form.
    """
    for name, split in _SPLITS.items():
        for place, dialogue in json_rows(need(folder, _FILE.format(name))):
            group, before = dialogue.get("id"), None
            for number, turn in enumerate(_turns(dialogue, place), start=1):
                emotion = SPELLINGS.get(turn["emotion"], turn["emotion"])
                yield Record(
                    f"reccon/{group}-{number}",
                    turn["utterance"],
                    {"emotion": one_of(emotion, LABELS, f"{place}, turn {number}", "an emotion")},
                    source="reccon",
                    split=split,
                    group=group,
                    context=before if context else None,
                )
                before = turn["utterance"]


def _turns(dialogue: Any, place: str) -> list[dict[str, str]]:  # noqa: ANN401 - any JSON object
    """The turns of a dialogue, each with an utterance and an emotion."""
    turns = dialogue.get("turns")
    whole = isinstance(dialogue.get("id"), str) and isinstance(turns, list)
    if whole and all(
        isinstance(turn, dict) and all(isinstance(turn.get(key), str) for key in ("utterance", "emotion"))
        for turn in turns
    ):
        found: list[dict[str, str]] = turns
        return found
    raise DataError(
        f"{place}: not a dialogue with an id, and turns with an utterance and an emotion",
        hint="docs/DATA.md says how the files are made",
    )


SOURCE = Source(CARD, records)


class RecconSource(Config):
    """The dialogues' turns with their emotions; as `unlabelled`, rows for a teacher of dialogue acts."""

    kind: Literal["reccon"] = Field("reccon", description="This data set.")
    context: bool = Field(True, description="Whether the turn before is read with each.")

    def build(self) -> Source:
        """The data set, its rows with or without context as this config says."""
        return Source(CARD, partial(records, context=self.context))
