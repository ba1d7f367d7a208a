"""What a question is compared with when facts are looked up: vectors of their texts, and their words.

| feature | what is compared with the question |
| --- | --- |
| ``answer`` | cosine with the answer |
| ``text`` | cosine with the fact's text: its wordings and the answer in one |
| ``words`` | BM25 of that text, as a share of the most that a text could score |

BM25 grows with the question, so it is divided by the sum of the idf of its words, with those that no fact
holds, which no text reaches. Then one threshold does for short and long questions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from overtone.data.text import words
from overtone.inference.embed import Embedder
from overtone.inference.lexical import Lexical
from overtone.inference.vectors import Vectors
from overtone.scores import Floats


class Words:
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
class Shelf:
    """What questions are compared with, a row a fact.

    Args:
        answers: vectors of the answers, (N, D).
        texts: vectors of wordings and answer in one, (N, D).
        words: the words of these texts.
    """

    answers: Vectors
    texts: Vectors
    words: Words

    @classmethod
    def build(cls, answers: Vectors, texts: Sequence[str], embedder: Embedder) -> Shelf:
        """The shelf of N facts with these texts."""
        return cls(answers, embedder.encode(texts), Words(texts))

    def features(self, questions: Sequence[str], vectors: Vectors) -> Floats:
        """The features of each fact for each of Q questions, (Q, N, 3); vectors (Q, D) are theirs."""
        asked = vectors.astype(np.float64)
        shares = np.zeros((len(questions), len(self.answers)))
        for row, question in enumerate(questions):
            shares[row] = self.words.shares(question)
        return np.stack([asked @ self.answers.T, asked @ self.texts.T, shares], axis=-1)
