"""The sentences and edge cases that the package ships, written for this project, in eight emotions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import lines, need
from overtone.data.records import Card, Record, Source
from overtone.errors import DataError, did_you_mean

LABELS = ("joy", "sadness", "anger", "fear", "love", "surprise", "neutral", "disgust")
"""The eight labels."""

CARD = Card(
    name="overtone-emotions",
    title="Overtone emotions: sentences in many registers with one of eight emotions, and edge cases",
    licence="Apache-2.0",
    commercial=True,
    url="a part of this package",
    citation="The Overtone authors",
    files={
        "emotions.tsv": "b3a15b42cb245aa4cabd11c768e0fae2a15be5bc8b27c9cb9387463b885f6398",
        "edge_cases.jsonl": "afb674af4dae8c13d0e68d87d1b8a23e0c12a5a795ad2125a1e0f1b45494cf9e",
    },
    notes="No official split. The edge cases are for testing alone and train nothing.",
    shipped=True,
)


@dataclass(frozen=True, slots=True)
class EdgeCase:
    """A text that is hard to label, or has no label.

    Args:
        id: unique within the edge cases.
        kind: what makes it hard, such as ``emoji-only`` or ``sarcasm``.
        text: the text; it may be empty or very long.
        label: one of ``LABELS``, or nothing where none is right.
    """

    id: str
    kind: str
    text: str
    label: str | None


def records(folder: Path) -> Iterator[Record]:
    """The sentences of ``emotions.tsv``, target ``emotion`` one of ``LABELS``; no edge case is among them.

    The file has the header ``text``, ``label``, ``register`` and is split on tabs without quoting. Ids are
    ``overtone-emotions/00012``, from 0.

    Raises:
        DataError: the file is missing or a line is not of this form.
    """
    path = need(folder, "emotions.tsv")
    rows = lines(path)
    if next(rows, (1, ""))[1].split("\t") != ["text", "label", "register"]:
        raise DataError(
            f"{path}, line 1: not the header text, label, register", hint="install overtone again"
        )
    for number, line in rows:
        text, label, _register = _three(path, number, line)
        if label not in LABELS:
            raise DataError(
                f"{path}, line {number}: '{label}' is not a label", hint=did_you_mean(label, LABELS)
            )
        row = f"{CARD.name}/{number - 2:05d}"
        yield Record(row, text, {"emotion": label}, source=CARD.name)


def edge_cases(folder: Path) -> Iterator[EdgeCase]:
    """The edge cases of ``edge_cases.jsonl``, for testing alone.

    Raises:
        DataError: the file is missing or a line is not an edge case.
    """
    path = need(folder, "edge_cases.jsonl")
    for number, line in lines(path):
        try:
            case = EdgeCase(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}: not an edge case ({error})", hint="install overtone again"
            ) from error
        yield case


def _three(path: Path, number: int, line: str) -> tuple[str, str, str]:
    cells = line.split("\t")
    if len(cells) != 3:
        raise DataError(f"{path}, line {number}: {len(cells)} cells, not 3", hint="install overtone again")
    return cells[0], cells[1], cells[2]


SOURCE = Source(CARD, records)


class ShippedSource(Config):
    """The sentences that the package ships."""

    kind: Literal["overtone-emotions"] = Field("overtone-emotions", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
