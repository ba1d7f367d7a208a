"""DailyDialog's dev and test dialogues with acts and emotions, as SILICONE has them (Li et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import need
from overtone.data.records import Card, Record, Source, SplitName
from overtone.data.rows import csv_rows, one_of
from overtone.errors import DataError

LABELS = ("inform", "question", "directive", "commissive")
"""The dialogue acts, target ``intent``."""

EMOTIONS = ("no emotion", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""The emotions, target ``emotion``."""

_COLUMNS = ("Utterance", "Dialogue_Act", "Emotion", "Dialogue_ID")
_SPLITS: dict[str, SplitName] = {"dev": "train", "test": "test"}
_FILE = "silicone_dyda_{}.csv"
_RAW = (
    "https://raw.githubusercontent.com/eusip/SILICONE-benchmark/daef3dc14340530a71b2b02d5c4f0200b104c373/dyda"
)

CARD = Card(
    name="dailydialog",
    title="DailyDialog: everyday dialogues with acts and emotions (SILICONE's dev and test files)",
    licence="CC-BY-NC-SA-4.0",
    commercial=False,
    url="https://github.com/eusip/SILICONE-benchmark",
    citation="Li et al., DailyDialog: A Manually Labelled Multi-turn Dialogue Dataset, IJCNLP 2017; Chapuis "
    "et al., Hierarchical Pre-training for Sequence Labelling in Spoken Dialog, Findings of EMNLP 2020",
    files={
        "silicone_dyda_dev.csv": "66be9ec11f0234686cd338d5e7a374e1706ffd998b54fd3e6b72ef18598470b2",
        "silicone_dyda_test.csv": "3b711ebac2a1a64067aea5252c6bbbb1abe1f9f1434d2e94f9dd4a99706fc2ce",
    },
    downloads={
        "silicone_dyda_dev.csv": f"{_RAW}/dev.csv",
        "silicone_dyda_test.csv": f"{_RAW}/test.csv",
    },
    sizes={"train": 8_069, "test": 7_740},
    notes="Trained on the dev file, since the train file is not used here: figures do not compare with "
    "published ones. Dialogue numbers begin at 1 in both files and mean different dialogues, but 5 whole "
    "dialogues are in both, and 497 test utterances stand in train, half of them of 5 words or fewer. All "
    "lower case, with spaces around punctuation. More than eight in ten utterances have no emotion.",
)


def records(folder: Path, *, context: bool = True) -> Iterator[Record]:
    """The utterances, targets ``intent`` (one of ``LABELS``) and ``emotion`` (one of ``EMOTIONS``).

    Ids are ``dailydialog/dev-12-3``: file, dialogue, and turn from 1. ``group`` is ``dev-12``.

    Args:
        folder: with the files of the card.
        context: whether a row carries the utterance before it; the first of a dialogue has none.

    Raises:
        DataError: a file is missing, its header is another one, a row is not of this form, or a dialogue's
            rows do not stand together.
    """
    for name, split in _SPLITS.items():
        begun: set[str] = set()
        dialogue, turn, before = "", 0, None
        for place, row in csv_rows(need(folder, _FILE.format(name)), _COLUMNS):
            if row["Dialogue_ID"] != dialogue:
                dialogue, turn, before = row["Dialogue_ID"], 0, None
                if dialogue in begun:
                    raise DataError(
                        f"{place}: dialogue {dialogue} goes on after another one",
                        hint="`overtone data fetch dailydialog` gets the file again",
                    )
                begun.add(dialogue)
            turn += 1
            yield Record(
                f"dailydialog/{name}-{dialogue}-{turn}",
                row["Utterance"],
                {
                    "intent": one_of(row["Dialogue_Act"], LABELS, place, "a dialogue act"),
                    "emotion": one_of(row["Emotion"], EMOTIONS, place, "an emotion"),
                },
                source="dailydialog",
                split=split,
                group=f"{name}-{dialogue}",
                context=before if context else None,
            )
            before = row["Utterance"]


SOURCE = Source(CARD, records)


class DailyDialogSource(Config):
    """The dialogues' utterances with their acts and emotions; the dev file is train."""

    kind: Literal["dailydialog"] = Field("dailydialog", description="This data set.")
    context: bool = Field(True, description="Whether the utterance before is read with each.")

    def build(self) -> Source:
        """The data set, its rows with or without context as this config says."""
        return Source(CARD, partial(records, context=self.context))
