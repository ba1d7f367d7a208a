"""What a language model's run says about itself: the figures beside the n-gram's, samples, and the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from overtone.data.split import DataReport
from overtone.errors import RunError
from overtone.evaluation import plots, plots_run
from overtone.evaluation.chapter import leakage, left_out, with_interval
from overtone.evaluation.compare import Difference, Standing
from overtone.evaluation.findings import Licence, Origin, Training, gain_over, told
from overtone.evaluation.markdown import escape, escaped_table, p_value, signed, table
from overtone.evaluation.page import page
from overtone.evaluation.plots_run import Gain
from overtone.evaluation.report import again, cost, licence_of, loud
from overtone.evaluation.texts import JUDGED, Likelihoods
from overtone.likelihood import MEASURES
from overtone.run import write_atomic

SHOWN = 600
"""Characters of a sample that the report shows."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured on one text.

    Args:
        found: what each system gives each document; the first is the model.
        standings: the model's and then each baseline's, from ``texts.standings``.
        note: what is to be known of the text, from its card.
    """

    found: Likelihoods
    standings: Sequence[Standing]
    note: str


@dataclass(frozen=True, slots=True)
class LanguageReport:
    """Everything that the report of a language model tells.

    Args:
        origin: where the run comes from.
        texts: what was measured on each text, the run's own test documents first.
        training: how the model was fitted.
        licence: what it may be used for.
        data: what was done with the documents.
        sizes: what more the fit cost, such as tokens a second, each a name and a text.
        unknown: data set → share of its test tokens that the vocabulary lacks, 0..1.
        samples: prompt and continuation.
    """

    origin: Origin
    texts: Sequence[Evidence]
    training: Training
    licence: Licence
    data: DataReport
    sizes: Sequence[Sequence[str]]
    unknown: Mapping[str, float]
    samples: Sequence[tuple[str, str]]


def write(report: LanguageReport, folder: Path) -> Path:
    """Write ``plots/*.png``, ``report.md`` and ``report.html`` into a run's folder.

    Returns:
        The path of the HTML file.

    Raises:
        RunError: there is no baseline, or the folder could not be written.
    """
    text = markdown(report)
    model = report.texts[0].standings[0].name
    learning = plots_run.learning_curves(report.training.history, report.training.metric)
    plots.save(learning, folder / "plots" / "learning.png")
    plots.save(plots_run.gains([_gain(each) for each in report.texts]), folder / "plots" / "gains.png")
    write_atomic(folder / "report.md", text)
    write_atomic(folder / "report.html", page(text, f"{model} · Overtone", folder))
    return folder / "report.html"


def markdown(report: LanguageReport) -> str:
    """The whole report.

    Raises:
        RunError: there is no baseline.
    """
    metric = escape(report.training.metric)
    sections = [
        f"# {escape(report.texts[0].standings[0].name)}",
        "\n".join(f"- {escape(verdict(each))}" for each in report.texts),
        escape(report.origin.description),
        loud(report.licence),
        "## Against the baselines",
        *(_compared(report, each) for each in report.texts),
        "Brackets hold 95% intervals from a bootstrap over articles. A difference is the model's bits a "
        "byte less the baseline's, from the same resamples of both. Lower is better. Perplexity compares "
        "models of one tokenizer, bits a byte those of any.",
        "![What the model gains over the n-gram on each text, in bits a byte, with intervals; the numbers "
        "stand in the tables above](plots/gains.png)",
        f"## Learning\n\n![Training loss and validation {metric} over steps](plots/learning.png)",
        _samples(report.samples),
        _data(report.data),
        cost(report.training, report.origin, report.sizes),
        licence_of(report.licence),
        again(report.origin),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def verdict(evidence: Evidence) -> str:
    """One sentence: better than the best baseline, worse, or not shown to be either.

    Raises:
        RunError: there is no baseline.
    """
    best, gain = _best(evidence)
    said = (
        "is better than"
        if gain.high < 0
        else "is worse than"
        if gain.low > 0
        else "is not shown to differ from"
    )
    ours, theirs = (each.figures[JUDGED].value for each in (evidence.standings[0], best))
    return (
        f"On {evidence.found.text}, {evidence.standings[0].name} {said} {best.name}: {ours:.3f} against "
        f"{theirs:.3f} bits a byte on {len(evidence.found.ids):,} test documents, {told(gain)}."
    )


def _best(evidence: Evidence) -> tuple[Standing, Difference]:
    """The baseline that is hardest to beat, and what the model gains over it.

    Raises:
        RunError: there is none.
    """
    if len(evidence.standings) < 2:
        raise RunError("a report of a language model without a baseline", hint="evaluate the run again")
    best = min(evidence.standings[1:], key=lambda each: each.figures[JUDGED].value)
    return best, gain_over(best)


def _gain(evidence: Evidence) -> Gain:
    """What the model gains on a text, turned so that more is better."""
    best, gain = _best(evidence)
    turned = Difference(-gain.value, -gain.high, -gain.low, gain.p)
    return Gain(evidence.found.text, f"bits a byte saved over {best.name}", turned)


def _compared(report: LanguageReport, evidence: Evidence) -> str:
    """The model and its baselines on one text."""
    rows = []
    for place, each in enumerate(evidence.standings):
        name = escape(each.name)
        gain = each.gain
        rows.append(
            [
                name if place else f"**{name}**",
                *(with_interval(each.figures[measure]) for measure in MEASURES),
                "" if gain is None else f"{signed(gain.value)} ({signed(gain.low)} to {signed(gain.high)})",
                "" if gain is None else p_value(gain.p),
            ]
        )
    header = ["system", "perplexity", "bits a character", "bits a byte", "difference", "p"]
    found = evidence.found
    unknown = report.unknown[found.text]
    lost = f" {unknown:.2%} of its tokens are unknown to the vocabulary, so figures are too low." * (
        unknown > 0
    )
    return (
        f"### {escape(found.text)}\n\n{table(header, rows)}\n\n{len(found.ids):,} documents of "
        f"{len(set(found.articles)):,} articles, {int(found.bytes.sum()):,} bytes, "
        f"{int(found.tokens.sum()):,} tokens.{lost} {escape(evidence.note)}"
    )


def _samples(samples: Sequence[tuple[str, str]]) -> str:
    rows = [[prompt or "(nothing)", made[:SHOWN]] for prompt, made in samples]
    return f"## Samples\n\n{escaped_table(['prompt', 'continuation'], rows)}"


def _data(found: DataReport) -> str:
    text = f"## Data and leakage\n\n{leakage(found)} A row is a document; those of one article stay together."
    return text + (f"\n\n### Left out\n\n{left_out(found)}" if found.left_out else "")
