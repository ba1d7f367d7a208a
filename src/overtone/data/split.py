"""Prepare a task's rows: read the sources, select, divide, look for leaks, and say what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from overtone.config import Config
from overtone.data.fetch import fingerprint, locate, verify
from overtone.data.leakage import Leak, LeakageConfig, check
from overtone.data.partition import SplitConfig, label_names
from overtone.data.records import Card, Record, Source, SplitName, Splits
from overtone.data.sources.emotion import EmotionSource
from overtone.data.sources.goemotions import GoEmotionsSource
from overtone.data.sources.overtone_emotions import ShippedSource
from overtone.data.sources.sarcasm_headlines import SarcasmHeadlinesSource
from overtone.data.sources.table import TableSource
from overtone.errors import DataError, did_you_mean

SourceConfig = Annotated[
    EmotionSource | GoEmotionsSource | SarcasmHeadlinesSource | ShippedSource | TableSource,
    Field(discriminator="kind"),
]
"""Where rows come from; a new data set is one file in ``data/sources`` and its name here."""

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
"""The splits, in the order in which they are reported."""


class DataConfig(Config):
    """A task's data: where it comes from, what its labels are, how it is divided and checked."""

    sources: tuple[SourceConfig, ...] = Field(
        min_length=1,
        description="The data sets; of two equal texts a pooled split keeps the one listed first.",
    )
    target: str = Field("emotion", description="The name of what is to be learnt.")
    labels: tuple[str, ...] = Field(min_length=2, description="The label names, in the order of the classes.")
    split: SplitConfig = Field(description="How the rows are divided.")
    leakage: LeakageConfig = Field(LeakageConfig(), description="What counts as a leak between splits.")

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        repeated = [label for label, n in Counter(labels).items() if n > 1]
        if repeated:
            raise ValueError(f"listed twice: {', '.join(repeated)}")
        return labels


@dataclass(frozen=True, slots=True)
class DataReport:
    """What was done with the data.

    Args:
        rows: split → number of rows.
        counts: split → label → source → number of rows; a row with several labels counts for each.
        left_out: reason → number of rows that are in no split, leaks aside.
        leaks: rows with a twin in another split.
        dropped: split → number of rows dropped for a leak.
        licence: the most restrictive licence of the sources.
        commercial: whether all of them allow commercial use; None where that is not known.
    """

    rows: Mapping[SplitName, int]
    counts: Mapping[SplitName, Mapping[str, Mapping[str, int]]]
    left_out: Mapping[str, int]
    leaks: tuple[Leak, ...]
    dropped: Mapping[SplitName, int]
    licence: str
    commercial: bool | None

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "leaks": [asdict(leak) for leak in self.leaks]}


@dataclass(frozen=True, slots=True)
class Prepared:
    """Data that is ready to train and evaluate on.

    Args:
        splits: the rows.
        report: what was done to get them.
        cards: one a source, in the recipe's order.
        fingerprints: data set → what a manifest keeps of it.
    """

    splits: Splits
    report: DataReport
    cards: tuple[Card, ...]
    fingerprints: Mapping[str, Mapping[str, Any]]


def prepare(config: DataConfig, seed: int) -> Prepared:
    """Read, select, divide and check; the same for the same files, config and seed.

    Raises:
        DataError: files missing or wrong, an unknown label, two rows of one id, one class only, fewer than
            two rows of a label, an empty split, or a label without a row to train on.
    """
    cards: list[Card] = []
    fingerprints: dict[str, Mapping[str, Any]] = {}
    rows: list[Record] = []
    left_out: Counter[str] = Counter()
    for choice in config.sources:
        source, folder = _opened(choice, config.target)
        cards.append(source.card)
        fingerprints[source.card.name] = fingerprint(source.card)
        found = sorted(source.records(folder), key=lambda row: row.id)
        unread = sum(source.card.sizes.values()) - len(found) if source.card.sizes else 0
        left_out[f"{source.card.name}: not selected by the source's settings"] += unread
        kept = [row for row in found if _fits(row, config, own=isinstance(choice, TableSource))]
        left_out[f"{source.card.name}: label not among the task's"] += len(found) - len(kept)
        rows += kept
    _check_rows(rows, config)
    divided, more_left_out = config.split.divide(rows, config.target, seed)
    splits, leaks = check(divided, config.leakage)
    _check_splits(splits, config)
    licence, commercial = most_restrictive(cards)
    report = DataReport(
        rows={name: len(splits[name]) for name in SPLITS},
        counts={name: _counts(splits[name], config) for name in SPLITS},
        left_out=dict(+(left_out + more_left_out)),
        leaks=leaks,
        dropped={name: len(divided[name]) - len(splits[name]) for name in SPLITS},
        licence=licence,
        commercial=commercial,
    )
    return Prepared(splits, report, tuple(cards), fingerprints)


