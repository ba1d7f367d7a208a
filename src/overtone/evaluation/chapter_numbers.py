"""What a report says about numbers: each of them, how it errs, and the rows that are farthest off."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from overtone.breakdown import metric_named, per_number
from overtone.evaluation.chapter import SHOWN_ROWS, Chapter
from overtone.evaluation.compare import aligned
from overtone.evaluation.markdown import escape, escaped_table, signed
from overtone.evaluation.plots_numbers import estimated
from overtone.scores import Estimates, Floats, Ints


def pictures(chapter: Chapter, said: Estimates) -> dict[str, Figure]:
    """The pictures by file name."""
    return {f"{chapter.prefix}numbers": estimated(said)}


def numbers(chapter: Chapter, said: Estimates) -> str:
    """How near each number comes to the truth, beside the best baseline."""
    best, rival = chapter.best.name, chapter.rival
    assert isinstance(rival, Estimates)
    rows = [
        [
            ours.label,
            chapter.interval(metric_named(f"{ours.label}.pearson", said), said),
            f"{ours.spearman:.3f}",
            chapter.interval(metric_named(f"{ours.label}.ccc", said), said),
            f"{ours.mae:.3f}",
            f"{theirs.pearson:.3f}",
            f"{theirs.ccc:.3f}",
        ]
        for ours, theirs in zip(per_number(said), per_number(rival), strict=True)
    ]
    header = ["number", "Pearson's r", "Spearman's ρ", "CCC", "mean error", f"r of {best}", f"CCC of {best}"]
    name = chapter.evidence.model.name
    alt = f"Estimates of {name} against the gold numbers, the figures stand in the table above"
    return "\n\n".join(
        [
            chapter.heading("By number"),
            escaped_table(header, rows),
            "CCC is Lin's concordance: correlation that also asks for the right mean and spread.",
            chapter.picture("numbers", alt),
        ]
    )


def errors(chapter: Chapter, said: Estimates, learning: str = "") -> str:
    """How the estimates of each number err: on which side, how far, and how narrow they are."""
    error = said.decided - said.gold
    rows = []
    for i, label in enumerate(said.labels):
        half, most, worst = np.quantile(np.abs(error[:, i]), [0.5, 0.95, 1])
        truth, own = said.gold[:, i].std(), said.decided[:, i].std()
        spread = f"{own / truth:.0%}" if truth else "–"
        rows.append([label, signed(error[:, i].mean()), f"{half:.3f}", f"{most:.3f}", f"{worst:.3f}", spread])
    header = ["number", "mean of estimate − gold", "half are within", "95% within", "farthest", "spread"]
    told = "Spread: the standard deviation of the estimates as a share of the gold numbers'."
    title = "Learning and errors" if learning else "Errors"
    parts = [chapter.heading(title), *([learning] if learning else []), escaped_table(header, rows), told]
    return "\n\n".join(parts)


def misses(chapter: Chapter, said: Estimates) -> str:
    """The rows whose estimates are farthest off."""
    evidence, best = chapter.evidence, chapter.best.name
    rival = aligned(said, chapter.rival)
    order, distance = farthest(said)
    rows = []
    for row in order[:SHOWN_ROWS]:
        columns = (
            ", ".join(f"{value:.2f}" for value in values[row])
            for values in (said.gold, said.decided, rival.decided)
        )
        name = said.ids[row]
        rows.append([name, *columns, f"{distance[row]:.1f}", evidence.texts.get(name, "")])
    cells = f"Each cell holds {', '.join(said.labels)}." if len(said.labels) > 1 else ""
    return "\n\n".join(
        [
            chapter.heading("Rows farthest off"),
            escaped_table(["row", "gold", evidence.model.name, best, "distance", "text"], rows),
            f"{escape(cells)} Distance: the root of the mean squared error over the numbers, each in units "
            "of the gold numbers' standard deviation.".strip(),
        ]
    )


def farthest(said: Estimates) -> tuple[Ints, Floats]:
    """Rows in the order of their distance from the truth, the farthest first, (N,), and the distances, (N,).

    The distance is the root of the mean squared error over the numbers, each in units of its deviation.
    """
    deviation = said.gold.std(axis=0)
    error = (said.decided - said.gold) / np.where(deviation > 0, deviation, 1.0)
    distance: Floats = np.sqrt(np.square(error).mean(axis=1))
    return np.argsort(-distance, kind="stable"), distance
