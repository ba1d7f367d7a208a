"""Fit how facts are looked up: what counts how much, and from where on the best fact answers.

The weights are fitted on the taught wordings, each as it is taught and each *left out*: judged by facts that
do not hold it. Left-out ones alone would teach that wordings hardly matter, since those of one fact are made
to differ, and a taught question would miss its own fact.

Whether the best fact answers is a logistic regression on its score and the question's vector, of the
left-out wordings against questions that no fact answers. The threshold is fitted on the same, each judged by
a regression that has seen neither it nor another wording of its fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from overtone.data.sources.deaf_knowledge import Unknown
from overtone.errors import DataError
from overtone.inference.embed import Embedder
from overtone.inference.lexical import package
from overtone.inference.lookup import Fact, Fitted, Lookup, LookupConfig, text
from overtone.inference.shelf import Shelf
from overtone.inference.vectors import Vectors
from overtone.scores import Bools, Floats, Ints

ENOUGH = 1000
"""Wordings that are judged by all facts to fit three weights; of more, so many at even distances."""

FOLDS = 10
"""Parts of the questions, each judged by a regression on the others."""

FEW = 2 * FOLDS
"""Fewer questions that no fact answers do not tell what kind they are: then the score alone decides."""

KIND = 3.0
"""A question's vector, of length 1, beside a score of deviation 1, under one penalty."""


def fit(
    facts: Sequence[Fact],
    unknown: Sequence[Unknown],
    config: LookupConfig | None = None,
    embedder: Embedder | None = None,
) -> Lookup:
    """Fit weights and threshold on what is taught; the same whatever the order of the facts.

    Wordings are left out in rounds: in the first, facts are without their first one, and so on. If only the
    fact that is asked for lost one, it would be the shortest, and the weights would learn that. A fact with
    one wording keeps it, to be taken for others, and is not judged, since its answer alone says little of how
    it is asked for. Where no fact has several wordings, all are judged, by answers alone.

    Args:
        facts: two or more.
        unknown: questions that none of them answers, those that may set the threshold; without any the
            threshold declines as many of the known as ``declined_known`` allows.
        config: how they are found.
        embedder: what makes the vectors, if it is not one that a config can name.

    Raises:
        DataError: there are fewer than two facts, none has a wording, or two have one id.
        MissingExtraError: the extra ``search`` is not installed.
        WeightsError: the weights of the embedder are not at hand.
    """
    config = config or LookupConfig()
    ordered = sorted(facts, key=lambda fact: fact.id)
    if len(ordered) < 2 or not any(fact.questions for fact in ordered):
        raise DataError("too few facts to tell apart", hint="give two or more, with their questions")
    twice = next((one.id for one, other in pairwise(ordered) if one.id == other.id), None)
    if twice is not None:
        raise DataError(f"two facts are called '{twice}'", hint="give each an id of its own")
    package()  # asked for before the vectors are made
    embedder = embedder or config.embedder.build()
    answers = embedder.encode([fact.answer for fact in ordered])
    whole = Shelf.build(answers, [text(fact) for fact in ordered], embedder)

    asked = [(row, place) for row, fact in enumerate(ordered) for place in range(len(fact.questions))]
    some = np.linspace(0, len(asked) - 1, min(len(asked), ENOUGH)).round().astype(int)
    rows, places = np.array(asked)[some].T  # (M,) each: the fact, and which of its wordings
    texts = [ordered[row].questions[place] for row, place in zip(rows, places, strict=True)]
    vectors = embedder.encode(texts, query=True)

    several = np.array([len(fact.questions) > 1 for fact in ordered])
    judged = several if several[rows].any() else np.ones_like(several)  # (N,)
    left_out, order = [], []
    for place in np.unique(places[judged[rows]]):
        shorter = [text(fact, place if loses else None) for fact, loses in zip(ordered, judged, strict=True)]
        chosen = np.flatnonzero(judged[rows] & (places == place))
        shelf = Shelf.build(answers, shorter, embedder)
        left_out.append(shelf.features([texts[i] for i in chosen], vectors[chosen]))
        order.append(chosen)
    known, chosen = np.concatenate(left_out), np.concatenate(order)  # (L, N, 3), (L,)
    right, asked_as = rows[chosen], vectors[chosen]  # (L,), (L, D)

    features = np.concatenate([known, whole.features(texts, vectors)])
    weights = fit_weights(features, np.concatenate([right, rows]), config.l2)
    others = sorted(question.text for question in unknown)
    of_others = embedder.encode(others, query=True)
    sums = known @ weights  # (L, N)
    best = np.concatenate([sums.max(axis=1), (whole.features(others, of_others) @ weights).max(axis=1)])
    answered = np.arange(len(best)) < len(sums)
    groups = np.concatenate([right, np.arange(len(others))])
    slope, direction, scores = fit_kind(best, np.concatenate([asked_as, of_others]), answered, groups)
    threshold = fit_threshold(scores[answered], scores[~answered], config.declined_known)
    declined = scores < threshold
    fitted = Fitted(
        weights=weights.tolist(),
        slope=slope,
        threshold=threshold,
        right=float((sums.argmax(axis=1) == right).mean()),
        declined_known=float(declined[answered].mean()),
        declined_unknown=float(declined[~answered].mean()) if others else None,
    )
    return Lookup(ordered, fitted, config, whole, direction, embedder)


