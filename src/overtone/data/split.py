"""Prepare the rows of tasks: read the sources, select, divide, look for leaks, and say what was done."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field, field_validator

from overtone.config import Config
from overtone.data.fetch import fingerprint, locate, verify
from overtone.data.leakage import Leak, LeakageConfig, check
from overtone.data.partition import SplitConfig, label_names
from overtone.data.records import Card, Record, Source, SplitName, Splits
from overtone.data.sources.banking77 import Banking77Source
from overtone.data.sources.clinc150 import Clinc150Source
from overtone.data.sources.dailydialog import DailyDialogSource
from overtone.data.sources.emobank import EmoBankSource
from overtone.data.sources.emotion import EmotionSource
from overtone.data.sources.goemotions import GoEmotionsSource
from overtone.data.sources.hate_offensive import HateOffensiveSource
from overtone.data.sources.overtone_emotions import ShippedSource
from overtone.data.sources.politeness import PolitenessSource
from overtone.data.sources.reccon import RecconSource
from overtone.data.sources.sarcasm_headlines import SarcasmHeadlinesSource
from overtone.data.sources.table import TableSource
from overtone.errors import DataError, did_you_mean

SourceConfig = Annotated[
    Banking77Source
    | Clinc150Source
    | DailyDialogSource
    | EmoBankSource
    | EmotionSource
    | GoEmotionsSource
    | HateOffensiveSource
    | PolitenessSource
    | RecconSource
    | SarcasmHeadlinesSource
    | ShippedSource
    | TableSource,
    Field(discriminator="kind"),
]
"""Where rows come from; a new data set is one file in ``data/sources`` and its name here."""

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
"""The splits, in the order in which they are reported."""


class DataConfig(Config):
    """A task's data: where it comes from, what its labels are, how it is divided."""

    sources: tuple[SourceConfig, ...] = Field(
        min_length=1,
        description="The data sets; of two equal texts a pooled split keeps the one listed first.",
    )
    target: str = Field("emotion", description="The name of what is to be learnt.")
    labels: tuple[str, ...] = Field(
        min_length=1, description="The names of the classes, or of the numbers, in their order."
    )
    split: SplitConfig = Field(description="How the rows are divided.")
    unlabelled: tuple[SourceConfig, ...] = Field(
        (),
        description="Data sets whose rows the task's teacher labels, all of them; they are only trained on.",
    )
    train_rows: int | None = Field(None, ge=1, description="Training rows at most, drawn by the seed.")
    validation_rows: int | None = Field(None, ge=1, description="Validation rows at most, likewise.")
    test_rows: int | None = Field(None, ge=1, description="Test rows at most, likewise; for studies.")

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        repeated = [label for label, n in Counter(labels).items() if n > 1]
        if repeated:
            raise ValueError(f"listed twice: {', '.join(repeated)}")
        return labels


@dataclass(frozen=True, slots=True)
class DataReport:
    """What was done with a task's data.

    Args:
        rows: split → number of rows.
        counts: split → label (or name of a number) → source → number of rows; a row with several labels
            counts for each.
        left_out: reason → number of rows that are in no split, leaks aside.
        leaks: rows with a twin in another split, of this task or of another.
        dropped: split → number of rows dropped for a leak.
        licence: the most restrictive licence of the sources.
        commercial: whether all of them allow commercial use; None where that is not known.
        unlabelled: number of rows for the teacher alone.
        unlabelled_leaks: rows that would have been among those, but have a twin in validation or test.
    """

    rows: Mapping[SplitName, int]
    counts: Mapping[SplitName, Mapping[str, Mapping[str, int]]]
    left_out: Mapping[str, int]
    leaks: tuple[Leak, ...]
    dropped: Mapping[SplitName, int]
    licence: str
    commercial: bool | None
    unlabelled: int = 0
    unlabelled_leaks: tuple[Leak, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            **asdict(self),
            "leaks": [asdict(leak) for leak in self.leaks],
            "unlabelled_leaks": [asdict(leak) for leak in self.unlabelled_leaks],
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """Data that is ready to train and evaluate on.

    Args:
        splits: task → its rows, each of which carries the task's target.
        reports: task → what was done to get them.
        cards: one a data set, in the recipe's order.
        fingerprints: data set → what a manifest keeps of it.
        unlabelled: task → rows without targets, for its teacher; none is trained on or held out by the task.
    """

    splits: Mapping[str, Splits]
    reports: Mapping[str, DataReport]
    cards: tuple[Card, ...]
    fingerprints: Mapping[str, Mapping[str, Any]]
    unlabelled: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)


