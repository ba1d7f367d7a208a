"""The pictures of a whole run: how it learnt, and what each of its tasks gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from overtone.evaluation.compare import Difference
from overtone.evaluation.drawing import COLOURS, FAINT, INK, PLAIN, cycle, label_ends, sheet, style
from overtone.scores import Floats

MANY_POINTS = 40
"""A line of more points than this is smoothed."""

Row = Mapping[str, Any]
"""A line of ``metrics.jsonl``: training rows have ``loss`` and ``losses``, validation rows ``validation``."""


@dataclass(frozen=True, slots=True)
class Gain:
    """What one task gained.

    Args:
        task: its name.
        what: what is gained over which baseline, such as "macro_f1 over tfidf".
        gain: turned so that above 0 is better.
    """

    task: str
    what: str
    gain: Difference


def learning_curves(history: Sequence[Row], metric: str) -> Figure:
    """Training loss over steps, and the named validation figure with its best step.

    Args:
        history: rows of ``metrics.jsonl``.
        metric: the key in ``validation`` that the second panel shows, such as ``emotion.macro_f1``.
    """
    figure = sheet(7.6, 3.0)
    left, right = figure.subplots(1, 2)
    training, held_out = _logged(history, "loss"), _validated(history, "loss")
    style(left, "Loss", "step")
    ends = [("training", _trend(left, training, COLOURS[0]), COLOURS[0])]
    if len(held_out):
        left.plot(*held_out.T, color=COLOURS[1], linewidth=1.8, marker="o", markersize=4)
        ends.append(("validation", held_out, COLOURS[1]))
    label_ends(left, ends)
    style(right, f"Validation {metric}", "step")
    right.plot(*_validated(history, metric).T, color=COLOURS[1], linewidth=1.8, marker="o", markersize=4)
    best = _mark_best(right, history, metric)
    if best is not None:
        lowest = best[1] <= _validated(history, metric)[:, 1].min()  # the line comes from above
        right.annotate(
            f"best {best[1]:.3f}",
            best,
            xytext=(0, -9 if lowest else 9),
            textcoords="offset points",
            ha="center",
            va="top" if lowest else "bottom",
            fontsize=9,
            color=INK,
        )
    right.margins(x=0.12, y=0.25)
    return figure


def learning_by_task(history: Sequence[Row], metric: str, tasks: Mapping[str, str | None]) -> Figure:
    """Training loss of each task over steps, and its validation metric with the step that was kept.

    Args:
        history: rows of ``metrics.jsonl``.
        metric: the key in ``validation`` that chose the step, such as ``mean``.
        tasks: task → its own metric; None where it has none on validation rows.
    """
    figure = sheet(10.0, 3.8)
    left, right = figure.subplots(1, 2)
    colours = dict(zip(tasks, cycle(len(tasks)), strict=True))
    style(left, "Training loss of each task", "step")
    style(right, "Validation metric of each task", "step")
    label_ends(
        left,
        [
            (name, _trend(left, _logged(history, "losses", name), each), each)
            for name, each in colours.items()
        ],
    )
    shown = {
        f"{name}.{tasks[name]}": (f"{name} {tasks[name]}", colour)
        for name, colour in colours.items()
        if tasks[name] is not None
    }
    shown.setdefault(metric, (metric, INK))
    best = _mark_best(right, history, metric)
    ends = []
    for key, (name, colour) in shown.items():
        found = _validated(history, key)
        width = 2.4 if key == metric else 1.5
        right.plot(*found.T, color=colour, linewidth=width, marker="o", markersize=3.5)
        kept = f", best {best[1]:.3f}" if best is not None and key == metric else ""
        ends.append((name + kept, found, colour))
    right.margins(y=0.1)
    label_ends(right, ends)
    return figure


def gains(found: Sequence[Gain], title: str = "Gain over the best baseline") -> Figure:
    """What was gained, task by task over the best baseline, with intervals, the first on top."""
    figure = sheet(7.2, 1.1 + 0.42 * len(found))
    axes = figure.subplots()
    style(axes, f"{title}, 95% interval", "")
    axes.axvline(0, color=FAINT, linewidth=1)
    for place, each in enumerate(reversed(found)):
        gain = each.gain
        colour = COLOURS[0] if gain.low > 0 else COLOURS[5] if gain.high < 0 else FAINT
        axes.plot([gain.low, gain.high], [place] * 2, color=colour, linewidth=3, solid_capstyle="round")
        axes.plot(gain.value, place, marker="o", markersize=8, color=colour, markeredgecolor="white")
        axes.annotate(
            f"{gain.value:+.3f} {each.what}",
            (1.0, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
            annotation_clip=False,
            **PLAIN,
        )
    axes.set_yticks(range(len(found)), [each.task for each in reversed(found)], **PLAIN)
    axes.set(ylim=(-0.6, len(found) - 0.4))
    axes.margins(x=0.06)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelcolor=INK)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.2f}" if value else "0")
    return figure


def _logged(history: Sequence[Row], *keys: str) -> Floats:
    """(step, value) of the rows that have a value under the keys, (N, 2)."""
    found = []
    for row in history:
        value: Any = row
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            found.append((row["step"], value))
    return np.array(found, dtype=np.float64).reshape(len(found), 2)


def _validated(history: Sequence[Row], metric: str) -> Floats:
    """(step, value) of a validation figure, (N, 2)."""
    return _logged(history, "validation", metric)


def _mark_best(axes: Axes, history: Sequence[Row], metric: str) -> tuple[float, float] | None:
    """Circle the step that was kept, the last that was best so far, and count steps in whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    best = _validated([row for row in history if row.get("best")], metric)
    if not len(best):
        return None
    step, value = best[-1].tolist()
    axes.plot(step, value, marker="o", markersize=9, fillstyle="none", color=INK, zorder=4)
    return step, value


def _trend(axes: Axes, points: Floats, colour: str) -> Floats:
    """Draw a line (N, 2), smoothed over the faint raw one where it is long; what was drawn."""
    if len(points) > MANY_POINTS:
        axes.plot(*points.T, color=colour, alpha=0.25, linewidth=1)
        points = _smooth(points)
    alone = len(points) == 1  # of a short fit: a line of one point is not seen
    axes.plot(*points.T, color=colour, linewidth=1.8, marker="o" if alone else None, markersize=3.5)
    return points


def _smooth(points: Floats) -> Floats:
    """A running mean over a twentieth of the points, shorter at the start so that no step is lost."""
    window = max(2, len(points) // 20)
    total = np.concatenate([[0.0], np.cumsum(points[:, 1])])
    stop = np.arange(1, len(points) + 1)
    start = np.maximum(stop - window, 0)
    return np.column_stack([points[:, 0], (total[stop] - total[start]) / (stop - start)])
