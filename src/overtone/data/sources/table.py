"""A user's own table: CSV, TSV, JSONL or Parquet, its columns named in the recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from overtone.config import Config
from overtone.data.files import digest
from overtone.data.records import Card, Record, Source, SplitName, Target
from overtone.data.rows import TEXT_LIMIT, Row, as_number, csv_rows, json_rows, tsv_rows
from overtone.errors import DataError, MissingExtraError, did_you_mean

Format = Literal["csv", "tsv", "jsonl", "parquet"]

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
    label: str | None = Field(
        "label",
        description="The column with the label (JSONL and Parquet: or a list of labels); "
        "null where `numbers` names columns.",
    )
    numbers: tuple[str, ...] = Field(
        (),
        description="The columns with numbers to predict, in the order of the task's `labels`; in place of "
        "`label`.",
    )
    context: str | None = Field(
        None, description="The column with what was said before the text; a cell of it may be empty."
    )
    split: str | None = Field(None, description="The column with train, validation or test, if there is one.")
    id: str | None = Field(None, description="The column with the rows' ids; without it they are numbered.")
    separator: str | None = Field(
        None, min_length=1, description="What stands between the labels of a row, which makes it multi-label."
    )

    @model_validator(mode="before")
    @classmethod
    def _numbers_need_no_label(cls, given: object) -> object:
        if isinstance(given, Mapping) and given.get("numbers"):
            return {"label": None, **given}
        return given

    @model_validator(mode="after")
    def _labels_or_numbers(self) -> TableSource:
        if self.numbers and (self.label is not None or self.separator is not None):
            raise ValueError("`numbers` takes the place of `label` and `separator`: leave those out")
        if not self.numbers and self.label is None:
            raise ValueError("name the column with the label in `label`, or columns of numbers in `numbers`")
        return self

    def build(self, target: str | None) -> Source:
        """The file as a data set whose records carry its label or numbers under the name ``target``.

        Without a target neither is read, and the file need not have them.

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


def _records(config: TableSource, target: str | None, folder: Path) -> Iterator[Record]:
    """The rows of the file in ``folder`` as records; ids are ``<file>/<id column or row number from 1>``.

    Raises:
        DataError: the file is empty, broken, or a row lacks its text, label or numbers; the message names
            the place.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    path = folder / config.path.name
    name = _stem(path)
    if target is None:
        config = config.model_copy(update={"label": None, "numbers": ()})
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
            {} if target is None else {target: _target(row, config, place)},
            source=name,
            split=None if config.split is None else _split(row, config.split, place),
            context=None if config.context is None else _context(row, config.context, place),
        )
    if not seen:
        raise DataError(f"{path} holds no rows", hint="check `path` in the recipe")


def _rows(config: TableSource, path: Path) -> Iterator[Row]:
    match _format(config, path):
        case "csv":
            return csv_rows(path)
        case "tsv":
            return tsv_rows(path)
        case "jsonl":
            return json_rows(path)
        case "parquet":
            return _parquet_rows(path)


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
    named = [(setting, getattr(config, setting)) for setting in ("text", "label", "split", "id", "context")]
    for setting, column in [*named, *(("numbers", column) for column in config.numbers)]:
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


def _context(row: Mapping[str, Any], column: str, place: str) -> str | None:
    value = row.get(column)
    blank = value is None or (isinstance(value, str) and not value.strip())
    return None if blank else _text(row, column, place)


def _target(row: Mapping[str, Any], config: TableSource, place: str) -> Target:
    if config.label is not None:
        return _label(row, config.label, config.separator, place)
    return tuple(as_number(row.get(column), place, column) for column in config.numbers)


def _label(row: Mapping[str, Any], column: str, separator: str | None, place: str) -> Target:
    label = _cell(row, column, place)
    parts: Iterable[Any]
    if isinstance(label, list):
        parts = label
    elif separator is not None:
        parts = str(label).split(separator)
    else:
        return str(label).strip()
    names = [str(part).strip() for part in parts]
    if not all(names):
        raise DataError(f"{place}: '{column}' holds an empty label", hint="remove the extra separator")
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
