"""`overtone bench backbones` on the screen: a bar while it measures, then a line an encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from overtone.apps import screen
from overtone.models import weights

if TYPE_CHECKING:
    from overtone.backbones import Backbone


@contextmanager
def progress(console: Console, total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal; what is given is called with a name at the beginning of each of the steps."""
    columns = (TextColumn("measuring {task.description}"), BarColumn(), MofNCompleteColumn())
    hidden = not console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=total)
        yield lambda name: bar.update(task, description=name, advance=1)


def show(console: Console, rows: Sequence[Backbone]) -> None:
    """Sizes, speeds, accuracy where it was asked for, and how to get the weights that are not at hand."""
    first = rows[0]
    screen.table(
        console,
        ["encoder", "parameters", "layers\n× hidden", "weights", "MB", "MB to\nread", "MB to\ntrain"],
        [_sizes(row) for row in rows],
    )
    screen.table(
        console,
        ["encoder", *first.rates],
        [
            (row.name, *(f"{rate.per_second:,.0f} ({rate.ratio:.2f}×)" for rate in row.rates.values()))
            for row in rows
        ],
        title=f"samples a second, {first.batch} × {first.length} tokens (× is to {first.name})",
    )
    trained = [(row.name, row.accuracy) for row in rows if row.accuracy is not None]
    if trained:
        screen.table(
            console,
            ["encoder", "test accuracy (95% interval)"],
            [(name, f"{it.value:.3f} ({it.low:.3f} to {it.high:.3f})") for name, it in trained],
        )
    for row in rows:
        if not row.at_hand:
            console.print(Text(f"{row.name} is not at hand; get it with: {weights.how_to_get(row.name)}"))


def _sizes(row: Backbone) -> list[str]:
    """The cells of an encoder in the first table."""
    size = f"{row.parameters / 1e6:.1f}M" if row.parameters >= 1e5 else f"{row.parameters:,}"
    peaks = ["unknown" if peak is None else f"{peak:,.0f}" for peak in (row.reading_mb, row.training_mb)]
    kind = "its own" if row.at_hand else "random"
    return [row.name, size, f"{row.layers} × {row.hidden}", kind, f"{row.weights_mb:,.0f}", *peaks]
