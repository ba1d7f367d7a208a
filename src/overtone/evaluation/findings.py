"""What a report is made of, as plain values, and the one sentence that it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from overtone.breakdown import metric_named
from overtone.data.split import DataReport
from overtone.errors import RunError
from overtone.evaluation.compare import Difference, McNemar, Standing, System
from overtone.evaluation.markdown import p_equals, signed
from overtone.evaluation.plots import Curve
from overtone.scores import Metric


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
    """What was measured on the test rows of one task.

    Args:
        task: its name.
        metric: what the verdict is about, as a name or a path such as ``valence.pearson``.
        model: the run's model.
        baselines: at least one, on the same rows.
        standings: the model's and then each baseline's, from ``compare.standings``.
        data: what was done with the task's data.
        texts: id → text of rows that may be shown; others are shown by id.
        resamples: bootstrap resamples of an interval.
    """

    task: str
    metric: str
    model: System
    baselines: Sequence[System]
    standings: Sequence[Standing]
    data: DataReport
    texts: Mapping[str, str] = field(default_factory=dict)
    resamples: int = 2000

    @property
    def judged(self) -> Metric:
        """The metric that the verdict is about.

        Raises:
            DataError: it does not apply to what was measured.
        """
        return metric_named(self.metric, self.model.predictions)


@dataclass(frozen=True, slots=True)
class Training:
    """How the model was fitted and what that cost.

    Args:
        history: rows of ``metrics.jsonl``.
        metric: the validation figure that chose the best step, such as ``emotion.macro_f1`` or ``mean``.
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

    @classmethod
    def of(cls, facts: Mapping[str, Any], history: Sequence[Mapping[str, Any]], metric: str) -> Training:
        """What the manifest of a trained run says of its fit."""
        fit, model = facts["fit"], facts["model"]
        return cls(
            history=history,
            metric=metric,
            seconds=fit["seconds"],
            rows_per_second=fit["rows_per_second"],
            parameters=model["parameters"],
            trainable=model["trainable"],
            peak_memory=facts["peak_memory_bytes"],
        )


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
    """Everything that a report tells.

    Args:
        origin: where the run comes from.
        tasks: what was measured, at least one task.
        training: how the model was fitted.
        licence: what it may be used for.
        cascade: what the steps around the model of an only task changed.
        edges: how hard cases of that task were decided.
    """

    origin: Origin
    tasks: Sequence[Evidence]
    training: Training
    licence: Licence
    cascade: Cascade | None = None
    edges: EdgeCases | None = None

    @property
    def name(self) -> str:
        """The model's name, which is the run's."""
        return self.tasks[0].model.name


def verdict(evidence: Evidence) -> str:
    """One sentence: better than the best baseline, worse, or not shown to be either.

    Raises:
        RunError: there is no baseline.
    """
    best = best_baseline(evidence)
    gain = gain_over(best)
    test, p = ("bootstrap", gain.p) if best.mcnemar is None else ("McNemar", best.mcnemar.p)
    sign = 1 if evidence.judged.higher_is_better else -1
    low, high = sorted((sign * gain.low, sign * gain.high))
    said = "is better than" if low > 0 else "is worse than" if high < 0 else "is not shown to differ from"
    ours, theirs = (each.figures[evidence.metric].value for each in (evidence.standings[0], best))
    rows = len(evidence.model.predictions.ids)
    return (
        f"{evidence.model.name} {said} its best baseline, {best.name}: {ours:.3f} against {theirs:.3f} "
        f"{evidence.metric} on {rows:,} test rows, {told(gain, f'{test} {p_equals(p)}')}."
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
    sign = 1 if evidence.judged.higher_is_better else -1
    return max(evidence.standings[1:], key=lambda each: sign * each.figures[evidence.metric].value)


def told(gain: Difference, p: str = "") -> str:
    """A difference in words, with its interval and its p; ``p`` in the place of the bootstrap's."""
    interval = f"95% interval {signed(gain.low)} to {signed(gain.high)}"
    return f"a difference of {signed(gain.value)} ({interval}; {p or p_equals(gain.p)})"


def gain_over(standing: Standing) -> Difference:
    """What the model gains over a baseline.

    Raises:
        RunError: the standing was not compared with the model.
    """
    if standing.gain is None:
        raise RunError(f"'{standing.name}' was not compared with the model", hint="use compare.standings")
    return standing.gain
