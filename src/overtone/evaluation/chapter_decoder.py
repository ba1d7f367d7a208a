"""The chapters of a report that any tuned decoder has, and how the report is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from overtone.data.split import DataReport
from overtone.evaluation.chapter import gained, leakage, left_out, with_interval
from overtone.evaluation.compare import Difference, Standing
from overtone.evaluation.findings import Licence, Origin, Training, gain_over, told
from overtone.evaluation.markdown import escape, table
from overtone.evaluation.page import page
from overtone.evaluation.report import again, cost, licence_of
from overtone.run import write_atomic

BESIDE = "A text that has nothing to do with the training: what rises here was forgotten."
"""What a general text is."""


class Reported(Protocol):
    """What the report of a tuned decoder tells, whatever it was tuned for."""

    @property
    def origin(self) -> Origin:
        """Where the run comes from."""

    @property
    def training(self) -> Training:
        """How it was fitted."""

    @property
    def licence(self) -> Licence:
        """What it may be used for."""

    @property
    def data(self) -> DataReport:
        """What was done with the conversations."""

    @property
    def mask(self) -> Mapping[str, Any] | None:
        """The proof of what was trained, from ``chat.proof``; None where nothing is masked."""

    @property
    def sizes(self) -> Sequence[Sequence[str]]:
        """What more the fit cost, each a name and a text."""


def closing(report: Reported, row: str) -> list[str]:
    """The chapters from the learning to how the run is made again; ``row`` says what a row of the data is."""
    metric = escape(report.training.metric)
    return [
        f"## Learning\n\n![Training and validation {metric} over steps](plots/learning.png)",
        "" if report.mask is None else masked(report.mask),
        f"## Data and leakage\n\n{leakage(report.data)} {row}",
        f"### Left out\n\n{left_out(report.data)}" if report.data.left_out else "",
        cost(report.training, report.origin, report.sizes),
        licence_of(report.licence),
        again(report.origin),
    ]


def save(text: str, model: str, folder: Path) -> Path:
    """Write ``report.md`` and ``report.html``; the pictures that they show stand in ``plots`` already.

    Returns:
        The path of the HTML file.

    Raises:
        RunError: the folder could not be written.
    """
    write_atomic(folder / "report.md", text)
    write_atomic(folder / "report.html", page(text, f"{model} · Overtone", folder))
    return folder / "report.html"


def joined(sections: Sequence[str]) -> str:
    """The sections that say something, one below the other."""
    return "\n\n".join(section for section in sections if section) + "\n"


def compared(gain: Difference, above: str, below: str) -> str:
    """What a difference comes to: the one, the other, or neither is shown."""
    return above if gain.low > 0 else below if gain.high < 0 else "is not shown to differ from"


def likelier(text: str, model: Standing, base: Standing) -> str:
    """One sentence on how a run and its base find a text."""
    gain = gain_over(base)
    said = compared(gain, "is worse than", "is better than")
    ours, theirs = (each.figures["bits_per_byte"].value for each in (model, base))
    return (
        f"On {text}, {model.name} {said} {base.name}: {ours:.3f} against {theirs:.3f} bits a byte, "
        f"{told(gain)}."
    )


def likely(name: str, standings: Sequence[Standing], about: str) -> str:
    """How likely a text is to the run and the base.

    Args:
        name: of the text.
        standings: the run's, then the base's.
        about: a sentence on what the text is.
    """
    rows = [
        [
            escape(each.name),
            *(with_interval(each.figures[measure]) for measure in ("perplexity", "bits_per_byte")),
            "" if each.gain is None else gained(each),
        ]
        for each in standings
    ]
    header = ["system", "perplexity", "bits a byte", "run − base"]
    return f"### {escape(name)}\n\n{table(header, rows)}\n\n{about} Lower is better."


def masked(mask: Mapping[str, Any]) -> str:
    """What was trained, so that nobody has to trust it; ``mask`` is from ``chat.proof``."""
    examples = "\n\n".join(f"```\n{each}\n```" for each in mask["examples"])
    return (
        f"## What was trained\n\n{mask['trained']:,} of {mask['tokens']:,} tokens ({mask['share']:.1%}) in "
        f"{mask['conversations']:,} conversations; {mask['ended']:.1%} of them end with a trained "
        f"`{mask['end_of_turn']}`; {mask['cut']:,} were cut. Between ⟦ and ⟧ stands what is learnt:\n\n"
        f"{examples}"
    )
