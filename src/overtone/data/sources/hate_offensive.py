"""Hate speech and offensive language: English tweets (Davidson et al. 2017)."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import need
from overtone.data.records import Card, Record, Source
from overtone.data.rows import csv_rows, one_of

LABELS = ("neither", "offensive", "hate")
"""The three labels, from the mildest to the worst."""

_COLUMNS = ("", "count", "hate_speech", "offensive_language", "neither", "class", "tweet")
_CLASSES = {"0": "hate", "1": "offensive", "2": "neither"}
_RAW = (
    "https://raw.githubusercontent.com/t-davidson/hate-speech-and-offensive-language/"
    "cb50f7e9eb855a99abc51423bf40df0e26d6fe30"
)

CARD = Card(
    name="hate_offensive",
    title="Hate speech and offensive language: English tweets, hate, offensive or neither",
    licence="MIT",
    commercial=True,
    url="https://github.com/t-davidson/hate-speech-and-offensive-language",
    citation="Davidson et al., Automated Hate Speech Detection and the Problem of Offensive Language, "
    "ICWSM 2017",
    files={"labeled_data.csv": "fcb8bc7c68120ae4af04a5b9acd58585513ede11e1548ebf36a5c2040b6f6281"},
    downloads={"labeled_data.csv": f"{_RAW}/data/labeled_data.csv"},
    sizes={"all": 24_783},
    notes="The labels are known to be biased against African-American English: do not let a model of them "
    "act on people alone. The texts offend. They were found by a list of abusive words, so three in "
    "four are offensive, which is not so elsewhere: 19,190 rows, beside 4,163 of neither and 1,430 of hate. "
    "No official split.",
)


def records(folder: Path) -> Iterator[Record]:
    """The tweets, target ``safety`` one of ``LABELS``, the majority of the raters.

    HTML entities, of which the file has many (``&amp;``, ``&#128514;``), are decoded: the texts that a model
    is asked about have none. Ids are ``hate_offensive/`` and the file's own number.

    Raises:
        DataError: the file is missing, its header is another one or a row is not of this form.
    """
    for place, row in csv_rows(need(folder, "labeled_data.csv"), _COLUMNS):
        label = _CLASSES[one_of(row["class"], _CLASSES, place, "a class")]
        text = html.unescape(row["tweet"])
        yield Record(f"hate_offensive/{row['']}", text, {"safety": label}, source="hate_offensive")


SOURCE = Source(CARD, records)


class HateOffensiveSource(Config):
    """The tweets with hate speech, offensive language or neither."""

    kind: Literal["hate_offensive"] = Field("hate_offensive", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
