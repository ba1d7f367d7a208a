"""What a run says about itself: is it better than its baselines, by how much, where not, and what it cost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from overtone.data.split import SPLITS, DataReport
from overtone.evaluation import plots
from overtone.evaluation.compare import Interval, flips, interval
from overtone.evaluation.findings import (
    Cascade,
    EdgeCases,
    Evidence,
    Licence,
    Origin,
    Report,
    Training,
    best_baseline,
    gain_over,
    verdict,
)
from overtone.evaluation.markdown import escape, escaped_table, p_equals, p_value, signed, table
from overtone.evaluation.page import page
from overtone.run import write_atomic
from overtone.scores import METRICS, per_label, select, summary

SHOWN_FLIPS = 10
"""Rows of either kind of flip in the report; all of them follow from the per-example scores."""


def write(report: Report, folder: Path) -> Path:
    """Write ``plots/*.png``, ``report.md`` and ``report.html`` into a run's folder.

    Returns:
        The path of the HTML file.

    Raises:
        RunError: there is no baseline, or the folder could not be written.
    """
    text = markdown(report)
    for name, figure in pictures(report).items():
        plots.save(figure, folder / "plots" / f"{name}.png")
    write_atomic(folder / "report.md", text)
    write_atomic(folder / "report.html", page(text, f"{report.name} · Overtone", folder))
    return folder / "report.html"


def pictures(report: Report) -> dict[str, Figure]:
    """The report's plots by file name; those that do not apply are left out."""
    evidence, found = report.evidence, {}
    if report.training.history:
        found["learning"] = plots.learning_curves(report.training.history, report.training.metric)
    if not evidence.model.predictions.multilabel:
        found["confusion"] = plots.confusion_matrix(evidence.model.predictions)
    found["labels"] = plots.label_f1(evidence.model, evidence.baselines)
    found["reliability"] = plots.reliability_diagram(evidence.model.predictions)
    if report.cascade is not None:
        found["risk"] = plots.risk_coverage_curves(report.cascade.curves, report.cascade.risk)
    return found


def markdown(report: Report) -> str:
    """The whole report.

    Raises:
        RunError: there is no baseline.
    """
    sections = [
        f"# {escape(report.name)}\n\n**{escape(verdict(report.evidence))}**",
        escape(report.origin.description),
        _loud(report.licence),
        _comparison(report),
        _sources(report.evidence, report.origin.seed),
        _labels(report.evidence),
        _mistakes(report),
        _cascade(report.cascade),
        _edges(report.edges),
        _flips(report.evidence),
        _data(report.data),
        _cost(report.training, report.origin),
        _licence(report.licence),
        _again(report.origin),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _with_interval(found: Interval | None) -> str:
    return "" if found is None else f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})"


def _comparison(report: Report) -> str:
    evidence = report.evidence
    others = [name for name in evidence.standings[0].figures if name != evidence.metric]
    rows = []
    for standing in evidence.standings:
        name, figures, compared = escape(standing.name), standing.figures, ("", "", "")
        if standing.gain is None:
            name = f"**{name}**" + ("" if report.cascade is None else ", the primary alone")
        else:
            gain, test = gain_over(standing)
            difference = f"{signed(gain.value)} ({signed(gain.low)} to {signed(gain.high)})"
            compared = (difference, f"{test.only_b:,} : {test.only_a:,}", p_value(test.p))
        first = _with_interval(figures.get(evidence.metric))
        rows.append([name, first, *compared, *(_with_interval(figures.get(other)) for other in others)])
    header = ["system", evidence.metric, "model's gain", "right alone", "McNemar p", *others]
    systems = [evidence.model, *evidence.baselines]
    every = [summary(system.predictions) for system in systems]
    metrics = [name for name in METRICS if any(name in found for found in every)]
    all_rows = [
        [
            name + ("" if METRICS[name].higher_is_better else " ↓"),
            METRICS[name].unit,
            *(f"{found[name]:.3f}" if name in found else "" for found in every),
        ]
        for name in metrics
    ]
    alone = (
        ""
        if report.cascade is None
        else f"Here and in the next sections {escape(evidence.model.name)} is the primary alone; people get "
        "the cascade around it, which has a section of its own.\n\n"
    )
    return (
        "## Against the baselines\n\n"
        f"{table(header, rows)}\n\n{alone}"
        "Brackets hold 95% intervals from a bootstrap over rows; a gain is from the same resamples of both. "
        "“Right alone” counts the rows that only the model and only the baseline decides right.\n\n"
        "### Every metric\n\n"
        f"{escaped_table(['metric', 'unit', *(system.name for system in systems)], all_rows)}\n\n"
        "↓ lower is better."
    )


def _sources(evidence: Evidence, seed: int) -> str:
    predictions, metric = evidence.model.predictions, METRICS[evidence.metric]
    origin = np.array(predictions.sources)
    rows = []
    for source, count in Counter(predictions.sources).most_common():
        mask = origin == source
        found = _with_interval(
            interval(metric, select(predictions, mask), seed=seed, resamples=evidence.resamples)
        )
        # A baseline may hold the same rows in another order, so each is asked for its own.
        theirs = [
            metric.function(select(each.predictions, np.array(each.predictions.sources) == source))
            for each in evidence.baselines
        ]
        rows.append([source, f"{count:,}", found, *(f"{value:.3f}" for value in theirs)])
    header = ["source", "rows", evidence.model.name, *(each.name for each in evidence.baselines)]
    return f"## By source\n\nThe {metric.name} on each data set's test rows:\n\n{escaped_table(header, rows)}"


def _labels(evidence: Evidence) -> str:
    best = best_baseline(evidence)
    baseline = next(each for each in evidence.baselines if each.name == best.name)
    rows = [
        [
            ours.label,
            f"{ours.support:,}",
            f"{ours.precision:.3f}",
            f"{ours.recall:.3f}",
            f"{ours.f1:.3f}",
            f"{theirs.f1:.3f}",
        ]
        for ours, theirs in zip(
            per_label(evidence.model.predictions), per_label(baseline.predictions), strict=True
        )
    ]
    header = ["label", "rows", "precision", "recall", "F1", f"F1 of {best.name}"]
    alt = f"F1 of each label: {evidence.model.name} and its baselines, the numbers stand in the table above"
    return f"## By label\n\n{escaped_table(header, rows)}\n\n![{escape(alt)}](plots/labels.png)"


def _mistakes(report: Report) -> str:
    model = report.evidence.model
    error = METRICS["ece"].function(model.predictions)
    parts = ["## Learning, confusion and confidence"]
    if report.training.history:
        alt = f"training loss and validation {report.training.metric} over steps"
        parts.append(f"![Learning curves: {escape(alt)}](plots/learning.png)")
    if not model.predictions.multilabel:
        parts.append(
            "![Confusion matrix: for each gold label, the share of its rows given each label]"
            "(plots/confusion.png)"
        )
    parts.append(
        f"![Reliability diagram: share that comes true against confidence, calibration error {error:.3f}]"
        "(plots/reliability.png)"
    )
    return "\n\n".join(parts)


def _cascade(cascade: Cascade | None) -> str:
    if cascade is None:
        return ""
    rows = [[name, value] for name, value in cascade.figures.items()]
    alt = f"share of wrong answers against the share answered, with the stated risk of {cascade.risk:.0%}"
    return (
        f"## Cascade\n\nThe rule: {escape(cascade.rule)}.\n\n{escaped_table(['measured', 'value'], rows)}\n\n"
        f"![Risk-coverage curves: {escape(alt)}](plots/risk.png)"
    )


def _edges(edges: EdgeCases | None) -> str:
    if edges is None:
        return ""
    rows = []
    for kind, total in edges.totals.items():
        rows.append([kind, f"{total:,}", *(_share(right[kind], total) for right in edges.right.values())])
    everything = sum(edges.totals.values())
    sums = (_share(sum(right.values()), everything) for right in edges.right.values())
    rows.append(["all", f"{everything:,}", *sums])
    text = f"## Edge cases\n\nCases decided right:\n\n{escaped_table(['kind', 'cases', *edges.right], rows)}"
    if edges.mcnemar is not None:
        first, *_, last = edges.right
        test = edges.mcnemar
        text += "\n\n" + escape(
            f"Right alone: {last} {test.only_b:,}, {first} {test.only_a:,} (McNemar {p_equals(test.p)})."
        )
    return text


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.0%})"


def _flips(evidence: Evidence) -> str:
    best = best_baseline(evidence)
    baseline = next(each for each in evidence.baselines if each.name == best.name)
    found = flips(baseline.predictions, evidence.model.predictions)
    parts = [f"## Flips against {escape(best.name)}"]
    for title, fixed in (("Fixed", True), ("Broken", False)):
        chosen = [flip for flip in found if flip.fixed == fixed]
        parts.append(f"### {title}: {len(chosen):,} rows")
        rows = [
            [flip.id, flip.gold, flip.a, flip.b, evidence.texts.get(flip.id, "")]
            for flip in chosen[:SHOWN_FLIPS]
        ]
        if rows:
            header = ["row", "gold", best.name, evidence.model.name, "text"]
            parts.append(escaped_table(header, rows))
    return "\n\n".join(parts)


def _data(data: DataReport) -> str:
    names = list(dict.fromkeys(s for split in SPLITS for per in data.counts[split].values() for s in per))
    header = ["label", *(f"{split}: {source}" for split in SPLITS for source in names)]
    rows = [
        [label, *(f"{data.counts[split][label].get(s, 0):,}" for split in SPLITS for s in names)]
        for label in data.counts["train"]
    ]
    columns = [(split, source) for split in SPLITS for source in names]
    sums = [sum(per.get(source, 0) for per in data.counts[split].values()) for split, source in columns]
    rows.append(["all", *(f"{each:,}" for each in sums)])
    sizes = ", ".join(f"{data.rows[split]:,} {split}" for split in SPLITS)
    exact = sum(leak.exact for leak in data.leaks)
    leakage = (
        f"{len(data.leaks):,} rows had a twin in another split ({exact:,} the same text, the others nearly)"
    )
    dropped = ", ".join(f"{data.dropped.get(split, 0):,} from {split}" for split in SPLITS)
    parts = [
        f"## Data and leakage\n\nRows: {sizes}. Leakage: {leakage}; dropped: {dropped}.",
        escaped_table(header, rows),
    ]
    if data.left_out:
        reasons = [[reason, f"{count:,}"] for reason, count in data.left_out.items()]
        parts.append(f"### Left out\n\n{escaped_table(['reason', 'rows'], reasons)}")
    return "\n\n".join(parts)


def _cost(training: Training, origin: Origin) -> str:
    share = training.trainable / training.parameters
    minutes, seconds = divmod(round(training.seconds), 60)
    rows = [
        ["training time", f"{minutes} min {seconds} s" if minutes else f"{training.seconds:.1f} s"],
        ["rows a second", f"{training.rows_per_second:,.0f}"],
        ["parameters", f"{training.parameters:,}"],
        ["of them trained", f"{training.trainable:,} ({share:.2%})"],
        ["peak memory", f"{training.peak_memory / 2**30:.2f} GiB"],
        ["hardware", str(origin.environment.get("hardware", "unknown"))],
    ]
    return f"## Cost\n\n{escaped_table(['what', 'how much'], rows)}"


def _loud(licence: Licence) -> str:
    if licence.commercial is not False:
        return ""
    return f"> **Not for commercial use.** This model was trained on data under: {escape(licence.data)}."


def _licence(licence: Licence) -> str:
    if licence.commercial is None:
        own = "data and weights" if licence.weights == "unknown" else "data"
        use = f"Whether together they allow commercial use is unknown: check the licence of your own {own}"
    else:
        use = f"Together they {'allow' if licence.commercial else '**do not allow**'} commercial use"
    return (
        f"## Licence\n\nData: {escape(licence.data)}. Weights: {escape(licence.weights)}. "
        f"{use}; whoever passes the model on passes this on with it."
    )


def _again(origin: Origin) -> str:
    environment = origin.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    made = f"Seed {origin.seed}, commit {environment.get('commit', 'unknown')}, {environment.get('date', '')}"
    for again in environment.get("resumed") or ():
        made += f"; resumed at commit {again['commit']}, {again['date']}"
    fence = "```"
    return f"## Make it again\n\n{fence}sh\n{origin.command}\n{fence}\n\n{escape(f'{made}. {versions}.')}"
