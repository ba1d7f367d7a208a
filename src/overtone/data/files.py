"""Read a data set's files: plain or gzipped, UTF-8, line by line, with errors that name the place."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from overtone.errors import DataError

LINE_LIMIT = 1 << 20
"""The longest line that is read, in bytes (1 MiB)."""

_BOM = b"\xef\xbb\xbf"


def find(folder: Path, name: str) -> Path | None:
    """The file ``name`` in the folder, or the gzipped file ``name.gz``, or nothing."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def need(folder: Path, name: str) -> Path:
    """The file ``name`` or ``name.gz`` in the folder.

    Raises:
        DataError: neither is there.
    """
    path = find(folder, name)
    if path is None:
        raise DataError(f"{folder / name} is missing (plain or .gz)", hint="see `overtone data list`")
    return path


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def digest(path: Path) -> str:
    """The SHA-256 of a file's content; of a ``.gz`` file, of what is packed in it.

    A data set therefore has one hash, however it is stored.

    Raises:
        DataError: the file cannot be read or unpacked.
    """
    total = hashlib.sha256()
    try:
        with _open(path) as file:
            while block := file.read(1 << 20):
                total.update(block)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    return total.hexdigest()


def lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""The lines of a text file with their numbers from 1, line ends (``\n`` or ``\r\n``) removed.

    Only ``\n`` ends a line: other separators, such as U+2028, are a part of a text.

    Raises:
        DataError: the file cannot be read, a line is not UTF-8 or is longer than ``LINE_LIMIT``.
    """
    number = start = 0
    try:
        with _open(path) as file:
            while raw := file.readline(LINE_LIMIT + 2):  # at most: the text, "\r\n"
                number += 1
                line = raw.removesuffix(b"\n").removesuffix(b"\r")
                if len(line) > LINE_LIMIT:
                    raise DataError(
                        f"{path}, line {number}: longer than the limit of {LINE_LIMIT:,} bytes",
                        hint="is this one text a line? Cut long texts before training on them",
                    )
                if number == 1 and line.startswith(_BOM):  # as Excel writes it
                    line, raw, start = line[3:], raw[3:], 3
                yield number, _decoded(line, path, number, start)
                start += len(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _decoded(line: bytes, path: Path, number: int, start: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = line[error.start]
        raise DataError(
            f"{path}, line {number}: not UTF-8 at byte {start + error.start} of the file (0x{bad:02x})",
            hint="save the file as UTF-8, for example: iconv -f latin1 -t utf-8 OLD > NEW",
        ) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error)
    return DataError(f"{path} cannot be read: {reason}", hint="check the path, or fetch the file again")
