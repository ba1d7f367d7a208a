"""How near the top the relevant passages are: recall, precision, reciprocal rank, discounted gain.

The arithmetic is that of ``trec_eval``, by ``pytrec_eval`` (Van Gysel and de Rijke, SIGIR 2018). Every
question is scored by itself, so that two systems are compared question by question.

| measure | of the first K places |
| --- | --- |
| ``recall_K`` | the share of the relevant passages that are among them |
| ``precision_K`` | the share of the K places that hold a relevant passage |
| ``mrr_K`` | 1 / the place of the first relevant passage, 0 where there is none |
| ``ndcg_K`` | the relevance found, each divided by log2(place + 1), as a share of the most possible |

The last is Järvelin and Kekäläinen's (TOIS 2002) with linear gain. All are in 0..1, and higher is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overtone.data.corpus import Judgements
from overtone.errors import DataError, MissingExtraError, did_you_mean
from overtone.evaluation.bootstrap import Draw, resampled
from overtone.evaluation.compare import Difference, Interval, Standing, difference_of
from overtone.scores import Floats

CUTOFFS = (1, 5, 10, 100)
"""The K of each measure, unless others are asked for."""

JUDGED = "mrr_10"
"""What two systems are compared by."""

SHOWN = ("recall_1", "recall_10", "recall_100", JUDGED, "ndcg_10")
"""What a table of systems shows."""

Ranking = Sequence[str]
"""Passage ids, best first, none twice."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What one system retrieved, scored.

    Args:
        ids: of the questions, (N,), sorted.
        scores: measure → the score of each question, (N,).
    """

    ids: tuple[str, ...]
    scores: Mapping[str, Floats]

    def of(self, measure: str) -> Floats:
        """The score of each question, (N,).

        Raises:
            DataError: the measure is not among those that were computed.
        """
        if measure not in self.scores:
            raise DataError(f"no measure '{measure}'", hint=did_you_mean(measure, self.scores))
        return self.scores[measure]


def ranked(scores: Mapping[str, float]) -> Ranking:
    """Passage ids by score, highest first; of equal scores the lower id comes first."""
    return sorted(scores, key=lambda passage: (-scores[passage], passage))


def score(
    rankings: Mapping[str, Ranking], judgements: Judgements, cutoffs: Sequence[int] = CUTOFFS
) -> Retrieved:
    """Score rankings, one a question; a question for which nothing was found scores 0.

    Args:
        rankings: question id → what was found, best first; may be longer than the largest cutoff.
        judgements: question id → passage id → relevance; what is not judged is not relevant.
        cutoffs: each K.

    Raises:
        DataError: there are no questions, one has no relevant passage, a passage is ranked twice, or a cutoff
            is below 1.
        MissingExtraError: ``pytrec_eval`` is not installed.
    """
    _check(rankings, judgements, cutoffs)
    ids = tuple(sorted(rankings))
    gold = {id_: dict(judgements[id_]) for id_ in ids}
    found: dict[str, Floats] = {}
    for k in sorted(set(cutoffs)):
        # trec_eval orders by score, and equal scores by falling id; made of the place, no two are equal.
        # Its reciprocal rank knows no cutoff, so it is told of K places alone.
        run = {id_: {each: float(-at) for at, each in enumerate(rankings[id_][:k])} for id_ in ids}
        names = {
            f"recall_{k}": f"recall_{k}",
            f"precision_{k}": f"P_{k}",
            f"mrr_{k}": "recip_rank",
            f"ndcg_{k}": f"ndcg_cut_{k}",
        }
        scored = _pytrec_eval().RelevanceEvaluator(gold, set(names.values())).evaluate(run)
        for ours, theirs in names.items():
            found[ours] = np.array([scored[id_][theirs] for id_ in ids])
    return Retrieved(ids, found)


def interval(retrieved: Retrieved, measure: str, *, seed: int, resamples: int = 2000) -> Interval:
    """The mean of a measure over the questions, with its 95% bootstrap interval.

    Raises:
        DataError: see ``Retrieved.of``.
    """
    found = _mean(retrieved.of(measure), seed, resamples)
    return Interval(found.value, found.low, found.high)


def paired(a: Retrieved, b: Retrieved, measure: str, *, seed: int, resamples: int = 2000) -> Difference:
    """What the mean of a measure gains when a is replaced by b, question by question.

    Raises:
        DataError: the two are not of the same questions; see ``Retrieved.of``.
    """
    if a.ids != b.ids:
        missing = len(set(a.ids) ^ set(b.ids))
        raise DataError(
            f"not the same questions: {missing} ids are in only one of {len(a.ids)} and {len(b.ids)}",
            hint="ask both systems the questions of one split",
        )
    return _mean(b.of(measure) - a.of(measure), seed, resamples)


def standings(
    found: Mapping[str, Retrieved], rivals: Mapping[str, str], *, seed: int, resamples: int
) -> tuple[Standing, ...]:
    """Every system's measures, and what the first gains over it in ``JUDGED``.

    Args:
        found: system → what it retrieved, of the same questions.
        rivals: a system that is more than another → that one; its gain is what it gains over that.
        seed: of the resamples.
        resamples: how many.

    Raises:
        DataError: see ``paired``.
    """
    return tuple(
        Standing(
            name,
            {measure: interval(each, measure, seed=seed, resamples=resamples) for measure in SHOWN},
            paired(*_pair(found, name, rivals), JUDGED, seed=seed, resamples=resamples) if place else None,
        )
        for place, (name, each) in enumerate(found.items())
    )


def _pair(
    found: Mapping[str, Retrieved], name: str, rivals: Mapping[str, str]
) -> tuple[Retrieved, Retrieved]:
    """What a system's gain is of: over the first, of the second."""
    if name in rivals:
        return found[rivals[name]], found[name]
    return found[name], next(iter(found.values()))


def _mean(values: Floats, seed: int, resamples: int) -> Difference:
    """The mean of the values (N,), with its interval."""

    def mean(draw: Draw) -> Floats:
        means: Floats = draw.weights @ values / len(values)
        return means

    return difference_of(float(values.mean()), resampled([mean], len(values), resamples, seed)[:, 0], 0.95)


def _check(rankings: Mapping[str, Ranking], judgements: Judgements, cutoffs: Sequence[int]) -> None:
    if not rankings:
        raise DataError("there are no questions to score", hint="choose a split that has questions")
    if not cutoffs or min(cutoffs) < 1:
        raise DataError(f"the cutoffs {list(cutoffs)} are not all 1 or more", hint="such as 1, 10, 100")
    for id_, ranking in rankings.items():
        if not any(judgements.get(id_, {}).values()):
            raise DataError(
                f"no passage is relevant to the question '{id_}'",
                hint="leave it out, as it can score nothing",
            )
        if len(set(ranking)) < len(ranking):
            raise DataError(f"a passage is ranked twice for '{id_}'", hint="rank each passage once")


def _pytrec_eval() -> Any:  # noqa: ANN401 - a module without types
    try:
        import pytrec_eval
    except ImportError as error:
        raise MissingExtraError("search", "scoring rankings") from error
    return pytrec_eval
