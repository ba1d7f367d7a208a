"""What every head makes of a text, on the screen and at the prompt."""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from overtone.apps.prompt import COLOURS, WIDTH, bar, quoted, talk
from overtone.apps.stream import Row
from overtone.inference.decisions import DecisionLog
from overtone.inference.readout import Answer, Readout

COLUMNS = 80
"""Characters of a line, at most."""
NARROW = 6
"""Characters of a full bar, at least."""
NAME = 22
"""Characters of a task's or a label's name on one line; a longer one folds."""
SHOWN = {"classification": 3, "multilabel": 4}
"""The likeliest labels that have a bar, and every other one that holds."""
MARK = "▸ "
"""In front of what a head answers, for where there is no bold."""


def show(console: Console, readout: Readout, text: str | None = None) -> None:
    """One text, if it is not on the screen yet, and what each head makes of it.

    What holds is marked and bold. A regression's number stands on a gauge whose middle is the mean of the
    training rows and whose ends are two standard deviations from it.
    """
    if text is not None:
        console.print(quoted(text))
    names = {task: _shown(found) for task, found in readout.heads.items()}
    tasks = _width(list(names))
    labels = _width([name for shown in names.values() for name in shown])
    room = min(console.width, COLUMNS) - tasks - labels - len(MARK) - 14  # margin, number, gaps
    width = max(NARROW, min(WIDTH, room))
    grid = Table.grid(padding=(0, 2, 0, 0), pad_edge=True)
    grid.add_column(width=tasks + 2, overflow="fold")
    grid.add_column(width=labels + len(MARK), overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    for task, found in readout.heads.items():
        for i, (name, number, drawn) in enumerate(_rows(found, names[task], width)):
            grid.add_row(Text(f"  {task}" if i == 0 else "", style="dim"), name, number, drawn)
        grid.add_row("")
    console.print(grid, soft_wrap=False)


def _shown(found: Answer) -> list[str]:
    """The names that have a line."""
    most = SHOWN.get(found.kind, len(found.scores))
    return [name for i, name in enumerate(found.scores) if i < most or name in found.labels]