def fit_kind(best: Floats, vectors: Vectors, answered: Bools, groups: Ints) -> tuple[float, Vectors, Floats]:
    """What the score of the best fact counts, the direction of questions that facts answer, and the scores.

    Answered and unanswered questions count the same in all. With fewer than 20 unanswered ones, or as few
    groups of answered ones, the score counts alone.

    Args:
        best: the best fact's sum of weighted features, of Q questions, (Q,).
        vectors: of the questions, (Q, D).
        answered: which of them a fact answers, (Q,).
        groups: questions of one group are never judged by a regression that has seen another of it, (Q,).

    Returns:
        The slope; the direction, (D,), zeros where the score counts alone; and the score of each question
        from the regressions that did not see it, (Q,).
    """
    if min((~answered).sum(), len(np.unique(groups[answered]))) < FEW:
        return 1.0, np.zeros(vectors.shape[1], dtype=np.float32), best
    deviation = float(best.std()) or 1.0
    inputs = np.column_stack([best / deviation, vectors.astype(np.float64) * KIND])

    def fitted(rows: Bools) -> LogisticRegression:
        return LogisticRegression(class_weight="balanced", max_iter=1000).fit(inputs[rows], answered[rows])

    whole = fitted(np.ones_like(answered))
    folds = np.empty(len(best), dtype=np.int64)
    for part in (answered, ~answered):  # each fold has its share of both
        folds[part] = np.unique(groups[part], return_inverse=True)[1] % FOLDS
    scores = np.empty_like(best)
    for fold in range(FOLDS):
        held = folds == fold
        model = fitted(~held)
        # A lookup adds no intercept: its threshold has it.
        scores[held] = inputs[held] @ model.coef_[0] + (model.intercept_ - whole.intercept_)
    slope, *direction = whole.coef_[0]
    return float(slope) / deviation, np.array(direction, dtype=np.float32) * np.float32(KIND), scores


def fit_weights(features: Floats, gold: Ints, l2: float) -> Floats:
    """The weights with the lowest cross-entropy of the right fact among all, (F,); the problem is convex.

    mean over q of −log softmax(features_q · w)[gold_q], and l2 · |w|², which keeps them finite where every
    right fact is the best. None is below 0: being like a question never speaks against a fact.

    Args:
        features: of each fact for each of Q questions, (Q, N, F).
        gold: the right facts, (Q,).
        l2: above 0.
    """
    right = features[np.arange(len(gold)), gold].mean(axis=0)  # (F,)

    def loss(weights: Floats) -> tuple[float, Floats]:
        logs = log_softmax(features @ weights, axis=1)  # (Q, N)
        entropy = -logs[np.arange(len(gold)), gold].mean()
        slope = np.einsum("qn,qnf->f", np.exp(logs), features) / len(gold) - right
        return float(entropy + l2 * weights @ weights), slope + 2 * l2 * weights

    bounds = [(0.0, None)] * features.shape[2]
    found: Floats = minimize(loss, np.zeros(len(bounds)), jac=True, bounds=bounds, method="L-BFGS-B").x
    return found


def fit_threshold(known: Floats, unknown: Floats, declined_known: float) -> float:
    """The score from which something fits: it declines the most unknown questions that it may.

    Of the thresholds that decline at most a share of the known, and then the most of the unknown, it declines
    the fewest known: it lies midway between the best unknown question that it declines and the next known
    one. Without unknown questions it declines as many of the known as it may.

    Args:
        known: best scores of questions that a fact answers, (K,), one or more.
        unknown: of those that none answers, (U,).
        declined_known: the share, in 0..1, without 1.
    """
    ranked = np.sort(known)
    highest = float(ranked[int(declined_known * len(ranked))])
    if not len(unknown):
        return highest
    declined = unknown[unknown < highest]
    if not len(declined):
        return float(ranked[0])
    last = float(declined.max())
    return (last + float(ranked[ranked > last][0])) / 2
