"""EQ-Bench: how near a system's ratings of a character's emotions come to the reference (Paech 2023).

Parser, scores and rules are those of the reference implementation, github.com/EQ-bench/EQ-Bench at d28c60c
(``lib/scoring.py``, ``lib/run_bench.py``), so a score compares with the published ones.

- Version 2: a rating that is d off costs nothing where d = 0, ``6.5 / (1 + exp(-1.2 (d - 4)))`` up to 5, and
  d beyond. A question scores 10 less 0.7477 times the sum over its four emotions: 10 is the reference itself,
  random ratings come to about 0, and it may be negative.
- Version 1: the four ratings are scaled to sum to 10, and a question scores 10 less the sum of what they are
  off.
- The benchmark is ten times the mean over the questions that were parsed. With two passes, the revised one
  counts where it is not lower and at least 95% as many of its answers were parsed; else the first.
- A run of which under 83.33% was parsed has failed.
"""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from overtone import correlation
from overtone.config import Config
from overtone.data.sources.eq_bench import Question, Ratings, Version
from overtone.errors import DataError
from overtone.evaluation.bootstrap import Draw, resampled
from overtone.evaluation.compare import Difference, Interval, difference_of, interval_of
from overtone.scores import Bools, Floats

LEAST_PARSED = 0.8333
"""The share of the questions below which a run has failed."""

STRONGEST = 10
"""The highest rating that a question asks for."""

TRIVIAL = (0, 2, 3, 4)
"""What the constant baselines rate every emotion."""

_MULTIPLIER = 0.7477
_NEAR = 5
_AS_MANY = 0.95
_FEWEST = 3  # points that a correlation is told of
_RATING = re.compile(r"(\w+):\s+(\d+)")
_FIRST = re.compile(r"First pass scores:(.*?)Revised scores:", re.DOTALL)
_REVISED = re.compile(r"Revised scores:(.*)", re.DOTALL)


class EqExamConfig(Config):
    """How EQ-Bench is sat."""

    version: Version = Field("v2", description="171 questions, or the 60 of the first version")
    revise: bool = Field(
        False,
        description="ask for a critique and a second pass, as the reference did at first; v1 always does",
    )
    constrained: Literal["failed", "always", "never"] = Field(
        "failed",
        description="when the answers are decoded a second time with their form given: where too few "
        "were parsed, or in any case, or not at all",
    )
    reading: Literal["mode", "expected"] = Field(
        "mode", description="the number that is then taken: the likeliest, or the mean, rounded"
    )
    attempts: int = Field(3, ge=1, description="tries at an answer that can be parsed")
    seed: int = Field(7, ge=0, description="of the draws, of the random baseline and of the resamples")
    resamples: int = Field(2000, ge=100, description="bootstrap resamples of an interval, over questions")

    @property
    def two_passes(self) -> bool:
        """Whether a second pass is asked for."""
        return self.revise or self.version == "v1"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was read of one answer.

    Args:
        first: the ratings of the first pass; whatever was written, so perhaps not the four asked for.
        revised: the same of the second pass; empty where there was none.
    """

    first: Ratings
    revised: Ratings


@dataclass(frozen=True, slots=True)
class EqAnswers:
    """A system's answers to N questions, scored.

    Args:
        version: by whose rules.
        ids: of the questions, (N,).
        answers: what was read of each, (N,).
        first: the scores of the first passes, at most 10, (N,); NaN where one was not parsed.
        revised: the same of the second passes.
    """

    version: Version
    ids: tuple[str, ...]
    answers: tuple[Answer, ...]
    first: Floats
    revised: Floats


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Args:
        score: the benchmark over the questions that were parsed, at most 100; 0 where there are none.
        parsed: how many they are.
        asked: how many questions there were.
        revised: whether the second pass counted.
    """

    score: float
    parsed: int
    asked: int
    revised: bool

    @property
    def rate(self) -> float:
        """The share of the questions that was parsed, 0..1."""
        return self.parsed / self.asked

    @property
    def failed(self) -> bool:
        """Whether too few were parsed for the score to count."""
        return self.rate < LEAST_PARSED


