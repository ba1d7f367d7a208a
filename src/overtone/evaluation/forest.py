"""The picture of a study: every difference as a dot with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from overtone.evaluation.compare import Interval
from overtone.evaluation.drawing import COLOURS, FAINT, INK, PLAIN, sheet, style
from overtone.evaluation.study import Verdict

COLUMNS = 4
"""Panels side by side, at most."""

NARROWEST = 6.0
"""Inches that the line below the panels needs."""

COLOUR: dict[Verdict, str] = {"helps": COLOURS[0], "hurts": COLOURS[5], "no difference shown": "#9aa1ab"}
FILL: dict[Verdict, str] = {**COLOUR, "no difference shown": "white"}


@dataclass(frozen=True, slots=True)
class Dot:
    """One difference.

    Args:
        line: the name of the line that it is on.
        difference: with its interval.
        verdict: its colour; a dot without a verdict is hollow, so the picture can be read without colours.
    """

    line: str
    difference: Interval
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Panel:
    """Differences on one scale.

    Args:
        name: its title, such as the figure that they are of.
        higher_is_better: whether the good side is the right one.
        dots: one a line at most.
    """

    name: str
    higher_is_better: bool
    dots: Sequence[Dot]


def forest(panels: Sequence[Panel], lines: Sequence[str], against: str) -> Figure:
    """Differences from one arm, with 95% intervals; every panel has its own scale.

    Args:
        panels: at least one.
        lines: the names of their lines, from top to bottom; the same in all panels.
        against: the arm at zero.
    """
    rows = math.ceil(len(panels) / COLUMNS)
    columns = math.ceil(len(panels) / rows)
    width = 0.5 + 0.085 * max(map(len, lines)) + 2.35 * columns
    figure = sheet(max(width, NARROWEST), rows * (1.05 + 0.3 * len(lines)) + 0.3)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _panel(axes, panel, lines)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel(
        f"difference from “{against}” with its 95% interval over rows and seeds\n"
        "blue: helps · orange: hurts, after correction for all comparisons · hollow: no difference shown",
        fontsize=7.5,
        color=FAINT,
        **PLAIN,
    )
    return figure


def _panel(axes: Axes, panel: Panel, lines: Sequence[str]) -> None:
    """One panel; a line without a dot stays empty."""
    style(axes, panel.name, "better →" if panel.higher_is_better else "← better")
    axes.title.set_parse_math(False)
    axes.title.set_fontsize(9.5)
    axes.xaxis.label.set_fontsize(8)
    axes.axvline(0, color=INK, linewidth=1)
    place = {line: len(lines) - 1 - i for i, line in enumerate(lines)}
    for dot in panel.dots:
        y, found = place[dot.line], dot.difference
        axes.plot([found.low, found.high], [y, y], color=COLOUR[dot.verdict], linewidth=2.2, zorder=2)
        axes.plot(
            found.value,
            y,
            marker="o",
            markersize=6.5,
            color=COLOUR[dot.verdict],
            markerfacecolor=FILL[dot.verdict],
            markeredgewidth=1.6,
            zorder=3,
        )
    axes.set_yticks(range(len(lines)), lines[::-1], **PLAIN)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(-0.6, len(lines) - 0.4)
    # Zero in the middle of every panel: a scale that starts at the dots would hide how far zero is.
    reach = 1.12 * max((max(-d.difference.low, d.difference.high) for d in panel.dots), default=0.0)
    if reach > 0:
        axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.3g}".replace("-", "−") if value else "0")
