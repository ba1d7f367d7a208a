"""The conversations of a decoder: read the sources, hold some out, look for leaks, say what was done."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from overtone.config import Config
from overtone.data.chat import Role, Turn
from overtone.data.fetch import fingerprint
from overtone.data.leakage import LeakageConfig, check
from overtone.data.records import Card, Record, Source, SplitName, Splits
from overtone.data.sources.asl_signing import AslSigningSource
from overtone.data.sources.deaf_knowledge import DeafKnowledgeSource, Unknown, unknown
from overtone.data.sources.education_dialogue import EducationDialogueSource
from overtone.data.sources.empathetic_dialogues import EmpatheticDialoguesSource
from overtone.data.sources.esconv import EsconvSource
from overtone.data.sources.qa_file import QaSource
from overtone.data.sources.tutoring import TutoringSource
from overtone.data.split import SPLITS, DataReport, most_restrictive, opened
from overtone.errors import DataError, did_you_mean

LABEL = "conversations"
"""What the rows are counted as, where a task would have its labels."""

ConversationSource = Annotated[
    TutoringSource
    | EducationDialogueSource
    | QaSource
    | DeafKnowledgeSource
    | AslSigningSource
    | EmpatheticDialoguesSource
    | EsconvSource,
    Field(discriminator="kind"),
]
"""Where conversations come from; a question with its answer is the shortest one."""

Rows = Sequence[Record]


class ConversationsConfig(Config):
    """The conversations that a decoder is trained, chosen and judged on."""

    sources: tuple[ConversationSource, ...] = Field(min_length=1, description="The data sets.")
    asked: tuple[ConversationSource, ...] = Field(
        (),
        description="Data sets that are asked about alone: their test, or all of one without splits.",
    )
    validation: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="Share of each data set that chooses the best step; groups stay whole. Of a data set "
        "with splits of its own: share of the facts asked in several wordings, whose last one chooses.",
    )
    test: float = Field(
        0.05, gt=0, lt=0.5, description="Share of each data set without splits of its own that judges."
    )
    limits: dict[str, Annotated[int, Field(ge=3)]] = Field(
        {},
        description="Data set → conversations at most, whole groups drawn by the seed, beside the test that "
        "it comes with.",
    )


@dataclass(frozen=True, slots=True)
class Conversations:
    """Conversations that are ready to train and evaluate on.

    Args:
        splits: the conversations, each of which ``turns`` takes apart; test may be empty.
        report: what was done to get the splits.
        cards: one a data set, in the recipe's order.
        fingerprints: data set → what a manifest keeps of it.
        unanswered: questions that come with the data and that nothing in them answers.
    """

    splits: Splits
    report: DataReport
    cards: tuple[Card, ...]
    fingerprints: Mapping[str, Mapping[str, Any]]
    unanswered: tuple[Unknown, ...] = ()

    def unknown(self, part: Literal["fit", "test"]) -> tuple[Unknown, ...]:
        """Questions that nothing answers: those that set a threshold, or those that judge it."""
        return tuple(each for each in self.unanswered if each.part == part)


def turns(record: Record) -> list[Turn]:
    """What is said in a record: its turns, or its question by the user and its answer by the assistant.

    Raises:
        DataError: it is neither a conversation nor a question with its answer.
    """
    roles, said = record.targets.get("roles"), record.targets.get("turns")
    if isinstance(roles, tuple) and isinstance(said, tuple):
        return [Turn(cast("Role", role), str(text)) for role, text in zip(roles, said, strict=True)]
    answer = record.targets.get("answer")
    if isinstance(answer, str):
        return [Turn("user", record.text), Turn("assistant", answer)]
    raise DataError(
        f"'{record.id}' is not a conversation: it has neither turns nor an answer",
        hint=f"its targets are: {', '.join(record.targets) or 'none'}",
    )


def prepare(config: ConversationsConfig, leakage: LeakageConfig, seed: int) -> Conversations:
    """Read, divide and check; the same for the same files, configs and seed.

    A data set is divided by itself, so that its held-out rows are the same beside any other. Rows that name
    no split are held out in whole groups; a data set of fewer than three groups is trained on. Rows that name
    one keep it; but where a data set has no validation of its own, some facts that are taught in several
    wordings give their last one to validation, and stay taught in the others.

    Args:
        config: which conversations, and how many are held out.
        leakage: what a leak is, and what is done about it.
        seed: of the division.

    Raises:
        DataError: files missing or wrong, one id or data set twice, or nothing to train or to choose on.
    """
    cards, by_source, left_out = _read(config)
    strange = [name for name in config.limits if name not in by_source]
    if strange:
        raise DataError(f"data.limits: no data set '{strange[0]}'", hint=did_you_mean(strange[0], by_source))
    for name, most in config.limits.items():
        drawn = _drawn(by_source[name], most, seed)
        left_out[f"{name}: more than `limits`"] = len(by_source[name]) - len(drawn)
        by_source[name] = [row for row in by_source[name] if row.id in drawn]
    parts = [_divided(found, config, seed) for found in by_source.values()]
    divided = Splits(*(tuple(row for part in parts for row in part[name]) for name in SPLITS))
    clean, leaks = check(divided, leakage)
    _check(clean)
    licence, commercial = most_restrictive(cards[: len(config.sources)])  # what is only asked binds nobody
    report = DataReport(
        rows={name: len(clean[name]) for name in SPLITS},
        counts={name: {LABEL: dict(Counter(row.source for row in clean[name]))} for name in SPLITS},
        left_out=dict(+left_out),
        leaks=leaks,
        dropped={name: len(divided[name]) - len(clean[name]) for name in SPLITS},
        licence=licence,
        commercial=commercial,
    )
    return Conversations(
        clean,
        report,
        tuple(cards),
        {card.name: fingerprint(card) for card in cards},
        tuple(
            each
            for choice in (*config.sources, *config.asked)
            if isinstance(choice, DeafKnowledgeSource)
            for each in unknown(_opened(choice)[1])
        ),
    )


def _read(config: ConversationsConfig) -> tuple[list[Card], dict[str, list[Record]], Counter[str]]:
    """The cards, each data set's rows, and how many rows were left out for which reason."""
    cards: list[Card] = []
    by_source: dict[str, list[Record]] = {}
    left_out: Counter[str] = Counter()
    for choice in (*config.sources, *config.asked):
        source, folder = _opened(choice)
        name = source.card.name
        if name in by_source:
            raise DataError(
                f"the data set '{name}' is named twice",
                hint="list each data set once, and give two of kind qa different names in `name`",
            )
        found = list(source.records(folder))
        by_source[name] = [row for row in found if row.text]
        left_out[f"{name}: nothing is asked and answered"] = len(found) - len(by_source[name])
        if choice in config.asked:
            rows = [replace(row, split="test") for row in by_source[name] if row.split in (None, "test")]
            left_out[f"{name}: for training, and only asked about"] = len(by_source[name]) - len(rows)
            by_source[name] = rows
        cards.append(source.card)
    repeated = [
        name for name, n in Counter(row.id for rows in by_source.values() for row in rows).items() if n > 1
    ]
    if repeated:
        raise DataError(
            f"{len(repeated)} ids stand twice, such as '{repeated[0]}'",
            hint="is one file there twice, plain and as .gz?",
        )
    return cards, by_source, left_out


