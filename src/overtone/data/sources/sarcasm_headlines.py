"""News headlines: sarcastic ones of The Onion, plain ones of HuffPost (Misra and Arora 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import lines, need
from overtone.data.records import Card, Record, Source
from overtone.errors import DataError

LABELS = ("plain", "sarcastic")
"""The two labels, in the order of the file's 0 and 1."""

_HEADER = "is_sarcastic\theadline"

CARD = Card(
    name="sarcasm_headlines",
    title="News headlines: sarcastic (The Onion) or plain (HuffPost)",
    licence="LicenseRef-sarcasm-headlines (none stated; research use)",
    commercial=False,
    url="https://github.com/rishabhmisra/News-Headlines-Dataset-For-Sarcasm-Detection",
    citation="Misra and Arora, Sarcasm Detection using News Headlines Dataset, AI Open 2023",
    files={"headlines.tsv": "8ab3e3afdab65d8d225cae3abc8ff2e5a04c06d39215c287251041945a2ebe9c"},
    sizes={"all": 26_709},
    notes="The label is the publisher, so a model learns house style as well as sarcasm; all lower case; "
    "26,602 headlines are distinct; no official split. "
    "This is version 1 as a table: the columns is_sarcastic and headline, no quoting.",
)


def records(folder: Path) -> Iterator[Record]:
    """The headlines, target ``sarcasm`` one of ``LABELS``; ids are ``sarcasm_headlines/00012``, from 0.

    Raises:
        DataError: the file is missing, its header is another one or a line is not ``0|1<TAB>headline``.
    """
    path = need(folder, "headlines.tsv")
    rows = lines(path)
    if next(rows, (1, ""))[1] != _HEADER:
        raise DataError(f"{path}: the first line is not the header is_sarcastic, headline")
    for number, line in rows:
        mark, tab, text = line.partition("\t")
        if mark not in ("0", "1") or not tab:
            raise DataError(f"{path}, line {number}: expected 0 or 1, a tab and a headline")
        target = {"sarcasm": LABELS[int(mark)]}
        yield Record(f"sarcasm_headlines/{number - 2:05d}", text, target, source="sarcasm_headlines")


SOURCE = Source(CARD, records)


class SarcasmHeadlinesSource(Config):
    """The sarcastic and plain news headlines."""

    kind: Literal["sarcasm_headlines"] = Field("sarcasm_headlines", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
