"""The report's pictures: one function each, which gives a figure and keeps no state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from overtone.evaluation.compare import System
from overtone.inference.decisions import Statistics
from overtone.run import write_atomic
from overtone.scores import (
    ECE_BINS,
    Bools,
    Floats,
    Predictions,
    aurc,
    confusion,
    ece,
    outcomes,
    per_label,
    reliability,
    risk_coverage,
)

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Okabe and Ito (2008): told apart with any kind of colour vision."""

INK, FAINT, RULE = "#222222", "#6b7280", "#e3e6ea"
MARKERS = ("o", "D", "^", "s", "v", "P")
DPI = 200
"""Twice the pixels of a plain screen, for sharp text."""

PLAIN: dict[str, Any] = {"parse_math": False}
"""For names that users chose: a dollar sign in them is a dollar sign."""


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


def learning_curves(history: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """Training loss over steps, and the named validation figure with its best step.

    Args:
        history: rows of ``metrics.jsonl``; training rows have ``loss``, validation rows ``validation``.
        metric: the key in ``validation`` that the second panel shows, such as ``emotion.macro_f1``.
    """
    figure = _figure(7.6, 3.0)
    left, right = figure.subplots(1, 2)
    training = _points(history, lambda row: row.get("loss"))
    held_out = _points(history, lambda row: row.get("validation", {}).get("loss"))
    found = _points(history, lambda row: row.get("validation", {}).get(metric))
    _style(left, "Loss", "step")
    if len(training) > 40:
        left.plot(*training.T, color=COLOURS[0], alpha=0.25, linewidth=1)
        training = _smooth(training)
    left.plot(*training.T, color=COLOURS[0], linewidth=1.8)
    ends = [("training", training, COLOURS[0])]
    if len(held_out):
        left.plot(*held_out.T, color=COLOURS[1], linewidth=1.8, marker="o", markersize=4)
        ends.append(("validation", held_out, COLOURS[1]))
    _label_ends(left, ends)
    _style(right, f"Validation {metric}", "step")
    right.title.set_parse_math(False)
    right.plot(*found.T, color=COLOURS[1], linewidth=1.8, marker="o", markersize=4)
    best = _points([row for row in history if row.get("best")], lambda row: row["validation"].get(metric))
    if len(best):
        step, value = best[-1]
        right.plot(step, value, marker="o", markersize=9, fillstyle="none", color=INK)
        right.annotate(
            f"best {value:.3f}",
            (step, value),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
            color=INK,
        )
    right.margins(x=0.12, y=0.25)
    right.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


def confusion_matrix(predictions: Predictions) -> Figure:
    """Shares of each gold label's rows, with counts; rows are gold.

    Raises:
        DataError: the predictions are multi-label.
    """
    counts = confusion(predictions)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    n = len(counts)
    detailed = n <= 12
    side = 1.9 + (0.62 if detailed else 0.32) * n
    figure = _figure(side + 0.3, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 9 if n <= 30 else 5
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
    figure = _figure(4.4, 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    edges = np.linspace(0, 1, ECE_BINS + 1)
    _style(above, "Reliability", "")
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
    _style(below, "", "confidence")
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
    figure = _figure(6.4, 3.8)
    axes = figure.subplots()
    _style(axes, "Risk and coverage", "share answered")
    ends = []
    for curve, colour in zip(curves, _cycle(len(curves)), strict=True):
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
    _label_ends(axes, ends)
    return figure


def label_f1(model: System, baselines: Sequence[System]) -> Figure:
    """F1 of every label: the model as bars, the baselines as marks, best labels first."""
    rows = per_label(model.predictions)
    order = sorted(range(len(rows)), key=lambda i: rows[i].f1)
    figure = _figure(6.4, 1.3 + 0.3 * len(rows))
    axes = figure.subplots()
    _style(axes, "F1 of each label", "")
    place = np.arange(len(order))
    series: list[Any] = [axes.barh(place, [rows[i].f1 for i in order], height=0.62, color=COLOURS[0])]
    for k, (baseline, colour) in enumerate(zip(baselines, _cycle(len(baselines) + 1)[1:], strict=True)):
        theirs = per_label(baseline.predictions)
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
    axes.set_yticks(place, [f"{rows[i].label} ({rows[i].support:,})" for i in order], **PLAIN)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(rows) - 0.4))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelcolor=INK)
    legend = figure.legend(
        series,
        [system.name for system in (model, *baselines)],
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
    figure = _figure(10.5, 1.6 + 0.24 * max(len(statistics.labels), 3))
    curve, *others = figure.subplots(1, 3)
    _style(curve, "Mean confidence so far", "decision")
    count = np.arange(1, len(statistics.confidences) + 1)
    curve.plot(count, statistics.mean_confidence, color=COLOURS[0], marker="o", markersize=3, linewidth=1.5)
    curve.set(ylim=(0, 1))
    for axes, (counts, title) in zip(others, bars, strict=True):
        _style(axes, title, "decisions")
        found = counts.most_common()[::-1]
        drawn = axes.barh([name for name, _ in found], [n for _, n in found], height=0.62, color=COLOURS[0])
        axes.bar_label(drawn, padding=3, fontsize=9, color=INK)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set(ylim=(-0.6, max(len(found), 3) - 0.4))
    curve.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _figure(width: float, height: float) -> Figure:
    """A white figure of that many inches."""
    return Figure(figsize=(width, height), dpi=DPI / 2, facecolor="white", layout="constrained")


def _style(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.set_xlabel(below, color=FAINT)
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=FAINT)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(RULE)


def _cycle(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def _points(rows: Sequence[Mapping[str, Any]], value: Any) -> Floats:  # noqa: ANN401 - a row's reader
    """(step, value) of the rows that have one, (N, 2)."""
    found = [(row["step"], value(row)) for row in rows if value(row) is not None]
    return np.array(found, dtype=np.float64).reshape(len(found), 2)


def _smooth(points: Floats) -> Floats:
    """A running mean over a twentieth of the points, shorter at the start so that no step is lost."""
    window = max(2, len(points) // 20)
    total = np.concatenate([[0.0], np.cumsum(points[:, 1])])
    stop = np.arange(1, len(points) + 1)
    start = np.maximum(stop - window, 0)
    return np.column_stack([points[:, 0], (total[stop] - total[start]) / (stop - start)])


def _label_ends(axes: Axes, lines: Sequence[tuple[str, Floats, str]]) -> None:
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
