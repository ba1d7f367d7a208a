"""A copy of a model that int8 harms less: the same function, with the numbers in reach of 256 steps.

ONNX Runtime measures the activations of a batch and gives all of them one scale. One loud channel or one loud
token then leaves the others a few steps. So before the export

- a table of embeddings is kept as int8 with one scale a row;
- a layer that widens or keeps the width, behind a normalisation, gets its channels evened out: what a
  channel is divided by, the weights are multiplied by (SmoothQuant, Xiao et al. 2023, equation 4);
- a layer that narrows, behind the activation, gets each token divided by its largest value, and what comes
  out multiplied by it again (token-wise scales, Yao et al. 2022).

In fp32 these change nothing but the rounding, except that of the tables.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from overtone.data.batches import Encoded
from overtone.models.model import EncoderModel, sweep

ALPHA = 0.8
"""How much of a channel's range moves from the activations to the weights, 0..1."""

SMALL = 64
"""Tables with fewer rows stay as they are: there is nothing to save."""


class RowTable(nn.Module):
    """An embedding table in int8 with a scale a row.

    Args:
        table: (V, D).
    """

    scale: Tensor
    table: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        scale = table.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
        self.register_buffer("scale", scale)
        self.register_buffer("table", (table / scale).round().to(torch.int8))

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (…) → rows (…, D)."""
        return functional.embedding(ids, self.table).float() * functional.embedding(ids, self.scale)


class Evened(nn.Module):
    """A linear layer whose input is multiplied by a factor a channel, and its weights divided by it.

    Args:
        layer: the layer, D → H.
        inverse: the factors, (D,), the same tensor for all layers that read one input; then it is multiplied
            once.
    """

    inverse: Tensor

    def __init__(self, layer: nn.Linear, inverse: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight / inverse, requires_grad=False)
        self.bias = layer.bias
        self.register_buffer("inverse", inverse)

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, D) → (…, H)."""
        return functional.linear(inputs * self.inverse, self.weight, self.bias)


class PerToken(nn.Module):
    """A linear layer that reads each token at a scale of its own.

    Args:
        layer: the layer, D → H.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = layer.weight
        self.bias = layer.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, D) → (…, H)."""
        # Behind GELU nothing is much below 0, so the largest value is the largest size.
        size = inputs.amax(dim=-1, keepdim=True).clamp(min=1.0)
        return functional.linear(inputs * (1 / size), self.weight) * size + self.bias


@torch.no_grad()
def prepare(model: EncoderModel, calibration: Encoded) -> EncoderModel:
    """A copy for ``onnxruntime.quantization``, on the CPU.

    Args:
        model: in evaluation mode.
        calibration: texts on which the channels' ranges are measured; no labels are needed.
    """
    model = copy.deepcopy(model).cpu()
    backbone = model.body.backbone
    loudest, readers = _measure(model, calibration)
    for name, module in list(backbone.named_modules()):
        if isinstance(module, nn.Embedding) and module.num_embeddings >= SMALL:
            _replace(backbone, name, RowTable(module.weight.detach()))
        elif isinstance(module, nn.Linear) and module.in_features > module.out_features:
            _replace(backbone, name, PerToken(module))
    for names in readers:
        layers = [backbone.get_submodule(name) for name in names]
        kept = [layer for layer in layers if isinstance(layer, nn.Linear)]
        if not kept:
            continue
        weights = torch.stack([layer.weight.abs().amax(dim=0) for layer in kept]).amax(dim=0)
        scale = loudest[names[0]].clamp(min=1e-3) ** ALPHA / weights.clamp(min=1e-5) ** (1 - ALPHA)
        inverse = scale.median() / scale
        for name, layer in zip(names, layers, strict=True):
            if isinstance(layer, nn.Linear):
                _replace(backbone, name, Evened(layer, inverse))
    return model


def _replace(root: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(root.get_submodule(parent), own, module)


def _measure(model: EncoderModel, calibration: Encoded) -> tuple[dict[str, Tensor], list[list[str]]]:
    """The largest size of each channel that a linear layer of the backbone reads, and which read one input.

    Returns:
        Layer → (D,), and the names of the layers, those with the same input together.
    """
    loudest: dict[str, Tensor] = {}
    inputs: list[tuple[Tensor, list[str]]] = []

    def watch(name: str, first: bool) -> nn.modules.module._ForwardPreHook:  # type: ignore[name-defined]
        def look(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            read = given[0].detach()
            if first:
                same = next((names for tensor, names in inputs if tensor is given[0]), None)
                if same is None:
                    inputs.append((given[0], [name]))
                else:
                    same.append(name)
            size = read.abs().flatten(0, -2).amax(dim=0)
            loudest[name] = torch.maximum(loudest[name], size) if name in loudest else size

        return look

    layers = {n: m for n, m in model.body.backbone.named_modules() if isinstance(m, nn.Linear)}
    for first, texts in ((True, calibration.take([0])), (False, calibration)):
        handles = [layer.register_forward_pre_hook(watch(name, first)) for name, layer in layers.items()]
        sweep(model, texts, model.device)
        for handle in handles:
            handle.remove()
    return loudest, [names for _, names in inputs]
