"""What an embedder learns from: a collection's questions, and sentences of passages as if they were asked."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from overtone.config import Config
from overtone.data import corpus
from overtone.data.corpus import Collection
from overtone.data.fetch import fingerprint, locate, verify
from overtone.data.files import digest, need
from overtone.data.leakage import LeakageConfig, check
from overtone.data.records import Card, Record, Splits
from overtone.data.sources import nq7247
from overtone.data.sources.table import TableSource
from overtone.data.sources.wikipassages import WikipassagesSource
from overtone.data.split import SPLITS, DataReport, most_restrictive, opened
from overtone.data.text import words
from overtone.errors import DataError

LABEL = "questions"
"""What the rows are counted as, where a task would have its labels."""

OPENING = 14
"""Passages that begin with the same so many words are taken for one."""

SHORTEST, LONGEST = 5, 40
"""Words of a sentence that may stand in for a question."""

_SENTENCE = re.compile(r"(?<=[.!?])\s+")


class Nq7247Collection(Config):
    """Natural Questions over 7,247 passages."""

    kind: Literal["nq7247"] = "nq7247"


class FolderCollection(Config):
    """A collection of one's own in the layout of BEIR, with judgements for train, dev and test."""

    kind: Literal["folder"] = "folder"
    path: Path = Field(description="The folder with corpus.jsonl, queries.jsonl and qrels/.")
    licence: str = Field("not stated", description="What its texts may be used for.")


CollectionConfig = Annotated[Nq7247Collection | FolderCollection, Field(discriminator="kind")]
"""Where the questions and the passages come from."""


