"""What a companion's run says about itself: its replies, what it hears, what it forgot, what was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overtone.data.split import DataReport
from overtone.evaluation import chapter_classes, eq_bench_report, plots, plots_run
from overtone.evaluation.benchmarks.replies import Measured
from overtone.evaluation.chapter import Chapter, comparison, with_interval
from overtone.evaluation.chapter_decoder import BESIDE, closing, joined, likelier, likely, save
from overtone.evaluation.compare import Standing
from overtone.evaluation.findings import Evidence, Licence, Origin, Training, verdict
from overtone.evaluation.markdown import escape, escaped_table, table
from overtone.evaluation.report import loud
from overtone.scores import Predictions

REPLIES = "How likely the replies of people in the test conversations are."
"""What a text of replies is."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """What the run and the base reply to the same.

    Args:
        opener: what was said.
        reply: by the run.
        reflection: what the run thought before.
        base: what the base replied.
    """

    opener: str
    reply: str
    reflection: str
    base: str


@dataclass(frozen=True, slots=True)
class CompanionReport:
    """Everything that the report of a companion tells.

    Args:
        origin: where the run comes from.
        model: the run's name.
        base: the decoder before it was tuned.
        likely: text → what the run and then the base give it; replies of a data set, or a text beside.
        heard: one for each head, beside its baselines.
        replies: the measures of each system's replies; perhaps none.
        opened: what both reply to some openers.
        eq_bench: the cells of ``eq_bench_report.HEADER``; None where it was not sat.
        training: how adapter and heads were fitted.
        licence: what it may be used for.
        data: what was done with the conversations.
        mask: the proof of what was trained, from ``chat.proof``.
        sizes: what more the fit cost, each a name and a text.
        objectives: the tasks that were learnt.
        sources: the data sets whose replies stand in ``likely``.
    """

    origin: Origin
    model: str
    base: str
    likely: Mapping[str, Sequence[Standing]]
    heard: Sequence[Evidence]
    replies: Sequence[Measured]
    opened: Sequence[SideBySide]
    eq_bench: Sequence[Sequence[str]] | None
    training: Training
    licence: Licence
    data: DataReport
    mask: Mapping[str, Any]
    sizes: Sequence[Sequence[str]]
    objectives: Sequence[str]
    sources: Sequence[str]


def write(report: CompanionReport, folder: Path) -> Path:
    """Write ``plots/*.png``, ``report.md`` and ``report.html`` into a run's folder.

    Returns:
        The path of the HTML file.

    Raises:
        RunError: the folder could not be written.
    """
    text = markdown(report)
    training = report.training
    heard = {each.task for each in report.heard}
    objectives = {name: "accuracy" if name in heard else None for name in report.objectives}
    learning = plots_run.learning_by_task(training.history, training.metric, objectives)
    plots.save(learning, folder / "plots" / "learning.png")
    for chapter in _chapters(report):
        assert isinstance(chapter.evidence.model.predictions, Predictions)
        for name, figure in chapter_classes.pictures(chapter, chapter.evidence.model.predictions).items():
            plots.save(figure, folder / "plots" / f"{name}.png")
    return save(text, report.model, folder)


def markdown(report: CompanionReport) -> str:
    """The whole report."""
    sections = [
        f"# {escape(report.model)}",
        "\n".join(f"- {escape(each)}" for each in verdicts(report)),
        escape(report.origin.description),
        loud(report.licence),
        "## Against the baselines",
        *(
            likely(name, standings, REPLIES if name in report.sources else BESIDE)
            for name, standings in report.likely.items()
        ),
        *(_heard(chapter) for chapter in _chapters(report)),
        _replies(report.replies),
        _eq_bench(report.eq_bench),
        _opened(report.opened),
        *closing(report, "A row is a conversation."),
    ]
    return joined(sections)


def verdicts(report: CompanionReport) -> list[str]:
    """One sentence for each text and for each head."""
    return [
        *(likelier(text, model, base) for text, (model, base) in report.likely.items()),
        *(f"{each.task}: {verdict(each)}" for each in report.heard),
    ]


def _chapters(report: CompanionReport) -> list[Chapter]:
    return [Chapter(each, report.origin.seed, depth=4, prefix=f"{each.task}-") for each in report.heard]


def _heard(chapter: Chapter) -> str:
    """A head beside its baselines, with its pictures."""
    about = {
        "emotion": "Heard after the first turn alone. The baselines read that turn too.",
        "strategy": "Heard before each reply. The baselines read the last turns alone.",
    }
    task = chapter.evidence.task
    pictures = (
        f"![F1 of every label of {task}, the model's and its baselines'](plots/{task}-labels.png)\n\n"
        f"![Which labels of {task} are taken for which](plots/{task}-confusion.png)"
    )
    return f"### {escape(task)}\n\n{about[task]}\n\n{comparison(chapter)}\n\n{pictures}"


def _replies(found: Sequence[Measured]) -> str:
    """The measures of each system's replies."""
    if not found:
        return ""
    rows = [
        [
            escape(each.system),
            f"{each.bleu:.2f}",
            with_interval(each.rouge_l),
            f"{each.distinct_1:.3f}",
            f"{each.distinct_2:.3f}",
            with_interval(each.words) + (" — collapsed" if each.collapsed else ""),
        ]
        for each in found
    ]
    header = ["system", "BLEU", "ROUGE-L", "distinct-1", "distinct-2", "words"]
    told = (
        "Replies to test turns beside what a person said there. Many replies are good, so the first two "
        "are low for good ones too; a system whose replies are much shorter than a person's has collapsed."
    )
    return f"### Replies\n\n{table(header, rows)}\n\n{told}"


def _eq_bench(cells: Sequence[Sequence[str]] | None) -> str:
    """The table of EQ-Bench."""
    if cells is None:
        return ""
    told = (
        "How near the ratings of a character's emotions come to the reference, 0 by chance and 100 the "
        "reference itself. A run that fails the 83.33% rule is named by its constrained score, and so is "
        "what stands beside it."
    )
    return f"### EQ-Bench\n\n{eq_bench_report.markdown(eq_bench_report.HEADER, cells)}\n\n{told}"


def _opened(found: Sequence[SideBySide]) -> str:
    """What the run and the base reply to some openers, side by side."""
    if not found:
        return ""
    rows = [[each.opener, each.reflection, each.reply, each.base] for each in found]
    header = ["opener", "what the run thought", "what it replied", "what the base replied"]
    return f"## Side by side\n\n{escaped_table(header, rows)}"
