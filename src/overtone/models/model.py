"""A body and its heads, what the loop trains and what inference runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from overtone.data.batches import Encoded, by_length
from overtone.models.encoder import Encoder, States
from overtone.models.heads import Head


class Model(nn.Module):
    """One body, one head a task.

    Args:
        body: ids and mask → states.
        heads: task name → head.
    """

    def __init__(self, body: Encoder, heads: Mapping[str, Head]) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleDict(heads)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, hidden: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Ids and mask (B, T), or frozen states (B, T, D) in their place → task name → outputs (B, …)."""
        states = self.body(input_ids, attention_mask) if hidden is None else States(hidden, attention_mask)
        return {name: head(states) for name, head in self.heads.items()}

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def sizes(self) -> dict[str, int]:
        """How many parameters there are, and how many of them are trained."""
        return {
            "parameters": sum(p.numel() for p in self.parameters()),
            "trainable": sum(p.numel() for p in self.parameters() if p.requires_grad),
        }


@torch.inference_mode()
def sweep(
    run: Callable[[Tensor, Tensor], dict[str, Tensor]], encoded: Encoded, device: torch.device
) -> dict[str, Tensor]:
    """Run a function over every row in batches of even length; outputs come back in row order, fp32, on CPU.

    Args:
        run: ids and mask (B, T) → named tensors (B, …).
        encoded: N tokenised texts.
        device: where ``run`` wants its inputs.

    Returns:
        Name → tensor (N, …).
    """
    pieces: dict[str, list[Tensor]] = {}
    order: list[int] = []
    for rows in by_length(encoded.lengths):
        input_ids, mask = encoded.pad(rows)
        for name, tensor in run(input_ids.to(device), mask.to(device)).items():
            pieces.setdefault(name, []).append(tensor.float().cpu())
        order += rows
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))
    return {name: torch.cat(parts)[back] for name, parts in pieces.items()}
