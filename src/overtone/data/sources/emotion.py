"""Emotion, six classes: English tweets (dair-ai; Saravia et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import lines, need
from overtone.data.records import Card, Record, Source, SplitName
from overtone.errors import DataError, did_you_mean

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
"""The six labels."""

_SPLITS: dict[str, SplitName] = {"train.txt": "train", "val.txt": "validation", "test.txt": "test"}

CARD = Card(
    name="emotion",
    title="Emotion: English tweets with one of six emotions",
    licence="LicenseRef-dair-ai-emotion (educational and research use only)",
    commercial=False,
    url="https://github.com/dair-ai/emotion_dataset",
    citation="Saravia et al., CARER: Contextualized Affect Representations for Emotion Recognition, "
    "EMNLP 2018",
    files={
        "train.txt": "3ab03d945a6cb783d818ccd06dafd52d2ed8b4f62f0f85a09d7d11870865b190",
        "val.txt": "34faaa31962fe63cdf5dbf6c132ef8ab166c640254ab991af78f3aea375e79ef",
        "test.txt": "60f531690d20127339e7f054edc299a82c627b5ec0dd5d552d53d544e0cfcc17",
    },
    downloads={
        "train.txt": "https://www.dropbox.com/s/1pzkadrvffbqw6o/train.txt?dl=1",
        "val.txt": "https://www.dropbox.com/s/2mzialpsgf9k5l3/val.txt?dl=1",
        "test.txt": "https://www.dropbox.com/s/ikkqxfdbdec3fuj/test.txt?dl=1",
    },
    sizes={"train": 16_000, "validation": 2_000, "test": 2_000},
    notes="11 texts are in both train and test, 5 in both train and validation; "
    "30 train texts carry two different labels.",
)


def records(folder: Path) -> Iterator[Record]:
    """The tweets, target ``emotion`` one of ``LABELS``; ids are ``emotion/train-00012``, from 0.

    A line is ``text;label``; the text may hold semicolons, so the last one counts.

    Raises:
        DataError: a file is missing or a line is not of this form.
    """
    for name, split in _SPLITS.items():
        path = need(folder, name)
        for number, line in lines(path):
            text, _, label = line.rpartition(";")
            if label not in LABELS:
                raise DataError(
                    f"{path}, line {number}: '{label}' is not a label", hint=did_you_mean(label, LABELS)
                )
            row = f"emotion/{split}-{number - 1:05d}"
            yield Record(row, text, {"emotion": label}, source="emotion", split=split)


SOURCE = Source(CARD, records)


class EmotionSource(Config):
    """The six-emotion tweets."""

    kind: Literal["emotion"] = Field("emotion", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
