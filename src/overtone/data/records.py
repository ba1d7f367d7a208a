"""The value types that data is made of: a record, a data set's card, a prepared split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SplitName = Literal["train", "validation", "test"]
Target = str | tuple[str, ...] | tuple[float, ...] | None
"""A class name, the names that hold (multi-label), numbers (regression), or nothing to learn."""


MISSING = -100
"""The class of a row that carries no target; where targets are numbers or indicators it is a row of NaN."""


@dataclass(frozen=True, slots=True)
class Record:
    """One example.

    Args:
        id: unique within its data set.
        text: the text as it was found, not normalised.
        targets: target name → target; a row carries the targets it has.
        source: the data set's name.
        split: the official split, where the data set has one.
        group: rows of one group (a dialogue, a signer) stay in one split.
        context: what was said before, where the task is to be read with it.
    """

    id: str
    text: str
    targets: Mapping[str, Target]
    source: str
    split: SplitName | None = None
    group: str | None = None
    context: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """What is known about a data set before it is opened.

    Args:
        name: the ``kind`` in a recipe.
        title: one line.
        licence: SPDX id where one exists, else the source's words.
        commercial: whether the licence allows commercial use; None where that is not known.
        url: where it comes from.
        citation: author, venue, year.
        files: plain file name → SHA-256 of its content, unpacked where it is stored as ``.gz``.
        downloads: file name → URL that ``overtone data fetch`` takes it from; empty where none is known.
        sizes: split → number of rows, as published.
        notes: traps worth knowing before use.
        shipped: whether the files are a part of this package.
        folder: under ``OVERTONE_DATA`` and in the cache, where it has not the name of the data set.
    """

    name: str
    title: str
    licence: str
    commercial: bool | None
    url: str
    citation: str
    files: Mapping[str, str]
    downloads: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    notes: str = ""
    shipped: bool = False
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A data set: its card, and a function from its folder to its records."""

    card: Card
    records: Callable[[Path], Iterator[Record]]


@dataclass(frozen=True, slots=True)
class Splits:
    """Train, validation and test rows after mapping, pooling, sampling and the leakage check."""

    train: tuple[Record, ...]
    validation: tuple[Record, ...]
    test: tuple[Record, ...]

    def __getitem__(self, name: SplitName) -> tuple[Record, ...]:
        """The rows of one split, by its name."""
        rows: tuple[Record, ...] = getattr(self, name)
        return rows
