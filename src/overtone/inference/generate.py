"""Sampling, written once for every model that can be stepped: greedy, temperature, top-k, top-p, streamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor

from overtone.config import Config
from overtone.errors import UsageError

S = TypeVar("S")


class Steps(Protocol[S]):
    """The contract of generation: LSTM, Transformer, or anything else that reads on from a state."""

    @property
    def max_length(self) -> int | None:
        """How many tokens it can read, prompt and answer together; None where there is no bound."""

    def step(self, state: S | None, tokens: Tensor) -> tuple[Tensor, S]:
        """Read the next tokens (B, n) on from a state, None at the start → scores (B, V), and the state."""


@runtime_checkable
class Begins(Steps[S], Protocol[S]):
    """A model that also reads prompts of different lengths at once, which is faster than in lock-step."""

    def begin(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, S]:
        """Read B prompts, each of at least one id → scores of what follows each (B, V), and the state."""


class SamplingConfig(Config):
    """How the next token is drawn; temperature first, then top-k, then top-p."""

    temperature: float = Field(
        1.0, ge=0, description="scores are divided by it; below 1 bolder, 0 always takes the best"
    )
    top_k: int | None = Field(None, ge=1, description="draw among this many of the best; all where null")
    top_p: float = Field(
        1.0, gt=0, le=1, description="draw among the fewest best whose shares reach this (nucleus)"
    )
    max_tokens: int = Field(64, ge=1, description="tokens made at most")
    seed: int = Field(7, ge=0, description="of the draws; row r of a batch draws by seed + r")


def stream(
    model: Steps[S],
    prompts: Sequence[Sequence[int]],
    config: SamplingConfig,
    end: int | None,
    device: str,
    *,
    seeds: Sequence[int] | None = None,
) -> Iterator[list[int | None]]:
    """Continue prompts, a token at a time; a row's tokens do not depend on the rows beside it.

    Prompts may differ in length. A model that ``Begins`` reads all of them at once. Of another, all are read
    as far as the shortest goes, then a longer one reads on while the others already speak.

    Args:
        model: in evaluation mode.
        prompts: B of them, each of at least one id; the end-of-text token begins a text from nothing.
        config: how tokens are drawn.
        end: the id that ends a row, and is not given out; None never ends before ``max_tokens``.
        device: where the model is.
        seeds: of each row's draws, (B,); without, ``config.seed`` and the numbers after it.

    Yields:
        For each row its next token, or None where its prompt is still read or it has ended, (B,); nothing
        where that is so of all rows.

    Raises:
        UsageError: a prompt is empty, or goes with its answer beyond what the model can read.
    """
    lengths = [len(prompt) for prompt in prompts]
    _check(lengths, config.max_tokens, model.max_length)
    if seeds is None:
        seeds = range(config.seed, config.seed + len(prompts))
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    left = [config.max_tokens] * len(prompts)  # tokens that each row may still make
    with torch.inference_mode():
        if isinstance(model, Begins):
            read = max(lengths)
            scores, state = model.begin(prompts)
        else:
            read = min(lengths)
            first = torch.tensor([list(prompt[:read]) for prompt in prompts], device=device)  # (B, n)
            scores, state = model.step(None, first)
    while True:
        # A row that does not speak draws nothing, so that its numbers are those it has alone.
        speaking = [row for row, length in enumerate(lengths) if read >= length and left[row]]
        told: list[int | None] = [None] * len(prompts)
        drawn = draw(scores[speaking], config, [draws[row] for row in speaking])
        for row, token in zip(speaking, drawn, strict=True):
            told[row] = None if token == end else token
            left[row] = 0 if token == end else left[row] - 1
        if any(token is not None for token in told):
            yield told
        if not any(left):
            return
        # A row that has ended reads anything, here the last token of its prompt.
        heard = [prompt[min(read, len(prompt) - 1)] for prompt in prompts]
        following = [heard[row] if token is None else token for row, token in enumerate(told)]
        with torch.inference_mode():
            scores, state = model.step(state, torch.tensor(following, device=device)[:, None])  # (B, 1)
        read += 1


def generate(
    model: Steps[S],
    prompts: Sequence[Sequence[int]],
    config: SamplingConfig,
    end: int | None,
    device: str,
    *,
    seeds: Sequence[int] | None = None,
) -> list[list[int]]:
    """Continue prompts to their end: the ids made for each, without prompt and end. See ``stream``."""
    made: list[list[int]] = [[] for _ in prompts]
    for told in stream(model, prompts, config, end, device, seeds=seeds):
        for row, token in zip(made, told, strict=True):
            if token is not None:
                row.append(token)
    return made


def draw(scores: Tensor, config: SamplingConfig, draws: Sequence[torch.Generator]) -> list[int]:
    """One token a row.

    Args:
        scores: (B, V).
        config: how it is drawn.
        draws: the random numbers of each row, on the CPU, so that a seed means the same on every device.
    """
    if config.temperature == 0:
        return [int(token) for token in scores.argmax(dim=-1)]
    shares = filtered(scores, config).softmax(dim=-1).cpu()
    rows = zip(shares, draws, strict=True)
    return [int(torch.multinomial(row, 1, generator=generator)) for row, generator in rows]


def filtered(scores: Tensor, config: SamplingConfig) -> Tensor:
    """Scores (B, V) over the temperature, with -inf where a token is not among those drawn from.

    Top-p is the nucleus of Holtzman et al. 2020: tokens are taken from the best down until their shares reach
    ``top_p``, so the one that reaches it is in, and one always is.
    """
    scores = scores.float() / config.temperature
    if config.top_k is not None and config.top_k < scores.shape[-1]:
        least = scores.topk(config.top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < least, float("-inf"))
    if config.top_p < 1:
        best, order = scores.sort(dim=-1, descending=True, stable=True)
        shares = best.softmax(dim=-1)
        above = shares.cumsum(dim=-1) - shares  # the share of what is better
        out = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, order, above >= config.top_p)
        scores = scores.masked_fill(out, float("-inf"))
    return scores


def _check(lengths: Sequence[int], max_tokens: int, max_length: int | None) -> None:
    if not lengths or min(lengths) < 1:
        raise UsageError("a prompt has no tokens", hint="begin with the end-of-text token")
    # The last token made is never read.
    needed = max(lengths) + max_tokens - 1
    if max_length is not None and needed > max_length:
        raise UsageError(
            f"a prompt of {max(lengths):,} tokens and {max_tokens:,} more go beyond the {max_length:,} "
            "that this model can read",
            hint=f"shorten the prompt, or set max_tokens to at most {max(max_length - max(lengths) + 1, 0)}",
        )
