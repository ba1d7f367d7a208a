"""What an embedder's run says about itself: what it finds beside BM25 and its teacher, and the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from overtone.data.split import DataReport
from overtone.errors import RunError
from overtone.evaluation import plots, plots_run
from overtone.evaluation.benchmarks.retrieval import JUDGED, SHOWN
from overtone.evaluation.chapter import leakage, left_out, with_interval
from overtone.evaluation.compare import Standing
from overtone.evaluation.findings import Licence, Origin, Training, gain_over, told
from overtone.evaluation.markdown import escape, p_value, signed, table
from overtone.evaluation.page import page
from overtone.evaluation.plots_run import Gain
from overtone.evaluation.report import again, cost, licence_of, loud
from overtone.run import write_atomic


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """Everything that the report of an embedder tells.

    Args:
        origin: where the run comes from.
        parts: name → every system's standing, the embedder first; the whole test first, then a part of it.
        rivals: a system that is more than another → that one, which it is set against.
        sizes: name → how many questions.
        passages: how many are searched.
        milliseconds: system → the median time of a question, encoding included.
        training: how the model was fitted.
        licence: what it may be used for.
        data: what was done with the questions.
    """

    origin: Origin
    parts: Mapping[str, Sequence[Standing]]
    rivals: Mapping[str, str]
    sizes: Mapping[str, int]
    passages: int
    milliseconds: Mapping[str, float]
    training: Training
    licence: Licence
    data: DataReport


def write(report: RetrievalReport, folder: Path) -> Path:
    """Write ``plots/*.png``, ``report.md`` and ``report.html`` into a run's folder.

    Returns:
        The path of the HTML file.

    Raises:
        RunError: there is no baseline, or the folder could not be written.
    """
    text = markdown(report)
    whole = next(iter(report.parts.values()))
    learning = plots_run.learning_curves(report.training.history, report.training.metric)
    plots.save(learning, folder / "plots" / "learning.png")
    gains = [
        Gain(f"{better.name} over {other.name}", JUDGED, gain_over(each))
        for each, better, other in _set_against(report)
    ]
    plots.save(plots_run.gains(gains, "What each gains"), folder / "plots" / "gains.png")
    write_atomic(folder / "report.md", text)
    write_atomic(folder / "report.html", page(text, f"{whole[0].name} · Overtone", folder))
    return folder / "report.html"


def markdown(report: RetrievalReport) -> str:
    """The whole report.

    Raises:
        RunError: there is no baseline.
    """
    whole, *parts = report.parts.items()
    metric = escape(report.training.metric)
    sections = [
        f"# {escape(whole[1][0].name)}",
        "\n".join(f"- {escape(each)}" for each in verdicts(report)),
        escape(report.origin.description),
        loud(report.licence),
        "## Against the baselines",
        _compared(report, *whole),
        *(
            f"### The first {report.sizes[name]:,} questions\n\n{_compared(report, name, each)}"
            for name, each in parts
        ),
        "Brackets hold 95% intervals from a bootstrap over questions. A difference is the embedder's "
        f"{JUDGED} less the other's, question by question; of a fused ranking, its own less that of the "
        "words alone. Higher is better. Rankings are fused by reciprocal ranks. Times are the median of a "
        "question asked by itself on this machine, encoding included, and depend on what else it did.",
        f"![What each gains in {JUDGED}, with intervals; the numbers stand in the table above]"
        "(plots/gains.png)",
        f"## Learning\n\n![Training loss and validation {metric} over steps](plots/learning.png)",
        f"## Data and leakage\n\n{leakage(report.data)} A row is a question, or a sentence asked like one.",
        f"### Left out\n\n{left_out(report.data)}" if report.data.left_out else "",
        cost(report.training, report.origin),
        licence_of(report.licence),
        again(report.origin),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def verdicts(report: RetrievalReport) -> list[str]:
    """One sentence for each other system: better, worse, or not shown to be either.

    Raises:
        RunError: there is no other.
    """
    part = next(iter(report.parts))
    made = []
    for each, better, other in _set_against(report):
        gain = gain_over(each)
        said = (
            "is better than"
            if gain.low > 0
            else "is worse than"
            if gain.high < 0
            else "is not shown to differ from"
        )
        ours, theirs = (found.figures[JUDGED].value for found in (better, other))
        made.append(
            f"{better.name} {said} {other.name}: {ours:.3f} against {theirs:.3f} {JUDGED} on "
            f"{report.sizes[part]:,} test questions, {told(gain)}."
        )
    return made


def _set_against(report: RetrievalReport) -> list[tuple[Standing, Standing, Standing]]:
    """Every other system on the whole test, whose gain is the second's over the third.

    Raises:
        RunError: there is no other.
    """
    model, *others = next(iter(report.parts.values()))
    if not others:
        raise RunError("a report of an embedder without a baseline", hint="evaluate the run again")
    named = {each.name: each for each in others}
    return [
        (each, each, named[report.rivals[each.name]]) if each.name in report.rivals else (each, model, each)
        for each in others
    ]


def _compared(report: RetrievalReport, part: str, standings: Sequence[Standing]) -> str:
    """The embedder and the others on some questions."""
    rows = []
    for place, each in enumerate(standings):
        gain, name = each.gain, escape(each.name)
        rows.append(
            [
                name if place else f"**{name}**",
                *(with_interval(each.figures[measure]) for measure in SHOWN),
                "" if gain is None else f"{signed(gain.value)} ({signed(gain.low)} to {signed(gain.high)})",
                "" if gain is None else p_value(gain.p),
                f"{report.milliseconds[each.name]:.2f}",
            ]
        )
    header = ["system", *SHOWN, "difference", "p", "ms"]
    sizes = f"{report.sizes[part]:,} questions to {report.passages:,} passages."
    return f"{table(header, rows)}\n\n{sizes}"
