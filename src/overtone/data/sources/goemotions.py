"""GoEmotions: Reddit comments, 27 emotions and neutral, multi-label (Demszky et al. 2020)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import lines, need
from overtone.data.records import Card, Record, Source, SplitName
from overtone.errors import DataError

LABELS = (
    "admiration",
    "amusement",
    "anger",
    "annoyance",
    "approval",
    "caring",
    "confusion",
    "curiosity",
    "desire",
    "disappointment",
    "disapproval",
    "disgust",
    "embarrassment",
    "excitement",
    "fear",
    "gratitude",
    "grief",
    "joy",
    "love",
    "nervousness",
    "optimism",
    "pride",
    "realization",
    "relief",
    "remorse",
    "sadness",
    "surprise",
    "neutral",
)
"""The 27 emotions and neutral, in the order of the label ids in the files."""

AFFECT = {
    "admiration": "joy",
    "amusement": "joy",
    "anger": "anger",
    "annoyance": "anger",
    "approval": "joy",
    "caring": "love",  # kindness and concern for others; Ekman's six have no love
    "confusion": "confusion",  # a label of its own here; Ekman's six have it under surprise
    "curiosity": "surprise",  # as in Ekman's six: wanting to know is not the trouble of not understanding
    "desire": "joy",  # as in Ekman's six: most rows wish for a thing or an event, few for a person
    "disappointment": "sadness",
    "disapproval": "anger",
    "disgust": "disgust",
    "embarrassment": "sadness",
    "excitement": "excitement",  # a label of its own here; Ekman's six have it under joy
    "fear": "fear",
    "gratitude": "joy",
    "grief": "sadness",
    "joy": "joy",
    "love": "love",
    "nervousness": "fear",
    "optimism": "joy",
    "pride": "joy",
    "realization": "surprise",  # as in Ekman's six: one learns what one did not expect
    "relief": "calm",  # a strain that ends; the nearest that the raters were offered
    "remorse": "sadness",
    "sadness": "sadness",
    "surprise": "surprise",
    "neutral": "neutral",
}
"""Label → one of eleven: as in ``ekman_mapping.json``, but love, calm, excitement and confusion apart."""

Grouping = Literal["none", "ekman", "sentiment", "affect"]

_SPLITS: dict[str, SplitName] = {"train.tsv": "train", "dev.tsv": "validation", "test.tsv": "test"}
_MAPPINGS = {"ekman": "ekman_mapping.json", "sentiment": "sentiment_mapping.json"}
_RAW = "https://raw.githubusercontent.com/google-research/google-research/master/goemotions/data"

CARD = Card(
    name="goemotions",
    title="GoEmotions: Reddit comments with 27 emotions or neutral, multi-label",
    licence="CC-BY-4.0",
    commercial=True,
    url="https://github.com/google-research/google-research/tree/master/goemotions",
    citation="Demszky et al., GoEmotions: A Dataset of Fine-Grained Emotions, ACL 2020",
    files={
        "train.tsv": "1c254a142be5c00e80d819b9ae1bbd36d94b2eeb8f4b1271846508d57e57d9c5",
        "dev.tsv": "575489c079c9de1097062a01738f998590d6b7ead66dd1c9fd1d2ba01fd8bc62",
        "test.tsv": "0587b2dd8b27b97352adbfc3fb083d46005c8946657fdc2b1ca8b1cc7f1f8be4",
        "emotions.txt": "c2751b598c0da6d866e50058223c79a3d469546e9dc9c134c271e747d3a90ca1",
        "ekman_mapping.json": "e689a1978001db74fc5e2422ab04074109880837ed37fcd295c75cde407393f9",
        "sentiment_mapping.json": "a3ea4b07a23238637cf425bb25f4af2b5fd24f987bc40043b034cdf712f00d36",
    },
    downloads={
        "train.tsv": f"{_RAW}/train.tsv",
        "dev.tsv": f"{_RAW}/dev.tsv",
        "test.tsv": f"{_RAW}/test.tsv",
        "emotions.txt": f"{_RAW}/emotions.txt",
        "ekman_mapping.json": f"{_RAW}/ekman_mapping.json",
        "sentiment_mapping.json": f"{_RAW}/sentiment_dict.json",
    },
    sizes={"train": 43_410, "validation": 5_426, "test": 5_427},
    notes="32 texts are in both train and test, 41 in both train and validation. Quotes in the files are "
    "text, not CSV quoting. Offensive text occurs; the raters' labels carry their own bias.",
)


def records(folder: Path) -> Iterator[Record]:
    """The comments, target ``emotion`` a tuple of ``LABELS``; ids are ``goemotions/`` and the comment's id.

    A line is text, comma-separated label ids and comment id, split on tabs; quotes mean nothing.

    Raises:
        DataError: a file is missing or a line is not of this form.
    """
    for name, split in _SPLITS.items():
        path = need(folder, name)
        for number, line in lines(path):
            try:
                text, numbers, comment = line.split("\t")
                labels = tuple(LABELS[int(index)] for index in numbers.split(","))
            except (ValueError, IndexError) as error:
                raise DataError(
                    f"{path}, line {number}: not text, label ids and comment id between tabs",
                    hint="`overtone data fetch goemotions` gets the files again",
                ) from error
            yield Record(f"goemotions/{comment}", text, {"emotion": labels}, source="goemotions", split=split)


def groupings(folder: Path) -> dict[Grouping, dict[str, str]]:
    """Each grouping as label → group; neutral stays neutral.

    Ekman's six and the sentiments are read from the data set's own files; ``affect`` is ``AFFECT``.

    Raises:
        DataError: a mapping file is missing.
    """
    maps: dict[Grouping, dict[str, str]] = {"none": {label: label for label in LABELS}, "affect": AFFECT}
    names: tuple[Grouping, ...] = ("ekman", "sentiment")
    for name in names:
        groups = json.loads(need(folder, _MAPPINGS[name]).read_text(encoding="utf-8"))
        maps[name] = {label: group for group, members in groups.items() for label in members}
        maps[name]["neutral"] = "neutral"
    return maps


SOURCE = Source(CARD, records)


class GoEmotionsSource(Config):
    """The Reddit comments, with their 28 labels or with groups of them."""

    kind: Literal["goemotions"] = Field("goemotions", description="This data set.")
    grouping: Grouping = Field(
        "none",
        description="Keep the 28 labels, or map them to Ekman's six emotions, a sentiment, or eleven labels "
        "of affect.",
    )
    single_label: bool = Field(
        False, description="Keep only the rows with exactly one label (after grouping), as a class name."
    )

    def build(self) -> Source:
        """The data set, its labels grouped and its rows selected as this config says."""
        return Source(CARD, self._records)

    def _records(self, folder: Path) -> Iterator[Record]:
        groups = groupings(folder)[self.grouping]
        for record in records(folder):
            labels = _grouped(record, groups)
            if not self.single_label:
                yield replace(record, targets={"emotion": labels})
            elif len(labels) == 1:
                yield replace(record, targets={"emotion": labels[0]})


def _grouped(record: Record, groups: Mapping[str, str]) -> tuple[str, ...]:
    labels = record.targets["emotion"]
    assert isinstance(labels, tuple)
    return tuple(dict.fromkeys(groups[str(label)] for label in labels))
