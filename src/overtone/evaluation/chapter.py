"""What a report says about one task, whatever its kind: the comparison, the sources, the rows, the data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from overtone.data.split import SPLITS, DataReport
from overtone.evaluation.compare import Interval, Standing, interval
from overtone.evaluation.findings import Evidence, best_baseline, gain_over
from overtone.evaluation.markdown import escape, escaped_table, p_value, signed, table
from overtone.scores import METRICS, Metric, Scored, select, summary

SHOWN_ROWS = 10
"""Rows of each kind that a report lists; all of them follow from the per-example scores."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One task's part of a report.

    Args:
        evidence: what was measured.
        seed: of the resamples.
        depth: of its headings: 2 where it is the only task, 3 among several.
        prefix: what its pictures' names begin with.
        healed: whether a cascade stands around the model.
    """

    evidence: Evidence
    seed: int
    depth: int = 2
    prefix: str = ""
    healed: bool = False

    def heading(self, title: str, below: int = 0) -> str:
        """A heading of the chapter, or one so many levels below."""
        return f"{'#' * (self.depth + below)} {escape(title)}"

    def picture(self, name: str, alt: str) -> str:
        """A picture of the chapter."""
        return f"![{escape(alt)}](plots/{self.prefix}{name}.png)"

    @property
    def best(self) -> Standing:
        """The baseline that is hardest to beat."""
        return best_baseline(self.evidence)

    @property
    def rival(self) -> Scored:
        """What that baseline said."""
        return next(each.predictions for each in self.evidence.baselines if each.name == self.best.name)

    def interval(self, metric: Metric, scored: Scored) -> str:
        """A metric with its interval; a dash where it does not exist."""
        found = interval(metric, scored, seed=self.seed, resamples=self.evidence.resamples)
        return "–" if np.isnan(found.value) else with_interval(found)


def with_interval(found: Interval | None) -> str:
    """A figure with its interval, or nothing."""
    return "" if found is None else f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})"


def gained(standing: Standing) -> str:
    """What the model gains over a baseline, with its interval."""
    gain = gain_over(standing)
    return f"{signed(gain.value)} ({signed(gain.low)} to {signed(gain.high)})"


def comparison(chapter: Chapter) -> str:
    """The model beside its baselines, in few metrics with intervals and in all without."""
    evidence = chapter.evidence
    others = [name for name in evidence.standings[0].figures if name != evidence.metric]
    classes = evidence.judged.of == "classes"
    rows = []
    for standing in evidence.standings:
        name, figures, test = escape(standing.name), standing.figures, standing.mcnemar
        compared = [""] * (3 if classes else 2)
        if standing.gain is None:
            name = f"**{name}**" + (", the primary alone" if chapter.healed else "")
        elif test is None:
            compared = [gained(standing), p_value(standing.gain.p)]
        else:
            compared = [gained(standing), f"{test.only_b:,} : {test.only_a:,}", p_value(test.p)]
        first = with_interval(figures.get(evidence.metric))
        rows.append([name, first, *compared, *(with_interval(figures.get(other)) for other in others)])
    tests = ["right alone", "McNemar p"] if classes else ["p"]
    header = ["system", evidence.metric, "model's gain", *tests, *others]
    alone = (
        f"Here and in the next sections {escape(evidence.model.name)} is the primary alone; people get "
        "the cascade around it, which has a section of its own.\n\n"
        if chapter.healed
        else ""
    )
    explained = (
        "“Right alone” counts the rows that only the model and only the baseline decides right."
        if classes
        else "p is that of no gain, from the same resamples."
    )
    return (
        f"{chapter.heading('Against the baselines')}\n\n"
        f"{table([escape(cell) for cell in header], rows)}\n\n{alone}"
        "Brackets hold 95% intervals from a bootstrap over rows; a gain is from the same resamples of both. "
        f"{explained}\n\n{chapter.heading('Every metric', 1)}\n\n{_every_metric(evidence)}\n\n"
        "↓ lower is better."
    )


def _every_metric(evidence: Evidence) -> str:
    systems = [evidence.model, *evidence.baselines]
    every = [summary(system.predictions) for system in systems]
    rows = [
        [
            name + ("" if metric.higher_is_better else " ↓"),
            metric.unit,
            *(f"{found[name]:z.3f}" if name in found else "–" for found in every),
        ]
        for name, metric in METRICS.items()
        if any(name in found for found in every)
    ]
    return escaped_table(["metric", "unit", *(system.name for system in systems)], rows)


def sources(chapter: Chapter) -> str:
    """The verdict's metric on the rows of each data set."""
    evidence, metric = chapter.evidence, chapter.evidence.judged
    said, rows = evidence.model.predictions, []
    for source, count in Counter(said.sources).most_common():
        # A baseline may hold the same rows in another order, so each is asked for its own.
        mine, *theirs = (
            select(each.predictions, np.array(each.predictions.sources) == source)
            for each in (evidence.model, *evidence.baselines)
        )
        values = (metric.function(each) for each in theirs)
        numbers = ("–" if np.isnan(value) else f"{value:.3f}" for value in values)
        rows.append([source, f"{count:,}", chapter.interval(metric, mine), *numbers])
    header = ["source", "rows", evidence.model.name, *(each.name for each in evidence.baselines)]
    return (
        f"{chapter.heading('By source')}\n\nThe {escape(metric.name)} on each data set's test rows:\n\n"
        f"{escaped_table(header, rows)}"
    )


def leakage(found: DataReport) -> str:
    """How many rows each split has, and how many had a twin in another."""
    sizes = ", ".join(f"{found.rows[split]:,} {split}" for split in SPLITS)
    exact = sum(leak.exact for leak in found.leaks)
    twins = (
        f"{len(found.leaks):,} rows had a twin in another split ({exact:,} the same text, the others nearly)"
    )
    dropped = ", ".join(f"{found.dropped.get(split, 0):,} from {split}" for split in SPLITS)
    return f"Rows: {sizes}. Leakage: {twins}; dropped: {dropped}."


def left_out(found: DataReport) -> str:
    """Why how many rows are in no split, as a table."""
    reasons = [[reason, f"{count:,}"] for reason, count in found.left_out.items()]
    return escaped_table(["reason", "rows"], reasons)


def data(chapter: Chapter) -> str:
    """Rows by split, label and source, leaks, and what was left out."""
    found = chapter.evidence.data
    names = list(dict.fromkeys(s for split in SPLITS for per in found.counts[split].values() for s in per))
    columns = [(split, source) for split in SPLITS for source in names]
    header = ["label", *(f"{split}: {source}" for split, source in columns)]
    rows = [
        [label, *(f"{found.counts[split][label].get(source, 0):,}" for split, source in columns)]
        for label in found.counts["train"]
    ]
    if chapter.evidence.judged.of == "classes":  # every row has every number
        sums = [sum(per.get(source, 0) for per in found.counts[split].values()) for split, source in columns]
        rows.append(["all", *(f"{each:,}" for each in sums)])
    parts = [
        f"{chapter.heading('Data and leakage')}\n\n{leakage(found)}",
        escaped_table(header, rows),
    ]
    if found.unlabelled:
        parts.append(
            f"The teacher alone labelled {found.unlabelled:,} more rows to train on; rows without labels "
            f"that had a twin in validation or test were left out: {len(found.unlabelled_leaks):,}."
        )
    if found.left_out:
        parts.append(f"{chapter.heading('Left out', 1)}\n\n{left_out(found)}")
    return "\n\n".join(parts)
