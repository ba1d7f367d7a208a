"""Stanford politeness: requests rated for politeness (Danescu-Niculescu-Mizil et al. 2013)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import need
from overtone.data.records import Card, Record, Source
from overtone.data.rows import as_number, json_rows
from overtone.errors import DataError

LABELS = ("politeness",)
"""The one number of the target."""

Community = Literal["wikipedia", "stack-exchange"]

_COMMUNITIES: tuple[Community, ...] = ("wikipedia", "stack-exchange")
_KEYS = {"id", "community", "text", "scores", "normalized_score"}
_MARKS = {"&#44": ",", "&#34": '"', "&#58": ";"}
_MARK = re.compile("|".join(_MARKS))

CARD = Card(
    name="politeness",
    title="Stanford politeness: requests to Wikipedia editors and on Stack Exchange, rated",
    licence="LicenseRef-stanford-politeness (none stated; research use)",
    commercial=None,
    url="https://github.com/sudhof/politeness-api",
    citation="Danescu-Niculescu-Mizil et al., A computational approach to politeness with application to "
    "social factors, ACL 2013",
    files={
        "wikipedia.jsonl": "eb1a4ec217af5579caaf87a7a7e7337ed0a8f9a731b5b98057ecbd9e03eda9c2",
        "stack-exchange.jsonl": "98e957ec5df581a9feb3c51df0ea09ab6a3bb71529369d1a8b569325e6dc398f",
    },
    sizes={"wikipedia": 4_353, "stack-exchange": 6_604},
    notes="Mostly five raters a request. The usual task of two classes keeps the top and the bottom quartile "
    "alone, which is easier than the number. All of Wikipedia's texts are lower case, few of Stack "
    "Exchange's. docs/DATA.md says how the files are made from the source's.",
)


def records(folder: Path, test_community: Community = "wikipedia") -> Iterator[Record]:
    """The requests, target ``style`` one number: the mean of the raters' z-scores, higher is more polite.

    Ids are ``politeness/wikipedia-00012``, from 0; ``source`` is ``politeness-wikipedia`` or
    ``politeness-stack-exchange``.

    Args:
        folder: with the files of the card.
        test_community: whose rows are the test split; the other's are train.

    Raises:
        DataError: a file is missing or a line is not of this form.
    """
    for community in _COMMUNITIES:
        for index, (place, row) in enumerate(json_rows(need(folder, f"{community}.jsonl"))):
            if set(row) != _KEYS or not isinstance(row["text"], str):
                raise DataError(
                    f"{place}: not an object with a text and {', '.join(sorted(_KEYS - {'text'}))}",
                    hint=f"get the file again from {CARD.url}",
                )
            yield Record(
                f"politeness/{community}-{index:05d}",
                decoded(row["text"]),
                {"style": (as_number(row["normalized_score"], place, "normalized_score"),)},
                source=f"politeness-{community}",
                split="test" if community == test_community else "train",
            )


def decoded(text: str) -> str:
    """The text with its HTML entities as characters; placeholders such as ``<url>`` stay.

    The Wikipedia file writes a comma, a quote and a semicolon as ``&#44``, ``&#34`` and ``&#58`` (a colon's
    code, but colons stand as they are), each without an end. They come first: ``1&#44000`` is 1,000 and not
    the character 44000, and ``&mdash&#58`` is ``&mdash;``.
    """
    return html.unescape(_MARK.sub(lambda mark: _MARKS[mark[0]], text))


SOURCE = Source(CARD, records)


class PolitenessSource(Config):
    """The rated requests, one community to train on and the other to test on."""

    kind: Literal["politeness"] = Field("politeness", description="This data set.")
    test_community: Community = Field(
        "wikipedia", description="Whose requests are the test split; the other's are train."
    )

    def build(self) -> Source:
        """The data set, split by community as this config says."""
        return Source(CARD, partial(records, test_community=self.test_community))
