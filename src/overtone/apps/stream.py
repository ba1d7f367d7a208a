"""Many texts in, one JSON line a text out: a file or standard input, a chunk at a time."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations, islice
from pathlib import Path
from typing import IO, Any, TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from overtone.data.files import lines
from overtone.data.rows import json_rows
from overtone.errors import DataError, RunError, UsageError
from overtone.inference.decisions import DecisionLog, Outcome

CHUNK = 512
"""Texts that are read, classified and written at a time."""

Row = tuple[str, str | None]
"""A text, and what was said before it, where there is something."""

Judge = Callable[[list[Row]], Sequence[Outcome]]
"""Rows → what came of each."""

HINT = 'one object a line: {"text": "…"}, with a "context" where something was said before'


class _StandardInput:
    """Standard input, as something that ``lines`` can open like a path."""

    suffix = ""

    def __str__(self) -> str:
        return "standard input"

    def open(self, _: str) -> IO[bytes]:
        return sys.stdin.buffer


def rows(file: Path | None) -> Iterator[Row]:
    """The rows of a file, or of standard input where it is None.

    A line is a text; in ``.jsonl`` and ``.ndjson`` it is an object with a ``text`` and, where something was
    said before, a ``context``. Either may be gzipped (``.gz``).

    Raises:
        DataError: the file cannot be read, or a line is not UTF-8, too long or not a row with a text.
    """
    if file is None:
        for _, line in lines(cast("Path", _StandardInput())):
            yield line, None
        return
    if file.is_dir() or not file.exists():
        raise DataError(f"{file} is not a file", hint="--file - reads standard input")
    if Path(file.name.removesuffix(".gz")).suffix.lower() not in (".jsonl", ".ndjson"):
        for _, line in lines(file):
            yield line, None
        return
    for place, row in json_rows(file):
        if "text" not in row:
            raise DataError(f"{place}: no 'text'", hint=HINT)
        context = None if row.get("context") is None else _string(row, "context", place)
        yield _string(row, "text", place), stated(context)


def stated(context: str | None) -> str | None:
    """A context as the models were trained to read it: a blank one says nothing."""
    return context if context is not None and context.strip() else None


def _string(row: Mapping[str, Any], column: str, place: str) -> str:
    value = row[column]
    if not isinstance(value, str):
        found = json.dumps(value, ensure_ascii=False)[:40]
        raise DataError(f"{place}: '{column}' is {found}, not a string", hint=HINT)
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair
        raise DataError(f"{place}: '{column}' is not Unicode text ({error.reason})", hint=HINT) from error
    return value


def count(file: Path | None) -> int | None:
    """How many texts a file holds; None where it can be read only once, as standard input can.

    Raises:
        DataError: as ``rows``, so that a broken line is found before the work begins.
    """
    return sum(1 for _ in rows(file)) if file is not None and file.is_file() else None


def check_apart(*files: Path | None) -> None:
    """See that no file is both read and written, or written twice.

    Raises:
        UsageError: two of them are one file.
    """
    for a, b in combinations([file for file in files if file is not None], 2):
        if a.resolve() == b.resolve() or (a.exists() and b.exists() and a.samefile(b)):
            raise UsageError(
                f"{a} and {b} are one file", hint="name three different files: --file, --output, --log"
            )


def classify(
    judge: Judge,
    source: Iterable[Row],
    output: Path | None,
    console: Console,
    *,
    total: int | None = None,
    journal: DecisionLog | None = None,
) -> int:
    """Write what came of each text in their order and count them; a reader that leaves early is no error.

    A line holds the ``text``, its ``context`` where it has one, and the outcome with its ``version``.

    Args:
        judge: rows → their outcomes.
        source: the rows; they are never all in memory.
        output: where to, whole or not at all; None for standard output.
        console: where the progress is drawn, if it is a terminal.
        total: how many texts there are, where that is known.
        journal: a log of outcomes, if one is wanted.

    Raises:
        DataError: a text cannot be read.
        RunError: the output or the log cannot be written.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = not console.is_terminal or (output is None and sys.stdout.isatty())
    waiting, done = iter(source), 0
    with (
        _target(output) as target,
        Progress(*columns, console=console, transient=True, disable=hidden) as bar,
    ):
        task = bar.add_task("classifying", total=total)
        while chunk := list(islice(waiting, CHUNK)):
            outcomes = judge(chunk)
            for (text, context), outcome in zip(chunk, outcomes, strict=True):
                before = {} if context is None else {"context": context}
                line = {"text": text, **before, **outcome.as_dict()}
                target.write(json.dumps(line, ensure_ascii=False) + "\n")
            target.flush()
            if journal:
                journal.add([text for text, _ in chunk], outcomes)
            done += len(chunk)
            bar.update(task, completed=done)
    return done


@contextmanager
def _target(output: Path | None) -> Iterator[TextIO]:
    """Where the lines go: standard output, or a neighbour of the output that takes its place at the end."""
    if output is None:
        try:
            yield sys.stdout
        except BrokenPipeError:
            # The reader went away, as `head` does. Python would try to write the rest again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    path = output.resolve()
    temporary: Path | None = None
    try:
        if path.exists() and not path.is_file():  # a device or a pipe, which a file must not replace
            with path.open("w", encoding="utf-8") as file:
                yield file
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise RunError(
            f"could not write {output}: {error.strerror or error}",
            hint="free some space, or name another file with --output",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
