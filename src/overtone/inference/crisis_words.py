"""The words-only member of the crisis detector: hashed words and pieces of words, and a regression over them.

It needs no language model, so it is there wherever the package is. By itself it is the weaker form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import logsumexp
from sklearn.feature_extraction.text import HashingVectorizer

from overtone.data.crisis import NEED_OF, NEEDS
from overtone.errors import RunError
from overtone.inference.crisis_views import View
from overtone.models.linear import Features, Linear, fit
from overtone.models.tfidf import tokens
from overtone.run import write_atomic
from overtone.scores import Floats, Ints

FILE = "words.safetensors"

LABELS = ("none", *NEEDS)
"""What it tells apart: nobody at risk, or which need."""

WORDS, PIECES, BEFORE = 2**14, 2**14, 2**13
"""Buckets of words and word pairs, of pieces of two to five letters, and of the words said before."""

EARLIER = 0.7
"""How much what was said before counts beside the last message."""

STRENGTH = 30.0
"""The inverse regularisation; chosen by cross-validation."""

_VECTORISERS = (
    HashingVectorizer(
        tokenizer=tokens, token_pattern=None, lowercase=False, ngram_range=(1, 2), n_features=WORDS
    ),
    HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), n_features=PIECES),
    HashingVectorizer(
        tokenizer=tokens, token_pattern=None, lowercase=False, ngram_range=(1, 2), n_features=BEFORE
    ),
)


def features(views: Sequence[View]) -> Features:
    """N views as counts in buckets, CSR (N, F); each of the three blocks has rows of length 1 or less."""
    words, pieces, before = _VECTORISERS
    last = [view.text for view in views]
    blocks = [
        words.transform(last),
        pieces.transform(last),
        EARLIER * before.transform([view.context or "" for view in views]),
    ]
    return sparse.hstack(blocks).tocsr().astype(np.float32)


@dataclass(frozen=True, slots=True)
class Words:
    """A fitted member.

    Args:
        linear: of F buckets to the logits of ``LABELS``.
    """

    linear: Linear

    @classmethod
    def fit(cls, views: Sequence[View], kinds: Sequence[str]) -> Words:
        """Fit on N views with their kinds; the same rows in the same order give the same member.

        Weights are kept in half precision, so that what is fitted is what is shipped.
        """
        gold: Ints = np.array([LABELS.index(NEED_OF.get(kind, "none")) for kind in kinds])
        made = fit(features(views), gold, len(LABELS), STRENGTH)
        return cls(Linear(made.weights.astype(np.float16).astype(np.float32), made.bias, multilabel=False))

    def outputs(self, views: Sequence[View]) -> tuple[Floats, Floats]:
        """Log-odds that somebody is at risk, (N,), and how likely each need then is, (N, 5)."""
        logits = self.linear.outputs(features(views))
        total = logsumexp(logits[:, 1:], axis=1)
        return total - logits[:, 0], np.exp(logits[:, 1:] - total[:, None])

    def save(self, folder: Path) -> None:
        """Write ``words.safetensors`` into a folder.

        Raises:
            RunError: it could not be written.
        """
        arrays: dict[str, NDArray[np.float16] | Floats] = {
            "weights": self.linear.weights.astype(np.float16),
            "bias": self.linear.bias,
        }
        write_atomic(folder / FILE, safetensors.numpy.save(arrays))

    @classmethod
    def load(cls, folder: Path) -> Words:
        """Read a saved member.

        Raises:
            RunError: the file is missing, damaged or of another shape.
        """
        path = folder / FILE
        try:
            arrays = safetensors.numpy.load(path.read_bytes())
            weights, bias = arrays["weights"], arrays["bias"]
        except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
            raise RunError(f"{path} cannot be read: {error}", hint="install overtone again") from error
        wanted = (len(LABELS), WORDS + PIECES + BEFORE)
        if weights.shape != wanted or bias.shape != wanted[:1]:
            raise RunError(
                f"{path} has weights of shape {weights.shape}, not {wanted}", hint="install overtone again"
            )
        return cls(Linear(weights.astype(np.float32), bias, multilabel=False))
