"""What a report is made of, as plain values, and the one sentence that it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from overtone.data.split import DataReport
from overtone.errors import RunError
from overtone.evaluation.compare import Difference, McNemar, Standing, System
from overtone.evaluation.markdown import p_equals, signed
from overtone.evaluation.plots import Curve
from overtone.scores import METRICS


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the run comes from.

    Args:
        description: of the recipe, one line.
        command: what makes the run again.
        seed: the recipe's seed.
        environment: commit, date, hardware and versions, as in the manifest.
    """

    description: str
    command: str
    seed: int
    environment: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured on the test rows.

    Args:
        metric: what the verdict is about.
        model: the run's model.
        baselines: at least one, on the same rows.
        standings: the model's and then each baseline's, from ``compare.standings``.
        texts: id → text of rows that may be shown; others are shown by id.
        resamples: bootstrap resamples of an interval.
    """

    metric: str
    model: System
    baselines: Sequence[System]
    standings: Sequence[Standing]
    texts: Mapping[str, str] = field(default_factory=dict)
    resamples: int = 2000


@dataclass(frozen=True, slots=True)
class Training:
    """How the model was fitted and what that cost.

    Args:
        history: rows of ``metrics.jsonl``.
        metric: the validation figure that chose the best step, such as ``emotion.macro_f1``.
        seconds: of training.
        rows_per_second: while training.
        parameters: of the model.
        trainable: of them, trained.
        peak_memory: of the process, in bytes.
    """

    history: Sequence[Mapping[str, Any]]
    metric: str
    seconds: float
    rows_per_second: float
    parameters: int
    trainable: int
    peak_memory: int


@dataclass(frozen=True, slots=True)
class Licence:
    """What the model may be used for.

    Args:
        data: the most restrictive licence of the data.
        weights: the licence of the pretrained weights.
        commercial: whether both allow commercial use; None where that is not known.
    """

    data: str
    weights: str
    commercial: bool | None


@dataclass(frozen=True, slots=True)
class Cascade:
    """What the steps around the model changed.

    Args:
        rule: the fitted rule in one sentence.
        risk: the stated risk, 0..1.
        figures: what was measured → its value, already written out.
        curves: for the risk-coverage plot, at least one.
    """

    rule: str
    risk: float
    figures: Mapping[str, str]
    curves: Sequence[Curve]


@dataclass(frozen=True, slots=True)
class EdgeCases:
    """Hard cases that trained nothing.

    Args:
        totals: kind → number of cases.
        right: system → kind → cases decided right.
        mcnemar: over all cases; a is the first system, b the last.
    """

    totals: Mapping[str, int]
    right: Mapping[str, Mapping[str, int]]
    mcnemar: McNemar | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report tells."""

    origin: Origin
    evidence: Evidence
    training: Training
    data: DataReport
    licence: Licence
    cascade: Cascade | None = None
    edges: EdgeCases | None = None

    @property
    def name(self) -> str:
        """The model's name, which is the run's."""
        return self.evidence.model.name


def verdict(evidence: Evidence) -> str:
    """One sentence: better than the best baseline, worse, or not shown to be either.

    Raises:
        RunError: there is no baseline.
    """
    best = best_baseline(evidence)
    gain, test = gain_over(best)
    sign = 1 if METRICS[evidence.metric].higher_is_better else -1
    low, high = sorted((sign * gain.low, sign * gain.high))
    said = "is better than" if low > 0 else "is worse than" if high < 0 else "is not shown to differ from"
    ours, theirs = (each.figures[evidence.metric].value for each in (evidence.standings[0], best))
    rows = len(evidence.model.predictions.ids)
    return (
        f"{evidence.model.name} {said} its best baseline, {best.name}: {ours:.3f} against {theirs:.3f} "
        f"{evidence.metric} on {rows:,} test rows, a difference of {signed(gain.value)} "
        f"(95% interval {signed(gain.low)} to {signed(gain.high)}; McNemar {p_equals(test.p)})."
    )


def best_baseline(evidence: Evidence) -> Standing:
    """The baseline that is hardest to beat in the verdict's metric.

    Raises:
        RunError: there is no baseline.
    """
    if not evidence.baselines or len(evidence.standings) != len(evidence.baselines) + 1:
        raise RunError(
            f"the report of {evidence.model.name} has no baseline row",
            hint="name at least one in evaluate.baselines of the recipe",
        )
    sign = 1 if METRICS[evidence.metric].higher_is_better else -1
    return max(evidence.standings[1:], key=lambda each: sign * each.figures[evidence.metric].value)


def gain_over(standing: Standing) -> tuple[Difference, McNemar]:
    """What the model gains over a baseline, and McNemar's test of it.

    Raises:
        RunError: the standing was not compared with the model.
    """
    if standing.gain is None or standing.mcnemar is None:
        raise RunError(f"'{standing.name}' was not compared with the model", hint="use compare.standings")
    return standing.gain, standing.mcnemar
