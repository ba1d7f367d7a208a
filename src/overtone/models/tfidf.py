"""A text classifier without a language model: TF-IDF of words and word pairs, then logistic regression."""

from __future__ import annotations

import json
from collections.abc import Sequence
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


def _vectoriser(vocabulary: Sequence[str] | None = None, min_df: int = 1) -> TfidfVectorizer:
    return TfidfVectorizer(
        tokenizer=words,
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
        vocabulary: words and word pairs, (F,), sorted.
        idf: inverse document frequency of each term, (F,).
        linear: the classifier over the terms.
    """

    labels: tuple[str, ...]
    vocabulary: tuple[str, ...]
    idf: NDArray[np.float32]
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
        texts, gold = train
        vectoriser = _vectoriser(min_df=2 if len(texts) > MANY_ROWS else 1)
        try:
            features = vectoriser.fit_transform(texts)
        except ValueError as error:
            raise DataError(
                f"TF-IDF finds no term in {len(texts)} training texts", hint="look at the text column"
            ) from error
        held_out = (vectoriser.transform(validation[0]), validation[1])
        linear = fit_best((features, gold), held_out, labels)
        return cls(labels, tuple(vectoriser.get_feature_names_out().tolist()), vectoriser.idf_, linear)

    @cached_property
    def _terms(self) -> TfidfVectorizer:
        vectoriser = _vectoriser(self.vocabulary)
        vectoriser.idf_ = self.idf
        return vectoriser

    def features(self, texts: Sequence[str]) -> Features:
        """Sublinear TF-IDF of N texts, rows of length 1 (or 0 without a known term), CSR (N, F)."""
        return self._terms.transform(texts)

    def logits(self, texts: Sequence[str]) -> Floats:
        """Unnormalised log-probabilities of N texts, (N, L)."""
        if not texts:
            return np.zeros((0, len(self.labels)))
        return self.linear.logits(self.features(texts))

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """Probabilities of N texts, (N, L); rows sum to 1 unless multi-label."""
        return normalise(self.logits(texts), multilabel=self.linear.multilabel)

    def save(self, folder: Path) -> None:
        """Write ``tfidf.safetensors`` and ``tfidf.json`` (labels and vocabulary) into a folder.

        Raises:
            RunError: the folder could not be written.
        """
        arrays: dict[str, NDArray[Any]] = {
            "idf": self.idf,
            "weights": self.linear.weights,
            "bias": self.linear.bias,
        }
        write_atomic(folder / TENSORS, safetensors.numpy.save(arrays))
        names = {"labels": self.labels, "multilabel": self.linear.multilabel, "vocabulary": self.vocabulary}
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
        return cls(labels, vocabulary, idf, Linear(weights, bias, multilabel))
