"""A body and its heads, what the loop trains and what inference runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from overtone.data.batches import by_length
from overtone.models.body import Body, States
from overtone.models.encoder import Encoder
from overtone.models.states import Rows


class Model(nn.Module):
    """One body, one head a task.

    Args:
        body: ids and mask → states.
        heads: task name → head: states → outputs (B, …).
    """

    body: Body

    def __init__(self, body: Body, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleDict(heads)

    def forward(self, inputs: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Ids (B, T), or the frozen part's states (B, T, D), and the mask → task name → outputs (B, …)."""
        states = self.states(inputs, attention_mask)
        return {name: head(states) for name, head in self.heads.items()}

    def states(self, inputs: Tensor, attention_mask: Tensor) -> States:
        """What the heads read of a batch."""
        found: States = self.body(inputs, attention_mask)
        return found

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


class EncoderModel(Model):
    """A model whose body is an encoder, which has a tokenizer and layers that can be frozen."""

    body: Encoder


@torch.inference_mode()
def sweep(
    run: Callable[[Tensor, Tensor], dict[str, Tensor]], texts: Rows, device: torch.device
) -> dict[str, Tensor]:
    """Run a function over every row in batches of even length; outputs come back in row order, fp32, on CPU.

    Args:
        run: ids (B, T), or states (B, T, D), and mask (B, T) → named tensors (B, …).
        texts: N of them, as ids or as the states that the body's frozen part made of them.
        device: where ``run`` wants its inputs.

    Returns:
        Name → tensor (N, …).
    """
    pieces: dict[str, list[Tensor]] = {}
    order: list[int] = []
    for rows in by_length(texts.lengths):
        inputs, mask = texts.pad(rows)
        for name, tensor in run(inputs.to(device), mask.to(device)).items():
            pieces.setdefault(name, []).append(tensor.float().cpu())
        order += rows
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))
    return {name: torch.cat(parts)[back] for name, parts in pieces.items()}
