"""What a judge is worth: how far it agrees with grades by hand, without which no figure of it is shown.

Agreement is kappa with quadratic weights (Cohen, Psychological Bulletin 1968): 1 where both always give the
same grade, 0 where the judge does no better than its own grades dealt at random, below 0 where it does worse.
To be two grades off costs four times as much as to be one off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from overtone.data.rows import json_rows
from overtone.errors import DataError, did_you_mean
from overtone.evaluation.bootstrap import Draw, resampled
from overtone.evaluation.compare import Interval, interval_of
from overtone.evaluation.judge import GRADES, Verdict
from overtone.scores import Floats

FIT = 0.4
"""The least kappa of a judge that is fit; what lies above, Landis and Koch (1977) call moderate agreement."""


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """An answer that a person graded.

    Args:
        id: of the answer or of the question; with ``system`` unique in a file.
        question: what was asked.
        gold: the right answer.
        answer: what the system said; perhaps nothing.
        system: who said it.
        grade: by hand, one of ``GRADES``.
    """

    id: str
    question: str
    gold: str
    answer: str
    system: str
    grade: int


@dataclass(frozen=True, slots=True)
class Examined:
    """How far a judge agrees with grades by hand.

    Args:
        kappa: quadratically weighted, -1..1; NaN where all grades of both are one and the same.
        low: lower bound of its 95% interval.
        high: upper bound.
        n: answers graded by hand.
    """

    kappa: float
    low: float
    high: float
    n: int

    @property
    def fit(self) -> bool:
        """Whether it agrees well enough for its figures to be believed; never where kappa is undefined."""
        return self.kappa >= FIT


_COLUMNS = tuple(field.name for field in fields(GradedAnswer))


def read_graded(path: Path) -> tuple[GradedAnswer, ...]:
    """The answers graded by hand in a file of JSON lines, each with the keys of ``GradedAnswer``.

    Raises:
        DataError: the file is missing or empty; a line is not such an answer; one stands twice.
    """
    found: dict[tuple[str, str], GradedAnswer] = {}
    for place, row in json_rows(path):
        graded = _graded(place, row)
        if (graded.id, graded.system) in found:
            raise DataError(
                f"{place}: answer '{graded.id}' of '{graded.system}' stands twice", hint="delete one of them"
            )
        found[graded.id, graded.system] = graded
    if not found:
        raise DataError(f"{path} holds no graded answer", hint=f"one JSON object a line, {_form()}")
    return tuple(found.values())


def kappa(by_hand: Sequence[int], by_judge: Sequence[int]) -> float:
    """Cohen's kappa with quadratic weights, -1..1.

    0 where only one of the two always gives the same grade; NaN where both do and it is the same one.

    Args:
        by_hand: grades of N answers, each one of ``GRADES``.
        by_judge: the judge's of the same.

    Raises:
        DataError: there are no grades, or their numbers differ.
    """
    return float(_kappas(_moments(by_hand, by_judge).sum(axis=0, keepdims=True))[0])


def examine(
    graded: Sequence[GradedAnswer], verdicts: Sequence[Verdict], *, seed: int, resamples: int = 2000
) -> Examined:
    """Compare a judge's likeliest grades with those by hand.

    The interval is a percentile bootstrap over questions: answers to the same one are drawn together.

    Args:
        graded: answers graded by hand.
        verdicts: of the judge on the same, in their order.
        seed: of the resamples.
        resamples: how many.

    Raises:
        DataError: there are none, or the verdicts are not on these answers.
    """
    if [each.id for each in verdicts] != [each.id for each in graded]:
        raise DataError(
            f"{len(verdicts):,} verdicts are not on the {len(graded):,} answers graded by hand",
            hint="judge those answers, in their order",
        )
    by_hand, by_judge = [each.grade for each in graded], [each.label for each in verdicts]
    moments = _moments(by_hand, by_judge)  # (N, 5)
    _, question = np.unique([each.question for each in graded], return_inverse=True)
    sums = np.zeros((int(question.max()) + 1, moments.shape[1]))  # (questions, 5)
    np.add.at(sums, question, moments)

    def drawn(draw: Draw) -> Floats:
        return _kappas(draw.weights @ sums)

    found = interval_of(kappa(by_hand, by_judge), resampled([drawn], len(sums), resamples, seed)[:, 0], 0.95)
    return Examined(found.value, found.low, found.high, len(graded))


def shown(figure: Interval, examined: Examined) -> str:
    """A judge's mean grade as it may be shown: with what the judge is worth, or marked as unfit.

    Args:
        figure: the mean expected grade, 0..2, with its interval.
        examined: how far the judge agrees with grades by hand.
    """
    grade = f"{figure.value:.2f} of {GRADES[-1]} ({figure.low:.2f} to {figure.high:.2f})"
    hand = f"{examined.n:,} answers graded by hand"
    if math.isnan(examined.kappa):
        return f"{grade}, unfit: κ undefined, all {hand} have one grade, which the judge gives to all"
    agreed = f"κ {examined.kappa:.2f} with {hand}"
    return f"{grade}, {agreed}" if examined.fit else f"{grade}, unfit: {agreed}, below {FIT}"


def _form() -> str:
    return f"with the keys {', '.join(_COLUMNS)}"


def _graded(place: str, row: Mapping[str, Any]) -> GradedAnswer:
    """One line as an answer."""
    unknown = [key for key in row if key not in _COLUMNS]
    if unknown:
        raise DataError(f"{place}: no key is called '{unknown[0]}'", hint=did_you_mean(unknown[0], _COLUMNS))
    missing = [key for key in _COLUMNS if key not in row]
    if missing:
        raise DataError(f"{place}: '{missing[0]}' is missing", hint=f"write an object {_form()}")
    for key in _COLUMNS[:-1]:
        if not isinstance(row[key], str) or (key != "answer" and not row[key].strip()):
            raise DataError(f"{place}: '{key}' holds no text", hint="write it between quotation marks")
    # True is 1 to Python, and 1.0 too.
    if type(row["grade"]) is not int or row["grade"] not in GRADES:
        raise DataError(
            f"{place}: the grade is {row['grade']!r}",
            hint="write 0 (wrong or inappropriate), 1 (partly right) or 2 (right and appropriate), unquoted",
        )
    return GradedAnswer(**row)


def _moments(by_hand: Sequence[int], by_judge: Sequence[int]) -> Floats:
    """What kappa is made of, of each answer: 1, h, j, h² + j² and (h − j)²; (N, 5)."""
    if len(by_hand) != len(by_judge) or not len(by_hand):
        raise DataError(f"{len(by_hand):,} grades by hand and {len(by_judge):,} of the judge do not compare")
    hand, judged = (np.asarray(each, dtype=np.float64) for each in (by_hand, by_judge))
    return np.stack([np.ones_like(hand), hand, judged, hand**2 + judged**2, (hand - judged) ** 2], axis=1)


def _kappas(sums: Floats) -> Floats:
    """Kappas from sums of the moments over N answers, (C, 5) → (C,).

    With squares for weights, ``1 − Σ w·observed / Σ w·expected`` needs no table of grades: what is observed
    is Σ(h − j)², and what chance would give, every h beside every j, is Σ(h² + j²) − 2 Σh Σj / N. The sums
    are whole numbers, so nothing is lost to rounding.
    """
    n, hand, judged, squares, off = sums.T
    chance = n * squares - 2 * hand * judged  # N times as much
    return np.where(chance > 0, 1 - n * off / np.where(chance > 0, chance, 1), np.nan)
