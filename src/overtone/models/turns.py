"""Heads of a model that converses: what is read off where it is about to speak, and how far it has moved.

Which places of a conversation each head looks at, the flags say that ``Chats.pad`` gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from overtone.config import Config
from overtone.data.chat import COMPARED, OPENS
from overtone.models.body import States
from overtone.models.heads import Head, HeadConfig


class TurnHeadConfig(Config):
    """How the state before an answer becomes labels."""

    hidden: tuple[int, ...] = Field(
        (), description="widths of hidden layers, each with LayerNorm and GELU; () for none"
    )
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="dropout before each linear layer")


class TurnHead(Head):
    """Labels of every turn that is about to be answered.

    It reads the state of the last token before the answer, which has seen all that was said and nothing of
    the answer: so it foresees, and does not peek.

    Args:
        config: hidden widths, dropout.
        width: D, the width of the states.
        outputs: how many labels there are.
    """

    def __init__(self, config: TurnHeadConfig, width: int, outputs: int) -> None:
        super().__init__(
            HeadConfig(pooling="last", hidden=config.hidden, dropout=config.dropout), width, outputs
        )

    def pool(self, states: States) -> Tensor:
        """The states before each answer, in fp32 as the head is: (B, T, D) → (M, D)."""
        return states.hidden[(states.mask & OPENS) > 0].float()


class Kept(nn.Module):
    """How far the next token has moved from what it was before the adapter, at each place that is compared.

    KL(base ‖ tuned) in nats (Kullback and Leibler 1951), over the whole vocabulary.

    Args:
        logits: states (..., D) → scores (..., V).
    """

    needs_reference: ClassVar[bool] = True

    def __init__(self, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, states: States) -> Tensor:
        """States with their reference → the divergence at each place that is compared, (M,)."""
        assert states.reference is not None
        places = (states.mask & COMPARED) > 0
        tuned, base = (
            self.logits(each[places]).float().log_softmax(-1) for each in (states.hidden, states.reference)
        )
        return functional.kl_div(tuned, base, reduction="none", log_target=True).sum(-1)
