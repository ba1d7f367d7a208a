"""A head: states in, one task's outputs out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from overtone.config import Config
from overtone.models.body import States


class HeadConfig(Config):
    """How states become outputs."""

    pooling: Literal["mean", "cls", "last", "attention"] = Field(
        "mean", description="how tokens become one vector; last: for a decoder, whose last token has read all"
    )
    standardise: bool = Field(
        False, description="bring each number of that vector to mean 0 and deviation 1 over the training rows"
    )
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (256, 128), description="widths of hidden layers, each with LayerNorm and GELU; () for none"
    )
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="dropout before each linear layer")
    residual: bool = Field(False, description="each hidden layer adds its input to what it computes")
    samples: int = Field(
        1, ge=1, le=64, description="draws of the last dropout that are averaged while training"
    )


class Residual(nn.Module):
    """What some layers compute, and their input added.

    Args:
        computed: layers, (B, D) → (B, H).
        width: D.
        hidden: H; where it is not D, the input goes through a matrix of its own.
    """

    def __init__(self, computed: nn.Module, width: int, hidden: int) -> None:
        super().__init__()
        self.computed = computed
        self.kept = nn.Identity() if width == hidden else nn.Linear(width, hidden, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, D) → (B, H)."""
        outputs: Tensor = self.computed(inputs) + self.kept(inputs)
        return outputs


class Standardised(nn.BatchNorm1d):
    """Each number in units of its deviation, over the batch, and evaluated over what was trained on.

    A batch of one row has no deviation; it is read as in evaluation.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, D) → (B, D)."""
        if self.training and len(inputs) == 1:
            return nn.functional.batch_norm(inputs, self.running_mean, self.running_var, eps=self.eps)
        return super().forward(inputs)


class Head(nn.Module):
    """Pool, then a small perceptron.

    With ``samples`` above 1 the last dropout is drawn that often while training, and the outputs are the mean
    over the draws (multi-sample dropout, Inoue 2019). The paper averages the losses of the draws; a head
    has one output a row whatever the loss, so here the outputs are averaged. As the output layer is linear,
    averaging before it is the same and costs one matrix product. Evaluated, ``samples`` changes nothing.

    Args:
        config: pooling, hidden widths, dropout.
        width: D, the width of the states.
        outputs: how many numbers come out.
    """

    def __init__(self, config: HeadConfig, width: int, outputs: int) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.samples = config.samples
        self.attention = nn.Linear(width, 1) if config.pooling == "attention" else None
        layers: list[nn.Module] = [Standardised(width)] if config.standardise else []
        for hidden in config.hidden:
            block = [
                nn.Dropout(config.dropout),
                nn.Linear(width, hidden),
                nn.LayerNorm(hidden),
                nn.GELU(),
            ]
            layers += [Residual(nn.Sequential(*block), width, hidden)] if config.residual else block
            width = hidden
        layers += [nn.Dropout(config.dropout), nn.Linear(width, outputs)]
        self.layers = nn.Sequential(*layers)

    def pool(self, states: States) -> Tensor:
        """One vector a text: (B, T, D) → (B, D); padding counts nothing."""
        if self.pooling == "cls":
            return states.hidden[:, 0]
        if self.pooling == "last":
            return last_token(states)
        if self.attention is not None:
            scores = self.attention(states.hidden).squeeze(-1)  # (B, T)
            share = scores.masked_fill(states.mask == 0, -1e4).softmax(dim=-1)
            pooled: Tensor = share.unsqueeze(1).to(states.hidden.dtype) @ states.hidden  # (B, 1, D)
            return pooled.squeeze(1)
        return mean_pool(states)

    def forward(self, states: States) -> Tensor:
        """States of a batch → outputs (B, outputs)."""
        pooled = self.pool(states)
        if self.training and self.samples > 1:
            *hidden, dropout, output = self.layers
            vector: Tensor = nn.Sequential(*hidden)(pooled)  # (B, H)
            outputs: Tensor = output(dropout(vector.expand(self.samples, *vector.shape)).mean(dim=0))
        else:
            outputs = self.layers(pooled)
        return outputs


def mean_pool(states: States) -> Tensor:
    """The mean of a text's token states: (B, T, D) → (B, D)."""
    mask = states.mask.unsqueeze(-1).to(states.hidden.dtype)
    return (states.hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def last_token(states: States) -> Tensor:
    """The state of each text's last token: (B, T, D) → (B, D); padding is on the right."""
    last = (states.mask.sum(dim=1) - 1).clamp(min=0).view(-1, 1, 1)
    return states.hidden.gather(1, last.expand(-1, -1, states.hidden.shape[-1])).squeeze(1)
