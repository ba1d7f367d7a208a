"""Which fact answers a question, and whether any does: what a tutor looks up before it answers.

A fact's score for a question is a weighted sum of three features, each at most 1:

| feature | what is compared with the question |
| --- | --- |
| ``answer`` | cosine with the answer |
| ``text`` | cosine with the fact's text: its wordings and the answer in one |
| ``words`` | BM25 of that text, as a share of the most that a text could score |

BM25 grows with the question, so it is divided by the sum of the idf of its words, with those that no fact
holds, which no text reaches. Then one threshold does for short and long questions: below it nothing fits.

The weights are fitted on the taught wordings, each as it is taught and each *left out*: judged by facts that
do not hold it. Left-out ones alone would teach that wordings hardly matter, since those of one fact are made
to differ, and a taught question would miss its own fact. The threshold is fitted on those left out, and on
questions that no fact answers.

>>> from overtone.inference import lookup
>>> found = lookup.fit(lookup.facts(records), unknown)
>>> found.find(["who taught Deaf children first?"])[0].fact.answer
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from pydantic import Field, ValidationError
from scipy.optimize import minimize
from scipy.special import log_softmax

from overtone.config import Config
from overtone.data.records import Record
from overtone.data.sources.deaf_knowledge import Unknown
from overtone.data.text import fold, words
from overtone.errors import DataError, RunError
from overtone.inference.embed import Embedder, EmbedderConfig
from overtone.inference.index_store import Made
from overtone.inference.lexical import Lexical, package
from overtone.inference.vectors import Vectors
from overtone.run import read_json, write_atomic, write_json
from overtone.scores import Floats, Ints

FILE, VECTORS = "lookup.json", "lookup.safetensors"
"""What a folder holds of a lookup; the first is written last, and names the hash of the other."""

NEAR = 3
"""Facts that a hit names, whether or not one fits."""

ENOUGH = 1000
"""Wordings that are judged by all facts to fit three weights; of more, so many at even distances."""

_AGAIN = "train the run again"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that can be looked up.

    Args:
        id: unique among the facts.
        questions: the wordings in which it is taught, one or more, no two alike.
        answer: what is so.
        source: where that is from; "" where nobody says.
    """

    id: str
    questions: tuple[str, ...]
    answer: str
    source: str


@dataclass(frozen=True, slots=True)
class Hit:
    """What was found for a question.

    Args:
        fact: what answers it; None where nothing fits.
        score: of the best fact; it fits from the threshold on.
        near: the best three, best first, fewer where there are fewer; the first is ``fact`` where one fits.
    """

    fact: Fact | None
    score: float
    near: tuple[Fact, ...]


class LookupConfig(Config):
    """How facts are found, and when nothing fits."""

    embedder: EmbedderConfig = Field(
        # Some hundred texts take seconds, and in fp32 every machine finds the same weights and threshold.
        EmbedderConfig(precision="fp32"),
        description="what makes the vectors",
    )
    declined_known: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the questions that a fact answers for which nothing may be found, at most",
    )
    l2: float = Field(3e-4, gt=0, description="what the squares of the weights cost in the fit, in nats")


class Fitted(Config):
    """What the fit found."""

    weights: tuple[float, float, float] = Field(description="of ``answer``, ``text`` and ``words``")
    threshold: float = Field(description="score from which the best fact fits")
    right: float = Field(description="share of the left-out wordings whose best fact is the right one")
    declined_known: float = Field(description="share of the left-out wordings below the threshold")
    declined_unknown: float | None = Field(
        description="share of the questions that no fact answers below it; none where there were none"
    )


class _Saved(Config):
    """A lookup as JSON."""

    config: LookupConfig
    embedder: Made
    facts: tuple[Fact, ...] = Field(min_length=1)
    fitted: Fitted
    vectors: str


class _Words:
    """BM25 of N texts as a share of the most that a text could score."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.index = Lexical.build(texts)
        held = Counter(word for text in texts for word in set(words(text)))
        self.idf = {word: _idf(len(texts), texts_with_it) for word, texts_with_it in held.items()}
        self.unseen = _idf(len(texts), 0)

    def shares(self, question: str) -> Floats:
        """The share of each text, (N,), 0..1; 0 for a question without a word."""
        most = sum(self.idf.get(word, self.unseen) for word in words(question))
        return self.index.scores(question) / (most or 1.0)


def _idf(texts: int, texts_with_it: int) -> float:
    """A word's weight in Lucene's BM25, and the most that it adds to a text's score."""
    return math.log(1 + (texts - texts_with_it + 0.5) / (texts_with_it + 0.5))


