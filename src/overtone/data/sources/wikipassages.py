"""Passages of English Wikipedia articles, as retrieval systems store them: natural text for small models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import need
from overtone.data.records import Card, Record, Source
from overtone.data.rows import json_rows
from overtone.errors import DataError

_FILE = "wiki_passages.jsonl"

CARD = Card(
    name="wikipassages",
    title="Passages of English Wikipedia, natural case and punctuation",
    licence="CC-BY-SA",
    commercial=True,
    url="https://github.com/Newiz430/Psi-RAG",
    citation="Wikipedia's authors; passages retrieved for five question sets, collected from the results in "
    "Newiz430/Psi-RAG",
    files={_FILE: "ecb3ddc3132a449bcd7579564bfbc5b2af9b3f9d237450e44f0197eeedcaf51e"},
    sizes={"all": 20_281},
    notes="The licence is that of Wikipedia's text; what is published of it has to name it and be shared "
    "alike. Passages of at least 20 words, no two with the same first 14. They begin and end anywhere in an "
    "article, and often repeat its title in the middle. They were retrieved for questions, so people and "
    "works are frequent. A model that read them has seen most documents of the retrieval test set, not its "
    "questions.",
    folder="text",
)


def records(folder: Path) -> Iterator[Record]:
    """The passages, without targets.

    Ids are ``wikipassages/w00000``. ``group`` is the title, so that the passages of an article stay together.

    Args:
        folder: with the file of the card.

    Raises:
        DataError: the file is missing, or a line is not a passage with id, title and text.
    """
    for place, row in json_rows(need(folder, _FILE)):
        number, title, text = (row.get(key) for key in ("id", "title", "text"))
        if not (isinstance(number, str) and isinstance(title, str) and isinstance(text, str)):
            raise DataError(
                f"{place}: not a passage with the texts id, title and text",
                hint="docs/DATA.md says what the file is",
            )
        yield Record(f"wikipassages/{number}", text, {}, source="wikipassages", group=title)


SOURCE = Source(CARD, records)


class WikipassagesSource(Config):
    """Passages of English Wikipedia."""

    kind: Literal["wikipassages"] = Field("wikipassages", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
