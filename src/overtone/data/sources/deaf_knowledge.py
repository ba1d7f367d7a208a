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
from overtone.data.records import Card, Record, Source, SplitName
from overtone.errors import DataError

TOPICS = ("history", "education", "linguistics", "culture", "etiquette", "technology", "law", "arts")
"""The topics, each a file."""

UNKNOWN = "knowledge/unknown.jsonl"
"""The file of questions that the facts do not answer."""

CARD = Card(
    name="deaf-knowledge",
    title="Deaf knowledge: facts with their source, each asked in six ways, one of them held out",
    licence="Apache-2.0",
    commercial=True,
    url="a part of this package",
    citation="The Overtone authors",
    files={
        "knowledge/history.jsonl": "42c95ac4713779f231dfb4555f266eec9e0d54df9aca85ca184c9a527af3cea7",
        "knowledge/education.jsonl": "3ad30ca2df9923eae98001beda0249797e5c04b2ba60055b2fc9e0c64a614294",
        "knowledge/linguistics.jsonl": "3351018541570fe1891945298ab4e96cf8797d4320eb975862d924c869395561",
        "knowledge/culture.jsonl": "ec865c00251335830ff1b22a0edc66717b34ee7220fd4dcd7daa969ed01b0770",
        "knowledge/etiquette.jsonl": "409b42819c2a240c18809aa1cb483be58d56a0613b80d5f2447686e7ac135de0",
        "knowledge/technology.jsonl": "7a86792169c578cbb2ab9a462e92bb43a3c1a4d221998a0664e3adf1b7715e43",
        "knowledge/law.jsonl": "356366cc80163b8f94ee7c2879e94f8255ba60b63dd6cdeb5eee90eb22803d4c",
        "knowledge/arts.jsonl": "4d8ad9b90d13aa1edb76b9d30d229e300b7536c80b795396f4449c70c7270722",
        UNKNOWN: "bf85dd96b0e7e141ec4b41f73812f137d89e3ab073032d1c4b8308090d59e40a",
    },
    sizes={"train": 1200, "test": 240},
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
    """Each fact six times, target ``answer``: all wordings but the last in train, the last in test.

    ``source`` names where the fact is from, and the group is the fact. Ids are ``deaf-knowledge/arts-001.0``,
    the last number that of the wording.

    Raises:
        DataError: a file is missing or a line is not of this form.
    """
    for topic in TOPICS:
        for place, row in rows(folder, f"knowledge/{topic}.jsonl"):
            try:
                asked, answer, source, name = row["questions"], row["answer"], row["source"], row["id"]
                first, *others, held_out = list[str](asked)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{place}: not a fact ({error!r})", hint="install overtone again") from error
            wordings: tuple[tuple[str, SplitName], ...] = (
                *((text, "train") for text in (first, *others)),
                (held_out, "test"),
            )
            for number, (text, split) in enumerate(wordings):
                yield Record(
                    f"{CARD.name}/{name}.{number}",
                    text,
                    {"answer": answer, "source": source},
                    CARD.name,
                    split,
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
