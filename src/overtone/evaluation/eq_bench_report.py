"""What an EQ-Bench exam says: the score that may be named, what it stands on, and trivial baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from overtone.data.sources.eq_bench import Question
from overtone.evaluation.benchmarks import eq_bench
from overtone.evaluation.benchmarks.eq_bench import EqAnswers, Outcome
from overtone.evaluation.compare import Difference, Interval
from overtone.evaluation.markdown import escape, table

HEADER = ("system", "score (95% interval)", "decoding", "parsed", "standard protocol", "over base")
"""The columns of ``rows``."""

FIT_HEADER = ("emotion", "n", "mean absolute error", "Pearson's r")
"""The columns of ``emotion_rows``."""


@dataclass(frozen=True, slots=True)
class Sat:
    """What a system answered.

    Args:
        standard: by the published protocol.
        constrained: with the form of the answer given; None where that was not asked for.
    """

    standard: EqAnswers
    constrained: EqAnswers | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """The score that a system is named with.

    Args:
        score: with its 95% interval; None where the run failed and was not constrained.
        constrained: whether it comes from constrained decoding, since the standard run failed.
        standard: what the standard run came to, whose score is over the parsed questions alone.
        over_parsed: that score with its 95% interval; 0 where nothing was parsed.
    """

    score: Interval | None
    constrained: bool
    standard: Outcome
    over_parsed: Interval


def named(sat: Sat, *, seed: int, resamples: int = 2000) -> Named:
    """The score of a system: of the standard run, or where that failed of the constrained one."""
    standard = eq_bench.outcome(sat.standard)
    parsed = eq_bench.interval(sat.standard, seed=seed, resamples=resamples)
    if not standard.failed:
        return Named(parsed, False, standard, parsed)
    if sat.constrained is None:
        return Named(None, False, standard, parsed)
    forced = eq_bench.interval(sat.constrained, seed=seed, resamples=resamples)
    return Named(forced, True, standard, parsed)


def gain(worse: Sat, better: Sat, *, seed: int, resamples: int = 2000) -> tuple[Difference, bool] | None:
    """What is gained when one system is replaced by another, both decoded alike, and whether constrained.

    Returns:
        None where a standard run failed and not both were constrained.

    Raises:
        DataError: they were not asked the same questions.
    """
    settings = {"seed": seed, "resamples": resamples}
    if not any(eq_bench.outcome(each.standard).failed for each in (worse, better)):
        return eq_bench.paired(worse.standard, better.standard, **settings), False
    if worse.constrained is None or better.constrained is None:
        return None
    return eq_bench.paired(worse.constrained, better.constrained, **settings), True


def rows(
    systems: Mapping[str, Sat],
    trivial: Mapping[str, EqAnswers],
    *,
    base: str | None,
    seed: int,
    resamples: int = 2000,
) -> list[list[str]]:
    """The cells of ``HEADER`` for each system, then for each trivial baseline.

    Args:
        systems: name → what it answered.
        trivial: name → what it would answer.
        base: the system that the others are set against; None where there is none.
        seed: of the resamples.
        resamples: how many.
    """
    settings = {"seed": seed, "resamples": resamples}
    made = []
    for name, sat in systems.items():
        told = named(sat, **settings)
        over = None
        if base is not None and name != base and base in systems:
            over = gain(systems[base], sat, **settings)
        made.append(
            [
                name,
                "none" if told.score is None else _interval(told.score),
                "constrained" if told.constrained else "standard",
                f"{told.standard.parsed} of {told.standard.asked} ({told.standard.rate:.1%})",
                _verdict(told),
                "" if over is None else _difference(*over),
            ]
        )
    for name, found in trivial.items():
        score = eq_bench.interval(found, **settings)
        parsed = eq_bench.outcome(found)
        cells = [name, _interval(score), "", f"{parsed.parsed} of {parsed.asked}", "", ""]
        made.append(cells)
    return made


def emotion_rows(questions: Sequence[Question], found: EqAnswers, most: int = 12) -> list[list[str]]:
    """The cells of ``FIT_HEADER``: all ratings, then the emotions that are asked about most often."""
    return [
        [
            each.emotion,
            f"{each.n:,}",
            f"{each.mae:.2f}",
            "–" if math.isnan(each.pearson) else f"{each.pearson:.2f}",
        ]
        for each in eq_bench.by_emotion(questions, found)[: most + 1]
    ]


def markdown(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Such rows as a table."""
    return table(header, [[escape(cell) for cell in row] for row in cells])


def _verdict(told: Named) -> str:
    if not told.standard.failed:
        return "pass, second pass" if told.standard.revised else "pass"
    if not told.standard.parsed:
        return "FAIL; nothing was parsed"
    return f"FAIL; {_interval(told.over_parsed)} over the parsed"


def _interval(found: Interval) -> str:
    return f"{found.value:.1f} ({found.low:.1f} to {found.high:.1f})"


def _difference(found: Difference, constrained: bool) -> str:
    told = f"{found.value:+.1f} ({found.low:+.1f} to {found.high:+.1f})"
    return f"{told}, both constrained" if constrained else told
