"""Is one model better than another on the same rows, by how much, and on which rows?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy.stats import binomtest

from overtone.breakdown import metric_named
from overtone.errors import DataError
from overtone.evaluation.bootstrap import by_rows, of_metric, resampled
from overtone.evaluation.lines import Layout, names, written
from overtone.run import write_atomic
from overtone.scores import METRICS, Bools, Estimates, Floats, Ints, Metric, Scored, select

NEAR = 1e-6
"""Two gold numbers are the same within this share of them: one may have been written in single precision."""

S = TypeVar("S", bound=Scored)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the bounds of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two figures on the same rows: what is gained when a is replaced by b.

    Args:
        value: figure of b minus figure of a.
        low: lower bound of its interval.
        high: upper bound.
        p: two-sided bootstrap p-value of "no difference".
    """

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """Rows that only one of two models decides right, and the exact p-value of "as many each"."""

    only_a: int
    only_b: int
    p: float


@dataclass(frozen=True, slots=True)
class Flip:
    """A row that b decides right where a was wrong (fixed), or wrong where a was right (broken).

    Args:
        id: the row's id.
        gold: the true label; several are joined by ", ", none is "–".
        a: what a decided, in the same form.
        b: what b decided.
        fixed: whether b is the one that is right.
    """

    id: str
    gold: str
    a: str
    b: str
    fixed: bool


@dataclass(frozen=True, slots=True)
class System:
    """Something that was evaluated, by name."""

    name: str
    predictions: Scored


@dataclass(frozen=True, slots=True)
class Standing:
    """How one system stands.

    Args:
        name: the system.
        figures: metric name → figure with its interval; metrics that do not apply are left out.
        gain: what the model gains over this system in the first metric; None for the model itself.
        mcnemar: a is this system, b the model; None for the model itself and where numbers are estimated.
    """

    name: str
    figures: Mapping[str, Interval]
    gain: Difference | None = None
    mcnemar: McNemar | None = None