@dataclass(frozen=True, slots=True)
class EmotionFit:
    """How near the ratings of one emotion come.

    Args:
        emotion: its name; ``all`` of every emotion together.
        n: ratings.
        mae: mean absolute error, 0..10.
        pearson: correlation with the reference, -1..1; NaN of fewer than three ratings, and where the
            reference does not vary.
    """

    emotion: str
    n: int
    mae: float
    pearson: float


def parse(text: str, *, revise: bool) -> Answer:
    """The ratings in an answer: a word, a colon, blanks and digits each; of one word the last counts.

    With two passes, the first is what stands between the two headings, and the second what follows the
    other: a pass without its headings is not read.

    Args:
        text: the answer.
        revise: whether two passes were asked for.
    """
    if not revise:
        return Answer(_ratings(text), {})
    first, revised = _FIRST.search(text), _REVISED.search(text)
    return Answer(*(_ratings(found[1]) if found else {} for found in (first, revised)))


def _ratings(text: str) -> dict[str, float]:
    # Some hundred digits are more than a number can hold; they are no rating.
    found = ((word, float(number)) for word, number in _RATING.findall(text))
    return {word: rating for word, rating in found if math.isfinite(rating)}


def penalty(distance: float) -> float:
    """What a rating costs in version 2 that is so far off, 0 and above."""
    if distance == 0:
        return 0.0
    return 6.5 / (1 + math.exp(-1.2 * (distance - 4))) if distance <= _NEAR else distance


def score(question: Question, ratings: Ratings, version: Version) -> float | None:
    """How near the ratings of one question come to its reference.

    Args:
        question: what was asked.
        ratings: emotion → rating.
        version: by whose rules.

    Returns:
        At most 10; None where the emotions are not exactly the four, written as they are asked for, or, in
        version 1, where none is felt.
    """
    if set(ratings) != set(question.emotions):
        return None
    rated = [ratings[emotion] for emotion in question.emotions]
    if version == "v2":
        pairs = zip(rated, question.full, strict=True)
        return 10 - _MULTIPLIER * sum(penalty(abs(one - other)) for one, other in pairs)
    if sum(rated) <= 0:
        return None
    pairs = zip(relative(rated), question.relative, strict=True)
    return 10 - sum(abs(one - other) for one, other in pairs)


def relative(ratings: Sequence[float]) -> list[float]:
    """The ratings scaled to sum to 10; they sum to more than 0."""
    total = sum(ratings)
    return [10 * each / total for each in ratings]


def complete(question: Question, answer: Answer, *, revise: bool) -> bool:
    """Whether all that was asked for is there; one that rates every emotion 0 is none, as questions say."""
    passes = (answer.first, answer.revised) if revise else (answer.first,)
    return all(score(question, each, "v1") is not None for each in passes)


def grade(questions: Sequence[Question], answers: Sequence[Answer], version: Version) -> EqAnswers:
    """Score the answers to N questions.

    Raises:
        DataError: there are no questions, not as many answers, or a question stands twice.
    """
    ids = tuple(each.id for each in questions)
    if len(answers) != len(ids) or not ids or len(set(ids)) < len(ids):
        raise DataError(
            f"{len(answers):,} answers to {len(set(ids)):,} different questions cannot be scored",
            hint="give one to each",
        )
    pairs = list(zip(questions, answers, strict=True))
    first = [score(question, answer.first, version) for question, answer in pairs]
    revised = [score(question, answer.revised, version) for question, answer in pairs]
    # None becomes NaN.
    return EqAnswers(version, ids, tuple(answers), np.array(first, float), np.array(revised, float))


def outcome(found: EqAnswers) -> Outcome:
    """The benchmark's score, and what it stands on."""
    sums = _columns(found).sum(axis=0, keepdims=True)  # (1, 4)
    scores, revised = _benchmark(sums)
    counted = bool(revised[0])
    return Outcome(float(scores[0]), int(sums[0, 3 if counted else 1]), len(found.ids), counted)


def interval(found: EqAnswers, *, seed: int, resamples: int = 2000) -> Interval:
    """The benchmark's score with its 95% interval from a bootstrap over questions.

    Which pass counts is decided anew in each resample, as it is a part of the benchmark.
    """
    values = resampled([lambda draw: _on(found, draw)], len(found.ids), resamples, seed)[:, 0]
    return interval_of(outcome(found).score, values, 0.95)


