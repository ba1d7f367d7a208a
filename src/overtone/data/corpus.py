"""Retrieval collections in the layout of BEIR (Thakur et al. 2021): passages, queries, and what answers them.

A folder with ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/<split>.tsv``; each may be gzipped.
"""

from __future__ import annotations

from collections.abc import Collection as Container
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeGuard

from overtone.data.files import need
from overtone.data.records import Record, SplitName
from overtone.data.rows import json_rows, tsv_rows
from overtone.errors import DataError, did_you_mean

SPLITS: dict[str, SplitName] = {"train": "train", "dev": "validation", "test": "test"}
"""The file of judgements → the split that its queries are in."""

HEADER = ("query-id", "corpus-id", "score")
"""The columns of a file of judgements."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that may be found.

    Args:
        id: unique in its collection.
        text: what it says.
        title: of the page or section that it is from; empty where there is none.
        file: where it stands, relative to the folder that was read.
        line: the line of the file on which it starts, from 1.
    """

    id: str
    text: str
    title: str = ""
    file: str = ""
    line: int = 1

    @property
    def content(self) -> str:
        """What is searched: the title, a line break, the text."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Query:
    """A question to a collection.

    Args:
        id: unique among the queries.
        text: as it was asked.
    """

    id: str
    text: str


Judgements = Mapping[str, Mapping[str, int]]
"""Query id → passage id → how relevant: 1 or more where it answers, 0 where it was judged not to."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Passages, queries and judgements that belong together.

    Args:
        passages: in the order of the file.
        queries: all of them, whatever their split.
        judgements: split → judgements; every id in them is known.
    """

    passages: tuple[Passage, ...]
    queries: tuple[Query, ...]
    judgements: Mapping[str, Judgements]

    def asked(self, split: str) -> tuple[Query, ...]:
        """The queries of a split with at least one relevant passage, in the order of the file.

        Raises:
            DataError: there are no judgements of this name.
        """
        if split not in self.judgements:
            raise DataError(
                f"the collection has no split '{split}'", hint=did_you_mean(split, self.judgements)
            )
        judged = self.judgements[split]
        return tuple(each for each in self.queries if any(judged.get(each.id, {}).values()))


def load(folder: Path) -> Collection:
    """Read a collection.

    Raises:
        DataError: a file is missing or empty, a line is broken, an id is there twice, or a judgement names an
            unknown one.
    """
    passages = tuple(read_passages(need(folder, "corpus.jsonl")))
    queries = tuple(read_queries(need(folder, "queries.jsonl")))
    known = {each.id for each in queries}, {each.id for each in passages}
    found = {
        path.name.partition(".")[0]: read_judgements(path, *known)
        for path in sorted((folder / "qrels").glob("*.tsv*"))
    }
    if not found:
        raise DataError(
            f"{folder / 'qrels'} holds no judgements", hint="name them by split, such as qrels/test.tsv"
        )
    return Collection(passages, queries, MappingProxyType(found))


def read_passages(path: Path) -> Iterator[Passage]:
    """The passages of a ``corpus.jsonl``: objects with ``_id``, ``text`` and, if they have one, ``title``.

    Raises:
        DataError: the file is empty, a line is broken, or an id is there twice.
    """
    for number, row in _rows(path):
        title = row.get("title", "")
        yield Passage(row["_id"], row["text"], title if is_text(title) else "", path.name, number)


def read_queries(path: Path) -> Iterator[Query]:
    """The queries of a ``queries.jsonl``: objects with ``_id`` and ``text``.

    Raises:
        DataError: the file is empty, a line is broken, or an id is there twice.
    """
    for _, row in _rows(path):
        yield Query(row["_id"], row["text"])


def read_judgements(path: Path, queries: Container[str], passages: Container[str]) -> Judgements:
    """The judgements of a file with the columns ``query-id``, ``corpus-id`` and ``score``.

    Args:
        path: of the file.
        queries: the ids that are known.
        passages: likewise.

    Raises:
        DataError: another header, an unknown id, a pair that is judged twice, a score that is no whole number
            from 0, or no rows at all.
    """
    found: dict[str, dict[str, int]] = {}
    for place, row in tsv_rows(path):
        if tuple(row) != HEADER:
            raise DataError(
                f"{path}, line 1: the columns are not {', '.join(HEADER)}", hint="separate by tabs"
            )
        query, passage, score = (row[name] for name in HEADER)
        for value, known, what in ((query, queries, "query"), (passage, passages, "passage")):
            if value not in known:
                raise DataError(
                    f"{place}: no {what} has the id '{value}'", hint="are all files of one collection?"
                )
        if not score.isdecimal():
            raise DataError(f"{place}: the score '{score}' is not a whole number from 0", hint="write 1 or 0")
        if passage in found.setdefault(query, {}):
            raise DataError(f"{place}: '{query}' and '{passage}' are judged twice", hint="keep one of them")
        found[query][passage] = int(score)
    if not found:
        raise DataError(f"{path} holds no judgements", hint="get the file again")
    return MappingProxyType(found)


def records(folder: Path, name: str) -> Iterator[Record]:
    """The queries with relevant passages as records: target ``passages``, the ids of those that answer.

    Ids are ``<name>/<query id>``.

    Args:
        folder: of the collection.
        name: of the data set.

    Raises:
        DataError: see ``load``.
    """
    collection = load(folder)
    for file, split in SPLITS.items():
        if file not in collection.judgements:
            continue
        judged = collection.judgements[file]
        for query in collection.asked(file):
            answers = tuple(passage for passage, score in judged[query.id].items() if score)
            yield Record(f"{name}/{query.id}", query.text, {"passages": answers}, name, split)


def is_text(value: object) -> TypeGuard[str]:
    """Whether a JSON value is a text that UTF-8 can hold; an escape may name half a character."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows of a JSON-lines file, ``_id`` and ``text`` checked, with the line of each."""
    seen: set[str] = set()
    for place, row in json_rows(path):
        for key in ("_id", "text"):
            if not is_text(row.get(key)) or not row[key].strip():
                raise DataError(f"{place}: '{key}' is not a text", hint='write {"_id": "d1", "text": "…"}')
        if row["_id"] in seen:
            raise DataError(f"{place}: the id '{row['_id']}' was there before", hint="give each row its own")
        seen.add(row["_id"])
        yield int(place.rpartition(" ")[2]), row
    if not seen:
        raise DataError(f"{path} is empty", hint="get the file again")