def most_restrictive(cards: Sequence[Card]) -> tuple[str, bool | None]:
    """The licence that binds what is made from these data sets, and whether it allows commercial use.

    Non-commercial binds more than share-alike, share-alike more than any other. Equals are joined by "and",
    and so is a licence whose terms are not known, since it may bind most of all.
    """

    def rank(card: Card) -> int:
        return 0 if card.commercial is False else 1 if "-SA-" in card.licence else 2

    first = min(map(rank, cards))
    binding = [card for card in cards if card.commercial is None or rank(card) == first]
    return " and ".join(dict.fromkeys(card.licence for card in binding)), allowed(
        card.commercial for card in cards
    )


def allowed(parts: Iterable[bool | None]) -> bool | None:
    """Whether a whole allows what its parts allow (True), forbid (False) or do not tell (None)."""
    found = set(parts)
    return False if False in found else None if None in found else True


def _opened(choice: SourceConfig, target: str) -> tuple[Source, Path]:
    """The source and the folder of its files, which are what its card says."""
    if isinstance(choice, TableSource):
        return choice.build(target), choice.path.parent
    source = choice.build()
    folder = locate(source.card)
    verify(source.card, folder)
    return source, folder


def _fits(row: Record, config: DataConfig, *, own: bool) -> bool:
    """Whether the row's labels are the task's.

    A row of a known data set may be left out for its one label; a label that the recipe does not list in a
    user's own file, or among several, is a mistake.
    """
    value = row.targets.get(config.target)
    unknown = [label for label in label_names(row, config.target) if label not in config.labels]
    if unknown and (own or not isinstance(value, str)):
        raise DataError(
            f"'{row.id}' has the label '{unknown[0]}', which the task does not list",
            hint=f"{did_you_mean(unknown[0], config.labels)} Else add it to `labels` in the recipe",
        )
    return not unknown


def _check_rows(rows: Sequence[Record], config: DataConfig) -> None:
    repeated = [name for name, n in Counter(row.id for row in rows).items() if n > 1]
    if repeated:
        raise DataError(
            f"{len(repeated)} ids stand twice, such as '{repeated[0]}'",
            hint="list each data set once, and give two files of your own different names",
        )
    if len({isinstance(row.targets[config.target], str) for row in rows}) > 1:
        raise DataError(
            "some rows have one label and some a list of labels",
            hint="set `single_label` on the source with lists, or `separator` on your own file",
        )
    found = Counter(label for row in rows for label in label_names(row, config.target))
    if len(found) == 1:
        raise DataError(
            f"one class only: all {len(rows):,} rows are '{next(iter(found))}'",
            hint="a classifier needs rows of at least two labels",
        )
    rare = [label for label in config.labels if found[label] < 2]
    if rare:
        raise DataError(
            f"'{rare[0]}' has {found[rare[0]]} rows, and a label needs at least 2",
            hint=f"add rows, or take {', '.join(map(repr, rare))} out of `labels` in the recipe",
        )


def _check_splits(splits: Splits, config: DataConfig) -> None:
    for name in SPLITS:
        if not splits[name]:
            raise DataError(
                f"the {name} split is empty", hint="add rows, or change `split` or `leakage` in the recipe"
            )
    trained = {label for row in splits.train for label in label_names(row, config.target)}
    for label in config.labels:
        if label not in trained:
            raise DataError(
                f"'{label}' has no row to train on",
                hint="add rows, change `split`, or take the label out of `labels` in the recipe",
            )


def _counts(rows: Sequence[Record], config: DataConfig) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {label: {} for label in config.labels}
    for row in rows:
        for label in label_names(row, config.target):
            counts[label][row.source] = counts[label].get(row.source, 0) + 1
    return counts
