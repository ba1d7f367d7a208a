"""The causal Transformer, small and trained from scratch: ids in, states and scores out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from overtone.config import Config
from overtone.errors import UsageError
from overtone.models.attention import attended
from overtone.models.dropout import Dropout


class TransformerConfig(Config):
    """A decoder-only Transformer; about 3.4M parameters over 2,000 pieces."""

    kind: Literal["transformer"] = "transformer"
    width: int = Field(256, ge=2, description="D, of the embeddings and of every layer's states")
    layers: int = Field(3, ge=1, description="blocks of attention and perceptron")
    heads: int = Field(4, ge=1, description="attention heads; they divide the width")
    positions: Literal["rotary", "learned"] = Field(
        "rotary", description="rotary: queries and keys are turned; learned: a vector a position is added"
    )
    max_length: int = Field(256, ge=1, description="tokens that can be read, prompt and answer together")
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="of the embeddings, and of what a block adds")
    tied: bool = Field(
        False, description="whether input and output share one embedding (Press and Wolf 2017)"
    )

    @model_validator(mode="after")
    def _divides(self) -> TransformerConfig:
        if self.width % self.heads or (self.positions == "rotary" and self.width // self.heads % 2):
            even = " of an even width" if self.positions == "rotary" else ""
            raise ValueError(f"a width of {self.width} does not divide into {self.heads} heads{even}")
        return self


@dataclass(frozen=True, slots=True)
class Cache:
    """Keys and values of the tokens so far, one tensor a layer, each (B, H, T, D / H)."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        """T, how many tokens were read."""
        return self.keys[0].shape[2]


Pair = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Causal multi-head attention (Vaswani et al. 2017), ``softmax(q k^T / √d) v`` over what is not later."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.inputs = nn.Linear(config.width, 3 * config.width)  # queries, keys, values
        self.output = nn.Linear(config.width, config.width)

    def forward(self, hidden: Tensor, turn: Pair | None, past: Pair | None) -> tuple[Tensor, Pair]:
        """Attend to the tokens before.

        Args:
            hidden: (B, n, D).
            turn: cosines and sines of the positions, each (n, d); None where queries and keys are not turned.
            past: keys and values before these, each (B, H, P, d); None where there are none.

        Returns:
            (B, n, D), and the keys and values with these, each (B, H, P + n, d).
        """
        batch, n, width = hidden.shape
        split = self.inputs(hidden).view(batch, n, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (B, H, n, d)
        if turn is not None:
            query, key = _turned(query, turn), _turned(key, turn)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        mixed = attended(query, key, value)
        together = mixed.transpose(1, 2).reshape(batch, n, width)
        return self.output(together), (key, value)


class Block(nn.Module):
    """Attention, then a perceptron, each on normed states and added to them (pre-norm, Xiong et al. 2020)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.perceptron_norm = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, 4 * config.width)
        self.down = nn.Linear(4 * config.width, config.width)
        self.dropout = Dropout(config.dropout)

    def forward(self, hidden: Tensor, turn: Pair | None, past: Pair | None) -> tuple[Tensor, Pair]:
        """(B, n, D) → (B, n, D), and the keys and values so far; see ``Attention``."""
        mixed, kept = self.attention(self.attention_norm(hidden), turn, past)
        hidden = hidden + self.dropout(mixed)
        risen = functional.gelu(self.up(self.perceptron_norm(hidden)))  # (B, n, 4D)
        return hidden + self.dropout(self.down(risen)), kept


class TransformerModel(nn.Module):
    """Ids in, states and scores out; nothing in it sees a later token.

    Padding on the right therefore changes nothing before it, and no mask is needed. With learned positions it
    is GPT-2 (Radford et al. 2019), with rotary ones GPT-NeoX with blocks one after the other (Su et al. 2021;
    Black et al. 2022), both with the exact GELU.

    Args:
        config: sizes, positions, dropout, tying.
        vocabulary: V, how many pieces there are.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, config: TransformerConfig, vocabulary: int) -> None:
        super().__init__()
        self.max_length = config.max_length
        self.embedding = nn.Embedding(vocabulary, config.width)
        learned = config.positions == "learned"
        self.position = nn.Embedding(config.max_length, config.width) if learned else None
        cosines, sines = (None, None) if learned else _angles(config.max_length, config.width // config.heads)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, vocabulary, bias=False)
        self._draw(config.layers)
        if config.tied:
            self.head.weight = self.embedding.weight

    def _draw(self, layers: int) -> None:
        """GPT-2's first weights: N(0, 0.02²); the more layers add to the states, the less each adds."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim > 1:
                added = name.endswith(("attention.output.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if added else 0.02)

    @property
    def hidden_size(self) -> int:
        """D, the width of the states."""
        return self.embedding.embedding_dim

    def forward(self, ids: Tensor) -> Tensor:
        """The normed state at every token: ids (B, T) → (B, T, D).

        Raises:
            UsageError: T is more than ``max_length``.
        """
        hidden, _ = self._read(ids, None)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of what comes next: (..., D) → (..., V)."""
        scores: Tensor = self.head(hidden)
        return scores

    def step(self, state: Cache | None, tokens: Tensor) -> tuple[Tensor, Cache]:
        """Read on, and score what comes next.

        Args:
            state: from the step before; None at the start.
            tokens: the next ones, (B, n), n ≥ 1.

        Returns:
            Scores after the last of them, (B, V), and the state for the next step.

        Raises:
            UsageError: more than ``max_length`` tokens were read.
        """
        hidden, after = self._read(tokens, state)
        return self.logits(hidden[:, -1]), after

    def _read(self, ids: Tensor, state: Cache | None) -> tuple[Tensor, Cache]:
        start = 0 if state is None else state.length
        end = start + ids.shape[1]
        if end > self.max_length:
            raise UsageError(
                f"{end:,} tokens, but this Transformer has {self.max_length:,} positions",
                hint="shorten the text, or train a model with a larger max_length",
            )
        hidden = self.embedding(ids)  # (B, n, D)
        turn = None
        if self.position is None:
            turn = (self.cosines[start:end], self.sines[start:end])
        else:
            hidden = hidden + self.position.weight[start:end]
        hidden = self.dropout(hidden)
        kept: list[Pair] = []
        for layer, block in enumerate(self.blocks):
            past = None if state is None else (state.keys[layer], state.values[layer])
            hidden, pair = block(hidden, turn, past)
            kept.append(pair)
        keys, values = zip(*kept, strict=True)
        return self.norm(hidden), Cache(keys, values)


def _angles(length: int, width: int) -> Pair:
    """Cosines and sines of ``position · 10000^(-2i / d)``, each (T, d): Su et al. 2021, equation 15."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), rates).repeat(1, 2)
    return angles.cos(), angles.sin()


def _turned(vectors: Tensor, turn: Pair) -> Tensor:
    """Turn each pair of entries (i, i + d/2) by the angle of its position: (B, H, n, d)."""
    cosines, sines = (each.to(vectors.dtype) for each in turn)
    half = vectors.shape[-1] // 2
    across = torch.cat([-vectors[..., half:], vectors[..., :half]], dim=-1)
    return vectors * cosines + across * sines
