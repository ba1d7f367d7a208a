"""Texts that belong together, as the loop reads them: a question, its passage, and passages that are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from overtone.data.batches import Encoded


@dataclass(frozen=True, slots=True)
class Pairs:
    """N questions, each with its passage and H that do not answer it.

    Args:
        questions: M texts, at least those that ``asked`` names.
        passages: P texts.
        asked: the question of each pair, (N,).
        answers: the passage that belongs to each, then those that do not, (N, 1 + H).
    """

    questions: Encoded
    passages: Encoded
    asked: NDArray[np.int64]
    answers: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of the longest text of each pair, (N,)."""
        longest = self.passages.lengths[self.answers].max(axis=1)
        found: NDArray[np.int64] = np.maximum(self.questions.lengths[self.asked], longest)
        return found

    def pad(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Questions, then the passages of ``answers[rows]`` row by row: ids and mask (B · (2 + H), T)."""
        ids, mask = self.questions.pad(self.asked[list(rows)].tolist())
        below, mask_below = self.passages.pad(self.answers[list(rows)].reshape(-1).tolist())
        width = max(ids.shape[1], below.shape[1])

        def wide(tensor: Tensor, value: int) -> Tensor:
            return torch.nn.functional.pad(tensor, (0, width - tensor.shape[1]), value=value)

        pad = self.questions.pad_id
        return (
            torch.cat([wide(ids, pad), wide(below, pad)]),
            torch.cat([wide(mask, 0), wide(mask_below, 0)]),
        )
