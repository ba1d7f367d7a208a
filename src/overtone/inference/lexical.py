"""BM25: passages ranked by the words that they share with a question."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from overtone.data.text import words
from overtone.errors import MissingExtraError, RunError
from overtone.inference.vectors import Found, best
from overtone.scores import Floats

K1, B = 0.9, 0.4
"""How soon a word's repeats stop counting, and how much long passages are held back, as Anserini has them."""


class Lexical:
    """An index of words, Lucene's BM25 (Robertson and Zaragoza 2009; Kamphuis et al. 2020) by ``bm25s``.

    Words are those of ``data.text``: casefolded, without punctuation; none is left out and none stemmed.

    Args:
        index: of ``bm25s``, built.
    """

    def __init__(self, index: Any) -> None:  # noqa: ANN401 - bm25s has no types
        self.index = index
        self.vocabulary: dict[str, int] = index.vocab_dict

    @classmethod
    def build(cls, texts: Iterable[str]) -> Lexical:
        """Index N texts.

        Raises:
            MissingExtraError: ``bm25s`` is not installed.
        """
        vocabulary: dict[str, int] = {}
        # Numbers in place of words: a million passages of repeated words would not fit into memory.
        numbers = [[vocabulary.setdefault(word, len(vocabulary)) for word in words(text)] for text in texts]
        index = package().BM25(method="lucene", k1=K1, b=B, backend="numpy")
        # bm25s counts on a word, so texts without any get one that no question holds.
        index.index((numbers, vocabulary or {"": 0}), show_progress=False)
        return cls(index)

    def scores(self, query: str) -> Floats:
        """BM25 of every text, (N,), from 0; a word that the question repeats counts as often."""
        known = [self.vocabulary[word] for word in words(query) if word in self.vocabulary]
        if not known:
            return np.zeros(self.index.scores["num_docs"], dtype=np.float32)
        scores: Floats = self.index.get_scores_from_ids(known)
        return scores

    def search(self, query: str, k: int) -> Found:
        """The best K texts that share a word with the question; fewer where fewer do."""
        scores = self.scores(query)
        sharing = np.flatnonzero(scores > 0)
        return best(sharing, scores[sharing], k)

    def save(self, folder: Path) -> None:
        """Write arrays and JSON, nothing pickled."""
        self.index.save(folder, allow_pickle=False, show_progress=False)

    @classmethod
    def load(cls, folder: Path) -> Lexical:
        """Read what ``save`` wrote.

        Raises:
            MissingExtraError: ``bm25s`` is not installed.
            RunError: a file is missing or damaged.
        """
        bm25s = package()
        try:
            return cls(bm25s.BM25.load(folder, allow_pickle=False, show_progress=False))
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise RunError(
                f"{folder} is damaged: {error}", hint="make the index again: overtone search index"
            ) from error


def package() -> Any:  # noqa: ANN401 - a module without types
    """``bm25s``; whoever needs it after hours of work asks for it before.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import bm25s
    except ImportError as error:
        raise MissingExtraError("search", "BM25") from error
    return bm25s
