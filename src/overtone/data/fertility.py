"""How a tokenizer fits a corpus: how many tokens it takes, what it lacks, how much of it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from overtone.data.vocabulary import Vocabulary
from overtone.errors import DataError

_CHUNK = 4096  # texts whose ids are in memory at once


@dataclass(frozen=True, slots=True)
class Fertility:
    """Counts over a corpus.

    Args:
        texts: how many texts there were.
        words: what stands between blanks.
        bytes: of the texts in UTF-8.
        tokens: ids, without end-of-text ones.
        unknown: those of them that stand for something the vocabulary lacks.
        used: different ids among them.
        size: V, pieces of the vocabulary.
    """

    texts: int
    words: int
    bytes: int
    tokens: int
    unknown: int
    used: int
    size: int

    @property
    def tokens_a_word(self) -> float:
        """Tokens for a word, the fertility (Rust et al., ACL 2021)."""
        return self.tokens / self.words

    @property
    def bytes_a_token(self) -> float:
        """Bytes that a token stands for; more is denser."""
        return self.bytes / self.tokens

    @property
    def unknown_share(self) -> float:
        """Share of the tokens that are unknown, 0..1."""
        return self.unknown / self.tokens

    @property
    def used_share(self) -> float:
        """Share of the vocabulary that occurs, 0..1."""
        return self.used / self.size

    def as_dict(self) -> dict[str, float]:
        """The counts and what follows from them, as JSON values."""
        counts = ("texts", "words", "bytes", "tokens", "unknown", "used", "size")
        rates = ("tokens_a_word", "bytes_a_token", "unknown_share", "used_share")
        return {name: getattr(self, name) for name in (*counts, *rates)}


def fertility(vocabulary: Vocabulary, texts: Sequence[str]) -> Fertility:
    """Cut N texts and count.

    Raises:
        DataError: there is not one word in them, or not one token of them.
    """
    counts = np.zeros(len(vocabulary), dtype=np.int64)
    for start in range(0, len(texts), _CHUNK):
        ids = vocabulary.encode(texts[start : start + _CHUNK]).flat
        counts += np.bincount(ids, minlength=len(counts))
    words = sum(len(text.split()) for text in texts)
    if not words or not counts.any():
        raise DataError(
            "there is no word to measure a tokenizer on", hint="check the data with: overtone data show NAME"
        )
    return Fertility(
        texts=len(texts),
        words=words,
        bytes=sum(len(text.encode()) for text in texts),
        tokens=int(counts.sum()),
        unknown=0 if vocabulary.unknown_id is None else int(counts[vocabulary.unknown_id]),
        used=int(np.count_nonzero(counts)),
        size=len(vocabulary),
    )
