"""Questions with their answers, as a model that reads the one and writes the other takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from overtone.data.batches import Encoded, gathered
from overtone.data.pairs import Pairs
from overtone.data.vocabulary import Vocabulary
from overtone.errors import DataError

PAD = "<pad>"
"""The piece that fills a batch."""

START = "<sos>"
"""The piece that an answer starts after; it ends with the end-of-text piece, as a document does."""


@dataclass(frozen=True, slots=True)
class Marks:
    """The ids of the pieces around words; the unknown word is the vocabulary's own.

    Args:
        pad: fills a batch.
        start: stands before an answer.
        end: stands after a question and after an answer.
    """

    pad: int
    start: int
    end: int


def add_marks(vocabulary: Vocabulary) -> None:
    """Give a vocabulary the pieces ``PAD`` and ``START``; it has the other two from the start.

    Written in a text they are ordinary characters, never these pieces. They stay when it is saved.
    """
    vocabulary.backend.add_special_tokens([PAD, START])


def marks_of(vocabulary: Vocabulary) -> Marks:
    """The marks of a vocabulary.

    Raises:
        DataError: it has none.
    """
    pad, start = (vocabulary.backend.token_to_id(piece) for piece in (PAD, START))
    if pad is None or start is None:
        raise DataError(
            f"the vocabulary has no {PAD} and {START}",
            hint="make it anew, or take the tokenizer.json of a run that answers questions",
        )
    return Marks(pad, start, vocabulary.end_id)


@dataclass(frozen=True, slots=True)
class Exchanges:
    """N questions and their answers as the rows of a fit.

    Args:
        questions: words and the end, at least one token each.
        answers: the start, then words, then the end unless the answer was cut; at least two tokens each.
    """

    questions: Encoded
    answers: Encoded

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of the longer text of each, (N,)."""
        return self._pairs().lengths

    @property
    def counts(self) -> NDArray[np.int64]:
        """Tokens of each that are learnt: those of its answer but the start, (N,)."""
        return self.answers.lengths - 1

    def pad(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The questions of these rows, then their answers: ids and mask, (2B, T)."""
        return self._pairs().pad(rows)

    def wanted(self, rows: Sequence[int]) -> Tensor:
        """The tokens that are learnt of these rows, one row after the other, (M,)."""
        begins, ends = self.answers.offsets[:-1] + 1, self.answers.offsets[1:]
        return torch.from_numpy(np.concatenate([self.answers.flat[begins[row] : ends[row]] for row in rows]))

    def _pairs(self) -> Pairs:
        rows = np.arange(len(self.questions))
        return Pairs(self.questions, self.answers, rows, rows[:, None])


def encode(
    vocabulary: Vocabulary, questions: Sequence[str], answers: Sequence[str], max_tokens: int
) -> Exchanges:
    """Questions and their answers in tokens.

    Args:
        vocabulary: with its marks.
        questions: N of them.
        answers: of each.
        max_tokens: kept of a question and of an answer at most, 1 and more, without marks. An answer that is
            cut has no end, so that nothing learns to stop in the middle.

    Raises:
        DataError: the vocabulary has no marks.
    """
    marks = marks_of(vocabulary)
    return Exchanges(
        ask(vocabulary, questions, max_tokens),
        _framed(vocabulary.encode(answers), max_tokens, marks, answer=True),
    )


def ask(vocabulary: Vocabulary, questions: Sequence[str], max_tokens: int) -> Encoded:
    """Questions alone, cut and ended as ``encode`` does it.

    Raises:
        DataError: the vocabulary has no marks.
    """
    return _framed(vocabulary.encode(questions), max_tokens, marks_of(vocabulary), answer=False)


def _framed(texts: Encoded, max_tokens: int, marks: Marks, *, answer: bool) -> Encoded:
    """Each text cut, with the marks before and after it."""
    begins, lengths = texts.offsets[:-1], texts.lengths
    before = [marks.start] if answer else []
    rows = []
    for begin, length in zip(begins, lengths, strict=True):
        after = [] if answer and length > max_tokens else [marks.end]
        rows.append([*before, *texts.flat[begin : begin + min(length, max_tokens)], *after])
    return gathered(rows, marks.pad, int((lengths > max_tokens).sum()))
