"""Questions and answers on Deaf culture, history, education, law and ASL, written for this project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import lines, need
from overtone.data.records import Card, Record, Source
from overtone.errors import DataError

TOPICS = ("history", "education", "linguistics", "culture", "etiquette", "technology", "law", "arts")
"""The topics, each a file."""

TAUGHT = 2
"""How many of a fact's three wordings are for training; the last is asked in the exam alone."""

UNKNOWN = "knowledge/unknown.jsonl"
"""The file of questions that the facts do not answer."""

CARD = Card(
    name="deaf-knowledge",
    title="Deaf knowledge: facts with their source, each asked in three ways, one of them held out",
    licence="Apache-2.0",
    commercial=True,
    url="a part of this package",
    citation="The Overtone authors",
    files={
        "knowledge/history.jsonl": "3ef1c9811c6359442328ca4ef766a41d03acb1ccf1b09d3b4a9af3061ab1f0c2",
        "knowledge/education.jsonl": "ae7512c5b08113ceea0d85141f7e6a35dca27b36e8be1d3d347e8b4951588e37",
        "knowledge/linguistics.jsonl": "0c05bb0b8a4ae046ce4dad0240553dac7f671ac9212664a3006fb0b336cfd001",
        "knowledge/culture.jsonl": "802efab0596ebd8f666c7b2ac98e7d8faf60872e8f790895e4067f91497ee181",
        "knowledge/etiquette.jsonl": "2856c3cd768352c25939389c3dffdbd5c6f75240553f1334a528884901dff829",
        "knowledge/technology.jsonl": "84cd2b99e3135553a91e5512cd48e4bfbe1c19473c3fbcf51797667e4dd09b1a",
        "knowledge/law.jsonl": "a30657f6a0e9386d39d60be2606ff5bba65759a98847db1791798db8d95ba764",
        "knowledge/arts.jsonl": "8f0c30239f81bc9edb2f5ee2fafe60183ec8d14025f338852669d6519d2ac690",
        UNKNOWN: "bf85dd96b0e7e141ec4b41f73812f137d89e3ab073032d1c4b8308090d59e40a",
    },
    sizes={"train": 480, "test": 240},
    notes="Test holds the same facts as train in words that train does not have, so it measures what was "
    "understood, not what is known beyond. The unknown questions have no answer and train nothing.",
    shipped=True,
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A question whose answer is not among the facts.

    Args:
        id: unique among these questions.
        part: ``fit`` sets a threshold, ``test`` judges it.
        kind: ``near`` to the topics, or ``far`` from them.
        text: the question.
    """

    id: str
    part: str
    kind: str
    text: str


def records(folder: Path) -> Iterator[Record]:
    """Each fact three times, target ``answer``: two wordings in train, the third in test.

    ``source`` names where the fact is from, and the group is the fact. Ids are ``deaf-knowledge/arts-001.0``,
    the last number that of the wording.

    Raises:
        DataError: a file is missing or a line is not of this form.
    """
    for topic in TOPICS:
        for place, row in rows(folder, f"knowledge/{topic}.jsonl"):
            try:
                asked, answer, source, name = row["questions"], row["answer"], row["source"], row["id"]
                _first, _second, _third = asked
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{place}: not a fact ({error!r})", hint="install overtone again") from error
            for number, text in enumerate(asked):
                yield Record(
                    f"{CARD.name}/{name}.{number}",
                    text,
                    {"answer": answer, "source": source},
                    CARD.name,
                    "train" if number < TAUGHT else "test",
                    group=name,
                )


def unknown(folder: Path) -> Iterator[Unknown]:
    """The questions that the facts do not answer.

    Raises:
        DataError: the file is missing or a line is not of this form.
    """
    for place, row in rows(folder, UNKNOWN):
        try:
            yield Unknown(row["id"], row["part"], row["kind"], row["question"])
        except (KeyError, TypeError) as error:
            raise DataError(f"{place}: not a question ({error!r})", hint="install overtone again") from error


def rows(folder: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON lines of a shipped file, each with its place, for a message.

    Raises:
        DataError: the file is missing or a line is not JSON.
    """
    path = need(folder, name)
    for number, line in lines(path):
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{place}: not JSON ({error})", hint="install overtone again") from error
        yield place, row


SOURCE = Source(CARD, records)


class DeafKnowledgeSource(Config):
    """Facts on Deaf culture, which the package ships."""

    kind: Literal["deaf-knowledge"] = Field("deaf-knowledge", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
