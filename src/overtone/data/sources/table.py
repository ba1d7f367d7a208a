"""A user's own table: CSV, TSV, JSONL or Parquet, its columns named in the recipe."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from overtone.config import Config
from overtone.data.files import LINE_LIMIT, digest, lines
from overtone.data.records import Card, Record, Source, SplitName, Target
from overtone.errors import DataError, MissingExtraError, did_you_mean

Format = Literal["csv", "tsv", "jsonl", "parquet"]
Row = tuple[str, Mapping[str, Any]]
"""Where a row stands ("data.csv, line 3"), and its cells by column name."""

TEXT_LIMIT = LINE_LIMIT
"""The longest text that is taken, in UTF-8 bytes (1 MiB)."""

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_SPLITS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


class TableSource(Config):
    """A file of the user's own, one row an example."""

    kind: Literal["table"] = Field("table", description="A file of your own.")
    path: Path = Field(description="The file; text formats may be gzipped (.gz).")
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet"] = Field(
        "auto", description="How the file is written; auto goes by its name."
    )
    text: str = Field("text", description="The column with the text.")
    label: str = Field(
        "label", description="The column with the label (JSONL and Parquet: or a list of labels)."
    )
    split: str | None = Field(None, description="The column with train, validation or test, if there is one.")
    id: str | None = Field(None, description="The column with the rows' ids; without it they are numbered.")
    separator: str | None = Field(
        None, min_length=1, description="What stands between the labels of a row, which makes it multi-label."
    )

    def build(self, target: str) -> Source:
        """The file as a data set whose records carry its label under the name ``target``.

        Raises:
            DataError: the file is missing, or its format cannot be told from its name.
        """
        if not self.path.is_file():
            raise DataError(f"{self.path} is not a file", hint="check `path` in the recipe")
        card = Card(
            name=_stem(self.path),
            title=f"Your own file {self.path.name}",
            licence="the licence of your own data",
            commercial=None,
            url=str(self.path),
            citation="",
            files={self.path.name: digest(self.path)},
        )
        return Source(card, partial(_records, self, target))


def _records(config: TableSource, target: str, folder: Path) -> Iterator[Record]:
    """The rows of the file in ``folder`` as records; ids are ``<file>/<id column or row number from 1>``.

    Raises:
        DataError: the file is empty, broken, or a row lacks its text or label; the message names the place.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    path = folder / config.path.name
    name = _stem(path)
    seen: dict[str, str] = {}
    for number, (place, row) in enumerate(_rows(config, path), start=1):
        if number == 1:
            _check_columns(config, path, row)
        value = f"{number:06d}" if config.id is None else str(_cell(row, config.id, place))
        if value in seen:
            raise DataError(
                f"{place}: the id '{value}' stands in {seen[value]} too",
                hint="make the ids unique, or leave `id` out to number the rows",
            )
        seen[value] = place
        yield Record(
            f"{name}/{value}",
            _text(row, config.text, place),
            {target: _label(row, config, place)},
            source=name,
            split=None if config.split is None else _split(row, config.split, place),
        )
    if not seen:
        raise DataError(f"{path} holds no rows", hint="check `path` in the recipe")


def _rows(config: TableSource, path: Path) -> Iterator[Row]:
    match _format(config, path):
        case "csv":
            return _csv_rows(path)
        case "tsv":
            return _tsv_rows(path)
        case "jsonl":
            return _json_rows(path)
        case "parquet":
            return _parquet_rows(path)


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), TEXT_LIMIT))  # its default of 128 KiB is below ours
    reader = csv.reader((f"{line}\n" for _, line in lines(path)), strict=True)
    try:
        header = _header(path, next(reader, []))
        for cells in reader:
            if cells:  # csv gives a blank line as no cells
                yield _row(path, reader.line_num, header, cells)
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}",
            hint="is a quote left open? Inside a quoted cell a quote is written twice",
        ) from error


def _tsv_rows(path: Path) -> Iterator[Row]:
    rows = ((number, line.split("\t")) for number, line in lines(path) if line)
    header = _header(path, next(rows, (1, []))[1])
    for number, cells in rows:
        yield _row(path, number, header, cells)


def _header(path: Path, names: list[str]) -> list[str]:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"{path} has two columns named '{repeated[0]}'", hint="rename one of them")
    return names


def _row(path: Path, number: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise DataError(
            f"{path}, line {number}: {len(cells)} cells, but the header names {len(header)} columns",
            hint="quote the cells that hold a separator, or set `format` in the recipe",
        )
    return f"{path}, line {number}", dict(zip(header, cells, strict=True))


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not JSON ({error})", hint="one object a line") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: not a JSON object", hint='write {"text": …, "label": …}')
        yield f"{path}, line {number}", row


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("parquet", f"reading {path}") from error
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}", hint="write the file again") from error
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"{path}, row {number}", row


def _check_columns(config: TableSource, path: Path, row: Mapping[str, Any]) -> None:
    for setting in ("text", "label", "split", "id"):
        column = getattr(config, setting)
        if column is not None and column not in row:
            found = ", ".join(map(repr, row))
            raise DataError(
                f"{path} has no column '{column}' (`{setting}` in the recipe); it has {found}",
                hint=did_you_mean(column, row),
            )


def _cell(row: Mapping[str, Any], column: str, place: str) -> str | int | list[Any]:
    """The cell, which must not be empty."""
    value = row.get(column)
    if value is None or value in ("", []) or (isinstance(value, str) and not value.strip()):
        raise DataError(f"{place}: '{column}' is empty", hint="fill it in, or leave the row out")
    if isinstance(value, bool) or not isinstance(value, str | int | list):
        raise DataError(f"{place}: '{column}' is {type(value).__name__}, not text", hint="write it as text")
    return value


def _text(row: Mapping[str, Any], column: str, place: str) -> str:
    text = _cell(row, column, place)
    if not isinstance(text, str):
        raise DataError(
            f"{place}: '{column}' is {type(text).__name__}, not text", hint="name the text column"
        )
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair
        raise DataError(f"{place}: '{column}' is not Unicode text ({error.reason})") from error
    if size > TEXT_LIMIT:
        raise DataError(
            f"{place}: '{column}' is longer than the limit of {TEXT_LIMIT:,} bytes",
            hint="cut long texts before training on them",
        )
    return text


def _label(row: Mapping[str, Any], config: TableSource, place: str) -> Target:
    label = _cell(row, config.label, place)
    parts: Iterable[Any]
    if isinstance(label, list):
        parts = label
    elif config.separator is not None:
        parts = str(label).split(config.separator)
    else:
        return str(label).strip()
    names = [str(part).strip() for part in parts]
    if not all(names):
        raise DataError(f"{place}: '{config.label}' holds an empty label", hint="remove the extra separator")
    return tuple(dict.fromkeys(names))


def _split(row: Mapping[str, Any], column: str, place: str) -> SplitName:
    value = str(_cell(row, column, place)).strip().lower()
    if value not in _SPLITS:
        raise DataError(f"{place}: '{value}' is not a split", hint=did_you_mean(value, _SPLITS))
    return _SPLITS[value]


def _format(config: TableSource, path: Path) -> Format:
    if config.format != "auto":
        return config.format
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in _FORMATS:
        raise DataError(
            f"{path}: the name does not tell the format",
            hint="set `format` in the recipe to csv, tsv, jsonl or parquet",
        )
    return _FORMATS[suffix]


def _stem(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).stem
