"""Beam search, written once for every model that steps and whose state can be branched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from overtone.config import Config


class Branching(Protocol):
    """A state of which rows can be taken, any as often as it is named."""

    def choose(self, rows: Tensor) -> Self:
        """These rows alone."""


B = TypeVar("B", bound=Branching)


class Steps(Protocol[B]):
    """The contract of generation where a state is there already."""

    def step(self, state: B, tokens: Tensor) -> tuple[Tensor, B]:
        """Read the next tokens (B, n) on from a state → scores of what comes then (B, V), and the state."""


class BeamConfig(Config):
    """How an answer is searched, by the sum of its log-likelihoods over (its tokens) ^ length_power.

    The end is one of the tokens. Answers that ended and those that go on are ranked alike, at every step.
    """

    size: int = Field(4, ge=1, description="answers that are kept at every step; 1 is the greedy choice")
    length_power: float = Field(
        1.0, ge=0, description="0: the likeliest answer, which is short; 1: the likeliest a token"
    )
    max_tokens: int = Field(64, ge=1, description="tokens made at most, with the end")


@dataclass(frozen=True, slots=True)
class Found(Generic[B]):
    """The best answer of each row.

    Args:
        ids: of B answers, without the end.
        scores: by which they are the best, in nats, (B,).
        state: after the last token of the longest answer; of a shorter one, what comes after its end counts
            for nothing.
    """

    ids: list[list[int]]
    scores: Tensor
    state: B


@torch.inference_mode()
def search(model: Steps[B], state: B, starts: Tensor, config: BeamConfig, end: int) -> Found[B]:
    """The best answers that are found when the ``size`` best beginnings are kept at every step.

    A row's answer does not depend on the rows beside it.

    Args:
        model: in evaluation mode.
        state: of B rows, before ``starts``.
        starts: what is read first, (B, n), n ≥ 1.
        config: what is kept, and for how long.
        end: the id that ends an answer.
    """
    rows, size, device = len(starts), config.size, starts.device
    scores, state = model.step(state, starts)
    state = state.choose(torch.arange(rows, device=device).repeat_interleave(size))
    likelihoods = scores.float().log_softmax(dim=-1)[:, None].repeat(1, size, 1)  # (B, K, V)
    pieces = scores.shape[-1]
    # All beams of a row are the same at first, so that all but one are out.
    sums = torch.full((rows, size), -torch.inf, device=device)
    sums[:, 0] = 0
    counts = torch.zeros(rows, size, dtype=torch.long, device=device)
    ended = torch.zeros(rows, size, dtype=torch.bool, device=device)
    made = torch.zeros(rows, size, 0, dtype=torch.long, device=device)
    stays = torch.full((pieces,), -torch.inf, device=device)
    stays[end] = 0  # what has ended goes on as it is
    while True:
        likelihoods = torch.where(ended[..., None], stays, likelihoods)
        candidates = sums[..., None] + likelihoods  # (B, K, V)
        lengths = counts + ~ended
        ranks = candidates / lengths[..., None] ** config.length_power
        best, places = ranks.flatten(1).topk(size)  # (B, K), the best first
        beams, tokens = places // pieces, places % pieces
        sums = candidates.flatten(1).gather(1, places)
        counts = lengths.gather(1, beams)
        ended = ended.gather(1, beams) | (tokens == end)
        made = torch.cat([made.gather(1, beams[..., None].expand_as(made)), tokens[..., None]], dim=-1)
        state = state.choose((torch.arange(rows, device=device)[:, None] * size + beams).flatten())
        if made.shape[-1] == config.max_tokens or bool(ended.all()):
            break
        scores, state = model.step(state, tokens.reshape(-1, 1))
        likelihoods = scores.float().log_softmax(dim=-1).view(rows, size, pieces)
    ids = [_until(row, end) for row in made[:, 0].tolist()]
    return Found(ids, best[:, 0], state.choose(torch.arange(rows, device=device) * size))


def _until(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids
