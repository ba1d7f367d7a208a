"""What a run on preferences says about itself: held-out pairs, people's replies, what was forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overtone.data.split import DataReport
from overtone.evaluation import plots, plots_run
from overtone.evaluation.benchmarks import preferences
from overtone.evaluation.benchmarks.preferences import Preferred
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
from overtone.evaluation.compare import Standing
from overtone.evaluation.findings import Licence, Origin, Training, told
from overtone.evaluation.markdown import escape, signed, table
from overtone.evaluation.report import loud

ANSWERS = "How likely the replies of people in the test conversations are."
"""What the text of answers is."""


@dataclass(frozen=True, slots=True)
class PreferenceReport:
    """Everything that the report of a run on preferences tells.

    Args:
        origin: where the run comes from.
        model: the run's name.
        base: the decoder before it was tuned.
        pairs: what both make of the held-out pairs.
        likely: text → what the run and then the base give it.
        training: how the adapter was fitted.
        licence: what it may be used for.
        data: what was done with the conversations.
        mask: the proof of what was compared, from ``chat.proof``.
        sizes: what more the fit cost, each a name and a text.
        resamples: of an interval.
    """

    origin: Origin
    model: str
    base: str
    pairs: Preferred
    likely: Mapping[str, Sequence[Standing]]
    training: Training
    licence: Licence
    data: DataReport
    mask: Mapping[str, Any]
    sizes: Sequence[Sequence[str]]
    resamples: int


def write(report: PreferenceReport, folder: Path) -> Path:
    """Write ``plots/learning.png``, ``report.md`` and ``report.html`` into a run's folder.

    Returns:
        The path of the HTML file.

    Raises:
        RunError: the folder could not be written.
    """
    text = markdown(report)
    learning = plots_run.learning_curves(report.training.history, report.training.metric)
    plots.save(learning, folder / "plots" / "learning.png")
    return save(text, report.model, folder)


def markdown(report: PreferenceReport) -> str:
    """The whole report."""
    sections = [
        f"# {escape(report.model)}",
        "\n".join(f"- {escape(each)}" for each in verdicts(report)),
        escape(report.origin.description),
        loud(report.licence),
        "## Against the baselines",
        _pairs(report),
        *(
            likely(name, standings, ANSWERS if name == "answers" else BESIDE)
            for name, standings in report.likely.items()
        ),
        *closing(report, "A row is a conversation; pairs are of training ones."),
    ]
    return joined(sections)


def verdicts(report: PreferenceReport) -> list[str]:
    """One sentence on the pairs, and one for each text."""
    settings = {"seed": report.origin.seed, "resamples": report.resamples}
    gain = preferences.gained(report.pairs, report.model, report.base, **settings)
    ours, theirs = (
        preferences.share(report.pairs, name, **settings).value for name in (report.model, report.base)
    )
    said = compared(gain, "prefers the better answer more often than", "prefers it less often than")
    return [
        f"On {len(report.pairs.ids)} held-out pairs, {report.model} {said} {report.base}: "
        f"{ours:.3f} against {theirs:.3f}, {told(gain)}.",
        *(likelier(text, model, base) for text, (model, base) in report.likely.items()),
    ]


def _pairs(report: PreferenceReport) -> str:
    """What the run and the base make of the held-out pairs."""
    settings = {"seed": report.origin.seed, "resamples": report.resamples}
    rows = []
    for name in (report.model, report.base):
        share = with_interval(preferences.share(report.pairs, name, **settings))
        cells = ["", ""]
        if name != report.base:
            gain = preferences.gained(report.pairs, name, report.base, **settings)
            moved = preferences.moved(report.pairs, name, report.base, **settings)
            cells = [
                f"{signed(gain.value)} ({signed(gain.low)} to {signed(gain.high)})",
                with_interval(moved),
            ]
        rows.append([escape(name), share, *cells])
    header = ["system", "better answer likelier a token", "gained over base", "better answer gained more"]
    about = (
        "Brackets hold 95% intervals from a bootstrap over pairs. The last column is the accuracy of the "
        "implicit reward, measured from the base."
    )
    return f"### Held-out pairs\n\n{table(header, rows)}\n\n{about}"
