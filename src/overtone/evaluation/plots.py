"""The pictures of classes and of decisions: one function each, which gives a figure and keeps no state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from overtone.breakdown import FEW_ROWS, confusion, per_label
from overtone.evaluation.drawing import (
    COLOURS,
    DPI,
    FAINT,
    INK,
    MARKERS,
    PLAIN,
    cycle,
    label_ends,
    sheet,
    style,
)
from overtone.run import write_atomic
from overtone.scores import (
    ECE_BINS,
    Bools,
    Floats,
    Predictions,
    aurc,
    ece,
    outcomes,
    reliability,
    risk_coverage,
)

if TYPE_CHECKING:  # it brings PyTorch, which no picture needs
    from overtone.inference.decisions import Statistics

LARGEST = 14.0
"""Inches that a confusion matrix may be wide: of 150 labels each has room for a small name."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Something that can decline to answer, for the risk-coverage plot.

    Args:
        name: as the plot calls it.
        confidence: of N rows, (N,).
        correct: whether each is decided right, (N,).
    """

    name: str
    confidence: Floats
    correct: Bools


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically.

    Raises:
        RunError: the file could not be written.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A label may be written in a script or emoji that the font lacks; it is then drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())


def confusion_matrix(predictions: Predictions) -> Figure:
    """Shares of each gold label's rows, with counts; rows are gold.

    Raises:
        DataError: the predictions are multi-label.
    """
    counts = confusion(predictions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    n = len(counts)
    detailed = n <= 12
    side = min(1.9 + (0.62 if detailed else 0.32) * n, LARGEST)
    figure = sheet(side + 0.3, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9 if n <= 30 else min(5.0, 60 * LARGEST / n)
    axes.set_xticks(range(n), predictions.labels, rotation=45, ha="right", rotation_mode="anchor", **PLAIN)
    axes.set_yticks(range(n), predictions.labels, **PLAIN)
    axes.tick_params(length=0, labelsize=size, labelcolor=INK)
    axes.set_xlabel("decided", color=FAINT)
    axes.set_ylabel("gold", color=FAINT)
    figure.suptitle("Confusion", x=0.01, ha="left", fontsize=11, color=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for row, column in np.argwhere(counts > 0) if n <= 30 else ():
        colour = "white" if shares[row, column] > 0.55 else INK
        share, count = f"{shares[row, column]:.0%}", str(counts[row, column])
        if detailed:
            axes.text(column, row - 0.12, share, ha="center", va="center", fontsize=9, color=colour)
            axes.text(column, row + 0.24, count, ha="center", va="center", fontsize=6.5, color=colour)
        else:
            axes.text(column, row, count, ha="center", va="center", fontsize=5.5, color=colour)
    return figure


def reliability_diagram(predictions: Predictions) -> Figure:
    """How often claims of each confidence come true, over how many claims there are.

    What counts as a claim is said in ``scores.outcomes``.
    """
    confidence, correct = outcomes(predictions)
    count, claimed, true = reliability(confidence, correct)
    figure = sheet(4.4, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    edges = np.linspace(0, 1, ECE_BINS + 1)
    style(above, "Reliability", "")
    above.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
    above.text(
        0.03,
        0.07,
        "what is claimed",
        rotation=45,
        rotation_mode="anchor",
        transform_rotates_text=True,
        fontsize=8,
        color=FAINT,
    )
    filled = count > 0
    above.vlines(claimed[filled], claimed[filled], true[filled], color=COLOURS[5], linewidth=1.5, alpha=0.6)
    above.plot(
        claimed[filled],
        true[filled],
        color=COLOURS[0],
        marker="o",
        markersize=5,
        linewidth=1.5,
        clip_on=False,
        zorder=3,
    )
    above.text(
        0.97,
        0.05,
        f"ECE {ece(predictions):.3f}",
        transform=above.transAxes,
        ha="right",
        color=INK,
        fontsize=10,
    )
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that comes true")
    style(below, "", "confidence")
    below.bar(edges[:-1], count, width=np.diff(edges), align="edge", color=COLOURS[0], edgecolor="white")
    below.set_ylabel("claims")
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for axes in (above, below):
        axes.yaxis.label.set_color(FAINT)
    figure.align_ylabels()
    return figure


def risk_coverage_curves(curves: Sequence[Curve], risk: float | None = None) -> Figure:
    """The share answered wrongly against the share answered, most confident rows first.

    Args:
        curves: at least one.
        risk: the risk that was stated, drawn as a line.
    """
    figure = sheet(6.4, 3.8)
    axes = figure.subplots()
    style(axes, "Risk and coverage", "share answered")
    ends = []
    for curve, colour in zip(curves, cycle(len(curves)), strict=True):
        coverage, wrong = risk_coverage(curve.confidence, curve.correct)
        axes.plot(coverage, wrong, color=colour, linewidth=1.8)
        name = f"{curve.name}\nAURC {aurc(curve.confidence, curve.correct):.3f}"
        ends.append((name, np.column_stack([coverage, wrong]), colour))
    if risk is not None:
        axes.axhline(risk, color=INK, linewidth=1, linestyle="--")
        axes.annotate(
            f"stated risk {risk:.0%}",
            (0.01, risk),
            xytext=(0, 4),
            textcoords="offset points",
            fontsize=8.5,
            color=INK,
        )
    axes.set(xlim=(0, 1))
    axes.set_ylim(0, max(axes.get_ylim()[1], 1.3 * (risk or 0)))
    axes.set_ylabel("share of answers that are wrong", color=FAINT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    label_ends(axes, ends)
    return figure


def label_f1(said: Mapping[str, Predictions]) -> Figure:
    """F1 of every label, best labels first, with the number of its rows; a dagger marks those with few.

    Args:
        said: system → predictions; the first, the model, is drawn as bars, the baselines as marks.
    """
    model, *others = said.values()
    rows = per_label(model)
    order = sorted(range(len(rows)), key=lambda i: rows[i].f1)
    figure = sheet(6.4, 1.3 + 0.3 * len(rows))
    axes = figure.subplots()
    style(axes, "F1 of each label", "")
    place = np.arange(len(order))
    series: list[Any] = [axes.barh(place, [rows[i].f1 for i in order], height=0.62, color=COLOURS[0])]
    for k, (baseline, colour) in enumerate(zip(others, cycle(len(said))[1:], strict=True)):
        theirs = per_label(baseline)
        series += axes.plot(
            [theirs[i].f1 for i in order],
            place,
            linestyle="none",
            marker=MARKERS[k % len(MARKERS)],
            markersize=6,
            color=colour,
            markeredgecolor="white",
            markeredgewidth=0.8,
            clip_on=False,
            zorder=3,
        )
    names = [f"{row.label} ({row.support:,}){'†' if row.support < FEW_ROWS else ''}" for row in rows]
    axes.set_yticks(place, [names[i] for i in order], **PLAIN)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(rows) - 0.4))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelcolor=INK)
    legend = figure.legend(
        series,
        list(said),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handletextpad=0.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def decision_statistics(statistics: Statistics) -> Figure:
    """The mean confidence of a session, and how many decisions had which label and came from which step."""
    bars = ((statistics.labels, "Labels"), (statistics.sources, "Decided by"))
    figure = sheet(10.5, 1.6 + 0.24 * max(len(statistics.labels), 3))
    curve, *others = figure.subplots(1, 3)
    style(curve, "Mean confidence so far", "decision")
    count = np.arange(1, len(statistics.confidences) + 1)
    curve.plot(count, statistics.mean_confidence, color=COLOURS[0], marker="o", markersize=3, linewidth=1.5)
    curve.set(ylim=(0, 1))
    for axes, (counts, title) in zip(others, bars, strict=True):
        style(axes, title, "decisions")
        found = counts.most_common()[::-1]
        drawn = axes.barh([name for name, _ in found], [n for _, n in found], height=0.62, color=COLOURS[0])
        axes.bar_label(drawn, padding=3, fontsize=9, color=INK)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set(ylim=(-0.6, max(len(found), 3) - 0.4))
    curve.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
