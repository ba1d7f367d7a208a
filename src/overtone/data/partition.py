"""The ways to divide rows into train, validation and test: official, seeded, pooled."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from overtone.config import Config
from overtone.data.records import Record, Splits
from overtone.data.text import fold
from overtone.errors import DataError

Rows = tuple[Record, ...]


class OfficialSplit(Config):
    """The splits that the data sets come with."""

    kind: Literal["official"] = Field("official", description="The split that each row names.")
    validation_share: float = Field(
        0.1, ge=0, lt=1, description="Share of train that becomes validation where the data has none, 0..1."
    )
    unseen_test: bool = Field(
        False, description="Leave out the test rows whose text occurs in train or validation."
    )

    def divide(self, rows: Sequence[Record], target: str, seed: int) -> tuple[Splits, Counter[str]]:
        """Sort the rows by the split they name.

        Raises:
            DataError: a row names no split.
        """
        without = next((row for row in rows if row.split is None), None)
        if without is not None:
            raise DataError(
                f"'{without.id}' names no split, so an official split cannot be made",
                hint="use a split of kind 'seeded', or name the table's column in `split`",
            )
        parts = {
            name: tuple(row for row in rows if row.split == name) for name in ("train", "validation", "test")
        }
        train, validation = parts["train"], parts["validation"]
        if not validation and self.validation_share:
            validation, train = carve(train, self.validation_share, target, f"{seed}/validation")
        test, left_out = parts["test"], Counter[str]()
        if self.unseen_test:
            known = {fold(row.text) for row in (*train, *validation)}
            test = tuple(row for row in test if fold(row.text) not in known)
            left_out["test text that occurs in training"] = len(parts["test"]) - len(test)
        return Splits(train, validation, test), left_out


class SeededSplit(Config):
    """Random splits of stated shares, stratified by label; the official splits are not looked at."""

    kind: Literal["seeded"] = Field("seeded", description="Random shares, by the recipe's seed.")
    validation: float = Field(
        0.15, gt=0, lt=1, description="Share of each label's rows for validation, 0..1."
    )
    test: float = Field(0.2, gt=0, lt=1, description="Share of each label's rows for test, 0..1.")

    @model_validator(mode="after")
    def _leaves_train(self) -> SeededSplit:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} and test {self.test} leave nothing to train on")
        return self

    def divide(self, rows: Sequence[Record], target: str, seed: int) -> tuple[Splits, Counter[str]]:
        """Take test, then validation, from each label's rows; rows of one group stay together."""
        test, rest = carve(rows, self.test, target, f"{seed}/test")
        validation, train = carve(rest, self.validation / (1 - self.test), target, f"{seed}/validation")
        return Splits(train, validation, test), Counter()


