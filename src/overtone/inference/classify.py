"""A trained run as a classifier: texts in, logits and labels out, as fast as the machine allows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from overtone.data.tokenize import encode
from overtone.models import store
from overtone.models.encoder import EncoderConfig, States
from overtone.models.heads import HeadConfig, mean_pool
from overtone.models.model import Model, sweep
from overtone.scores import Floats

CLOSE = 0.12
"""Logits nearer than this to a tie are computed again in fp32: about the most that bf16 moved the gap between
two logits on held-out rows of the emotion recipes. No guarantee; a benchmark counts labels that differ."""


class Classifier:
    """One task of a model, over batches of even length.

    The bulk is read in bf16; a text whose decision bf16 could tip is read again in fp32.

    Args:
        model: a trained model in evaluation mode.
        task: the task whose head answers.
        labels: its L labels.
        thresholds: (L,) for a multi-label task, else None.
    """

    def __init__(
        self, model: Model, task: str, labels: Sequence[str], thresholds: Floats | None = None
    ) -> None:
        self.model = model
        self.task = task
        self.labels = tuple(labels)
        self.thresholds = thresholds
        self.fast = copy.deepcopy(model).to(torch.bfloat16)

    @property
    def multilabel(self) -> bool:
        """Whether a text may have several labels."""
        return self.thresholds is not None

    def logits(self, texts: Sequence[str]) -> Floats:
        """Logits of N texts, (N, L)."""
        if not texts:
            return np.zeros((0, len(self.labels)))
        encoded = encode(self.model.body.tokenizer, texts, self.model.body.max_length)
        logits = sweep(self.fast, encoded, self.model.device)[self.task].clone()  # one that can be written to
        close = self._close(logits).nonzero().flatten().tolist()
        if close:
            logits[close] = sweep(self.model, encoded.take(close), self.model.device)[self.task]
        return logits.double().numpy()

    def _close(self, logits: Tensor) -> Tensor:
        """Which rows bf16 could have decided otherwise, (N,) of bool."""
        if self.thresholds is not None:
            limits = torch.logit(torch.from_numpy(self.thresholds).float().clamp(1e-6, 1 - 1e-6))
            return ((logits - limits).abs() < CLOSE / 2).any(dim=1)
        if logits.shape[1] < 2:
            return torch.zeros(len(logits), dtype=torch.bool)
        top = logits.topk(2, dim=1).values
        return top[:, 0] - top[:, 1] < CLOSE

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Probabilities of N texts, (N, L): rows sum to 1 unless multi-label. Not calibrated."""
        logits = torch.from_numpy(self.logits(texts))
        shares: Floats = (logits.sigmoid() if self.multilabel else logits.softmax(dim=1)).numpy()
        return shares

    def embed(self, texts: Sequence[str]) -> Floats:
        """The mean of each text's states, (N, D)."""
        return embed(self.fast, texts)


def embed(model: Model, texts: Sequence[str]) -> Floats:
    """The mean of each text's states in a model's body, (N, D)."""
    if not texts:
        return np.zeros((0, model.body.hidden_size))

    def pooled(input_ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        states: States = model.body(input_ids, mask)
        return {"pooled": mean_pool(states)}

    encoded = encode(model.body.tokenizer, texts, model.body.max_length)
    return sweep(pooled, encoded, model.device)["pooled"].double().numpy()


class FrozenEncoder:
    """A pretrained body without heads, for the probe and the prototypes.

    Args:
        config: which body; it is loaded when the first text comes.
        remember: keep what was embedded, so that no text is read twice; for an evaluation, not for a server.
    """

    def __init__(self, config: EncoderConfig, *, remember: bool = False) -> None:
        self.config = config
        self.remember = remember
        self._known: dict[str, Floats] = {}

    @cached_property
    def model(self) -> Model:
        """The body in bf16."""
        model = store.build(self.config, None, {}).eval()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        return model.to(torch.bfloat16)

    def __call__(self, texts: Sequence[str]) -> Floats:
        """The mean of each text's states, (N, D)."""
        if not self.remember or not texts:
            return embed(self.model, texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, embed(self.model, new), strict=True))
        return np.stack([self._known[text] for text in texts])


def load(
    folder: Path,
    config: EncoderConfig,
    task: tuple[str, HeadConfig],
    labels: Sequence[str],
    thresholds: Floats | None = None,
) -> Classifier:
    """Read a run's ``model`` folder as a classifier of one task.

    Raises:
        RunError: a file is missing, cut short or of another shape.
        WeightsError: the base weights are not at hand.
    """
    name, head = task
    model = store.load(folder, config, {name: (head, len(labels))})
    return Classifier(model, name, labels, thresholds)
