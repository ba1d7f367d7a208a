"""Texts as vectors of length 1, so that a product of two says how alike they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from overtone.config import Config
from overtone.data.batches import by_length
from overtone.inference import own
from overtone.inference.vectors import Vectors
from overtone.models.body import States
from overtone.models.encoder import Encoder, EncoderConfig, build

Told = Callable[[int], None]
"""Called with the number of texts that were read since the last call."""

BLOCK = 2048
"""Texts that are tokenised and sorted by length together."""


class Embedder(Protocol):
    """What makes vectors of texts."""

    @property
    def name(self) -> str:
        """Which it is; two of one name give the same vectors."""

    @property
    def dimensions(self) -> int:
        """D, the width of a vector."""

    def encode(self, texts: Sequence[str], *, query: bool = False, told: Told | None = None) -> Vectors:
        """The texts as rows of length 1, (N, D), float32.

        Args:
            texts: N of them.
            query: whether they are questions; else they are passages.
            told: hears how far it is.
        """


class EmbedderConfig(Config):
    """Which pretrained encoder makes the vectors, and how it reads; or which embedder trained here."""

    kind: Literal["encoder"] = "encoder"
    weights: str = Field(
        "minilm-l6", description="a name from `overtone weights list`, a folder, or the run of an embedder"
    )
    max_length: int = Field(192, ge=4, le=8192, description="tokens read of a text; the rest is cut")
    query_prefix: str = Field("", description="what stands before a question, as in e5's 'query: '")
    passage_prefix: str = Field("", description="what stands before a passage")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of passages; auto: bf16 where the processor multiplies it; questions: fp32"
    )

    def build(self) -> Embedder:
        """The embedder; a run's reads as it was trained, whatever else is set here.

        Raises:
            WeightsError: the weights are not at hand or damaged.
            RunError: a file of the run is missing or damaged.
        """
        if (Path(self.weights) / "model" / own.FILE).exists():
            return own.load(Path(self.weights) / "model")
        body = build(EncoderConfig(weights=self.weights, max_length=self.max_length, dropout=0.0))
        return EncoderEmbedder(body.eval(), self)


class EncoderEmbedder:
    """Mean of the last states, brought to length 1 (Reimers and Gurevych, Sentence-BERT, EMNLP 2019).

    Args:
        body: in evaluation mode.
        config: how it reads.
    """

    def __init__(self, body: Encoder, config: EmbedderConfig) -> None:
        self.config = config
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.exact = body.to(device)
        fast = config.precision == "bf16" or (config.precision == "auto" and bf16_is_fast())
        self.bulk = copy.deepcopy(self.exact).to(torch.bfloat16) if fast else self.exact

    @property
    def name(self) -> str:
        """Weights, length and prefixes: all that changes what a vector means."""
        name = f"{self.config.weights}, {self.exact.max_length} tokens"
        for what in ("query_prefix", "passage_prefix"):
            prefix = getattr(self.config, what)
            name += f", {what} {prefix!r}" if prefix else ""
        return name

    @property
    def dimensions(self) -> int:
        """D, the width of a vector."""
        return self.exact.hidden_size

    def encode(self, texts: Sequence[str], *, query: bool = False, told: Told | None = None) -> Vectors:
        """The texts as rows of length 1, (N, D), float32; questions in fp32, passages as configured."""
        body = self.exact if query else self.bulk
        prefix = self.config.query_prefix if query else self.config.passage_prefix
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for start in range(0, len(texts), BLOCK):
            block = [prefix + text for text in texts[start : start + BLOCK]]
            encoded = body.encode(block)
            for rows in by_length(encoded.lengths):
                vectors[start + np.array(rows)] = _read(body, *encoded.pad(rows))
                if told:
                    told(len(rows))
        return vectors


@torch.inference_mode()
def _read(body: Encoder, ids: Tensor, mask: Tensor) -> Vectors:
    """A padded batch (B, T) as vectors (B, D)."""
    device = next(body.parameters()).device
    vectors: Vectors = mean_pooled(body(ids.to(device), mask.to(device))).cpu().numpy()
    return vectors


def mean_pooled(states: States) -> Tensor:
    """The mean of the states where there are tokens, of length 1: (B, T, D) → (B, D), fp32."""
    mask = states.mask.unsqueeze(-1).float()  # (B, T, 1)
    mean = (states.hidden.float() * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    return torch.nn.functional.normalize(mean, dim=1)


def bf16_is_fast() -> bool:
    """Whether this machine multiplies bf16 in hardware: a GPU, or a processor with AMX or AVX512-BF16."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