def prepare(
    tasks: Mapping[str, DataConfig], leakage: LeakageConfig, seed: int, beside: Iterable[DataConfig] = ()
) -> Prepared:
    """Read, select, divide and check; the same for the same files, configs and seed.

    Leaks are looked for across tasks: what one is tested on, no other may train the shared body with. Rows
    for a teacher that leak are dropped even where leaks are only to be reported.

    Args:
        tasks: task → its data.
        leakage: what a leak is, and what is done about it.
        seed: of the splits.
        beside: data of which nothing is trained on and nothing returned, but whose held-out rows are not to
            be known either.

    Raises:
        DataError: files missing or wrong, an unknown label, two rows of one id, one class only, fewer than
            two rows of a label, an empty split, or a label without a row to train on.
    """
    cards: dict[str, dict[str, Card]] = {}
    divided: dict[str, Splits] = {}
    left_out: dict[str, Counter[str]] = {}
    wanting: dict[str, tuple[Record, ...]] = {}
    for name, config in tasks.items():
        rows, cards[name], gone = _read(config)
        _check_rows(rows, config)
        splits, more = config.split.divide(rows, config.target, seed)
        divided[name], fewer = _limited(splits, config, seed)
        left_out[name] = gone + more + fewer
        wanting[name], others = _read_unlabelled(config)
        own = (*divided[name].train, *splits.validation, *splits.test)
        _check_names((*own, *wanting[name]))
        wanting[name] = _without(wanting[name], {row.id for row in own})
        cards[name] |= others
    parts = [*divided.values(), *(Splits(rows, (), ()) for rows in wanting.values())]
    for config in beside:
        rows, _, _ = _read(config)
        splits, _ = _limited(config.split.divide(rows, config.target, seed)[0], config, seed)
        parts.append(Splits((), splits.validation, splits.test))
    _check_names(row for part in parts for split in SPLITS for row in part[split])
    checked, leaks = check(_together(parts), leakage)
    kept = {split: {row.id for row in checked[split]} for split in SPLITS}
    clean = {
        name: Splits(*(tuple(row for row in splits[split] if row.id in kept[split]) for split in SPLITS))
        for name, splits in divided.items()
    }
    leaking = {leak.row for leak in leaks if leak.split == "train"}
    unlabelled = {name: _without(rows, leaking) for name, rows in wanting.items()}
    reports = {}
    for name, config in tasks.items():
        _check_splits(clean[name], config)
        own_ids = {split: {row.id for row in divided[name][split]} for split in SPLITS}
        wanting_ids = {row.id for row in wanting[name]}
        licence, commercial = most_restrictive(list(cards[name].values()))
        reports[name] = DataReport(
            rows={split: len(clean[name][split]) for split in SPLITS},
            counts={split: _counts(clean[name][split], config) for split in SPLITS},
            left_out=dict(+left_out[name]),
            leaks=tuple(leak for leak in leaks if leak.row in own_ids[leak.split]),
            dropped={split: len(divided[name][split]) - len(clean[name][split]) for split in SPLITS},
            licence=licence,
            commercial=commercial,
            unlabelled=len(unlabelled[name]),
            unlabelled_leaks=tuple(
                leak for leak in leaks if leak.split == "train" and leak.row in wanting_ids
            ),
        )
    every = {name: card for own in cards.values() for name, card in own.items()}
    return Prepared(
        clean,
        reports,
        tuple(every.values()),
        {name: fingerprint(card) for name, card in every.items()},
        unlabelled,
    )


