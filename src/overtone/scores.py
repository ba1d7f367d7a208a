"""Predictions as a value, and metrics as pure functions of them, each with its direction and unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Predictions:
    """What one classifier said about N rows, L labels.

    Args:
        ids: the rows' ids, (N,).
        labels: the label names, (L,).
        gold: class indices (N,), or 0/1 indicators (N, L) for multi-label.
        decided: what was predicted, in the shape of ``gold``.
        probabilities: (N, L), each in 0..1; rows sum to 1 unless multi-label.
        sources: the data set each row is from, (N,).
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    gold: Ints
    decided: Ints
    probabilities: Floats
    sources: tuple[str, ...]

    @property
    def multilabel(self) -> bool:
        """Whether a row may have several labels."""
        return self.gold.ndim == 2

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each row was decided exactly right, (N,)."""
        same = self.gold == self.decided
        return same.all(axis=1) if self.multilabel else same

    @property
    def confidence(self) -> Floats:
        """The probability of the decision, (N,); for multi-label the highest probability."""
        if self.multilabel:
            return self.probabilities.max(axis=1)
        return self.probabilities[np.arange(len(self.decided)), self.decided]
