"""EmoBank: sentences rated for valence, arousal and dominance (Buechel and Hahn 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import need
from overtone.data.records import Card, Record, Source, SplitName
from overtone.data.rows import as_number, csv_rows, one_of
from overtone.errors import DataError

LABELS = ("valence", "arousal", "dominance")
"""The three ratings, in the order of the target's numbers."""

RANGE = (1.0, 5.0)
"""The lowest and the highest rating; 3 is neutral."""

_COLUMNS = ("id", "split", "V", "A", "D", "text")
_SPLITS: dict[str, SplitName] = {"train": "train", "dev": "validation", "test": "test"}
_RAW = "https://raw.githubusercontent.com/JULIELab/EmoBank/248ce2a43e165a66d31aeaed83cff9641d6654e0"

CARD = Card(
    name="emobank",
    title="EmoBank: sentences rated for valence, arousal and dominance",
    licence="CC-BY-SA-4.0",
    commercial=True,
    url="https://github.com/JULIELab/EmoBank",
    citation="Buechel and Hahn, EmoBank: Studying the Impact of Annotation Perspective and Representation "
    "Format on Dimensional Emotion Analysis, EACL 2017",
    files={"emobank.csv": "1ade4a4a453e880c0f39d0536d2b355e8a716e0cf88236c64cdb4d438cf9605b"},
    downloads={"emobank.csv": f"{_RAW}/corpus/emobank.csv"},
    sizes={"train": 8_062, "validation": 1_000, "test": 1_000},
    notes="Ratings crowd around 3, dominance most (standard deviation 0.21): an error says little without a "
    "correlation. "
    "16 texts are in both train and test, 20 in both train and validation.",
)


def records(folder: Path) -> Iterator[Record]:
    """The sentences, target ``vad`` three numbers from 1 to 5 in the order of ``LABELS``.

    Ids are ``emobank/`` and the file's own.

    Raises:
        DataError: the file is missing, its header is another one or a row is not of this form.
    """
    for place, row in csv_rows(need(folder, "emobank.csv"), _COLUMNS):
        split = _SPLITS[one_of(row["split"], _SPLITS, place, "a split")]
        ratings = tuple(_rating(row[column], place, column) for column in ("V", "A", "D"))
        yield Record(f"emobank/{row['id']}", row["text"], {"vad": ratings}, source="emobank", split=split)


def _rating(cell: str, place: str, column: str) -> float:
    low, high = RANGE
    rating = as_number(cell, place, column)
    if not low <= rating <= high:
        raise DataError(
            f"{place}: '{column}' is {cell}, outside {low:g} to {high:g}",
            hint="`overtone data fetch emobank` gets the file again",
        )
    return rating


SOURCE = Source(CARD, records)


class EmoBankSource(Config):
    """The sentences with their valence, arousal and dominance."""

    kind: Literal["emobank"] = Field("emobank", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
