"""WikiText-2, validation and test: whole Wikipedia articles, tokenised, with rare words taken out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import lines, need
from overtone.data.records import Card, Record, Source, SplitName
from overtone.errors import DataError

_SPLITS: dict[str, SplitName] = {"valid": "validation", "test": "test"}
_FILE = "wikitext2_{}.txt"
_RAW = (
    "https://raw.githubusercontent.com/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8"
    "/word_language_model/data/wikitext-2"
)
_TITLE = re.compile(r" = (?!= ).+ = ")

CARD = Card(
    name="wikitext2",
    title="WikiText-2: good and featured Wikipedia articles (validation and test files)",
    licence="CC-BY-SA-3.0",
    commercial=True,
    url="https://github.com/pytorch/examples/tree/77f55b912142e11fcfdf5b530231fb9c52f181e8"
    "/word_language_model/data/wikitext-2",
    citation="Merity et al., Pointer Sentinel Mixture Models, ICLR 2017",
    files={
        "wikitext2_valid.txt": "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
        "wikitext2_test.txt": "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
    },
    downloads={
        "wikitext2_valid.txt": f"{_RAW}/valid.txt",
        "wikitext2_test.txt": f"{_RAW}/test.txt",
    },
    sizes={"validation": 60, "test": 60},
    notes="A row is an article; 213,886 and 241,211 tokens between blanks, 217,646 and 245,569 with the ends "
    "of lines. The train file is not used here, so figures do not compare with published ones. Rare words "
    "stand as <unk>, hyphens and separators inside a word as @-@, @,@ and @.@, with blanks around all signs: "
    "bits a byte of it do not compare with those of natural text either.",
    folder="text",
)


def records(folder: Path) -> Iterator[Record]:
    """The articles, without targets, their lines as they stand in the file.

    Ids are ``wikitext2/test-00``: the file, and the number of the article in it.

    Args:
        folder: with the files of the card.

    Raises:
        DataError: a file is missing, or has no article.
    """
    for name, split in _SPLITS.items():
        path = need(folder, _FILE.format(name))
        found = list(_articles([line for _, line in lines(path)]))
        if not found:
            raise DataError(
                f"{path}: no line such as ' = Title = ' begins an article",
                hint="`overtone data fetch wikitext2` gets the file again",
            )
        for number, text in enumerate(found):
            yield Record(f"wikitext2/{name}-{number:02d}", text, {}, source="wikitext2", split=split)


def _articles(rows: list[str]) -> Iterator[str]:
    """The text of each article: its title stands between two empty lines."""
    blank = [not row.strip() for row in rows]
    starts = [
        i for i in range(1, len(rows) - 1) if blank[i - 1] and blank[i + 1] and _TITLE.fullmatch(rows[i])
    ]
    for start, end in pairwise([*starts, len(rows) + 1]):
        yield "\n".join(rows[start : end - 1]) + "\n"


SOURCE = Source(CARD, records)


class Wikitext2Source(Config):
    """WikiText-2, validation and test articles."""

    kind: Literal["wikitext2"] = Field("wikitext2", description="This data set.")

    def build(self) -> Source:
        """The data set as it is."""
        return SOURCE
