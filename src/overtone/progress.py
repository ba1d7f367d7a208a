"""A bar for what takes a while and is no fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from overtone.run import writes


@contextmanager
def step(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on standard error that something is being done; of several processes, the first alone shows it.

    Args:
        what: is done, such as "counting n-grams".

    Yields:
        What may be told how much is done, and of how much; until then the bar only moves.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not writes()) as bar:
        place = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(place, completed=done, total=total)