def interval(
    metric: Metric, scored: Scored, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """A metric with its percentile-bootstrap interval over rows; bounds are NaN where it does not apply.

    Raises:
        DataError: there are no rows.
    """
    _refuse_empty(scored)
    values = resampled([of_metric(metric, scored)], len(scored.ids), resamples, seed)[:, 0]
    return interval_of(metric.function(scored), values, level)


def paired(
    metric: Metric, a: Scored, b: Scored, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Difference:
    """The metric of b minus the metric of a, with an interval from the same resamples of both.

    Raises:
        DataError: the two are not of the same rows, labels and gold.
    """
    b = aligned(a, b)
    values = resampled([of_metric(metric, a), of_metric(metric, b)], len(a.ids), resamples, seed)
    return difference_of(metric.function(b) - metric.function(a), values[:, 1] - values[:, 0], level)


def paired_statistic(
    statistic: Callable[[Ints], float], n: int, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Difference:
    """The same for any difference that a function computes from row indices (N,).

    Args:
        statistic: called with ``arange(n)`` for the value, and with each resample's rows.
        n: the number of rows.
        seed: of the resamples.
        resamples: how many.
        level: of the interval, 0..1.
    """
    values = resampled([by_rows(statistic)], n, resamples, seed)[:, 0]
    return difference_of(statistic(np.arange(n)), values, level)


def mcnemar(a: Scored, b: Scored) -> McNemar | None:
    """McNemar's test on whether two systems decide rows right; None of numbers, which are nearly right.

    Raises:
        DataError: the two are not of the same rows, labels and gold.
    """
    b = aligned(a, b)
    if isinstance(a, Estimates) or isinstance(b, Estimates):
        return None
    return mcnemar_of(a.correct, b.correct)


def mcnemar_of(right_a: Bools, right_b: Bools) -> McNemar:
    """McNemar's test (1947) in its exact binomial form, from who decides which row right, each (N,)."""
    only_a, only_b = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, p)


def flips(a: Scored, b: Scored) -> tuple[Flip, ...]:
    """The rows that only one of the two decides right, in a's order; none of numbers.

    Raises:
        DataError: the two are not of the same rows, labels and gold.
    """
    b = aligned(a, b)
    if isinstance(a, Estimates) or isinstance(b, Estimates):
        return ()
    right = b.correct
    return tuple(
        Flip(
            id=a.ids[row],
            gold=_named(a.gold[row], a.labels),
            a=_named(a.decided[row], a.labels),
            b=_named(b.decided[row], b.labels),
            fixed=bool(right[row]),
        )
        for row in np.flatnonzero(a.correct != right)
    )


def standings(
    model: System, baselines: Sequence[System], metrics: Sequence[str], *, seed: int, resamples: int = 2000
) -> tuple[Standing, ...]:
    """The model and its baselines, all on the same resamples; the first metric is the one compared.

    Args:
        model: what is to be judged.
        baselines: on the same rows.
        metrics: names, or paths such as ``valence.pearson``.
        seed: of the resamples.
        resamples: how many.

    Returns:
        The model's standing, then each baseline's.

    Raises:
        DataError: no rows, a metric that is unknown or (the first) does not apply, a baseline of other rows.
    """
    _refuse_empty(model.predictions)
    chosen = [METRICS.get(name) or metric_named(name, model.predictions) for name in metrics]
    systems = [
        model,
        *(System(each.name, aligned(model.predictions, each.predictions)) for each in baselines),
    ]
    statistics = [of_metric(metric, system.predictions) for system in systems for metric in chosen]
    flat = resampled(statistics, len(model.predictions.ids), resamples, seed)
    values = flat.reshape(resamples, len(systems), len(chosen))
    points = np.array([[metric.function(system.predictions) for metric in chosen] for system in systems])
    if np.isnan(points[:, 0]).any():
        raise DataError(
            f"'{metrics[0]}' does not apply to these rows", hint="choose another `metric` for the task"
        )
    found = []
    for i, system in enumerate(systems):
        figures = {
            metric.name: interval_of(points[i, j], values[:, i, j], 0.95)
            for j, metric in enumerate(chosen)
            if not np.isnan(points[i, j])
        }
        if i == 0:
            found.append(Standing(system.name, figures))
            continue
        gain = difference_of(points[0, 0] - points[i, 0], values[:, 0, 0] - values[:, i, 0], 0.95)
        test = mcnemar(system.predictions, model.predictions)
        found.append(Standing(system.name, figures, gain, test))
    return tuple(found)


def aligned(a: Scored, b: S) -> S:
    """Put the rows of b in the order of a.

    Raises:
        DataError: they differ in kind, ids, labels or gold; the message says by how much.
    """
    if isinstance(a, Estimates) != isinstance(b, Estimates):
        raise DataError(f"not of one kind: {a.kind} and {b.kind}", hint="compare runs of one task")
    if a.labels != b.labels:
        raise DataError(f"labels differ: {a.labels} and {b.labels}", hint="compare runs of one task")
    if a.ids != b.ids:
        missing = sum(((Counter(a.ids) - Counter(b.ids)) + (Counter(b.ids) - Counter(a.ids))).values())
        if missing:
            raise DataError(
                f"not the same rows: {missing} ids are in only one of {len(a.ids)} and {len(b.ids)}",
                hint="evaluate both on the same split, with the same seed",
            )
        if len(set(a.ids)) < len(a.ids):
            raise DataError("ids repeat, so rows cannot be matched", hint="give every row its own id")
        place = {name: row for row, name in enumerate(b.ids)}
        b = select(b, np.array([place[name] for name in a.ids]))
    if a.gold.shape != b.gold.shape:
        raise DataError("the gold labels of all rows differ", hint="compare runs on the same data")
    near = NEAR if isinstance(a, Estimates) else 0
    other = ~np.isclose(a.gold, b.gold, rtol=near, atol=near)
    if other.any():
        count = int(other.reshape(len(a.ids), -1).any(axis=1).sum())
        raise DataError(f"the gold labels of {count} rows differ", hint="compare runs on the same data")
    return b


def _refuse_empty(scored: Scored) -> None:
    if not scored.ids:
        raise DataError(
            "there are no rows to compare", hint="check the split's size with: overtone data show"
        )


def _bounds(values: Floats, level: float) -> tuple[float, float]:
    """Percentiles; resamples on which the statistic does not exist (a class is absent) are left out."""
    found = values[~np.isnan(values)]
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval_of(value: float, values: Floats, level: float) -> Interval:
    """A figure from its value and its values on R resamples, (R,)."""
    return Interval(float(value), *_bounds(values, level))


def difference_of(value: float, values: Floats, level: float) -> Difference:
    """A difference from its value and its values on R resamples, (R,)."""
    found = values[~np.isnan(values)]
    # One is added to either count, so that p is never 0: Davison and Hinkley, 1997, section 4.2.
    side = (1 + min(int((found <= 0).sum()), int((found >= 0).sum()))) / (1 + len(found))
    return Difference(float(value), *_bounds(values, level), min(1.0, 2 * side))


def _named(row: Any, labels: tuple[str, ...]) -> str:  # noqa: ANN401 - one row of classes
    found = names(row, labels)
    return found if isinstance(found, str) else ", ".join(found) or "–"


def save_predictions(path: Path, scored: Scored) -> None:
    """Write per-example scores as JSON lines, without texts.

    The first line holds the kind and the labels. Then one row each: id, source, gold and decided; of classes
    also confidence, correct, and the probability of every label, rounded to 6 decimals; numbers have 7
    significant figures.

    Raises:
        RunError: the file could not be written.
    """
    write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in written(scored)))


def load_predictions(path: Path) -> Scored:
    """Read per-example scores back, as they were rounded.

    Raises:
        DataError: the file is missing, or a line is not what ``save_predictions`` writes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"could not read {path}: {error}", hint="evaluate the run again") from error
    first, *lines = text.removesuffix("\n").split("\n")
    rows: list[Any] = []
    number = 1
    try:
        layout = Layout(json.loads(first))
        for line in lines:
            number += 1
            rows.append(layout.row(json.loads(line)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path}, line {number}: {reason}", hint="evaluate the run again") from error
    return layout.scored(rows)
