"""What a run says about itself: is it better than its baselines, by how much, where not, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from overtone.evaluation import chapter_classes, chapter_numbers, plots, plots_run
from overtone.evaluation.chapter import Chapter, comparison, data, gained, sources, with_interval
from overtone.evaluation.compare import Difference
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
from overtone.evaluation.markdown import escape, escaped_table, p_equals, table
from overtone.evaluation.page import page
from overtone.evaluation.plots_run import Gain
from overtone.run import write_atomic
from overtone.scores import Estimates


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
    found: dict[str, Figure] = {}
    history, metric = report.training.history, report.training.metric
    several = len(report.tasks) > 1
    if history and several:
        found["learning"] = plots_run.learning_by_task(
            history, metric, {each.task: each.metric for each in report.tasks}
        )
    elif history:
        found["learning"] = plots_run.learning_curves(history, metric)
    if several:
        found["gains"] = plots_run.gains([_gain(each) for each in report.tasks])
    for chapter in _chapters(report):
        said = chapter.evidence.model.predictions
        if isinstance(said, Estimates):
            found |= chapter_numbers.pictures(chapter, said)
        else:
            found |= chapter_classes.pictures(chapter, said)
    if report.cascade is not None:
        found["risk"] = plots.risk_coverage_curves(report.cascade.curves, report.cascade.risk)
    return found


def markdown(report: Report) -> str:
    """The whole report.

    Raises:
        RunError: there is no baseline.
    """
    sections = [
        f"# {escape(report.name)}",
        _verdicts(report.tasks),
        escape(report.origin.description),
        loud(report.licence),
        *(_only(report) if len(report.tasks) == 1 else _several(report)),
        cost(report.training, report.origin),
        licence_of(report.licence),
        again(report.origin),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _verdicts(tasks: Sequence[Evidence]) -> str:
    """One sentence a task."""
    if len(tasks) == 1:
        return f"**{escape(verdict(tasks[0]))}**"
    return "\n".join(f"- **{escape(each.task)}**: {escape(verdict(each))}" for each in tasks)


def _chapters(report: Report) -> list[Chapter]:
    """One a task."""
    seed, healed = report.origin.seed, report.cascade is not None
    if len(report.tasks) == 1:
        return [Chapter(report.tasks[0], seed, healed=healed)]
    return [Chapter(each, seed, depth=3, prefix=f"{each.task}-") for each in report.tasks]


def _only(report: Report) -> list[str]:
    """The sections of a report about one task."""
    (chapter,) = _chapters(report)
    before, after = _about(chapter, _learning(report))
    return [*before, _cascade(report.cascade), _edges(report.edges), *after]


def _several(report: Report) -> list[str]:
    """The sections of a report about several tasks: all of them side by side, then a chapter each."""
    sections = [_side_by_side(report.tasks)]
    if report.training.history:
        sections.append(f"## Learning\n\n{_learning(report)}")
    for chapter in _chapters(report):
        before, after = _about(chapter)
        sections += [f"## {escape(chapter.evidence.task)}", *before, *after]
    return sections


def _about(chapter: Chapter, learning: str = "") -> tuple[list[str], list[str]]:
    """The sections about one task, those on figures and those on rows."""
    said = chapter.evidence.model.predictions
    common = [comparison(chapter), sources(chapter)]
    if isinstance(said, Estimates):
        own = [chapter_numbers.numbers(chapter, said), chapter_numbers.errors(chapter, said, learning)]
        return [*common, *own], [chapter_numbers.misses(chapter, said), data(chapter)]
    own = [chapter_classes.labels(chapter, said), chapter_classes.mistakes(chapter, said, learning)]
    return [*common, *own], [chapter_classes.misses(chapter), data(chapter)]


def _side_by_side(tasks: Sequence[Evidence]) -> str:
    """Every task in a row: the model, its best baseline, what is gained."""
    rows = []
    for each in tasks:
        best, metric = best_baseline(each), each.metric
        arrow = "" if each.judged.higher_is_better else " ↓"
        rows.append(
            [
                f"**{escape(each.task)}**",
                f"{len(each.model.predictions.ids):,}",
                escape(metric) + arrow,
                with_interval(each.standings[0].figures[metric]),
                f"{best.figures[metric].value:.3f}, {escape(best.name)}",
                gained(best),
            ]
        )
    header = ["task", "test rows", "metric", escape(tasks[0].model.name), "best baseline", "gain"]
    alt = "What each task gains over its best baseline, with intervals; the numbers stand in the table above"
    arrows = "" if all(each.judged.higher_is_better for each in tasks) else " ↓ lower is better."
    return (
        f"## All tasks\n\n{table(header, rows)}\n\nBrackets hold 95% intervals from a bootstrap over rows."
        f"{arrows}\n\n![{alt}](plots/gains.png)"
    )


def _gain(evidence: Evidence) -> Gain:
    """What a task gained, turned so that more is better."""
    best = best_baseline(evidence)
    gain = gain_over(best)
    if not evidence.judged.higher_is_better:
        gain = Difference(-gain.value, -gain.high, -gain.low, gain.p)
    return Gain(evidence.task, f"{evidence.metric} over {best.name}", gain)


def _learning(report: Report) -> str:
    """The learning curves, where there is a history."""
    if not report.training.history:
        return ""
    several = len(report.tasks) > 1
    what = "validation metric of each task" if several else f"validation {report.training.metric}"
    return f"![Learning curves: training loss and {escape(what)} over steps](plots/learning.png)"


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


def cost(training: Training, origin: Origin, more: Sequence[Sequence[str]] = ()) -> str:
    """The chapter on what the fit cost; ``more`` are further rows, each of a name and a text."""
    share = training.trainable / training.parameters
    minutes, seconds = divmod(round(training.seconds), 60)
    rows = [
        ["training time", f"{minutes} min {seconds} s" if minutes else f"{training.seconds:.1f} s"],
        ["rows a second", f"{training.rows_per_second:,.0f}"],
        *more,
        ["parameters", f"{training.parameters:,}"],
        ["of them trained", f"{training.trainable:,} ({share:.2%})"],
        ["peak memory", f"{training.peak_memory / 2**30:.2f} GiB"],
        ["hardware", str(origin.environment.get("hardware", "unknown"))],
    ]
    return f"## Cost\n\n{escaped_table(['what', 'how much'], rows)}"


def loud(licence: Licence) -> str:
    """The warning at the head of a report, where there is one to give."""
    if licence.commercial is not False:
        return ""
    return f"> **Not for commercial use.** This model was trained on data under: {escape(licence.data)}."


def licence_of(licence: Licence) -> str:
    """The chapter on what the model may be used for."""
    if licence.commercial is None:
        own = "data and weights" if licence.weights == "unknown" else "data"
        use = f"Whether together they allow commercial use is unknown: check the licence of your own {own}"
    else:
        use = f"Together they {'allow' if licence.commercial else '**do not allow**'} commercial use"
    return (
        f"## Licence\n\nData: {escape(licence.data)}. Weights: {escape(licence.weights)}. "
        f"{use}; whoever passes the model on passes this on with it."
    )


def again(origin: Origin) -> str:
    """The chapter on how the run is made again."""
    environment = origin.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment.get("versions", {}).items())
    made = f"Seed {origin.seed}, commit {environment.get('commit', 'unknown')}, {environment.get('date', '')}"
    for again in environment.get("resumed") or ():
        made += f"; resumed at commit {again['commit']}, {again['date']}"
    fence = "```"
    return f"## Make it again\n\n{fence}sh\n{origin.command}\n{fence}\n\n{escape(f'{made}. {versions}.')}"
