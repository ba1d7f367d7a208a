"""A head: states in, one task's outputs out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from overtone.config import Config
from overtone.models.encoder import States


class HeadConfig(Config):
    """How states become outputs."""

    pooling: Literal["mean", "cls", "attention"] = Field("mean", description="how tokens become one vector")
    hidden: tuple[int, ...] = Field((), description="widths of hidden layers, each with LayerNorm and GELU")
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="dropout before each linear layer")


class Head(nn.Module):
    """Pool, then a small perceptron.

    Args:
        config: pooling, hidden widths, dropout.
        width: D, the width of the states.
        outputs: how many numbers come out.
    """

    def __init__(self, config: HeadConfig, width: int, outputs: int) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.attention = nn.Linear(width, 1) if config.pooling == "attention" else None
        layers: list[nn.Module] = []
        for hidden in config.hidden:
            layers += [
                nn.Dropout(config.dropout),
                nn.Linear(width, hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
            ]
            width = hidden
        layers += [nn.Dropout(config.dropout), nn.Linear(width, outputs)]
        self.layers = nn.Sequential(*layers)

    def pool(self, states: States) -> Tensor:
        """One vector a text: (B, T, D) → (B, D); padding counts nothing."""
        if self.pooling == "cls":
            return states.hidden[:, 0]
        if self.attention is not None:
            scores = self.attention(states.hidden).squeeze(-1)  # (B, T)
            share = scores.masked_fill(states.mask == 0, -1e4).softmax(dim=-1)
            pooled: Tensor = (share.unsqueeze(-1) * states.hidden).sum(dim=1)
            return pooled
        return mean_pool(states)

    def forward(self, states: States) -> Tensor:
        """States of a batch → outputs (B, outputs)."""
        outputs: Tensor = self.layers(self.pool(states))
        return outputs


def mean_pool(states: States) -> Tensor:
    """The mean of a text's token states: (B, T, D) → (B, D)."""
    mask = states.mask.unsqueeze(-1).to(states.hidden.dtype)
    return (states.hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
