"""The bag: an embedding and a weight for every piece, and nothing between the pieces."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from overtone.config import Config
from overtone.models.body import Body, States


class BagConfig(Config):
    """A bag of token embeddings with token weights, learnt or set as in Arora et al. (ICLR 2017)."""

    kind: Literal["bag"] = "bag"
    width: int = Field(112, ge=1, description="D, of the embeddings")
    weights: Literal["learnt", "rarity", "even"] = Field(
        "learnt",
        description="of the pieces. learnt: they start at how rare each is in the passages; rarity: they "
        "stay there; even: they are alike, for the plain mean",
    )


class Bag(Body):
    """A text is the weighted mean of its pieces' embeddings, whatever their order.

    Every weight is positive, and kept as its logarithm. They start at ``idf``, or at 1 where they are even.

    Args:
        config: the width, and what becomes of the weights.
        idf: how rare each piece is, (V,), each above 0.
    """

    def __init__(self, config: BagConfig, idf: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(idf), config.width)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        start = torch.ones_like(idf) if config.weights == "even" else idf
        self.weights = nn.Parameter(start.float().log(), requires_grad=config.weights == "learnt")

    @property
    def hidden_size(self) -> int:
        """D, the width of the states."""
        return self.embedding.embedding_dim

    def forward(self, inputs: Tensor, attention_mask: Tensor) -> States:
        """Ids and mask (B, T) → one state a text, (B, 1, D)."""
        share = self.weights[inputs].exp() * attention_mask  # (B, T)
        share = share / share.sum(dim=1, keepdim=True).clamp(min=1e-9)
        pooled = functional.embedding_bag(
            inputs,
            self.embedding.weight,
            mode="sum",
            per_sample_weights=share.to(self.embedding.weight.dtype),
        )
        return States(pooled.unsqueeze(1), torch.ones_like(inputs[:, :1]))
