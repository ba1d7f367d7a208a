"""The picture of attention: where a model looked in a question for each piece of its answer."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from overtone.evaluation.drawing import FAINT, INK, PLAIN, sheet
from overtone.scores import Floats

LARGEST = 14.0
"""Inches that the picture may be wide or high."""

CELL = 0.34
"""Inches of a piece's row and column, where there is room."""


def attention(weights: Floats, asked: Sequence[str], said: Sequence[str]) -> Figure:
    """Shares of attention, the darker the more; a row is a piece of the answer, and sums to 1.

    Args:
        weights: (n, S).
        asked: the pieces of the question, S of them.
        said: the pieces of the answer, n of them.
    """
    wide, high = (min(1.9 + CELL * len(pieces), LARGEST) for pieces in (asked, said))
    figure = sheet(wide + 0.6, high)
    axes = figure.subplots()
    drawn = axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    below, beside = (min(9.0, 9 * LARGEST / (CELL * len(pieces))) for pieces in (asked, said))
    axes.set_xticks(range(len(asked)), asked, rotation=45, ha="left", rotation_mode="anchor", **PLAIN)
    axes.set_yticks(range(len(said)), said, **PLAIN)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(axis="x", length=0, labelsize=below, labelcolor=INK)
    axes.tick_params(axis="y", length=0, labelsize=beside, labelcolor=INK)
    axes.set_xlabel("asked", color=FAINT)
    axes.set_ylabel("said", color=FAINT)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.05, pad=0.02, ticks=(0, 0.5, 1))
    bar.ax.tick_params(length=0, labelsize=8, labelcolor=FAINT)
    bar.outline.set_visible(False)
    figure.suptitle("Attention", x=0.01, ha="left", fontsize=11, color=INK)
    return figure