def _read(config: DataConfig) -> tuple[list[Record], dict[str, Card], Counter[str]]:
    """A task's rows, the cards of its data sets, and how many rows were left out for which reason."""
    rows: list[Record] = []
    cards: dict[str, Card] = {}
    left_out: Counter[str] = Counter()
    for choice in config.sources:
        source, folder = opened(choice, config.target)
        cards[source.card.name] = source.card
        found = sorted(source.records(folder), key=lambda row: row.id)
        unread = sum(source.card.sizes.values()) - len(found) if source.card.sizes else 0
        left_out[f"{source.card.name}: not selected by the source's settings"] += unread
        kept = [row for row in found if _fits(row, config, own=isinstance(choice, TableSource))]
        left_out[f"{source.card.name}: label not among the task's"] += len(found) - len(kept)
        rows += kept
    return rows, cards, left_out


def _read_unlabelled(config: DataConfig) -> tuple[tuple[Record, ...], dict[str, Card]]:
    """The rows for a task's teacher, without targets, and their cards."""
    rows: dict[str, Record] = {}
    cards: dict[str, Card] = {}
    for choice in config.unlabelled:
        source, folder = opened(choice, None)
        cards[source.card.name] = source.card
        rows |= {row.id: replace(row, targets={}, split=None) for row in source.records(folder)}
    return tuple(sorted(rows.values(), key=lambda row: row.id)), cards


def _without(rows: Sequence[Record], ids: set[str]) -> tuple[Record, ...]:
    return tuple(row for row in rows if row.id not in ids)


def _limited(splits: Splits, config: DataConfig, seed: int) -> tuple[Splits, Counter[str]]:
    """The splits with as many rows as the config allows, and how many were left out."""
    left_out: Counter[str] = Counter()
    kept: dict[str, tuple[Record, ...]] = {}
    limits = {"train": config.train_rows, "validation": config.validation_rows, "test": config.test_rows}
    for split, most in limits.items():
        rows: tuple[Record, ...] = getattr(splits, split)
        if most is not None and len(rows) > most:
            chosen = random.Random(f"{seed}/{split}_rows").sample(rows, most)
            left_out[f"more than {split}_rows"] = len(rows) - most
            rows = tuple(sorted(chosen, key=lambda row: row.id))
        kept[split] = rows
    return Splits(**kept), left_out


def _together(parts: Iterable[Splits]) -> Splits:
    """The rows of all tasks, each once a split."""
    parts = list(parts)
    return Splits(*(tuple({row.id: row for part in parts for row in part[name]}.values()) for name in SPLITS))


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


class Buildable(Protocol):
    """The config of a data set that is known."""

    def build(self) -> Source:
        """The data set as the config wants it."""


def opened(choice: TableSource | Buildable, target: str | None) -> tuple[Source, Path]:
    """The source and the folder of its files, which are what its card says.

    Args:
        choice: which one.
        target: the name under which a user's own table has its labels; None: it needs none.
    """
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
    if any(_numeric(row, config.target) for row in rows):
        return
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


def _check_names(rows: Iterable[Record]) -> None:
    """Refuse one id for two texts: tasks tell by the id which rows they share."""
    known: dict[str, Record] = {}
    for row in rows:
        other = known.setdefault(row.id, row)
        if (other.text, other.context) != (row.text, row.context):
            raise DataError(
                f"two rows have the id '{row.id}', and not the same text and context",
                hint="give two files different names, and a data set the same `context` in all tasks",
            )


def _check_splits(splits: Splits, config: DataConfig) -> None:
    for name in SPLITS:
        if not splits[name]:
            raise DataError(
                f"the {name} split is empty", hint="add rows, or change `split` or `leakage` in the recipe"
            )
    if any(_numeric(row, config.target) for row in splits.train):
        return
    trained = {label for row in splits.train for label in label_names(row, config.target)}
    for label in config.labels:
        if label not in trained:
            raise DataError(
                f"'{label}' has no row to train on",
                hint="add rows, change `split`, or take the label out of `labels` in the recipe",
            )


def _numeric(row: Record, target: str) -> bool:
    """Whether what is to be learnt of a row is numbers."""
    value = row.targets[target]
    return isinstance(value, tuple) and bool(value) and not isinstance(value[0], str)


def _counts(rows: Sequence[Record], config: DataConfig) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {label: {} for label in config.labels}
    for row in rows:
        for label in config.labels if _numeric(row, config.target) else label_names(row, config.target):
            counts[label][row.source] = counts[label].get(row.source, 0) + 1
    return counts