def paired(a: EqAnswers, b: EqAnswers, *, seed: int, resamples: int = 2000) -> Difference:
    """What the score gains when a is replaced by b, on the same resamples of the questions.

    Each side's mean is over what was parsed of it.

    Raises:
        DataError: the two are not of the same questions, or not by the same rules.
    """
    if (a.version, a.ids) != (b.version, b.ids):
        raise DataError(
            f"not the same questions: {len(a.ids):,} of {a.version} and {len(b.ids):,} of {b.version}",
            hint="ask both systems the same questions, in one order",
        )
    statistics = [lambda draw: _on(b, draw) - _on(a, draw)]
    values = resampled(statistics, len(a.ids), resamples, seed)[:, 0]
    return difference_of(outcome(b).score - outcome(a).score, values, 0.95)


def _columns(found: EqAnswers) -> Floats:
    """The scores and whether they are there, of the first and then the revised passes, (N, 4)."""
    columns = [
        column
        for each in (found.first, found.revised)
        for column in (np.nan_to_num(each, nan=0.0), ~np.isnan(each))
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _benchmark(sums: Floats) -> tuple[Floats, Bools]:
    """Sums of ``_columns`` (C, 4) → the scores, and whether the revised pass counts, each (C,)."""
    first, n_first, revised, n_revised = sums.T
    means = [
        10 * np.divide(total, n, out=np.zeros_like(total), where=n > 0)
        for total, n in ((first, n_first), (revised, n_revised))
    ]
    counts = (means[1] >= means[0]) & (n_revised >= _AS_MANY * n_first) & (n_revised > 0)
    return np.where(counts, means[1], means[0]), counts


def _on(found: EqAnswers, draw: Draw) -> Floats:
    return _benchmark(draw.weights @ _columns(found))[0]


def by_emotion(questions: Sequence[Question], found: EqAnswers) -> tuple[EmotionFit, ...]:
    """Error and correlation of the ratings of each emotion, in the pass that counts; all of them first.

    In version 1 both sides sum to 10. An emotion of which nothing was parsed is left out.

    Args:
        questions: those that were answered, in that order.
        found: the answers.

    Returns:
        ``all``, then the emotions that are asked about most often, those alike by name.
    """
    revised = outcome(found).revised
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for question, answer in zip(questions, found.answers, strict=True):
        ratings = answer.revised if revised else answer.first
        if score(question, ratings, found.version) is None:
            continue
        rated, reference = [ratings[emotion] for emotion in question.emotions], question.full
        if found.version == "v1":
            rated, reference = relative(rated), question.relative
        for emotion, true, said in zip(question.emotions, reference, rated, strict=True):
            pairs[emotion].append((true, said))
    every = [pair for each in pairs.values() for pair in each]
    order = sorted(pairs, key=lambda emotion: (-len(pairs[emotion]), emotion))
    if not every:
        return ()
    return _fit("all", every), *(_fit(name, pairs[name]) for name in order)


def _fit(emotion: str, pairs: Sequence[tuple[float, float]]) -> EmotionFit:
    gold, said = (np.array(each)[:, None] for each in zip(*pairs, strict=True))
    follows = float(correlation.pearson(gold, said)[0]) if len(pairs) >= _FEWEST else math.nan
    return EmotionFit(emotion, len(pairs), float(correlation.mae(gold, said)[0]), follows)


def constant(questions: Sequence[Question], rating: float, version: Version) -> EqAnswers:
    """The baseline that rates every emotion alike."""
    answers = [Answer(dict.fromkeys(each.emotions, float(rating)), {}) for each in questions]
    return grade(questions, answers, version)


def at_random(questions: Sequence[Question], version: Version, seed: int) -> EqAnswers:
    """The baseline that rates by chance: whole numbers from 0 to 10, each as likely."""
    chance = random.Random(f"{seed}/eq_bench")
    answers = [
        Answer({emotion: float(chance.randint(0, STRONGEST)) for emotion in each.emotions}, {})
        for each in questions
    ]
    return grade(questions, answers, version)


def baselines(questions: Sequence[Question], version: Version, seed: int) -> dict[str, EqAnswers]:
    """What any system has to beat, by name: each of ``TRIVIAL``, and chance."""
    found = {f"always {rating}": constant(questions, rating, version) for rating in TRIVIAL}
    return {**found, "random": at_random(questions, version, seed)}
