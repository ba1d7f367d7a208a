"""Questions and answers on signing itself: how signs are formed, and grammar; written for this project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.records import Card, Record, Source
from overtone.data.sources.deaf_knowledge import rows
from overtone.errors import DataError

FILE = "knowledge/signing.jsonl"
"""The file, one pair a line."""

CARD = Card(
    name="asl-signing",
    title="ASL signing: how signs are formed, their parameters, and grammar, as questions and answers",
    licence="Apache-2.0",
    commercial=True,
    url="a part of this package",
    citation="The Overtone authors",
    files={FILE: "65e6882146417bf7e689b9e83fbd98cc6a18fa4ebd288f2b2914020e9b710d9e"},
    sizes={"train": 90},
    notes="All of it is for training. Words describe a sign only roughly: look it up in a video dictionary.",
    shipped=True,
)


def records(folder: Path) -> Iterator[Record]:
    """The pairs, target ``answer``; ``source`` names where the answer is from.

    Ids are ``asl-signing/signing-001``.

    Raises:
        DataError: the file is missing or a line is not of this form.
    """
    for place, row in rows(folder, FILE):
        try:
            text, answer, source, name = row["question"], row["answer"], row["source"], row["id"]
        except (KeyError, TypeError) as error:
            raise DataError(f"{place}: not a pair ({error!r})", hint="install overtone again") from error
        yield Record(
            f"{CARD.name}/{name}",
            text,
            {"answer": answer, "source": source},
            CARD.name,
            "train",
            group=name,
        )


SOURCE = Source(CARD, records)


class AslSigningSource(Config):
    """Questions and answers on signing, which the package ships."""

    kind: Literal["asl-signing"] = Field("asl-signing", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