class PooledSplit(Config):
    """All rows of all sources pooled, without repeats, and dealt out again in equal numbers a label.

    Each number is taken evenly from the sources that have the label; if one has too few, the others fill up.
    """

    kind: Literal["pooled"] = Field(
        "pooled", description="Pool, remove repeats, deal out by the recipe's seed."
    )
    test_per_label: int = Field(200, ge=1, description="Test rows a label.")
    validation_per_label: int = Field(
        300,
        ge=1,
        description="Validation rows a label at most; never more than a quarter of what test has left.",
    )
    train_per_label: int = Field(3000, ge=1, description="Training rows a label at most.")

    def divide(self, rows: Sequence[Record], target: str, seed: int) -> tuple[Splits, Counter[str]]:
        """Deal out the rows, whose order says which of two equal texts is kept: the first.

        Returns:
            The splits, and how many rows were left out for which reason.

        Raises:
            DataError: rows with several labels or with groups, or a label with too few rows.
        """
        pool, left_out = _distinct(rows, target)
        by_label: defaultdict[str, list[Record]] = defaultdict(list)
        for row in pool:
            label = row.targets[target]
            if not isinstance(label, str) or row.group is not None:
                raise DataError(
                    f"'{row.id}' has several labels or a group, and a pooled split takes neither",
                    hint="use a split of kind 'seeded' or 'official'",
                )
            by_label[label].append(row)
        train: list[Record] = []
        validation: list[Record] = []
        test: list[Record] = []
        for label in sorted(by_label):
            if len(by_label[label]) < self.test_per_label + 2:
                raise DataError(
                    f"'{label}' has {len(by_label[label])} distinct rows, too few for "
                    f"{self.test_per_label} test rows, one for validation and one to train on",
                    hint="lower `test_per_label`, or use a split of kind 'seeded'",
                )
            stacks = _shuffled_by_source(by_label[label], f"{seed}/{label}")
            test += _take_evenly(stacks, self.test_per_label)
            rest = sum(map(len, stacks.values()))
            validation += _take_evenly(stacks, min(self.validation_per_label, rest // 4))
            train += _take_evenly(stacks, self.train_per_label)
            left_out["more than train_per_label"] += sum(map(len, stacks.values()))
        return Splits(_by_id(train), _by_id(validation), _by_id(test)), left_out


SplitConfig = Annotated[OfficialSplit | SeededSplit | PooledSplit, Field(discriminator="kind")]
"""How the rows are divided."""


def label_names(row: Record, target: str) -> tuple[str, ...]:
    """The row's labels under a target: one for a class, any number for multi-label, none for numbers.

    Raises:
        DataError: the row has no such target.
    """
    value = row.targets.get(target)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, tuple):
        return tuple(item for item in value if isinstance(item, str))
    raise DataError(
        f"'{row.id}' has no labels under the target '{target}'",
        hint=f"it has {', '.join(row.targets) or 'no target'}; set `target` in the recipe",
    )


def _by_id(rows: Iterable[Record]) -> Rows:
    return tuple(sorted(rows, key=lambda row: row.id))


def carve(rows: Sequence[Record], share: float, target: str, purpose: str) -> tuple[Rows, Rows]:
    """Take a share of each label's rows (at least one, never all), whole groups at a time.

    A row with several labels counts for its rarest. The draw depends on the rows and ``purpose``, which holds
    the seed, and not on the order of the rows.

    Returns:
        What was taken, and the rest.
    """
    frequency = Counter(label for row in rows for label in label_names(row, target))
    units: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for row in _by_id(rows):
        units[("row", row.id) if row.group is None else (row.source, row.group)].append(row)
    strata: defaultdict[str, list[list[Record]]] = defaultdict(list)
    for unit in units.values():
        names = [label for row in unit for label in label_names(row, target)]
        strata[min(names, key=lambda label: (frequency[label], label), default="")].append(unit)
    taken: list[Record] = []
    rest: list[Record] = []
    for label in sorted(strata):
        stack = strata[label]
        random.Random(f"{purpose}/{label}").shuffle(stack)
        want = max(1, round(share * sum(map(len, stack))))
        part: list[Record] = []
        while len(part) < want and len(stack) > 1:
            part += stack.pop()
        taken += part
        rest += (row for unit in stack for row in unit)
    return _by_id(taken), _by_id(rest)


def _distinct(rows: Sequence[Record], target: str) -> tuple[list[Record], Counter[str]]:
    """The first row of each folded text, and how many others there were."""
    first: dict[str, Record] = {}
    left_out: Counter[str] = Counter()
    for row in rows:
        kept = first.setdefault(fold(row.text), row)
        if kept is not row:
            same = kept.targets[target] == row.targets[target]
            left_out["repeated text, same label" if same else "repeated text, another label"] += 1
    return list(first.values()), left_out


def _shuffled_by_source(rows: Sequence[Record], purpose: str) -> dict[str, list[Record]]:
    stacks: defaultdict[str, list[Record]] = defaultdict(list)
    for row in _by_id(rows):
        stacks[row.source].append(row)
    for source, stack in stacks.items():
        random.Random(f"{purpose}/{source}").shuffle(stack)
    return dict(stacks)


def _take_evenly(stacks: Mapping[str, list[Record]], want: int) -> list[Record]:
    """Remove ``want`` rows from the stacks, as evenly as their heights allow, the shortest served first."""
    taken: list[Record] = []
    order = sorted(stacks, key=lambda source: (len(stacks[source]), source))
    for waiting, source in zip(range(len(order), 0, -1), order, strict=True):
        stack = stacks[source]
        count = min(len(stack), (want - len(taken)) // waiting)
        taken += (stack.pop() for _ in range(count))
    return taken
