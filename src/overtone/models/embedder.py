"""Embedders from scratch as the loop takes them, and on disk: a body, its states pooled, and length 1."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import safetensors
import safetensors.torch
import torch
from pydantic import Field
from torch import Tensor, nn

from overtone.errors import RunError
from overtone.models.bag import Bag, BagConfig
from overtone.models.body import Body, States
from overtone.models.heads import last_token, mean_pool
from overtone.models.language import FILE, LanguageBody
from overtone.models.language import build as build_language
from overtone.models.lstm import LstmConfig
from overtone.models.model import Model
from overtone.models.transformer import TransformerConfig
from overtone.run import write_atomic

HEAD = "vector"
"""The one head, and the task of it: texts that belong together are near each other."""

EmbedderBodyConfig = Annotated[BagConfig | LstmConfig | TransformerConfig, Field(discriminator="kind")]
"""What reads a text."""

Pooling = Literal["mean", "last"]
"""How the states of a text become one vector; of a bag there is but one."""


class Unit(nn.Module):
    """Pooled states, brought to length 1.

    Args:
        pooling: how.
    """

    def __init__(self, pooling: Pooling) -> None:
        super().__init__()
        self.pool = {"mean": mean_pool, "last": last_token}[pooling]

    def forward(self, states: States) -> Tensor:
        """States (B, T, D) → vectors (B, D); of a text without a token it is 0."""
        return nn.functional.normalize(self.pool(states).float(), dim=-1)


class EmbedderModel(Model):
    """A body and the pooling above it, as the loop trains it.

    Args:
        body: what reads.
        pooling: how its states become one vector.
    """

    def __init__(self, body: Body, pooling: Pooling) -> None:
        super().__init__(body, {HEAD: Unit(pooling)})


def build(config: BagConfig | LstmConfig | TransformerConfig, pooling: Pooling, idf: Tensor) -> EmbedderModel:
    """A fresh embedder; its weights are drawn from torch's random state.

    A language model's output layer is left out: nothing of an embedder is read from it.

    Args:
        config: which body.
        pooling: how its states become one vector.
        idf: how rare each of the V pieces is, (V,), each above 0; where a bag's weights start.
    """
    if isinstance(config, BagConfig):
        return EmbedderModel(Bag(config, idf), pooling)
    reader = build_language(config, len(idf))
    reader.head = nn.Identity()  # type: ignore[assignment]
    return EmbedderModel(LanguageBody(reader), pooling)


def start(model: EmbedderModel, folder: Path) -> None:
    """Take the weights of a trained language model of the same body and vocabulary.

    Args:
        model: whose body is a language model's.
        folder: the ``model`` folder of a language run.

    Raises:
        RunError: the weights are missing, damaged, or of another body or vocabulary.
    """
    tensors = _read(folder / FILE)
    kept = {f"reader.{name}": each for name, each in tensors.items() if not name.startswith("head.")}
    _fill(model.body, kept, folder / FILE)


def save(model: EmbedderModel, folder: Path) -> None:
    """Write the weights, whole or not at all.

    Raises:
        RunError: the folder could not be written.
    """
    tensors = {name: each.detach().cpu().contiguous() for name, each in model.body.state_dict().items()}
    write_atomic(folder / FILE, safetensors.torch.save(tensors, {"format": "pt"}))


def load(
    folder: Path, config: BagConfig | LstmConfig | TransformerConfig, pooling: Pooling, vocabulary: int
) -> EmbedderModel:
    """Read an embedder back for inference.

    Raises:
        RunError: the weights are missing, damaged, of another body or of another vocabulary.
    """
    model = build(config, pooling, torch.ones(vocabulary))
    _fill(model.body, _read(folder / FILE), folder / FILE)
    return model.requires_grad_(False).eval()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"the weights {path} are damaged: {error}", hint="train the run again") from error


def _fill(body: Body, tensors: dict[str, Tensor], path: Path) -> None:
    try:
        body.load_state_dict(tensors)
    except RuntimeError as error:
        raise RunError(
            f"the weights {path} are not of this body and vocabulary: {error}",
            hint="put the run's own recipe.yaml and tokenizer.json back, or train it again with --overwrite",
        ) from error
