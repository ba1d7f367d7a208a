"""What a language model gives a stream of tokens, each scored once with the context stated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from overtone.errors import DataError, UsageError

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Tell = Callable[[int, int], None]
"""Told how much is done, and of how much."""


class Reads(Protocol):
    """A language model: ids to states, states to scores."""

    def __call__(self, ids: Tensor) -> Tensor:
        """Ids (B, T) → states (B, T, D)."""

    def logits(self, hidden: Tensor) -> Tensor:
        """States (..., D) → scores (..., V)."""


def nats(
    model: Reads, ids: Ids, length: int, stride: int | None = None, batch_size: int = 32, device: str = "cpu"
) -> float:
    """The sum of ``token_nats`` over a stream, which takes the same arguments; as ``Ngram.nats``."""
    return float(token_nats(model, ids, length, stride, batch_size, device).sum())


@torch.inference_mode()
def token_nats(
    model: Reads,
    ids: Ids,
    length: int,
    stride: int | None = None,
    batch_size: int = 32,
    device: str = "cpu",
    tell: Tell | None = None,
) -> Floats:
    """The negative log-likelihood of every token of a stream but the first, (M - 1,), in nats.

    Windows of ``length`` tokens begin every ``stride`` tokens. A token is scored in the first window that
    reaches it, so all but those of the first window have at least ``length - stride`` tokens before them.

    Args:
        model: in evaluation mode.
        ids: the stream, (M,).
        length: T, tokens that are read at once.
        stride: 1..T; None for T, the fastest and hardest. Smaller means more context and more work.
        batch_size: windows at once; it changes nothing but the memory.
        device: where the model is.
        tell: called with the windows that are done, and all of them.

    Raises:
        DataError: there is no token to score.
        UsageError: ``stride`` is not 1..T.
    """
    stride = length if stride is None else stride
    if not 1 <= stride <= length:
        raise UsageError(f"a stride of {stride} does not fit windows of {length}", hint=f"take 1..{length}")
    targets = len(ids) - 1
    if targets < 1:
        raise DataError(f"a stream of {len(ids)} tokens has none to score", hint="take a longer text")
    length = min(length, targets)
    starts, first = _plan(targets, length, stride)
    found = np.empty(targets)
    for low in range(0, len(starts), batch_size):
        places = starts[low : low + batch_size, None] + np.arange(length + 1)
        batch = torch.from_numpy(ids[places]).to(device)  # (B, T + 1)
        scores = model.logits(model(batch[:, :-1])).float()  # (B, T, V)
        losses = functional.cross_entropy(scores.transpose(1, 2), batch[:, 1:], reduction="none")  # (B, T)
        wanted = np.arange(length) >= first[low : low + batch_size, None]
        found[places[:, :-1][wanted]] = losses.cpu().double().numpy()[wanted]
        if tell is not None:
            tell(min(low + batch_size, len(starts)), len(starts))
    return found


def _plan(targets: int, length: int, stride: int) -> tuple[Ids, Ids]:
    """Where each window starts, and the first of its places that is scored in it."""
    starts = np.arange(0, targets - length + 1, stride)
    left = (
        targets - length - starts[-1]
    )  # targets after the last whole window; one more window ends with them
    if left:
        starts = np.append(starts, targets - length)
    first = length - np.diff(starts, prepend=starts[0] - length)
    return starts, first
