"""What a tutor's run says about itself: its exam beside the base's, what it forgot, what was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from overtone.data.split import DataReport
from overtone.evaluation import plots, plots_run
from overtone.evaluation.benchmarks import qa
from overtone.evaluation.benchmarks.qa import Column, Graded
from overtone.evaluation.chapter import with_interval
from overtone.evaluation.chapter_decoder import (
    BESIDE,
    closing,
    compared,
    joined,
    likelier,
    likely,
    save,
)
from overtone.evaluation.compare import Difference, Standing
from overtone.evaluation.findings import Licence, Origin, Training, told
from overtone.evaluation.markdown import cut, escape, escaped_table, signed, table
from overtone.evaluation.plots_run import Gain
from overtone.evaluation.report import loud

TITLES: Mapping[Column, str] = {
    "trained": "Trained-on questions",
    "held_out": "Held-out wordings",
    "unknown": "Unknown questions",
}
"""Column → what stands above it."""

JUDGED = "f1"
"""What a system is set against the base in, where there is a right answer."""

DECLINED = "declined"
"""The same where there is none."""

RIGHT = "How likely the right answers of the test conversations are."
"""What a text of answers is."""

SHOWN = 8
"""Questions of a column whose answers the report shows."""


@dataclass(frozen=True, slots=True)
class ExamReport:
    """Everything that the report of a tuned decoder tells.

    Args:
        origin: where the run comes from.
        model: the run's name.
        base: the system that the others are set against.
        columns: column → system → its graded answers; the run first.
        questions: id → the question.
        pace: system → answers a second.
        likely: text → what the run and then the base give it.
        training: how the adapter was fitted.
        licence: what it may be used for.
        data: what was done with the conversations.
        mask: the proof of what was trained, from ``chat.proof``; None where nothing is masked.
        looked: question → the picture of where the model looked in it; perhaps none.
        sizes: what more the fit cost, each a name and a text.
        resamples: of an interval.
    """

    origin: Origin
    model: str
    base: str
    columns: Mapping[Column, Mapping[str, Graded]]
    questions: Mapping[str, str]
    pace: Mapping[str, float]
    likely: Mapping[str, Sequence[Standing]]
    training: Training
    licence: Licence
    data: DataReport
    sizes: Sequence[Sequence[str]]
    resamples: int
    mask: Mapping[str, Any] | None = None
    looked: Mapping[str, Figure] = field(default_factory=dict)


def write(report: ExamReport, folder: Path) -> Path:
    """Write ``plots/*.png``, ``report.md`` and ``report.html`` into a run's folder.

    Returns:
        The path of the HTML file.

    Raises:
        RunError: the folder could not be written.
    """
    text = markdown(report)
    learning = plots_run.learning_curves(report.training.history, report.training.metric)
    plots.save(learning, folder / "plots" / "learning.png")
    found = _gains(report)
    if found:
        plots.save(
            plots_run.gains(found, f"What is gained over {report.base}"), folder / "plots" / "gains.png"
        )
    for number, figure in enumerate(report.looked.values()):
        plots.save(figure, folder / "plots" / f"attention-{number}.png")
    return save(text, report.model, folder)


def markdown(report: ExamReport) -> str:
    """The whole report."""
    picture = (
        "![What each system gains over the base, with intervals; the numbers stand in the tables above]"
        "(plots/gains.png)"
    )
    sections = [
        f"# {escape(report.model)}",
        "\n".join(f"- {escape(each)}" for each in verdicts(report)),
        escape(report.origin.description),
        loud(report.licence),
        "## Against the baselines",
        *(_column(report, column) for column in report.columns),
        _explained(report) if report.columns else "",
        picture if _gains(report) else "",
        *(
            likely(name, standings, RIGHT if name == "answers" else BESIDE)
            for name, standings in report.likely.items()
        ),
        _looked(list(report.looked)),
        *closing(report, "A row is a conversation or a question."),
    ]
    return joined(sections)


def verdicts(report: ExamReport) -> list[str]:
    """One sentence for each system on held-out wordings, and one for each text."""
    made = []
    for name, gain in _over_base(report, "held_out").items():
        said = compared(gain, "is better than", "is worse than")
        ours, theirs = (_mean(report, "held_out", each) for each in (name, report.base))
        made.append(
            f"On held-out wordings, {name} {said} {report.base}: token F1 {ours:.3f} against {theirs:.3f}, "
            f"{told(gain)}."
        )
    made += (likelier(text, model, base) for text, (model, base) in report.likely.items())
    return made


def _mean(report: ExamReport, column: Column, system: str) -> float:
    return float(report.columns[column][system].of(JUDGED).mean())


def _over_base(report: ExamReport, column: Column) -> dict[str, Difference]:
    """System → what it gains over the base in a column; nothing where there is no such column."""
    systems = report.columns.get(column)
    if systems is None:
        return {}
    measure, base = _measure(column), systems[report.base]
    return {
        name: qa.paired(base, graded, measure, seed=report.origin.seed, resamples=report.resamples)
        for name, graded in systems.items()
        if name != report.base
    }


def _measure(column: Column) -> str:
    return DECLINED if column == "unknown" else JUDGED


def _gains(report: ExamReport) -> list[Gain]:
    return [
        Gain(f"{name}, {TITLES[column].lower()}", _measure(column), gain)
        for column in report.columns
        for name, gain in _over_base(report, column).items()
    ]


def _column(report: ExamReport, column: Column) -> str:
    """The systems in one column, and some of what they said."""
    systems, gains = report.columns[column], _over_base(report, column)
    first = next(iter(systems.values()))
    measures = [name for name in ("exact_match", "f1", "cosine", "declined") if name in first.scores]
    rows = []
    for name, graded in systems.items():
        gain = gains.get(name)
        words = float(np.mean([len(answer.split()) for answer in graded.answers]))
        settings = {"seed": report.origin.seed, "resamples": report.resamples}
        rows.append(
            [
                f"**{escape(name)}**" if name == report.model else escape(name),
                *(with_interval(qa.interval(graded, measure, **settings)) for measure in measures),
                "" if gain is None else f"{signed(gain.value)} ({signed(gain.low)} to {signed(gain.high)})",
                f"{words:.1f}",
                f"{report.pace[name]:.1f}",
            ]
        )
    header = ["system", *measures, f"{_measure(column)} over base", "words", "answers a second"]
    n, facts = len(first.ids), len(set(first.facts))
    about = f"{n:,} questions" + (f" on {facts:,} facts." if facts < n else ".")
    return f"### {TITLES[column]}\n\n{table(header, rows)}\n\n{about}\n\n{_flips(report, column)}"


def _flips(report: ExamReport, column: Column) -> str:
    """The questions where the run gained and lost most over the base."""
    systems = report.columns[column]
    run, base = systems[report.model], systems[report.base]
    measure = _measure(column)
    apart = run.of(measure) - base.of(measure)
    order = np.argsort(-apart, kind="stable")
    chosen = [*order[: SHOWN // 2].tolist(), *order[-(SHOWN // 2) :].tolist()]
    rows = [
        [
            cut(report.questions[run.ids[n]]),
            signed(float(apart[n])),
            *(cut(each.answers[n]) for each in systems.values()),
        ]
        for n in dict.fromkeys(chosen)
    ]
    header = ["question", f"{measure} gained", *systems]
    return f"Where the run gained and lost most:\n\n{escaped_table(header, rows)}"


def _explained(report: ExamReport) -> str:
    return (
        "Brackets hold 95% intervals from a bootstrap over facts; differences are of the same questions. "
        "The columns are never one figure: the first shows what was learnt by heart, the second the same "
        "facts in words that were not trained, the third questions that nothing taught answers. Exact match "
        "and F1 are SQuAD's; an answer that is right in other words has a low F1."
    )


def _looked(questions: Sequence[str]) -> str:
    """The pictures of attention."""
    if not questions:
        return ""
    pictures = [
        f"![Where the model looked in the question '{escape(question)}' for each piece of its answer]"
        f"(plots/attention-{number}.png)"
        for number, question in enumerate(questions)
    ]
    return "\n\n".join(["## Where it looked", *pictures])
