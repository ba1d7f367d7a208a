"""Search in one's own texts: an index of passages, asked by words, by meaning, or by both.

>>> from overtone.inference.search import Index
>>> index, what = Index.build(Path("notes"), Path("notes.index"))
>>> index.query("when does the library close?")[0].passage.text
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydantic import ValidationError

from overtone.data import passages as texts
from overtone.data.corpus import Passage
from overtone.errors import RunError, UsageError, did_you_mean
from overtone.inference import index_store as store
from overtone.inference.embed import Embedder
from overtone.inference.index_store import Made, Parts
from overtone.inference.indexing import IndexConfig, Indexed, Told, described, update
from overtone.inference.vectors import Found, Vectors, best, exact
from overtone.scores import Ints

Mode = Literal["bm25", "dense", "hybrid"]
"""By words, by vectors, or the two fused."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found.

    Args:
        rank: from 1, the best.
        score: BM25, cosine, or the sum of reciprocal ranks; to be compared within one answer alone.
        passage: what was found.
        places: ``bm25`` and ``dense`` → its rank there, where it was among those that were read.
    """

    rank: int
    score: float
    passage: Passage
    places: Mapping[str, int]


def fuse(rankings: Sequence[Ints], k: int = 60) -> Found:
    """Reciprocal-rank fusion: a row's score is the sum of 1 / (k + rank) over the rankings that have it.

    Cormack, Clarke and Büttcher, SIGIR 2009. Ranks count from 1.

    Args:
        rankings: rows, best first, each (K,).
        k: the larger, the less the first places count above the others.

    Returns:
        Every row that is in any ranking, (M,); of equal scores the lower row comes first.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, row in enumerate(ranking.tolist(), start=1):
            scores[row] = scores.get(row, 0.0) + 1 / (k + rank)
    rows = np.fromiter(scores, dtype=np.int64, count=len(scores))
    return best(rows, np.fromiter(scores.values(), dtype=np.float64, count=len(scores)), len(rows))


class Index:
    """An index that can be asked.

    Passages are in order of id, so of equal scores the lower id comes first.

    Args:
        parts: what is searched.
        config: how it was made.
        made: what made the vectors; None where there are none.
        embedder: what makes vectors of questions; None: the one that the config names.

    Raises:
        RunError: the embedder is not the one that made the vectors.
    """

    def __init__(
        self, parts: Parts, config: IndexConfig, made: Made | None, embedder: Embedder | None
    ) -> None:
        self.parts = parts
        self.config = config
        self.made = made
        self._given = embedder
        if embedder is not None and made != described(embedder):
            raise RunError(
                f"the index was made with {made or 'no embedder'}, and is asked with {described(embedder)}",
                hint="give the embedder that made it, or make the index again with this one",
            )

    @classmethod
    def open(cls, folder: Path, embedder: Embedder | None = None) -> Index:
        """Open an index.

        Args:
            folder: of the index.
            embedder: the one that made it, if it is not one that a config can name.

        Raises:
            RunError: there is no index, it is damaged, or another embedder made it.
            MissingExtraError: what reads it is not installed.
        """
        said, parts = store.read(folder)
        try:
            config = IndexConfig.model_validate(said.config)
        except ValidationError as error:
            raise RunError(f"{folder} is damaged: {error}", hint="make the index again") from error
        return cls(parts, config, said.embedder, embedder)

    @classmethod
    def build(
        cls,
        source: Path,
        folder: Path,
        config: IndexConfig | None = None,
        embedder: Embedder | None = None,
        told: Told | None = None,
    ) -> tuple[Index, Indexed]:
        """Make an index of a folder of texts, or bring it up to date.

        A file with the hash it had is not read again, nor a passage with the text it had encoded again.

        Args:
            source: a folder of ``.txt``, ``.md`` and ``.jsonl`` files, or a BEIR collection.
            folder: where the index is, or will be.
            config: how it is made.
            embedder: what makes the vectors, if it is not one that a config can name.
            told: hears how far it is.

        Raises:
            DataError: there are no texts, or a file cannot be read.
            RunError: another process writes the index, or it cannot be written.
            MissingExtraError: the extra ``search`` is not installed.
        """
        config = config or IndexConfig()
        files = texts.files(source)
        with store.lock(folder):
            if embedder is not None:
                config = config.model_copy(update={"embedder": None})
            elif config.embedder is not None:
                embedder = config.embedder.build()
            what = update(files, folder, config, embedder, told)
            return cls.open(folder, embedder), what

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The ways in which it can be asked, the best first."""
        return ("bm25",) if self.parts.vectors is None else ("hybrid", "dense", "bm25")

    @cached_property
    def embedder(self) -> Embedder:
        """What makes vectors of questions.

        Raises:
            UsageError: it was given when the index was made, and not when it was opened.
        """
        if self._given is not None:
            return self._given
        if self.config.embedder is None:
            raise UsageError(
                f"the vectors were made with {self.made}", hint="give it: Index.open(folder, embedder)"
            )
        return self.config.embedder.build()

    def query(self, question: str, top: int = 5, mode: Mode | None = None) -> tuple[Hit, ...]:
        """The best passages for a question, best first; fewer where fewer were found.

        Args:
            question: in words.
            top: how many are wanted.
            mode: how it is asked; without one the first of ``modes``.

        Raises:
            UsageError: no question, no such mode, or the index has no vectors.
        """
        found, places = self._found(question, top, mode or self.modes[0])
        return tuple(
            Hit(
                rank,
                float(score),
                self.parts.passages[row],
                {name: of[row] for name, of in places.items() if row in of},
            )
            for rank, (row, score) in enumerate(
                zip(found.rows.tolist(), found.scores.tolist(), strict=True), start=1
            )
        )

    def _found(self, question: str, top: int, mode: Mode) -> tuple[Found, dict[str, dict[int, int]]]:
        """The rows that were found, and the rank of each row in each ranking that was read."""
        if mode not in get_args(Mode):
            raise UsageError(f"no mode '{mode}'", hint=did_you_mean(mode, get_args(Mode)))
        if mode not in self.modes:
            raise UsageError(
                f"the index has no vectors, so it has no mode '{mode}'", hint="ask with --mode bm25"
            )
        if not question.strip():
            raise UsageError("the question is empty", hint='overtone search query INDEX "when does it open?"')
        if top < 1:
            raise UsageError(f"{top} passages are wanted", hint="ask for 1 or more with --top")
        depth = max(top, self.config.fusion.depth) if mode == "hybrid" else top
        rankings: dict[str, Found] = {}
        if mode != "dense":
            rankings["bm25"] = self.parts.lexical.search(question, depth)
        if mode != "bm25" and self.parts.vectors is not None:
            rankings["dense"] = self._nearest(self.parts.vectors, question, depth)
        places = {
            name: {row: rank for rank, row in enumerate(found.rows.tolist(), start=1)}
            for name, found in rankings.items()
        }
        if mode == "hybrid":
            fused = fuse([found.rows for found in rankings.values()], self.config.fusion.k)
            return Found(fused.rows[:top], fused.scores[:top]), places
        return rankings[mode], places

    def _nearest(self, vectors: Vectors, question: str, k: int) -> Found:
        vector = self.embedder.encode([question], query=True)[0]
        if self.parts.approximate is not None:
            return self.parts.approximate.search(vectors, vector, k, self.config.approximate)
        return exact(vectors, vector, k)
