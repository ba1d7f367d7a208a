"""Rows of a file by column name: CSV, TSV and JSON lines, each with the place where it stands."""

from __future__ import annotations

import csv
import json
import math
import reprlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from overtone.data.files import LINE_LIMIT, lines
from overtone.errors import DataError, did_you_mean

Row = tuple[str, Mapping[str, Any]]
"""Where a row stands ("data.csv, line 3"), and its cells by column name."""

TEXT_LIMIT = LINE_LIMIT
"""The longest text that is taken, in UTF-8 bytes (1 MiB)."""


def csv_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of a CSV file with a header; quoted cells may hold line breaks, blank lines are passed over.

    Args:
        path: the file, plain or gzipped.
        columns: what the header has to say; None takes any.

    Raises:
        DataError: another header, broken quoting, or a row with more or fewer cells than the header.
    """
    csv.field_size_limit(max(csv.field_size_limit(), TEXT_LIMIT))  # its default of 128 KiB is below ours
    reader = csv.reader((f"{line}\n" for _, line in lines(path)), strict=True)
    try:
        header = _header(path, next(reader, []))
        if columns is not None and header != list(columns):
            raise DataError(
                f"{path}, line 1: the header is not {','.join(columns)}",
                hint="is this the data set's own file? `overtone data list` says where each comes from",
            )
        for cells in reader:
            if cells:  # csv gives a blank line as no cells
                yield _row(path, reader.line_num, header, cells)
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}",
            hint="is a quote left open? Inside a quoted cell a quote is written twice",
        ) from error


def tsv_rows(path: Path) -> Iterator[Row]:
    """The rows of a file with a header, split on tabs; quotes mean nothing.

    Raises:
        DataError: a row with more or fewer cells than the header.
    """
    rows = ((number, line.split("\t")) for number, line in lines(path) if line)
    header = _header(path, next(rows, (1, []))[1])
    for number, cells in rows:
        yield _row(path, number, header, cells)


def json_rows(path: Path) -> Iterator[Row]:
    """The objects of a file with one JSON object a line; blank lines are passed over.

    Raises:
        DataError: a line is not JSON, or not an object.
    """
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


def as_number(value: object, place: str, column: str) -> float:
    """A cell as a finite number; text counts as the number that it spells.

    Raises:
        DataError: it is none.
    """
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            found = float(value)
            if math.isfinite(found):
                return found
    except (ValueError, OverflowError):
        pass
    raise DataError(
        f"{place}: '{column}' holds {reprlib.repr(value)}, which is not a number",
        hint="write it with a point, as in 3.25, or leave the row out",
    )


def one_of(value: object, names: Collection[str], place: str, what: str) -> str:
    """The value, which has to be one of the names.

    Args:
        value: a cell.
        names: what it may be.
        place: where it stands.
        what: what the names are, as in "a label".

    Raises:
        DataError: it is another one.
    """
    if not isinstance(value, str) or value not in names:
        raise DataError(f"{place}: '{value}' is not {what}", hint=did_you_mean(str(value), names))
    return value


def _header(path: Path, names: list[str]) -> list[str]:
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"{path} has two columns named '{repeated[0]}'", hint="rename one of them")
    return names


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise DataError(
            f"{path}, line {line}: {len(cells)} cells, but the header names {len(header)} columns",
            hint="quote the cells that hold a separator, or set `format` in the recipe",
        )
    return f"{path}, line {line}", dict(zip(header, cells, strict=True))
