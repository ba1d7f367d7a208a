"""Texts without a language model: TF-IDF of words and word pairs, and a classifier over it."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from overtone.data.text import words
from overtone.errors import DataError, RunError
from overtone.models.linear import Features, Linear, fit_best, normalise
from overtone.run import write_atomic, write_json
from overtone.scores import Floats, Ints

MANY_ROWS = 2000
"""With more training rows than this, a term must stand in two of them."""

TENSORS, VOCABULARY = "tfidf.safetensors", "tfidf.json"
"""The two files of a saved classifier."""


Tokenise = Callable[[str], list[str]]
"""A text → its tokens, in order."""

_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def tokens(text: str) -> list[str]:
    """The words of a text and each of its punctuation marks and symbols, in order, case folded.

    A question mark tells a question, exclamation marks a high arousal: ``data.text.words`` drops both.
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _TOKEN.findall(plain)


@dataclass(frozen=True)
class Terms:
    """What texts are counted by: F words and word pairs.

    Args:
        vocabulary: the terms, (F,), sorted.
        idf: inverse document frequency of each, (F,).
        tokenise: what takes a text apart.
    """

    vocabulary: tuple[str, ...]
    idf: NDArray[np.float32]
    tokenise: Tokenise = words

    @classmethod
    def fit(cls, texts: Sequence[str], tokenise: Tokenise = words) -> Terms:
        """Take the terms of N texts; of many texts, those that stand in two.

        Raises:
            DataError: the texts hold no term.
        """
        vectoriser = _vectoriser(tokenise, min_df=2 if len(texts) > MANY_ROWS else 1)
        try:
            vectoriser.fit(texts)
        except ValueError as error:
            raise DataError(
                f"TF-IDF finds no term in {len(texts)} training texts", hint="look at the text column"
            ) from error
        return cls(tuple(vectoriser.get_feature_names_out().tolist()), vectoriser.idf_, tokenise)

    @cached_property
    def _fitted(self) -> TfidfVectorizer:
        vectoriser = _vectoriser(self.tokenise, self.vocabulary)
        vectoriser.idf_ = self.idf
        return vectoriser

    def features(self, texts: Sequence[str]) -> Features:
        """Sublinear TF-IDF of N texts, rows of length 1 (or 0 without a known term), CSR (N, F)."""
        return self._fitted.transform(texts)


def _vectoriser(
    tokenise: Tokenise, vocabulary: Sequence[str] | None = None, min_df: int = 1
) -> TfidfVectorizer:
    return TfidfVectorizer(
        tokenizer=tokenise,
        token_pattern=None,
        lowercase=False,
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=min_df,
        dtype=np.float32,
        vocabulary=None if vocabulary is None else {term: i for i, term in enumerate(vocabulary)},
    )


@dataclass(frozen=True)
class TfidfClassifier:
    """A fitted classifier of texts into L labels over F terms.

    Args:
        labels: the label names, (L,).
        terms: words and word pairs, without punctuation.
        linear: the classifier over the terms.
    """

    labels: tuple[str, ...]
    terms: Terms
    linear: Linear

    @classmethod
    def fit(
        cls,
        train: tuple[Sequence[str], Ints],
        validation: tuple[Sequence[str], Ints],
        labels: tuple[str, ...],
    ) -> TfidfClassifier:
        """Fit on training rows; the strength of the regression is chosen on validation rows.

        Deterministic: the same rows in the same order give the same classifier.

        Args:
            train: texts and gold: class indices (N,), or 0/1 indicators (N, L) for multi-label.
            validation: the same of the validation rows.
            labels: the label names, (L,).

        Raises:
            DataError: the training texts hold no word.
        """
        terms = Terms.fit(train[0])
        rows = [(terms.features(texts), gold) for texts, gold in (train, validation)]
        return cls(labels, terms, fit_best(rows[0], rows[1], labels))

    def logits(self, texts: Sequence[str]) -> Floats:
        """Unnormalised log-probabilities of N texts, (N, L)."""
        if not texts:
            return np.zeros((0, len(self.labels)))
        return self.linear.outputs(self.terms.features(texts))

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """Probabilities of N texts, (N, L); rows sum to 1 unless multi-label."""
        return normalise(self.logits(texts), multilabel=self.linear.multilabel)

    def save(self, folder: Path) -> None:
        """Write ``tfidf.safetensors`` and ``tfidf.json`` (labels and vocabulary) into a folder.

        Raises:
            RunError: the folder could not be written.
        """
        arrays: dict[str, NDArray[Any]] = {
            "idf": self.terms.idf,
            "weights": self.linear.weights,
            "bias": self.linear.bias,
        }
        write_atomic(folder / TENSORS, safetensors.numpy.save(arrays))
        names = {
            "labels": self.labels,
            "multilabel": self.linear.multilabel,
            "vocabulary": self.terms.vocabulary,
        }
        write_json(folder / VOCABULARY, names)

    @classmethod
    def load(cls, folder: Path) -> TfidfClassifier:
        """Read a saved classifier; it gives the same probabilities, bit for bit.

        Raises:
            RunError: a file is missing, cut short, or does not fit the other.
        """
        damaged = f"the TF-IDF classifier in {folder} is damaged"
        hint = "delete its folder and run again"
        try:
            arrays = safetensors.numpy.load((folder / TENSORS).read_bytes())
            names = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
            labels, vocabulary = tuple(names["labels"]), tuple(names["vocabulary"])
            idf, weights, bias = arrays["idf"], arrays["weights"], arrays["bias"]
            multilabel = bool(names["multilabel"])
        except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            raise RunError(f"{damaged}: {error}", hint=hint) from error
        wanted = {
            "idf": (idf, (len(vocabulary),)),
            "weights": (weights, (len(labels), len(vocabulary))),
            "bias": (bias, (len(labels),)),
        }
        for name, (array, shape) in wanted.items():
            if array.shape != shape:
                raise RunError(f"{damaged}: {name} has shape {array.shape}, not {shape}", hint=hint)
            if not np.isfinite(array).all():
                raise RunError(f"{damaged}: {name} has values that are not finite", hint=hint)
        if len(set(vocabulary)) != len(vocabulary):
            raise RunError(f"{damaged}: a term stands twice in the vocabulary", hint=hint)
        return cls(labels, Terms(vocabulary, idf), Linear(weights, bias, multilabel))
