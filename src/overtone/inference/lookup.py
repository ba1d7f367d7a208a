"""Which fact answers a question, and whether any does: what a tutor looks up before it answers.

A fact's score for a question is a weighted sum of the features that `inference/shelf.py` makes. How well the
best fact fits is this score and, where enough questions without an answer were there to fit it, what kind of
question it is: a direction in the space of its vector. Asked how to sign MORTGAGE, facts on other signs score
highly; that nothing here answers what costs what, or who is the best, is seen from the question alone.
`inference/lookup_fit.py` fits all of it.

>>> from overtone.inference import lookup, lookup_fit
>>> found = lookup_fit.fit(lookup.facts(records), unknown)
>>> found.find(["who taught Deaf children first?"])[0].fact.answer
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from pydantic import Field, ValidationError

from overtone.config import Config
from overtone.data.records import Record
from overtone.data.text import fold
from overtone.errors import DataError, RunError
from overtone.inference.embed import Embedder, EmbedderConfig
from overtone.inference.index_store import Made
from overtone.inference.shelf import Shelf, Words
from overtone.inference.vectors import Vectors
from overtone.run import read_json, write_atomic, write_json

FILE, VECTORS = "lookup.json", "lookup.safetensors"
"""What a folder holds of a lookup; the first is written last, and names the hash of the other."""

NEAR = 3
"""Facts that a hit names, whether or not one fits."""

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
        score: how well the best fact fits; it answers from the threshold on.
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
    slope: float = Field(
        description="how much the best fact's sum of these counts beside the question's kind"
    )
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


class Lookup:
    """Facts that can be asked for.

    Args:
        facts: N of them, in order of id.
        fitted: weights and threshold.
        config: how they were fitted.
        shelf: what questions are compared with.
        direction: of the kind of question that facts answer, (D,).
        embedder: makes the vectors of questions.
    """

    def __init__(
        self,
        facts: Sequence[Fact],
        fitted: Fitted,
        config: LookupConfig,
        shelf: Shelf,
        direction: Vectors,
        embedder: Embedder,
    ) -> None:
        self.facts = tuple(facts)
        self.fitted = fitted
        self.config = config
        self.embedder = embedder
        self._shelf = shelf
        self._direction = direction

    def find(self, questions: Sequence[str]) -> list[Hit]:
        """What answers each of Q questions, in their order; takes 24 Q N bytes for the features.

        Of facts with equal scores the one with the lower id comes first.
        """
        if not questions:
            return []
        vectors = self.embedder.encode(questions, query=True)
        sums = self._shelf.features(questions, vectors) @ np.array(self.fitted.weights)  # (Q, N)
        scores = self.fitted.slope * sums.max(axis=1) + vectors.astype(np.float64) @ self._direction
        hits = []
        for rows, score in zip(np.argsort(-sums, axis=1, kind="stable")[:, :NEAR], scores, strict=True):
            near = tuple(self.facts[row] for row in rows)
            hits.append(Hit(near[0] if score >= self.fitted.threshold else None, float(score), near))
        return hits

    def save(self, folder: Path) -> None:
        """Write facts, weights and vectors into a folder, such as a run's ``model``; 8 N D bytes of vectors.

        The vectors are kept, so that whoever loads them need not make them again, nor another machine round
        them otherwise; the index of words is made again, which takes no time.

        Raises:
            RunError: the folder could not be written.
        """
        raw = safetensors.numpy.save(
            {"answers": self._shelf.answers, "texts": self._shelf.texts, "direction": self._direction}
        )
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


def text(fact: Fact, without: int | None = None) -> str:
    """A fact's wordings, all or all but one, and its answer."""
    kept = (question for place, question in enumerate(fact.questions) if place != without)
    return " ".join((*kept, fact.answer))


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
        answers, texts, direction = arrays["answers"], arrays["texts"], arrays["direction"]
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise RunError(f"{place} is missing or damaged: {error}", hint=_AGAIN) from error
    shape = (len(said.facts), said.embedder.dimensions)
    if (answers.shape, texts.shape, direction.shape) != (shape, shape, shape[1:]):
        raise RunError(f"{folder / FILE} is damaged: its facts are not those of {VECTORS}", hint=_AGAIN)
    embedder = embedder or said.config.embedder.build()
    if _made(embedder) != said.embedder:
        raise RunError(
            f"{folder / FILE} was made with {said.embedder}, and is asked with {_made(embedder)}",
            hint=f"give it the embedder that made it, or {_AGAIN}",
        )
    shelf = Shelf(answers, texts, Words([text(fact) for fact in said.facts]))
    return Lookup(said.facts, said.fitted, said.config, shelf, direction, embedder)


def _made(embedder: Embedder) -> Made:
    return Made(name=embedder.name, dimensions=embedder.dimensions)
