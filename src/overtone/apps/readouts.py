"""What every head makes of a text, on the screen and at the prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from overtone.apps.prompt import COLOURS, quoted, talk
from overtone.apps.stream import Row
from overtone.inference.decisions import DecisionLog
from overtone.inference.readout import Answer, Readout

COLUMNS = 80
"""Characters of a line, at most."""
NARROW, WIDE = 7, 31
"""Characters of a full bar or a gauge, at least and at most; odd, as a gauge has a middle. A screen with less
room shows none."""
NAME = 18
"""Characters of a name on one line; a longer one folds."""
SHOWN = {"classification": 3, "multilabel": 4}
"""The likeliest labels that have a bar; so has every other one that holds."""
PLAIN = "cyan"
"""The colour of a label that has none of its own."""

MARK, NONE = "▸", "none"
"""What stands before a label that holds, for where there is no bold; and where no label does."""

Line = tuple[Text, Text, Text, Text]
"""The mark, a name, its number, and the number drawn."""


def show(console: Console, readout: Readout, text: str | None = None) -> None:
    """The text, if it is not on the screen yet, and what each head makes of it.

    Of a regression, the middle of the gauge is the mean of the training rows, and its ends are two standard
    deviations away.
    """
    if text is not None:
        console.print(quoted(text))
        console.print()
    tasks = _width(readout.heads)
    names = _width(name for found in readout.heads.values() for name in (*_shown(found), NONE))
    room = min(console.width, COLUMNS) - tasks - names - 16  # margins, the mark, the number
    width = min(WIDE, room - 1 + room % 2)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(max_width=2 + tasks + 1, overflow="fold")
    grid.add_column(no_wrap=True)
    grid.add_column(max_width=names, overflow="fold")
    grid.add_column(min_width=7, justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    for task, found in readout.heads.items():
        lines = _gauges(found, width) if found.kind == "regression" else _bars(found, width)
        for i, (mark, name, number, drawn) in enumerate(lines):
            label = Padding(Text("" if i else task, style="dim"), (0, 1, 0, 2))
            picture = Padding(drawn, (0, 0, 0, 1)) if width >= NARROW else ""
            grid.add_row(label, mark, name, number, picture)
        grid.add_row()
    console.print(grid, soft_wrap=False)


def _width(names: Iterable[str]) -> int:
    return min(NAME, max(map(cell_len, names), default=0))


def _shown(found: Answer) -> list[str]:
    """The names that have a line, likeliest first."""
    most = SHOWN.get(found.kind, len(found.scores))
    return [name for i, name in enumerate(found.scores) if i < most or name in found.labels]


def _bars(found: Answer, width: int) -> Iterator[Line]:
    if not found.labels:
        yield Text(MARK), Text(NONE, style="bold"), Text(""), Text("")
    for name in _shown(found):
        held, share = name in found.labels, found.scores[name]
        style = "bold" if held else "dim"
        yield (
            Text(MARK if held else ""),
            Text(name, style=style),
            Text(f"{share:.0%}", style=style),
            Text(bar(share, width), style=COLOURS.get(name, PLAIN) if held else "dim"),
        )


def _gauges(found: Answer, width: int) -> Iterator[Line]:
    for name, value in found.scores.items():
        drawn = Text("")
        if name in found.usual:
            mean, deviation = found.usual[name]
            drawn = gauge((value - mean) / deviation / 2, width)
        yield Text(""), Text(name), Text(f"{value:.2f}", style="bold"), drawn


def bar(share: float, width: int) -> str:
    """A share, 0..1, of ``width`` characters; a little of it is there even for none."""
    full, half = divmod(round(share * width * 2), 2)
    return "━" * full + "╸" * half or "╸"


def gauge(place: float, width: int) -> Text:
    """A scale with a point on it.

    Args:
        place: of the point, from -1 (the left end) to 1; an arrow stands for one that is further out.
        width: characters of the scale, an odd number.
    """
    half = width // 2
    at = round(place * half)
    point = "◀" if at < -half else "▶" if at > half else "●"
    scale = "─" * half + "┼" + "─" * half
    at = min(max(at, -half), half) + half
    return Text.assemble((scale[:at], "dim"), (point, f"bold {PLAIN}"), (scale[at + 1 :], "dim"))


def converse(
    read: Callable[[list[Row]], list[Readout]],
    console: Console,
    journal: DecisionLog | None,
    *,
    context: bool,
) -> None:
    """Read each text that is typed, as what follows the one before it.

    Args:
        read: rows → read-outs.
        console: where to.
        journal: a log of read-outs, if one is wanted.
        context: whether a head reads what was said before; if not, nothing is remembered.
    """
    before: str | None = None

    def respond(text: str) -> None:
        nonlocal before
        if not text.strip():
            return
        (readout,) = read([(text, before)])
        if journal:
            journal.add([text], [readout])
        show(console, readout)
        before = text if context else None

    def forget() -> None:
        nonlocal before
        before = None
        console.print("  A new conversation.\n")

    if context:
        opening = "Type a text, and Enter; each is read as the reply to the one before."
        talk(console, opening, {":new": ("forget what was said", forget)}, respond)
    else:
        talk(console, "Type a text, and Enter.", {}, respond)
