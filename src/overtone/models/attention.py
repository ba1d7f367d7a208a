"""Attention written out: on a CPU, at the length of a conversation, PyTorch's is slower (docs/LOG.md)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

WRITTEN_OUT = "written_out"
"""What transformers knows it by, once ``register`` was called."""

BLOCK = 256
"""Queries at once: of a long row, the scores stay near the processor, and what is later is not computed."""


def attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """``softmax(q k^T · scale) v``, each of the last n of S tokens over those that it may see.

    Args:
        query: (B, H, n, d).
        key: (B, G, S, d), where each of G heads serves H / G queries (Ainslie et al. 2023).
        value: likewise.
        mask: which token sees which, true or what is added to the score, (B or 1, 1, n, S); None: what is not
            later.
        scale: of the scores; None: 1 / √d (Vaswani et al. 2017).

    Returns:
        (B, H, n, d).
    """
    n, seen = query.shape[2], key.shape[2]
    query = query * (1 / math.sqrt(query.shape[3]) if scale is None else scale)
    size, made = math.ceil(n / math.ceil(n / BLOCK)), []
    for begin in range(0, n, size):
        end = min(begin + size, n)
        until = seen - n + end if mask is None else seen
        hidden = _later(end - begin, until, query) if mask is None else _added(mask[:, :, begin:end], query)
        made.append(_block(query[:, :, begin:end], key[:, :, :until], value[:, :, :until], hidden))
    return torch.cat(made, dim=2)


def _block(query: Tensor, key: Tensor, value: Tensor, added: Tensor) -> Tensor:
    """The same of queries that are scaled already, with what is added to their scores."""
    batch, heads, n, width = query.shape
    groups, seen = key.shape[1:3]
    together = (batch * groups, heads // groups * n)  # queries that share their keys are rows of one product
    key, value = key.reshape(-1, seen, width), value.reshape(-1, seen, width)
    scores = query.reshape(*together, width) @ key.mT
    shares = (scores.view(batch, heads, n, seen) + added).softmax(-1)
    return (shares.view(*together, seen) @ value).view(batch, heads, n, width)


def _later(n: int, seen: int, like: Tensor) -> Tensor:
    """What hides the tokens after each of the last n of these, (n, seen)."""
    return torch.full((n, seen), -torch.inf, dtype=like.dtype, device=like.device).triu(seen - n + 1)


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as what is added to the scores."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(~mask, torch.finfo(like.dtype).min)


def register() -> None:
    """Make it known to transformers as ``attn_implementation="written_out"``."""
    AttentionInterface.register(WRITTEN_OUT, _attention)
    AttentionMaskInterface.register(WRITTEN_OUT, sdpa_mask)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **settings: object,
) -> tuple[Tensor, None]:
    """As transformers calls it: (B, H, n, d) → (B, n, H, d), and no weights of attention."""
    return attended(query, key, value, attention_mask, scaling).transpose(1, 2).contiguous(), None
