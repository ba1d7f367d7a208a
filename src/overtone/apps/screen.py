"""What the verbs print: tables that cut no name, two systems side by side, a data set, a run's report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from overtone.data.records import Card, Record
from overtone.evaluation.compare import Difference, Flip, Interval, McNemar, Standing
from overtone.run import Run, finite

FLIPS = 20
"""Rows that changed, at most, under a comparison."""


def table(
    console: Console,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    styles: Sequence[str] = (),
) -> None:
    """A table whose first column is never cut, and whose others fold; cells are text, never markup."""
    made = Table(title=None if title is None else Text(title))
    for i, name in enumerate(header):
        made.add_column(Text(name), no_wrap=i == 0, overflow="ignore" if i == 0 else "fold")
    for i, row in enumerate(rows):
        made.add_row(*(Text(str(cell)) for cell in row), style=styles[i] if styles else None)
    console.print(made, soft_wrap=False)


def rows(console: Console, found: Sequence[dict[str, Any]]) -> None:
    """Rows with the same keys as a table."""
    table(console, list(found[0]) if found else [], [list(row.values()) for row in found])


def as_json(value: object) -> str:
    """A value as JSON for a program to read; a figure that does not exist is null."""
    return json.dumps(finite(value), indent=2)


def findings(console: Console, found: dict[str, Any]) -> None:
    """What was found, by name."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for what, value in found.items():
        grid.add_row(Text(what, style="bold"), Text(value if isinstance(value, str) else json.dumps(value)))
    console.print(grid, soft_wrap=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems on the same rows.

    Args:
        metric: what is compared.
        names: of A and of B, as they were typed.
        figures: of A and of B.
        difference: B − A.
        mcnemar: rows that only one decides right; None where numbers are estimated.
        flips: rows that only one decides right, one by one.
    """

    metric: str
    names: tuple[str, str]
    figures: tuple[float, float]
    difference: Difference
    mcnemar: McNemar | None
    flips: Sequence[Flip]

    @property
    def fixed(self) -> int:
        """How many rows B decides right where A was wrong."""
        return sum(flip.fixed for flip in self.flips)

    @property
    def broken(self) -> int:
        """How many rows B decides wrong where A was right."""
        return len(self.flips) - self.fixed

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "metric": self.metric,
            "a": self.figures[0],
            "b": self.figures[1],
            "difference": [self.difference.value, self.difference.low, self.difference.high],
            "mcnemar": None if self.mcnemar is None else asdict(self.mcnemar),
            "fixed": self.fixed,
            "broken": self.broken,
        }

    def show(self, console: Console) -> None:
        """Both figures, their difference and the rows that flipped."""
        width = max(map(len, self.names))
        for letter, name, figure in zip("AB", self.names, self.figures, strict=True):
            console.print(Text(f"{letter}  {name:<{width}}  {self.metric} {figure:.4f}"))
        gain = self.difference
        console.print(
            Text(f"B − A  {gain.value:+.4f}, 95% interval {gain.low:+.4f} to {gain.high:+.4f}", style="bold")
        )
        test = self.mcnemar
        if test is None:
            return
        console.print(Text(f"right in only one: A {test.only_a}, B {test.only_b}; McNemar p = {test.p:.2g}"))
        shown = self.flips[:FLIPS]
        table(
            console,
            ["row", "gold", "A", "B"],
            [(flip.id, flip.gold, flip.a, flip.b) for flip in shown],
            title=f"flips: {self.fixed} fixed, {self.broken} broken (first {len(shown)})",
            styles=["green" if flip.fixed else "red" for flip in shown],
        )


def standings(console: Console, task: str, found: Sequence[Standing]) -> None:
    """A system and those that it is compared with: figures, and what it gains, with 95% intervals."""
    first, *_ = found
    metrics = list(first.figures)
    cells = [
        [
            each.name,
            *(_with_interval(each.figures.get(name), "") for name in metrics),
            _with_interval(each.gain, "+"),
        ]
        for each in found
    ]
    table(console, [task, *metrics, f"gain of {first.name}, {metrics[0]}"], cells)


def _with_interval(found: Interval | Difference | None, sign: str) -> str:
    if found is None:
        return ""
    return f"{found.value:{sign}.3f} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"


def data_set(console: Console, card: Card, records: Iterable[Record], n: int) -> None:
    """A data set's card and its first N rows."""
    for key in ("title", "licence", "url", "citation", "sizes", "notes"):
        console.print(Text.assemble((key, "bold"), f" {getattr(card, key)}"))
    shown = islice(records, n)
    table(
        console,
        ["id", "split", "targets", "text"],
        [(row.id, row.split or "", dict(row.targets), row.text) for row in shown],
    )


def report(folder: Path, out: Console, err: Console, example: str) -> None:
    """A run's report, as Markdown where it goes to a program, and how to go on.

    Args:
        folder: of the run.
        out: where the report goes.
        err: where remarks go.
        example: a command to try next, with ``{}`` for the folder.
    """
    text = (folder / "report.md").read_text(encoding="utf-8")
    if out.is_terminal:
        out.print(Markdown(text))
    else:
        out.file.write(text + "\n")
    left_out = (Run(folder).facts().get("cascade") or {}).get("left_out")
    if left_out:
        err.print(Text(f"no cascade: {left_out}", style="yellow"))
    out.print(Text(f"\nwrote {folder / 'report.html'} (open it in a browser)"))
    out.print(Text(f"try:  {example.format(folder)}"))
