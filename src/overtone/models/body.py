"""What every body is: ids in, states out, and a bottom that can be frozen where it has layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from overtone.errors import UsageError


@dataclass(frozen=True, slots=True)
class States:
    """What a body returns.

    Args:
        hidden: the last layer's states, or those of several layers side by side, (B, T, D).
        mask: 1 where there is a token, 0 where there is padding, (B, T); of conversations, the flags of
            ``Chats.pad``.
        reference: the hidden states of the body as it was before it was adapted, without gradient, (B, T, D);
            None where no head needs them.
    """

    hidden: Tensor
    mask: Tensor
    reference: Tensor | None = None


class Body(nn.Module, ABC):
    """Ids and mask (B, T) → ``States``; one that can freeze layers says how many, and which they are."""

    frozen: int | None = None
    """How many layers above the embeddings are frozen with them; None where nothing is."""

    stage = 0
    """How often that was decided; while it stays the same, so do the weights of what is frozen."""

    @property
    @abstractmethod
    def hidden_size(self) -> int:
        """D, the width of the states."""

    @property
    def depth(self) -> int:
        """How many layers above the embeddings can be frozen; 0 where the body is trained as a whole."""
        return 0

    def at_rest(self) -> Sequence[nn.Module]:
        """The frozen part, lowest first."""
        return []

    def freeze(self, layers: int | None) -> None:
        """Take the embeddings and the lowest layers out of training: no gradient, and no dropout.

        What is above them is left as it is.

        Args:
            layers: how many layers above the embeddings; ``depth`` freezes all of them, None nothing.

        Raises:
            UsageError: there are not so many layers, none that can be frozen, or they are not found.
        """
        if layers is not None and not self.depth:
            raise UsageError(
                f"{type(self).__name__} is trained as a whole: it has no layers to freeze",
                hint="set train.freeze.kind=none",
            )
        if layers is not None and not 0 <= layers <= self.depth:
            raise UsageError(
                f"{layers} layers are to be frozen, but the backbone has {self.depth} layers",
                hint=f"set train.freeze to 0..{self.depth} layers",
            )
        self.frozen = layers
        self.stage += 1
        for module in self.at_rest():
            module.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the frozen part, which stays in evaluation."""
        super().train(mode)
        for module in self.at_rest():
            module.eval()
        return self