@dataclass(frozen=True, slots=True)
class _Shelf:
    """What questions are compared with, a row a fact.

    Args:
        answers: vectors of the answers, (N, D).
        texts: vectors of wordings and answer in one, (N, D).
        words: the words of these texts.
    """

    answers: Vectors
    texts: Vectors
    words: _Words

    @classmethod
    def build(cls, answers: Vectors, texts: Sequence[str], embedder: Embedder) -> _Shelf:
        """The shelf of N facts with these texts."""
        return cls(answers, embedder.encode(texts), _Words(texts))

    def features(self, questions: Sequence[str], vectors: Vectors) -> Floats:
        """The features of each fact for each of Q questions, (Q, N, 3); vectors (Q, D) are theirs."""
        asked = vectors.astype(np.float64)
        shares = np.zeros((len(questions), len(self.answers)))
        for row, question in enumerate(questions):
            shares[row] = self.words.shares(question)
        return np.stack([asked @ self.answers.T, asked @ self.texts.T, shares], axis=-1)


class Lookup:
    """Facts that can be asked for.

    Args:
        facts: N of them, in order of id.
        fitted: weights and threshold.
        config: how they were fitted.
        shelf: what questions are compared with.
        embedder: makes the vectors of questions.
    """

    def __init__(
        self, facts: Sequence[Fact], fitted: Fitted, config: LookupConfig, shelf: _Shelf, embedder: Embedder
    ) -> None:
        self.facts = tuple(facts)
        self.fitted = fitted
        self.config = config
        self.embedder = embedder
        self._shelf = shelf

    def find(self, questions: Sequence[str]) -> list[Hit]:
        """What answers each of Q questions, in their order; takes 24 Q N bytes for the features.

        Of facts with equal scores the one with the lower id comes first.
        """
        if not questions:
            return []
        features = self._shelf.features(questions, self.embedder.encode(questions, query=True))
        scores = features @ np.array(self.fitted.weights)  # (Q, N)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :NEAR]
        hits = []
        for rows, of_facts in zip(order, scores, strict=True):
            near, score = tuple(self.facts[row] for row in rows), float(of_facts[rows[0]])
            hits.append(Hit(near[0] if score >= self.fitted.threshold else None, score, near))
        return hits

    def save(self, folder: Path) -> None:
        """Write facts, weights and vectors into a folder, such as a run's ``model``; 8 N D bytes of vectors.

        The vectors are kept, so that whoever loads them need not make them again, nor another machine round
        them otherwise; the index of words is made again, which takes no time.

        Raises:
            RunError: the folder could not be written.
        """
        raw = safetensors.numpy.save({"answers": self._shelf.answers, "texts": self._shelf.texts})
        said = _Saved(
            config=self.config,
            embedder=_made(self.embedder),
            facts=self.facts,
            fitted=self.fitted,
            vectors=hashlib.sha256(raw).hexdigest(),
        )
        write_atomic(folder / VECTORS, raw)
        write_json(folder / FILE, said.model_dump(mode="json"))


def fact_of(record: Record) -> str:
    """The id of the fact that a row asks for: its group within its data set, or the row itself."""
    return record.id if record.group is None else f"{record.source}/{record.group}"


