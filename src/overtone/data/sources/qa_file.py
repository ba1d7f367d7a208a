"""A user's own questions with their answers: JSON lists and JSON lines, one file or a folder of them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import digest
from overtone.data.records import Card, Record, Source
from overtone.data.rows import TEXT_LIMIT, Row, json_rows
from overtone.data.text import fold
from overtone.errors import DataError, did_you_mean

KEYS = (("question", "answer"), ("input", "output"))
"""What a pair may call its two texts."""

_LISTS = (".json",)
_LINES = (".jsonl", ".ndjson")


class QaSource(Config):
    """Questions and answers of the user's own."""

    kind: Literal["qa"] = Field("qa", description="Questions and answers of your own.")
    path: Path = Field(
        description="A .json list or .jsonl file of objects with `question` and `answer`, or `input` and "
        "`output`; or a folder of such files. Each may be gzipped (.gz)."
    )
    name: str | None = Field(
        None, min_length=1, description="What the data set is called; null takes the file's or folder's name."
    )
    licence: str = Field("the licence of your own data", description="What its texts may be used for.")
    commercial: bool | None = Field(
        None, description="Whether the licence allows commercial use; null where that is not known."
    )

    def build(self) -> Source:
        """The files as a data set.

        Raises:
            DataError: the path is not there, or a folder has no such file.
        """
        files = files_at(self.path, ("*.json", "*.jsonl", "*.ndjson"))
        name = self.name or plain(Path(self.path.resolve().name))
        card = Card(
            name=name,
            title=f"Your own questions and answers {self.path.name}",
            licence=self.licence,
            commercial=self.commercial,
            url=str(self.path),
            citation="",
            files={file.name: digest(file) for file in files},
        )
        return Source(card, partial(_records, name, tuple(file.name for file in files)))


def _records(name: str, files: Sequence[str], folder: Path) -> Iterator[Record]:
    """The pairs, targets ``answer`` and ``source``: the pair's own ``source``, else the name of its file.

    Ids are ``<name>/000001``, counted through the files. Questions with one answer are taken for wordings of
    one fact, and are one group.

    Raises:
        DataError: a file is empty, broken or not UTF-8, or a pair lacks a text; the message names the place.
    """
    fact: dict[str, str] = {}
    number = 0
    for file in files:
        for place, row in items(folder / file):
            number += 1
            asked, answered = _keys(row, place)
            answer = text(row, answered, place)
            yield Record(
                f"{name}/{number:06d}",
                text(row, asked, place),
                {"answer": answer, "source": text(row, "source", place) if row.get("source") else file},
                source=name,
                group=fact.setdefault(fold(answer), f"{number:06d}"),
            )


def _keys(row: Mapping[str, Any], place: str) -> tuple[str, str]:
    """What this pair calls its question and its answer."""
    for asked, answered in KEYS:
        if asked in row and answered in row:
            return asked, answered
    raise DataError(
        f"{place}: neither 'question' and 'answer' nor 'input' and 'output'; "
        f"it has {', '.join(map(repr, row)) or 'nothing'}",
        hint='write {"question": "…", "answer": "…"}',
    )


def files_at(path: Path, patterns: Sequence[str]) -> list[Path]:
    """The file itself, or those of a folder whose names fit one of the patterns, perhaps with .gz; sorted.

    Raises:
        DataError: there is no such file or folder, or no file in it fits.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path} is neither a file nor a folder", hint="check `path` in the recipe")
    wanted = [*patterns, *(f"{pattern}.gz" for pattern in patterns)]
    found = sorted({file for pattern in wanted for file in path.glob(pattern) if file.is_file()})
    if not found:
        raise DataError(f"{path} has no file {' or '.join(patterns)}", hint="check `path` in the recipe")
    return found


def plain(path: Path) -> str:
    """The name of a file without what tells its format, such as .json.gz."""
    name = path.name.removesuffix(".gz")
    return next(
        (name.removesuffix(suffix) for suffix in (*_LISTS, *_LINES) if name.endswith(suffix)), path.name
    )


def items(path: Path) -> Iterator[Row]:
    """The objects of a JSON list (.json) or of JSON lines (.jsonl, .ndjson), plain or gzipped.

    Raises:
        DataError: the name does not tell which, the file cannot be read, is not UTF-8 or JSON, holds no
            object, or something else than objects.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in (*_LISTS, *_LINES):
        raise DataError(f"{path}: the name does not tell the format", hint="name it .json or .jsonl")
    empty = True
    for row in _listed(path) if suffix in _LISTS else json_rows(path):
        empty = False
        yield row
    if empty:
        raise DataError(f"{path} is empty: there is not one object", hint="check `path` in the recipe")


def _listed(path: Path) -> Iterator[Row]:
    try:
        raw = path.read_bytes()
        content = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}", hint="check the file"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 at byte {error.start} (0x{error.object[error.start]:02x})",
            hint="save the file as UTF-8, for example: iconv -f latin1 -t utf-8 OLD > NEW",
        ) from error
    if not content.strip():
        return
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not JSON ({error})",
            hint="is it cut short? Where it has one object a line, name it .jsonl",
        ) from error
    if not isinstance(found, list):
        raise DataError(
            f"{path}: a JSON {type(found).__name__}, not a list", hint="write [{…}, {…}], or name it .jsonl"
        )
    for number, row in enumerate(found, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, item {number}: not a JSON object", hint="write [{…}, {…}]")
        yield f"{path}, item {number}", row


def text(row: Mapping[str, Any], key: str, place: str) -> str:
    """A text of an object, without the space around it.

    Raises:
        DataError: there is none, it is blank, or longer than a text may be.
    """
    if key not in row:
        raise DataError(
            f"{place}: no '{key}'; it has {', '.join(map(repr, row)) or 'nothing'}",
            hint=did_you_mean(key, row),
        )
    value = row[key]
    if not isinstance(value, str):
        raise DataError(f"{place}: '{key}' is {type(value).__name__}, not text", hint="write it as text")
    if not value.strip():
        raise DataError(f"{place}: '{key}' is empty", hint="fill it in, or leave the object out")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair
        raise DataError(f"{place}: '{key}' is not Unicode text ({error.reason})") from error
    if size > TEXT_LIMIT:
        raise DataError(
            f"{place}: '{key}' is longer than the limit of {TEXT_LIMIT:,} bytes",
            hint="cut long texts before training on them",
        )
    return value.strip()
