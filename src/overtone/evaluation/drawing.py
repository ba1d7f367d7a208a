"""How every picture of a report looks: colours, axes, and names at the ends of lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overtone.scores import Floats

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Okabe and Ito (2008): told apart with any kind of colour vision."""

INK, FAINT, RULE = "#222222", "#6b7280", "#e3e6ea"
MARKERS = ("o", "D", "^", "s", "v", "P")
DPI = 200
"""Twice the pixels of a plain screen, for sharp text."""

PLAIN: dict[str, Any] = {"parse_math": False}
"""For names that users chose: a dollar sign in them is a dollar sign."""


def sheet(width: float, height: float) -> Figure:
    """A white figure of that many inches."""
    return Figure(figsize=(width, height), dpi=DPI / 2, facecolor="white", layout="constrained")


def style(axes: Axes, title: str, below: str) -> None:
    """Give axes a title, a name below, and the plain look: a grid, and a line only at the bottom."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, **PLAIN)
    axes.set_xlabel(below, color=FAINT)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=FAINT)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(RULE)


def cycle(n: int) -> list[str]:
    """N colours, from the start again where there are more."""
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def label_ends(axes: Axes, lines: Sequence[tuple[str, Floats, str]]) -> None:
    """Name each line (points (N, 2)) at its right end; names that would overlap are moved apart."""
    shown = sorted((line for line in lines if len(line[1])), key=lambda line: line[1][-1, 1])
    low, high = axes.get_ylim()
    inches = axes.bbox.height / (DPI / 2)
    tallest = max((name.count("\n") + 1 for name, _, _ in shown), default=1)
    gap = (high - low) / (inches * 72) * 12 * tallest
    places = np.array([points[-1, 1] for _, points, _ in shown])
    for _ in range(100):  # each pass pushes the overlapping neighbours half their overlap apart
        overlap = np.maximum(gap - np.diff(places), 0) / 2
        places[:-1] -= overlap
        places[1:] += overlap
    for (name, _, colour), place in zip(shown, places, strict=True):
        axes.annotate(
            name,
            (axes.get_xlim()[1], place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=colour,
            annotation_clip=False,
            **PLAIN,
        )
