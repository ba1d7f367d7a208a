"""What a report says about classes: each label, confusion, confidence, and the rows that flipped."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from overtone.breakdown import FEW_ROWS, per_label, rare, restricted
from overtone.evaluation import plots
from overtone.evaluation.chapter import SHOWN_ROWS, Chapter
from overtone.evaluation.compare import flips
from overtone.evaluation.markdown import escaped_table
from overtone.scores import METRICS, Predictions


def pictures(chapter: Chapter, said: Predictions) -> dict[str, Figure]:
    """The pictures by file name; those that do not apply are left out."""
    found = {}
    if not said.multilabel:
        found["confusion"] = plots.confusion_matrix(said)
    found["labels"] = plots.label_f1(_systems(chapter))
    found["reliability"] = plots.reliability_diagram(said)
    return {f"{chapter.prefix}{name}": figure for name, figure in found.items()}


def _systems(chapter: Chapter) -> Mapping[str, Predictions]:
    """The model's predictions, then the baselines'."""
    systems = [chapter.evidence.model, *chapter.evidence.baselines]
    return {each.name: each.predictions for each in systems if isinstance(each.predictions, Predictions)}


def labels(chapter: Chapter, said: Predictions) -> str:
    """Precision, recall and F1 of every label, those with few rows marked and also left out of the mean."""
    best, few = chapter.best.name, rare(said)
    rows = [
        [
            ours.label + (" †" if ours.label in few else ""),
            f"{ours.support:,}",
            f"{ours.precision:.3f}",
            f"{ours.recall:.3f}",
            f"{ours.f1:.3f}",
            f"{theirs.f1:.3f}",
        ]
        for ours, theirs in zip(per_label(said), per_label(_systems(chapter)[best]), strict=True)
    ]
    header = ["label", "rows", "precision", "recall", "F1", f"F1 of {best}"]
    parts = [chapter.heading("By label"), escaped_table(header, rows)]
    if few:
        parts.append(_without_few(chapter, said, few))
    name = chapter.evidence.model.name
    alt = f"F1 of each label: {name} and its baselines, the numbers stand in the table above"
    return "\n\n".join([*parts, chapter.picture("labels", alt)])


def _without_few(chapter: Chapter, said: Predictions, few: tuple[str, ...]) -> str:
    """The macro-F1 over the labels that have rows enough."""
    told = f"† Fewer than {FEW_ROWS} test rows: its figures say little."
    common = [label for label in said.labels if label not in few]
    if not common:
        return told
    metric = restricted(METRICS["macro_f1"], common, "macro_f1 of the others")
    rows = [
        [
            name,
            chapter.interval(METRICS["macro_f1"], each),
            chapter.interval(metric, each),
        ]
        for name, each in _systems(chapter).items()
    ]
    header = ["system", f"macro_f1, all {len(said.labels)} labels", f"the {len(common)} without †"]
    return f"{told} Without such labels:\n\n{escaped_table(header, rows)}"


def mistakes(chapter: Chapter, said: Predictions, learning: str = "") -> str:
    """Pictures of how the model learnt, what it confuses, and whether its confidence is earned."""
    titles = ["Learning"] * bool(learning) + ["confusion"] * (not said.multilabel) + ["confidence"]
    title = f"{', '.join(titles[:-1])} and {titles[-1]}" if len(titles) > 1 else titles[0]
    parts = [chapter.heading(title[0].upper() + title[1:]), *([learning] if learning else [])]
    if not said.multilabel:
        alt = "Confusion matrix: for each gold label, the share of its rows given each label"
        parts.append(chapter.picture("confusion", alt))
    error = METRICS["ece"].function(said)
    alt = f"Reliability diagram: share that comes true against confidence, calibration error {error:.3f}"
    return "\n\n".join([*parts, chapter.picture("reliability", alt)])


def misses(chapter: Chapter) -> str:
    """The rows that only the model, or only its best baseline, decides right."""
    evidence, best = chapter.evidence, chapter.best.name
    found = flips(chapter.rival, evidence.model.predictions)
    parts = [chapter.heading(f"Flips against {best}")]
    for title, fixed in (("Fixed", True), ("Broken", False)):
        chosen = [flip for flip in found if flip.fixed == fixed]
        parts.append(chapter.heading(f"{title}: {len(chosen):,} rows", 1))
        rows = [
            [flip.id, flip.gold, flip.a, flip.b, evidence.texts.get(flip.id, "")]
            for flip in chosen[:SHOWN_ROWS]
        ]
        if rows:
            parts.append(escaped_table(["row", "gold", best, evidence.model.name, "text"], rows))
    return "\n\n".join(parts)