class QuestionsConfig(Config):
    """What an embedder is trained, chosen and judged on."""

    collection: CollectionConfig = Nq7247Collection()
    texts: tuple[Annotated[WikipassagesSource | TableSource, Field(discriminator="kind")], ...] = Field(
        (), description="Data sets whose texts are passages to learn from, beside those of the collection."
    )
    sentences: int = Field(
        3, ge=0, description="Sentences of each passage that are asked as if they were questions."
    )
    repeats: int = Field(8, ge=0, description="Times that a real question stands in an epoch.")
    passages: int | None = Field(
        None, ge=2, description="Passages beside those that answer a question, at most; for studies."
    )


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions and passages that are ready to train and evaluate on.

    Args:
        collection: passages, questions and judgements.
        splits: its questions; those of validation choose the best step, those of test judge.
        passages: P texts to learn from, the collection's first, in its order.
        asked: M texts: the training questions, then sentences.
        pairs: (question, passage), each by its number.
        report: what was done to get them.
        cards: one a data set.
        fingerprints: data set → what a manifest keeps of it.
    """

    collection: Collection
    splits: Splits
    passages: tuple[str, ...]
    asked: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    report: DataReport
    cards: tuple[Card, ...]
    fingerprints: Mapping[str, Mapping[str, Any]]


def prepare(config: QuestionsConfig, leakage: LeakageConfig, seed: int) -> Questions:
    """Read, pair and check; the same for the same files, configs and seed.

    Nothing is asked in training that stands, or nearly stands, among the questions of dev or test.

    Args:
        config: which collection and texts.
        leakage: what a leak is, and what is done about it.
        seed: of the choice of sentences.

    Raises:
        DataError: files missing or wrong, judgements of a split missing, or nothing to learn from.
    """
    card, folder = _opened(config.collection)
    collection = corpus.load(folder)
    for name in corpus.SPLITS:
        collection.asked(name)  # each has to be there
    cards, texts, left_out = [card], [each.content for each in collection.passages], Counter[str]()
    seen = {_opening(each.text) for each in collection.passages}
    for choice in config.texts:
        source, place = opened(choice, None)
        cards.append(source.card)
        for row in source.records(place):
            if _opening(row.text) in seen:
                left_out[f"{source.card.name}: begins as another passage"] += 1
                continue
            seen.add(_opening(row.text))
            texts.append(f"{row.group}\n{row.text}" if row.group else row.text)
    place_of = {each.id: number for number, each in enumerate(collection.passages)}
    splits = Splits(*(_records(card.name, collection, name) for name in corpus.SPLITS))
    answers = {place_of[str(each)] for row in splits.train for each in row.targets["passages"] or ()}
    kept = _cut(config.passages, answers, len(texts), seed)
    generator = random.Random(f"{seed}/sentences")
    sentences = [
        # No id of a question is without a slash.
        Record(f"s{passage}.{number}", sentence, {"passages": (str(passage),)}, "sentences")
        for passage in kept
        for number, sentence in enumerate(_sentences(texts[passage], config.sentences, generator))
    ]
    checked, leaks = check(Splits((*splits.train, *sentences), splits.validation, splits.test), leakage)
    for name, rows in (("dev", checked.validation), ("test", checked.test)):
        if not rows:
            raise DataError(
                f"{card.name} has no {name} question with a relevant passage that is left",
                hint="judge some in qrels/dev.tsv and qrels/test.tsv, none like those of another split",
            )
    real_ids = {row.id for row in splits.train}
    asked: list[str] = []
    pairs: list[tuple[int, int]] = []
    for row in checked.train:
        real = row.id in real_ids
        passages = [place_of[str(each)] if real else int(each) for each in row.targets["passages"] or ()]
        pairs += [(len(asked), passage) for passage in passages] * (config.repeats if real else 1)
        asked.append(row.text)
    if not pairs:
        raise DataError("there is nothing to learn from", hint="set data.repeats or data.sentences above 0")
    licence, commercial = most_restrictive(cards)
    report = DataReport(
        rows={name: len(checked[name]) for name in SPLITS},
        counts={name: {LABEL: dict(Counter(row.source for row in checked[name]))} for name in SPLITS},
        left_out=dict(left_out),
        leaks=leaks,
        dropped={
            "train": len(splits.train) + len(sentences) - len(checked.train),
            "validation": len(splits.validation) - len(checked.validation),
            "test": 0,
        },
        licence=licence,
        commercial=commercial,
    )
    return Questions(
        collection=collection,
        splits=checked,
        passages=tuple(texts),
        asked=tuple(asked),
        pairs=tuple(pairs),
        report=report,
        cards=tuple(cards),
        fingerprints={each.name: fingerprint(each) for each in cards},
    )


def _opened(choice: Nq7247Collection | FolderCollection) -> tuple[Card, Path]:
    """The card of a collection, and its folder."""
    if isinstance(choice, FolderCollection):
        names = ("corpus.jsonl", "queries.jsonl", *(f"qrels/{name}.tsv" for name in corpus.SPLITS))
        try:
            files = {name: digest(need(choice.path, name)) for name in names}
        except DataError as error:
            raise DataError(
                error.what,
                hint=f"one to train on has {', '.join(names)}; data.collection.path names its folder",
            ) from error
        return Card(
            choice.path.resolve().name, "a collection of one's own", choice.licence, None, "", "", files
        ), choice.path
    folder = locate(nq7247.CARD)
    verify(nq7247.CARD, folder)
    return nq7247.CARD, folder


def _records(name: str, collection: Collection, file: str) -> tuple[Record, ...]:
    """The questions of a split, with the passages that answer them."""
    judged = collection.judgements[file]
    return tuple(
        Record(
            f"{name}/{query.id}",
            query.text,
            {"passages": tuple(passage for passage, score in judged[query.id].items() if score)},
            name,
            corpus.SPLITS[file],
        )
        for query in collection.asked(file)
    )


def _opening(text: str) -> str:
    return " ".join(words(text)[:OPENING])


def _cut(most: int | None, answers: set[int], size: int, seed: int) -> Sequence[int]:
    """The passages that answer training questions, and at most so many of the others; all without a limit."""
    if most is None:
        return range(size)
    others = [place for place in range(size) if place not in answers]
    return sorted(answers | set(random.Random(f"{seed}/passages").sample(others, min(most, len(others)))))


def _sentences(text: str, most: int, generator: random.Random) -> list[str]:
    """So many sentences of a text, in any order, of a length that a question might have."""
    found = [each for each in _SENTENCE.split(text) if SHORTEST <= len(each.split()) <= LONGEST]
    return generator.sample(found, min(most, len(found)))
