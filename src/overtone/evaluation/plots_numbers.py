"""The picture of estimated numbers: what was estimated against what is true."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from overtone.breakdown import per_number
from overtone.evaluation.drawing import COLOURS, FAINT, INK, PLAIN, sheet, style
from overtone.scores import Estimates

MANY_ROWS = 400
"""More rows than this are counted in hexagons; fewer are dots."""

HEXAGONS = 24
"""Hexagons from side to side: narrower ones fall between ratings, which take few values, and leave holes."""

COLUMNS = 3
"""Panels beside each other."""


def estimated(estimates: Estimates) -> Figure:
    """One panel a number: estimates against the truth, with correlation, concordance and mean error.

    On the dashed line the two are equal. Many rows are counted in hexagons, the darker the more.
    """
    rows = per_number(estimates)
    wide = min(COLUMNS, len(rows))
    high = -(-len(rows) // wide)
    figure = sheet(0.5 + 3.3 * wide, 3.7 * high)
    panels = figure.subplots(high, wide, squeeze=False).ravel()
    for panel in panels[len(rows) :]:
        panel.set_visible(False)
    for i, (panel, row) in enumerate(zip(panels, rows, strict=False)):
        gold, decided = estimates.gold[:, i], estimates.decided[:, i]
        low, top = min(gold.min(), decided.min()), max(gold.max(), decided.max())
        edge = 0.04 * (top - low) or 0.5
        limits = (low - edge, top + edge)
        style(panel, row.label, "gold")
        if len(gold) > MANY_ROWS:
            panel.hexbin(
                gold,
                decided,
                gridsize=HEXAGONS,
                extent=(*limits, *limits),
                bins="log",
                mincnt=1,
                cmap="Blues",
                vmin=0.5,
                linewidths=0.2,
            )
        else:
            panel.plot(gold, decided, "o", color=COLOURS[0], alpha=0.45, markersize=4.5, markeredgewidth=0)
        panel.plot(limits, limits, color=FAINT, linewidth=1, linestyle="--")
        panel.text(
            0.04,
            0.96,
            f"r {row.pearson:.3f}\nCCC {row.ccc:.3f}\nmean error {row.mae:.3f}",
            transform=panel.transAxes,
            va="top",
            fontsize=9,
            linespacing=1.4,
            color=INK,
            **PLAIN,
        )
        panel.set(xlim=limits, ylim=limits, aspect="equal")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    for panel in panels[: len(rows) : wide]:
        panel.set_ylabel("estimated", color=FAINT)
    return figure
