"""A grid of arms and seeds: what each arm gains over one of them, and whether that is more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t

from overtone.breakdown import metric_named
from overtone.errors import DataError, did_you_mean
from overtone.evaluation.bootstrap import of_metric, resampled
from overtone.evaluation.compare import Difference, aligned
from overtone.scores import METRICS, Floats, Scored, applies

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
        name: see ``measure_of``.
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
        fit: the name of the trained model; trials that differ in how they read it share one.
    """

    scores: Mapping[tuple[Part, str], Scored]
    costs: Mapping[str, float]
    fit: str


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
    """

    arm: str
    measure: Measure
    values: tuple[float, ...]
    rows: int
    difference: Difference | None = None


def measure_of(name: str, tasks: Mapping[str, tuple[Scored, str]]) -> Measure:
    """The measure that a study names.

    Args:
        name: ``mean`` is over tasks, of each task's own metric (minus it, where lower is better); ``gap`` is
            that mean on training rows minus the one on test rows; ``mean.metric`` is over the tasks that have
            the metric; else ``task.metric``, ``task.label.metric``, or one of ``COSTS``.
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
    if task == "mean" and metric:
        if metric not in METRICS:
            raise DataError(f"no metric '{metric}'", hint=did_you_mean(metric, METRICS))
        have = [each for each, (scored, _) in tasks.items() if applies(metric, scored.kind)]
        if not have:
            raise DataError(f"no task has the metric '{metric}'", hint="leave it out of `figures`")
        shares = tuple(Term(1 / len(have), "test", each, metric) for each in have)
        return Measure(name, shares, METRICS[metric].higher_is_better, METRICS[metric].unit)
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

    A difference is the mean over seeds of arm minus arm, both run with that seed. Its variance is a sum. The
    rows' part is that of a bootstrap that draws the rows of each task, the same for every arm and seed. The
    seeds' part is what a layout of arms by seeds leaves over once the means of arms and of seeds are taken
    off, or the variance of the arm's own differences, if that is larger. An arm that only reads the same fits
    otherwise has little to do with how fits differ, and is laid out with the arm that it is compared with.

    Why not a bootstrap of the seeds as well: it would take three seeds for all there are. Where arms differ
    by nothing but chance it would find a difference whenever three seeds agree on its sign: in every fourth
    arm.

    The p-values are Holm's, adjusted for all differences of the study together.

    Args:
        trials: arm → one trial a seed, in the same order of seeds; two or more.
        measures: what is measured; an arm that lacks a task of one goes without it.
        against: the arm that the others are compared with.
        seed: of the resamples.
        resamples: how many.

    Returns:
        Measure by measure, arm by arm.

    Raises:
        DataError: arms were evaluated on different rows, or a metric does not exist on them.
    """
    spread = _spread(trials, measures, seed=seed, resamples=resamples)
    found: list[Finding] = []
    for measure in measures:
        if not measure.terms:
            costs = {
                arm: tuple(each.costs[measure.name] for each in theirs) for arm, theirs in trials.items()
            }
            found += [Finding(arm, measure, values, 0) for arm, values in costs.items()]
        else:
            found += _findings(measure, against, trials, spread)
    adjusted = iter(holm([each.difference.p for each in found if each.difference is not None]))
    return tuple(
        each
        if each.difference is None
        else replace(each, difference=replace(each.difference, p=next(adjusted)))
        for each in found
    )


Spread = Mapping[tuple[Part, str, str, str], tuple[Floats, Floats]]
"""Part, task, metric, arm → the metric on all rows, (S,), and on each resample of rows, (R, S)."""


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


def _findings(
    measure: Measure, against: str, trials: Mapping[str, Sequence[Trial]], spread: Spread
) -> list[Finding]:
    """One measure of all arms that have its tasks."""
    parts = {(term.part, term.task) for term in measure.terms}
    have = [arm for arm, theirs in trials.items() if parts <= theirs[0].scores.keys()]
    points, resamples = {}, {}
    for arm in have:
        pairs = [(term.share, spread[term.part, term.task, term.metric, arm]) for term in measure.terms]
        points[arm] = sum((share * point for share, (point, _) in pairs), np.zeros(1))
        resamples[arm] = sum((share * value for share, (_, value) in pairs), np.zeros((1, 1)))
    rows = sum(len(trials[against][0].scores[part].ids) for part in parts)
    same = [arm for arm in have if trials[arm][0].fit == trials[against][0].fit]
    found = []
    for arm in have:
        finding = Finding(arm, measure, tuple(points[arm].tolist()), rows)
        if arm != against:
            by_seed = points[arm] - points[against]
            by_rows = (resamples[arm] - resamples[against]).mean(axis=1)
            layout = (
                [against, arm] if arm in same else [against, *(each for each in have if each not in same)]
            )
            left, freedom = left_over(np.stack([points[each] for each in layout]))
            of_seeds = max(float(by_seed.var(ddof=1)), 2 * left) / len(by_seed)
            gain = difference_over(float(by_seed.mean()), float(np.nanvar(by_rows)), of_seeds, freedom)
            finding = replace(finding, difference=gain)
        found.append(finding)
    return found


def left_over(values: Floats) -> tuple[float, int]:
    """What varies in a layout of arms by seeds, (A, S), besides the arms and the seeds.

    Returns:
        The variance of one value, and its degrees of freedom, (A − 1)(S − 1); Scheffé, The Analysis of
        Variance, 1959, chapter 4.
    """
    arms, seeds = values.shape
    rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    freedom = (arms - 1) * (seeds - 1)
    return float((rest**2).sum()) / freedom, freedom


def difference_over(value: float, of_rows: float, of_seeds: float, freedom: int) -> Difference:
    """A difference with a 95% interval and a p-value that know how few seeds there are.

    What the difference must exceed, in standard errors, is the mean of the normal's and Student's limits,
    weighted by the two parts of the variance (Cochran and Cox, Experimental Designs, 1957). That errs on the
    safe side.

    Args:
        value: the difference.
        of_rows: the rows' part of its variance, known from many resamples.
        of_seeds: the seeds' part.
        freedom: degrees of freedom of the seeds' part.
    """
    total = of_rows + of_seeds
    if total == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)

    def limit(p: float) -> float:
        """What the difference must exceed for a two-sided p-value."""
        return float((of_rows * norm.isf(p / 2) + of_seeds * t.isf(p / 2, freedom)) / math.sqrt(total))

    half, smallest = limit(0.05), 1e-12
    if abs(value) >= limit(smallest):
        return Difference(value, value - half, value + half, smallest)
    log_p = brentq(lambda log_p: limit(math.exp(log_p)) - abs(value), math.log(smallest), 0.0)
    return Difference(value, value - half, value + half, math.exp(log_p))


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


def verdict(difference: float, p: float, *, higher_is_better: bool) -> Verdict:
    """What a difference says, given Holm's p."""
    if p >= LEVEL:
        return "no difference shown"
    return "helps" if (difference > 0) == higher_is_better else "hurts"
