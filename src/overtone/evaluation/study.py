"""A grid of arms and seeds: what each arm gains over one of them, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from overtone.breakdown import metric_named
from overtone.errors import DataError, did_you_mean
from overtone.evaluation.bootstrap import of_metric, resampled
from overtone.evaluation.compare import Difference, aligned, difference_of
from overtone.scores import Floats, Ints, Scored

LEVEL = 0.05
"""The largest chance of a false verdict, one or more, in a study whose arms do not differ."""

Part = Literal["test", "train"]
Verdict = Literal["helps", "hurts", "no difference shown"]

COSTS = {
    "train.seconds": ("fit", "seconds", "s"),
    "train.epochs": ("fit", "epochs", "epochs"),
    "train.parameters": ("model", "trainable", "count of parameters"),
}
"""What an arm costs: name → where a run's manifest has it, and its unit. Costs are stated and not judged."""


@dataclass(frozen=True, slots=True)
class Term:
    """One metric of one task's rows.

    Args:
        share: what it is multiplied by in a measure.
        part: test rows, or training rows.
        task: whose rows.
        metric: its name, such as ``macro_f1``, ``hate.f1``, ``valence.pearson``.
    """

    share: float
    part: Part
    task: str
    metric: str


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that a study compares its arms by.

    Args:
        name: ``mean``, ``gap``, ``task.metric``, ``task.label.metric``, or one of ``COSTS``.
        terms: it is their weighted sum; none for a cost.
        higher_is_better: the direction.
        unit: what it counts.
    """

    name: str
    terms: tuple[Term, ...]
    higher_is_better: bool
    unit: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One arm, trained with one seed.

    Args:
        scores: what it said, by part and task.
        costs: one value for each of ``COSTS``.
    """

    scores: Mapping[tuple[Part, str], Scored]
    costs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Finding:
    """One measure of one arm.

    Args:
        arm: its name.
        measure: what was measured.
        values: one a seed, (S,).
        rows: that it is made of; 0 for a cost.
        difference: what is gained when the arm that all are compared with is replaced by this one; its p is
            Holm's. None for that arm itself and for costs.
        agreement: the share of seeds whose own difference has the sign of the mean one.
    """

    arm: str
    measure: Measure
    values: tuple[float, ...]
    rows: int
    difference: Difference | None = None
    agreement: float | None = None


def measure_of(name: str, tasks: Mapping[str, tuple[Scored, str]]) -> Measure:
    """The measure that a study names.

    Args:
        name: ``mean`` is over tasks, of each task's own metric (minus it, where lower is better); ``gap`` is
            that mean on training rows minus the one on test rows; else ``task.metric``,
            ``task.label.metric``, or one of ``COSTS``.
        tasks: task → something scored with its labels, with or without rows, and its own metric.

    Raises:
        DataError: no such task or metric.
    """
    if name in COSTS:
        return Measure(name, (), higher_is_better=False, unit=COSTS[name][2])
    if name in ("mean", "gap"):
        signs: dict[Part, int] = {"test": 1} if name == "mean" else {"train": 1, "test": -1}
        terms = []
        for part, sign in signs.items():
            for task, (scored, metric) in tasks.items():
                direction = 1 if metric_named(metric, scored).higher_is_better else -1
                terms.append(Term(sign * direction / len(tasks), part, task, metric))
        return Measure(name, tuple(terms), higher_is_better=name == "mean", unit="score")
    task, _, metric = name.partition(".")
    if task not in tasks or not metric:
        known = ["mean", "gap", *COSTS, *(f"{each}.{own}" for each, (_, own) in tasks.items())]
        raise DataError(f"no figure '{name}'", hint=did_you_mean(name, known))
    found = metric_named(metric, tasks[task][0])
    return Measure(name, (Term(1.0, "test", task, metric),), found.higher_is_better, found.unit)


