"""How right answers are: exact match, token F1 and cosine, each answer by itself.

Exact match and F1 are SQuAD's (Rajpurkar et al., EMNLP 2016; of empty answers, that of version 2.0, Rajpurkar
et al., ACL 2018), after its normalisation. The three columns of an exam are never one figure: what was
trained on, the same facts in words that were not, and what is not known.

| measure | of one answer |
| --- | --- |
| ``exact_match`` | 1 where it is the right one |
| ``f1`` | harmonic mean of the shares of its words and of the right one's that both have |
| ``cosine`` | of the vectors that an encoder makes of both |
| ``declined`` | 1 where it says that it does not know |

All but the cosine, -1..1, are in 0..1. Higher is better, and of ``declined`` lower where the answer is known.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from overtone.errors import DataError, did_you_mean
from overtone.evaluation.bootstrap import Draw, resampled
from overtone.evaluation.compare import Difference, Interval, difference_of
from overtone.scores import Floats

if TYPE_CHECKING:
    from overtone.inference.embed import Embedder

Column = Literal["trained", "held_out", "unknown"]
"""Whether a question was trained on, is a trained fact's in other words, or has no answer that was taught."""

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DECLINES = re.compile(
    r"\b(i|we) (do not|don't|cannot|can't|could not|couldn't) "
    r"(know|say|tell|answer|find (that|this|an answer|anything))\b"
    r"|\bi('m| am) not sure\b|\b(is|are) not (known to me|in what i know)\b"
)


@dataclass(frozen=True, slots=True)
class Graded:
    """A system's answers to the questions of one column, measured.

    Args:
        column: which questions.
        ids: of the questions, (N,).
        facts: what each is about, (N,); questions on one fact are not independent.
        answers: what the system said, (N,).
        scores: measure → of each answer, (N,).
    """

    column: Column
    ids: tuple[str, ...]
    facts: tuple[str, ...]
    answers: tuple[str, ...]
    scores: Mapping[str, Floats]

    def of(self, measure: str) -> Floats:
        """The measure of each answer, (N,).

        Raises:
            DataError: it was not measured.
        """
        if measure not in self.scores:
            raise DataError(f"no measure '{measure}'", hint=did_you_mean(measure, self.scores))
        return self.scores[measure]


def normalised(text: str) -> str:
    """SQuAD's: small letters, no ASCII punctuation, no English articles, single blanks; in this order."""
    plain = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", plain).split())


def exact_match(answer: str, gold: str) -> float:
    """1 where the two are the same after normalisation, else 0."""
    return float(normalised(answer) == normalised(gold))


def token_f1(answer: str, gold: str) -> float:
    """F1 of the words of an answer, each counted as often as it stands; 0..1."""
    said, wanted = normalised(answer).split(), normalised(gold).split()
    if not said or not wanted:
        return float(said == wanted)
    shared = (Counter(said) & Counter(wanted)).total()
    return 2 * shared / (len(said) + len(wanted))


def declines(answer: str) -> bool:
    """Whether an answer says that it does not know, by what people say then."""
    return _DECLINES.search(answer.lower().replace("’", "'")) is not None


def grade(
    column: Column,
    ids: Sequence[str],
    facts: Sequence[str],
    answers: Sequence[str],
    golds: Sequence[str] | None,
    embedder: Embedder | None = None,
) -> Graded:
    """Measure the answers of one column.

    Args:
        column: which questions.
        ids: of N questions.
        facts: what each is about.
        answers: what the system said to each.
        golds: the right ones; None where there are none, and only ``declined`` is measured.
        embedder: makes the vectors of the cosine; without it there is none.

    Raises:
        DataError: there are no questions, their numbers differ, or one stands twice.
    """
    sizes = {len(each) for each in (ids, facts, answers, *(() if golds is None else (golds,)))}
    if sizes != {len(ids)} or not ids:
        raise DataError(f"{len(answers):,} answers to {len(ids):,} questions of '{column}' cannot be graded")
    if len(set(ids)) < len(ids):
        raise DataError(f"a question of '{column}' stands twice", hint="ask each once")
    found: dict[str, Floats] = {"declined": np.array([float(declines(each)) for each in answers])}
    if golds is not None:
        pairs = list(zip(answers, golds, strict=True))
        found["exact_match"] = np.array([exact_match(*pair) for pair in pairs])
        found["f1"] = np.array([token_f1(*pair) for pair in pairs])
        if embedder is not None:
            said, wanted = (embedder.encode(list(each)).astype(np.float64) for each in (answers, golds))
            found["cosine"] = (said * wanted).sum(axis=1)
    return Graded(column, tuple(ids), tuple(facts), tuple(answers), found)


def interval(graded: Graded, measure: str, *, seed: int, resamples: int = 2000) -> Interval:
    """The mean of a measure over the questions, with its 95% interval from a bootstrap over facts.

    Raises:
        DataError: see ``Graded.of``.
    """
    found = _mean(graded.of(measure), graded.facts, seed, resamples)
    return Interval(found.value, found.low, found.high)


def paired(a: Graded, b: Graded, measure: str, *, seed: int, resamples: int = 2000) -> Difference:
    """What the mean of a measure gains when a is replaced by b, question by question.

    Raises:
        DataError: the two are not of the same column or questions; see ``Graded.of``.
    """
    if (a.column, a.ids, a.facts) != (b.column, b.ids, b.facts):
        raise DataError(
            f"not the same questions: {len(a.ids):,} of '{a.column}' and {len(b.ids):,} of '{b.column}'",
            hint="ask both systems the same questions, in one order",
        )
    return _mean(b.of(measure) - a.of(measure), a.facts, seed, resamples)


def _mean(values: Floats, facts: Sequence[str], seed: int, resamples: int) -> Difference:
    """The mean of the values (N,), with an interval from resamples of whole facts."""
    _, fact = np.unique(facts, return_inverse=True)
    sums, sizes = np.bincount(fact, weights=values), np.bincount(fact)

    def mean(draw: Draw) -> Floats:
        means: Floats = (draw.weights @ sums) / (draw.weights @ sizes)
        return means

    return difference_of(float(values.mean()), resampled([mean], len(sizes), resamples, seed)[:, 0], 0.95)
