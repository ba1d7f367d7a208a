"""The head of a model that answers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from overtone.data.chat import LEARNT
from overtone.models.body import States

HEAD = "answer"
"""The one head, and the task of it: the next token of an answer."""


class AnswerTokens(nn.Module):
    """Scores what is said next where that is learnt, and nowhere else: a whole vocabulary's scores are dear.

    Args:
        logits: states (..., D) → scores (..., V); the body's own output layer, whose weights stay its own.
    """

    def __init__(self, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, states: States) -> Tensor:
        """States (B, T, D), flagged ``LEARNT`` where the next token is → their scores, (M, V)."""
        return self.logits(states.hidden[(states.mask & LEARNT) > 0])
