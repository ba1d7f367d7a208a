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
"""The file, an answer with its questions a line."""

CARD = Card(
    name="asl-signing",
    title="ASL signing: how signs are formed, their parameters, and grammar, as questions and answers",
    licence="Apache-2.0",
    commercial=True,
    url="a part of this package",
    citation="The Overtone authors",
    files={FILE: "496890b99a5c83ad01bb86bfad9540e40f31309b2a22453fab1f4977c2d51bc7"},
    sizes={"train": 270},
    notes="All of it is for training. Words describe a sign only roughly: look it up in a video dictionary.",
    shipped=True,
)


def records(folder: Path) -> Iterator[Record]:
    """Each answer three times, in other words asked for; ``source`` names where it is from.

    The target is ``answer``, the group what is asked about. Ids are ``asl-signing/signing-001.0``, the last
    number that of the wording.

    Raises:
        DataError: the file is missing or a line is not of this form.
    """
    for place, row in rows(folder, FILE):
        try:
            asked, answer, source, name = row["questions"], row["answer"], row["source"], row["id"]
        except (KeyError, TypeError) as error:
            raise DataError(f"{place}: not an answer ({error!r})", hint="install overtone again") from error
        for number, text in enumerate(asked):
            yield Record(
                f"{CARD.name}/{name}.{number}",
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