def _opened(choice: ConversationSource) -> tuple[Source, Path]:
    """The source and the folder of its files; a file of the user's own is where the recipe says."""
    if isinstance(choice, EducationDialogueSource | QaSource):
        return choice.build(), choice.path if choice.path.is_dir() else choice.path.parent
    return opened(choice, None)


def _drawn(rows: Rows, most: int, seed: int) -> set[str]:
    """The ids of the rows that are kept: those of official tests, and of whole groups as many as fit."""
    kept = {row.id for row in rows if row.split == "test"}
    groups = _groups([row for row in rows if row.split != "test"])
    names = sorted(groups)
    random.Random(f"{seed}/conversations").shuffle(names)
    for name in names:
        if len(groups[name]) <= most:
            most -= len(groups[name])
            kept.update(row.id for row in groups[name])
    return kept


def _divided(rows: Rows, config: ConversationsConfig, seed: int) -> Splits:
    """A data set's rows in their splits, each in the order given."""
    split: dict[str, SplitName] = {row.id: row.split or "train" for row in rows}
    split |= _held_out([row for row in rows if row.split is None], config, seed)
    if not any(row.split == "validation" for row in rows):
        split.update((name, "validation") for name in _last_wordings(rows, config.validation, seed))
    return Splits(*(tuple(row for row in rows if split[row.id] == name) for name in SPLITS))


def _held_out(rows: Rows, config: ConversationsConfig, seed: int) -> dict[str, SplitName]:
    """The ids of what is held out of rows that name no split; none of fewer than three groups."""
    groups = _groups(rows)
    names = sorted(groups)
    random.Random(f"{seed}/held out").shuffle(names)
    held: dict[str, SplitName] = {}
    if len(names) < 3:
        return held
    shares: tuple[tuple[SplitName, float, int], ...] = (
        ("test", config.test, 2),  # a group at least is left for validation, and one for train
        ("validation", config.validation, 1),
    )
    for split, share, left in shares:
        count = 0
        while len(names) > left and (not count or count < share * len(rows)):
            found = groups[names.pop()]
            held.update((row.id, split) for row in found)
            count += len(found)
    return held


def _last_wordings(rows: Rows, share: float, seed: int) -> list[str]:
    """The ids of the last official training row of a share of the groups that have several, one at least."""
    several = [
        found for found in _groups([row for row in rows if row.split == "train"]).values() if found[1:]
    ]
    count = min(len(several), max(1, round(share * len(several))))
    return [found[-1].id for found in random.Random(f"{seed}/wordings").sample(several, count)]


def _groups(rows: Rows) -> dict[tuple[str, str], list[Record]]:
    """The rows of each group; one without a group is its own."""
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for row in rows:
        groups[row.source, row.group or row.id].append(row)
    return dict(groups)


def _check(splits: Splits) -> None:
    if not splits.train:
        raise DataError(
            "the train split is empty", hint="add conversations, or change `data` or `leakage` in the recipe"
        )
    if not splits.validation:
        raise DataError(
            "the validation split is empty: no step could be chosen",
            hint="add a data set of three groups or more, or one that asks a fact in several wordings, "
            "such as deaf-knowledge; or change `leakage` in the recipe",
        )
