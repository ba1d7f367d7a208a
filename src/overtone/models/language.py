"""Language models from scratch as the loop takes them, and on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import safetensors
import safetensors.torch
import torch
from pydantic import Field
from torch import Tensor, nn

from overtone.errors import RunError
from overtone.models.body import Body, States
from overtone.models.lstm import LstmConfig, LstmModel
from overtone.models.model import Model
from overtone.models.transformer import TransformerConfig, TransformerModel
from overtone.run import write_atomic

FILE = "model.safetensors"
"""The weights in a folder."""

HEAD = "next"
"""The one head, and the task of it: the next token."""

LanguageModelConfig = Annotated[LstmConfig | TransformerConfig, Field(discriminator="kind")]
"""Which language model."""

Reader = LstmModel | TransformerModel
"""A language model by itself: ids → states, states → logits, and steps to sample by."""


class LanguageBody(Body):
    """A language model as a body; as nothing in it sees a later token, padding on the right needs no mask.

    Args:
        reader: the model.
    """

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    @property
    def hidden_size(self) -> int:
        """D, the width of the states."""
        return self.reader.hidden_size

    def forward(self, inputs: Tensor, attention_mask: Tensor) -> States:
        """Ids and mask (B, T) → states (B, T, D)."""
        return States(self.reader(inputs), attention_mask)


class NextToken(nn.Module):
    """The head of the next token: the model's own output layer, whose weights stay the body's.

    Args:
        logits: states (..., D) → scores (..., V).
    """

    def __init__(self, logits: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, states: States) -> Tensor:
        """States (B, T, D) → scores of what comes next (B, T, V)."""
        return self.logits(states.hidden)


class LanguageModel(Model):
    """A language model as the loop trains it.

    Args:
        reader: the model.
    """

    body: LanguageBody

    def __init__(self, reader: Reader) -> None:
        super().__init__(LanguageBody(reader), {HEAD: NextToken(reader.logits)})


def build(config: LstmConfig | TransformerConfig, vocabulary: int) -> Reader:
    """A fresh model; its weights are drawn from torch's random state.

    Args:
        config: which one.
        vocabulary: V, how many pieces there are.
    """
    if isinstance(config, LstmConfig):
        return LstmModel(config, vocabulary)
    return TransformerModel(config, vocabulary)


def save(reader: Reader, folder: Path) -> None:
    """Write the weights, whole or not at all.

    Raises:
        RunError: the folder could not be written.
    """
    # Copies, since a file cannot hold one tensor under two names, as tied embeddings are.
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in reader.state_dict().items()}
    write_atomic(folder / FILE, safetensors.torch.save(tensors, {"format": "pt"}))


def load(folder: Path, config: LstmConfig | TransformerConfig, vocabulary: int) -> Reader:
    """Read a model back for inference.

    Raises:
        RunError: the weights are missing, damaged, of another model or of another vocabulary.
    """
    reader = build(config, vocabulary)
    path = folder / FILE
    try:
        tensors = safetensors.torch.load(path.read_bytes())
        reader.load_state_dict(tensors)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise RunError(
            f"the weights {path} cannot be read into this model of {vocabulary:,} pieces: {error}",
            hint="put the run's own recipe.yaml and tokenizer.json back, or train it again with --overwrite",
        ) from error
    return reader.requires_grad_(False).eval().to("cuda" if torch.cuda.is_available() else "cpu")
