"""The texts of a language model: read the sources, hold documents out, look for leaks, say what was done."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from overtone.config import Config
from overtone.data import stream
from overtone.data.fetch import fingerprint
from overtone.data.leakage import LeakageConfig, check
from overtone.data.records import Card, Record, Splits
from overtone.data.sources.table import TableSource
from overtone.data.sources.wikipassages import WikipassagesSource
from overtone.data.sources.wikitext2 import Wikitext2Source
from overtone.data.split import SPLITS, DataReport, most_restrictive, opened
from overtone.errors import DataError

LABEL = "documents"
"""What the rows are counted as, where a task would have its labels."""

DocumentSource = Annotated[WikipassagesSource | TableSource, Field(discriminator="kind")]
"""Where documents come from that are divided by the seed."""

OtherSource = Annotated[Wikitext2Source | TableSource, Field(discriminator="kind")]
"""Where documents come from that only judge; those of the official test split, where there is one."""


class DocumentsConfig(Config):
    """The texts that a language model is trained, chosen and judged on."""

    sources: tuple[DocumentSource, ...] = Field(min_length=1, description="The data sets.")
    validation: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Share of the documents that choose the best step; articles stay whole.",
    )
    test: float = Field(0.05, gt=0, lt=0.5, description="Share of the documents that judge, likewise.")
    documents: int | None = Field(
        None, ge=3, description="Documents at most, drawn by the seed; for studies."
    )


@dataclass(frozen=True, slots=True)
class Documents:
    """Texts that are ready to train and evaluate on.

    Args:
        splits: the documents; ``group`` names the article that a passage is from.
        judges: data set → documents that only judge.
        report: what was done to get the splits.
        cards: one a data set that is trained on, in the recipe's order.
        fingerprints: data set → what a manifest keeps of it.
    """

    splits: Splits
    judges: Mapping[str, tuple[Record, ...]]
    report: DataReport
    cards: tuple[Card, ...]
    fingerprints: Mapping[str, Mapping[str, Any]]


def prepare(
    config: DocumentsConfig, leakage: LeakageConfig, seed: int, others: Sequence[OtherSource] = ()
) -> Documents:
    """Read, divide and check; the same for the same files, configs and seed.

    Leaks are looked for into the documents of other data sets too, as into test.

    Args:
        config: which documents, and how many are held out.
        leakage: what a leak is, and what is done about it.
        seed: of the division.
        others: data sets that only judge: their test split, or all of one that has none.

    Raises:
        DataError: files missing or wrong, one id or data set twice, fewer than three articles,
            or an empty split.
    """
    rows: list[Record] = []
    cards: dict[str, Card] = {}
    left_out: Counter[str] = Counter()
    for choice in config.sources:
        card, found = _documents(choice)
        cards[card.name] = card
        kept = [row for row in found if row.text.strip()]
        left_out[f"{card.name}: no text"] += len(found) - len(kept)
        rows += kept
    repeated = [name for name, n in Counter(row.id for row in rows).items() if n > 1]
    if repeated:
        raise DataError(
            f"{len(repeated)} ids stand twice, such as '{repeated[0]}'",
            hint="list each data set once, and give two files of your own different names",
        )
    if config.documents is not None and len(rows) > config.documents:
        chosen = random.Random(f"{seed}/documents").sample(sorted(rows, key=_id), config.documents)
        left_out["more than `documents`"] = len(rows) - config.documents
        rows = sorted(chosen, key=_id)
    rest, test = stream.hold_out(rows, config.test, seed)
    train, validation = stream.hold_out(rest, config.validation * len(rows) / len(rest), seed)
    divided = Splits(tuple(train), tuple(validation), tuple(test))
    beside = [judging(choice) for choice in others]
    named = [*cards, *(card.name for card, _ in beside)]
    if len(set(named)) < len(named):
        raise DataError("a data set is named twice", hint="in data.sources or in evaluate.others, and once")
    outside = tuple(row for _, found in beside for row in found)
    checked, leaks = check(Splits(divided.train, divided.validation, (*divided.test, *outside)), leakage)
    clean = Splits(checked.train, checked.validation, divided.test)
    for name in SPLITS:
        if not clean[name]:
            raise DataError(
                f"the {name} split is empty",
                hint="add documents, or change `data` or `leakage` in the recipe",
            )
    licence, commercial = most_restrictive(list(cards.values()))
    report = DataReport(
        rows={name: len(clean[name]) for name in SPLITS},
        counts={name: {LABEL: dict(Counter(row.source for row in clean[name]))} for name in SPLITS},
        left_out=dict(+left_out),
        leaks=leaks,
        dropped={name: len(divided[name]) - len(clean[name]) for name in SPLITS},
        licence=licence,
        commercial=commercial,
    )
    return Documents(
        splits=clean,
        judges={card.name: found for card, found in beside},
        report=report,
        cards=tuple(cards.values()),
        fingerprints={
            card.name: fingerprint(card) for card in (*cards.values(), *(card for card, _ in beside))
        },
    )


def judging(choice: Wikitext2Source | TableSource) -> tuple[Card, tuple[Record, ...]]:
    """A data set that only judges, and its documents: of its test split, or all where it has none.

    Raises:
        DataError: files missing or wrong, or no such document.
    """
    card, rows = _documents(choice)
    test = tuple(row for row in rows if row.split in ("test", None) and row.text.strip())
    if not test:
        raise DataError(f"'{card.name}' has no test documents", hint="leave it out of evaluate.others")
    return card, test


def _documents(choice: WikipassagesSource | Wikitext2Source | TableSource) -> tuple[Card, Sequence[Record]]:
    source, folder = opened(choice, None)
    return source.card, list(source.records(folder))


def _id(row: Record) -> str:
    return row.id