def facts(records: Sequence[Record]) -> list[Fact]:
    """The facts of questions with an answer, in the order in which they first come.

    Rows of one group are wordings of one fact; of wordings that differ in case and punctuation alone, the
    first counts. Rows without ``answer``, such as conversations, are passed over.

    Args:
        records: those that are taught; a held-out wording among them would be found by itself.

    Raises:
        DataError: an answer is not a text, or one fact has two.
    """
    wordings: dict[str, dict[str, str]] = {}
    said: dict[str, tuple[str, str]] = {}
    for record in records:
        if "answer" not in record.targets:
            continue
        fact, answer, source = fact_of(record), record.targets["answer"], record.targets.get("source")
        if not isinstance(answer, str) or not answer.strip():
            raise DataError(f"row '{record.id}' has no answer", hint="give each question one answer, a text")
        first, _ = said.setdefault(fact, (answer, source if isinstance(source, str) else ""))
        if first != answer:
            raise DataError(
                f"the fact '{fact}' has two answers: '{first}' and, in row '{record.id}', '{answer}'",
                hint="give questions with different answers different groups",
            )
        wordings.setdefault(fact, {}).setdefault(fold(record.text), record.text)
    return [Fact(fact, tuple(wordings[fact].values()), *said[fact]) for fact in said]


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
    whole = _Shelf.build(answers, [_text(fact) for fact in ordered], embedder)

    asked = [(row, place) for row, fact in enumerate(ordered) for place in range(len(fact.questions))]
    some = np.linspace(0, len(asked) - 1, min(len(asked), ENOUGH)).round().astype(int)
    rows, places = np.array(asked)[some].T  # (M,) each: the fact, and which of its wordings
    texts = [ordered[row].questions[place] for row, place in zip(rows, places, strict=True)]
    vectors = embedder.encode(texts, query=True)

    several = np.array([len(fact.questions) > 1 for fact in ordered])
    judged = several if several[rows].any() else np.ones_like(several)  # (N,)
    left_out, gold = [], []
    for place in np.unique(places[judged[rows]]):
        shorter = [_text(fact, place if loses else None) for fact, loses in zip(ordered, judged, strict=True)]
        chosen = np.flatnonzero(judged[rows] & (places == place))
        shelf = _Shelf.build(answers, shorter, embedder)
        left_out.append(shelf.features([texts[i] for i in chosen], vectors[chosen]))
        gold.append(rows[chosen])
    known, right = np.concatenate(left_out), np.concatenate(gold)  # (L, N, 3), (L,)

    features = np.concatenate([known, whole.features(texts, vectors)])
    weights = fit_weights(features, np.concatenate([right, rows]), config.l2)
    others = [question.text for question in unknown]
    nothing = (whole.features(others, embedder.encode(others, query=True)) @ weights).max(axis=1)
    scores = known @ weights  # (L, N)
    threshold = fit_threshold(scores.max(axis=1), nothing, config.declined_known)
    fitted = Fitted(
        weights=weights.tolist(),
        threshold=threshold,
        right=float((scores.argmax(axis=1) == right).mean()),
        declined_known=float((scores.max(axis=1) < threshold).mean()),
        declined_unknown=float((nothing < threshold).mean()) if others else None,
    )
    return Lookup(ordered, fitted, config, whole, embedder)


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


def load(folder: Path, embedder: Embedder | None = None) -> Lookup:
    """Read a lookup from a folder, such as a run's ``model``; it finds the same with the same scores.

    Args:
        folder: where it is.
        embedder: the one that made it, if it is not one that a config can name.

    Raises:
        RunError: a file is missing, damaged or not of the other, or another embedder made the vectors.
        MissingExtraError: the extra ``search`` is not installed.
        WeightsError: the weights of the embedder are not at hand.
    """
    place = folder / VECTORS
    try:
        said = _Saved.model_validate(read_json(folder / FILE))
    except ValidationError as error:
        raise RunError(f"{folder / FILE} is damaged: {error}", hint=_AGAIN) from error
    try:
        raw = place.read_bytes()
        if hashlib.sha256(raw).hexdigest() != said.vectors:
            raise RunError(f"{place} is damaged: it is not what was written with {FILE}", hint=_AGAIN)
        arrays = safetensors.numpy.load(raw)
        answers, texts = arrays["answers"], arrays["texts"]
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise RunError(f"{place} is missing or damaged: {error}", hint=_AGAIN) from error
    shape = (len(said.facts), said.embedder.dimensions)
    if answers.shape != shape or texts.shape != shape:
        raise RunError(f"{folder / FILE} is damaged: its facts are not those of {VECTORS}", hint=_AGAIN)
    embedder = embedder or said.config.embedder.build()
    if _made(embedder) != said.embedder:
        raise RunError(
            f"{folder / FILE} was made with {said.embedder}, and is asked with {_made(embedder)}",
            hint=f"give it the embedder that made it, or {_AGAIN}",
        )
    shelf = _Shelf(answers, texts, _Words([_text(fact) for fact in said.facts]))
    return Lookup(said.facts, said.fitted, said.config, shelf, embedder)


def _made(embedder: Embedder) -> Made:
    return Made(name=embedder.name, dimensions=embedder.dimensions)


def _text(fact: Fact, without: int | None = None) -> str:
    """A fact's wordings, all or all but one, and its answer."""
    kept = (question for place, question in enumerate(fact.questions) if place != without)
    return " ".join((*kept, fact.answer))
