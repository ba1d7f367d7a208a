"""The recurrent language model: an embedding, an LSTM, and a score for every piece that may come next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from overtone.config import Config
from overtone.models.dropout import Dropout


class LstmConfig(Config):
    """An LSTM language model (Zaremba et al. 2014); about 2.1M parameters over 2,000 pieces."""

    kind: Literal["lstm"] = "lstm"
    width: int = Field(256, ge=1, description="D, of the embeddings and of every layer's states")
    layers: int = Field(2, ge=1, description="LSTM layers, one above the other")
    dropout: float = Field(
        0.1, ge=0.0, lt=1.0, description="of the embeddings, between layers, and of the last states"
    )
    tied: bool = Field(
        False, description="whether input and output share one embedding (Press and Wolf 2017)"
    )


@dataclass(frozen=True, slots=True)
class LstmState:
    """What an LSTM knows of the tokens so far.

    Args:
        hidden: the last output of each layer, (L, B, D).
        cell: the cell of each layer, (L, B, D).
    """

    hidden: Tensor
    cell: Tensor


class LstmModel(nn.Module):
    """Ids in, states and scores out; nothing in it sees a later token.

    Padding on the right therefore changes nothing before it, and no mask is needed.

    Args:
        config: sizes, dropout, tying.
        vocabulary: V, how many pieces there are.
    """

    max_length: int | None = None
    """How many tokens it can read; an LSTM has no bound."""

    def __init__(self, config: LstmConfig, vocabulary: int) -> None:
        super().__init__()
        width = config.width
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(
            width,
            width,
            config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,  # torch warns where there is no between
        )
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(width, vocabulary)
        self._draw()
        if config.tied:
            self.embedding.weight = self.head.weight

    def _draw(self) -> None:
        """First weights from which it learns faster than from torch's, which are all small (docs/LOG.md).

        Embeddings N(0, 1); what comes in as Glorot and Bengio 2010 have it, what comes back orthogonal (Saxe
        et al. 2014), gate by gate; a bias of 1 on the forget gate (Jozefowicz et al. 2015).
        """
        width = self.hidden_size
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
                if name.startswith("bias_ih"):
                    parameter.detach()[width : 2 * width] = 1  # gates stand as input, forget, cell, output
                continue
            draw = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
            for gate in parameter.detach().chunk(4):
                draw(gate)
        nn.init.uniform_(self.head.weight, -0.1, 0.1)
        nn.init.zeros_(self.head.bias)

    @property
    def hidden_size(self) -> int:
        """D, the width of the states."""
        return self.lstm.hidden_size

    def forward(self, ids: Tensor) -> Tensor:
        """The last layer's state at every token: ids (B, T) → (B, T, D)."""
        hidden, _ = self._read(ids, None)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of what comes next: (..., D) → (..., V)."""
        scores: Tensor = self.head(hidden)
        return scores

    def step(self, state: LstmState | None, tokens: Tensor) -> tuple[Tensor, LstmState]:
        """Read on, and score what comes next.

        Args:
            state: from the step before; None at the start.
            tokens: the next ones, (B, n), n ≥ 1.

        Returns:
            Scores after the last of them, (B, V), and the state for the next step.
        """
        hidden, after = self._read(tokens, state)
        return self.logits(hidden[:, -1]), after

    def _read(self, ids: Tensor, state: LstmState | None) -> tuple[Tensor, LstmState]:
        embedded = self.dropout(self.embedding(ids))  # (B, T, D)
        hidden, (last, cell) = self.lstm(embedded, None if state is None else (state.hidden, state.cell))
        return self.dropout(hidden), LstmState(last, cell)