def analyse(
    trials: Mapping[str, Sequence[Trial]],
    measures: Sequence[Measure],
    against: str,
    *,
    seed: int,
    resamples: int,
) -> tuple[Finding, ...]:
    """Every measure of every arm, and what the arm gains over the one that all are compared with.

    The interval of a difference is a percentile bootstrap over rows and seeds together. Each resample draws
    the rows of each task with replacement, the same rows for every arm and seed, and the seeds with
    replacement, the same seeds for both arms. Of S seeds S − 1 are drawn: S would make their part of the
    variance too small by a factor of (S − 1) / S, with three seeds by a third (Rao and Wu, JASA 1988).

    The p-values are Holm's, adjusted for all differences of the study together.

    Args:
        trials: arm → one trial a seed, in the same order of seeds; two or more.
        measures: what is measured; an arm that lacks a task of one goes without it.
        against: the arm that the others are compared with.
        seed: of the resamples.
        resamples: how many.

    Returns:
        Arm by arm, measure by measure.

    Raises:
        DataError: arms were evaluated on different rows, or a metric does not exist on them.
    """
    n_seeds = len(trials[against])
    drawn = np.random.default_rng(seed).integers(n_seeds, size=(resamples, n_seeds - 1))
    spread = _spread(trials, measures, seed=seed, resamples=resamples)
    found: list[Finding] = []
    for arm, theirs in trials.items():
        for measure in measures:
            if not measure.terms:
                found.append(Finding(arm, measure, tuple(each.costs[measure.name] for each in theirs), 0))
            elif all((term.part, term.task) in theirs[0].scores for term in measure.terms):
                mine = _combined(measure, arm, spread)
                base = None if arm == against else _combined(measure, against, spread)
                parts = {(term.part, term.task) for term in measure.terms}
                rows = sum(len(theirs[0].scores[part].ids) for part in parts)
                found.append(_finding(Finding(arm, measure, tuple(mine[0]), rows), mine, base, drawn))
    adjusted = iter(holm([each.difference.p for each in found if each.difference is not None]))
    return tuple(
        each
        if each.difference is None
        else replace(each, difference=replace(each.difference, p=next(adjusted)))
        for each in found
    )


Spread = Mapping[tuple[Part, str, str, str], tuple[Floats, Floats]]
"""Part, task, metric, arm → the metric on all rows, (S,), and on each resample, (R, S)."""


def _spread(
    trials: Mapping[str, Sequence[Trial]], measures: Sequence[Measure], *, seed: int, resamples: int
) -> Spread:
    """Every metric that the measures need, of every arm and seed, on resamples that all of them share."""
    wanted: dict[tuple[Part, str], list[str]] = {}
    for term in (term for measure in measures for term in measure.terms):
        names = wanted.setdefault((term.part, term.task), [])
        if term.metric not in names:
            names.append(term.metric)
    found: dict[tuple[Part, str, str, str], tuple[Floats, Floats]] = {}
    for place, ((part, task), names) in enumerate(wanted.items(), 1):
        systems = {
            arm: [each.scores[part, task] for each in theirs]
            for arm, theirs in trials.items()
            if (part, task) in theirs[0].scores
        }
        first = next(iter(systems.values()))[0]
        flat = [aligned(first, each) for theirs in systems.values() for each in theirs]
        metrics = [metric_named(name, first) for name in names]
        statistics = [of_metric(metric, scored) for metric in metrics for scored in flat]
        # Another seed for each set of rows: the same one would draw the same places of equally long sets.
        values = resampled(statistics, len(first.ids), resamples, seed + place)
        values = values.reshape(resamples, len(names), len(systems), -1)
        for i, metric in enumerate(metrics):
            points = np.array([metric.function(scored) for scored in flat]).reshape(len(systems), -1)
            if np.isnan(points).any():
                raise DataError(
                    f"'{task}.{names[i]}' does not exist on the {part} rows", hint="leave it out of `figures`"
                )
            for j, arm in enumerate(systems):
                found[part, task, names[i], arm] = (points[j], values[:, i, j])
    return found


def _combined(measure: Measure, arm: str, spread: Spread) -> tuple[Floats, Floats]:
    """A measure of one arm: on all rows, (S,), and on each resample, (R, S)."""
    pairs = [(term.share, spread[term.part, term.task, term.metric, arm]) for term in measure.terms]
    points = sum((share * point for share, (point, _) in pairs), np.zeros(1))
    values = sum((share * value for share, (_, value) in pairs), np.zeros((1, 1)))
    return points, values


def _finding(
    finding: Finding,
    mine: tuple[Floats, Floats],
    base: tuple[Floats, Floats] | None,
    drawn: Ints,
) -> Finding:
    """The finding with its difference: mine and base hold (S,) and (R, S); drawn seeds, (R, S − 1)."""
    if base is None:
        return finding
    by_seed, resamples = mine[0] - base[0], mine[1] - base[1]
    value = float(by_seed.mean())
    means = np.take_along_axis(resamples, drawn, axis=1).mean(axis=1)
    agreement = float((np.sign(by_seed) == np.sign(value)).mean())
    return replace(finding, difference=difference_of(value, means, 0.95), agreement=agreement)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down p-values, in the order given.

    With all of M hypotheses true, the chance that one or more falls under a level is at most that level,
    however they depend on each other (Holm, Scandinavian Journal of Statistics, 1979).

    Args:
        p: M p-values, each in 0..1.
    """
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = highest
    return adjusted


def verdict(difference: float, p: float, agreement: float, *, higher_is_better: bool) -> Verdict:
    """What a difference says: a verdict needs Holm's p under ``LEVEL``, and every seed on its side.

    The second condition is there because an interval over three seeds knows little of how seeds differ.
    """
    if p >= LEVEL or agreement < 1:
        return "no difference shown"
    return "helps" if (difference > 0) == higher_is_better else "hurts"
