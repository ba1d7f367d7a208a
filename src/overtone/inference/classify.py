"""A trained run as a reader of texts: every head in one pass, as fast as the machine allows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from overtone.inference.forms import Form, TorchForm
from overtone.models import store
from overtone.models.body import States
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig, mean_pool
from overtone.models.model import EncoderModel, sweep
from overtone.scores import Floats
from overtone.training.tasks import Reading

CLOSE = 0.12
"""Logits nearer than this to a tie are computed again in fp32: about the most that bf16 moved the gap between
two logits on held-out rows of the emotion recipes. No guarantee; a benchmark counts labels that differ."""


class Reader:
    """All heads of a trained model, over batches of even length.

    Without a form of its own the bulk is read in bf16, and a text whose decision bf16 could tip is read again
    in fp32. A form that passed the parity gate answers by itself.

    Args:
        model: a trained model in evaluation mode.
        readings: task → how its head's outputs are read.
        form: what computes the outputs instead, such as an exported graph.
    """

    def __init__(
        self, model: EncoderModel, readings: Mapping[str, Reading], form: Form | None = None
    ) -> None:
        self.model = model
        self.readings = dict(readings)
        self.form = form

    @cached_property
    def fast(self) -> TorchForm:
        """The model in bf16."""
        return TorchForm(self.model, "bf16")

    @cached_property
    def exact(self) -> TorchForm:
        """The model in fp32."""
        return TorchForm(self.model, "fp32")

    def outputs(
        self,
        texts: Sequence[str],
        contexts: Sequence[str | None] | None = None,
        tasks: Collection[str] | None = None,
    ) -> dict[str, Floats]:
        """Raw outputs of the heads for N texts.

        Args:
            texts: the texts.
            contexts: what was said before each, where there is something; only the heads that were trained
                with it read it, the others read the text alone, which takes a second pass.
            tasks: the heads that are wanted; None: all.

        Returns:
            Task → (N, L).
        """
        wanted = [name for name in self.readings if tasks is None or name in tasks]
        if not texts:
            return {name: np.zeros((0, len(self.readings[name].labels))) for name in wanted}
        given = contexts is not None and any(context is not None for context in contexts)
        together = [name for name in wanted if given and self.readings[name].context]
        alone = [name for name in wanted if name not in together]
        made = {
            **(self._pass(texts, contexts, together) if together else {}),
            **(self._pass(texts, None, alone) if alone else {}),
        }
        return {name: made[name].double().numpy() for name in wanted}

    def _pass(
        self, texts: Sequence[str], contexts: Sequence[str | None] | None, tasks: Sequence[str]
    ) -> dict[str, Tensor]:
        """The outputs of some heads, all from the same tokens."""
        encoded = self.model.body.encode(texts, contexts)
        if self.form is not None:
            found = self.form(encoded)
            return {name: found[name] for name in tasks}
        made = {name: tensor.clone() for name, tensor in self.fast(encoded).items() if name in tasks}
        unsure = torch.stack([_close(made[name], self.readings[name]) for name in tasks]).any(dim=0)
        rows = unsure.nonzero().flatten()
        if len(rows):
            exact = self.exact(encoded.take(rows.tolist()))
            for name in tasks:
                made[name][rows] = exact[name]
        return made

    def values(
        self,
        texts: Sequence[str],
        contexts: Sequence[str | None] | None = None,
        tasks: Collection[str] | None = None,
    ) -> dict[str, Floats]:
        """Task → probabilities or numbers for N texts, (N, L), of ``outputs``; not calibrated."""
        made = self.outputs(texts, contexts, tasks)
        return {name: self.readings[name].values(values) for name, values in made.items()}

    def embed(self, texts: Sequence[str]) -> Floats:
        """The mean of each text's states, (N, D)."""
        return embed(self.fast.model, texts)


def _close(logits: Tensor, reading: Reading) -> Tensor:
    """Which rows are within bf16's error of another decision, (N,) of bool."""
    if reading.thresholds is not None:
        limits = torch.logit(torch.from_numpy(reading.thresholds).float().clamp(1e-6, 1 - 1e-6))
        return ((logits - limits).abs() < CLOSE / 2).any(dim=1)
    if reading.kind == "regression" or logits.shape[1] < 2:
        return torch.zeros(len(logits), dtype=torch.bool)
    top = logits.topk(2, dim=1).values
    return top[:, 0] - top[:, 1] < CLOSE


class Classifier:
    """One task of a reader, as the cascade wants it.

    Args:
        reader: the reader.
        task: the task whose head answers; None: its only one.
    """

    def __init__(self, reader: Reader, task: str | None = None) -> None:
        self.reader = reader
        self.task = next(iter(reader.readings)) if task is None else task

    @property
    def labels(self) -> tuple[str, ...]:
        """Its L labels."""
        return self.reader.readings[self.task].labels

    def logits(self, texts: Sequence[str]) -> Floats:
        """Logits of N texts, (N, L)."""
        return self.reader.outputs(texts, tasks=[self.task])[self.task]

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Probabilities of N texts, (N, L): rows sum to 1 unless multi-label. Not calibrated."""
        return self.reader.values(texts, tasks=[self.task])[self.task]

    def embed(self, texts: Sequence[str]) -> Floats:
        """The mean of each text's states, (N, D)."""
        return self.reader.embed(texts)


def embed(model: EncoderModel, texts: Sequence[str]) -> Floats:
    """The mean of each text's states in a model's body, (N, D)."""
    if not texts:
        return np.zeros((0, model.body.hidden_size))

    def pooled(input_ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        states: States = model.body(input_ids, mask)
        return {"pooled": mean_pool(states)}

    encoded = model.body.encode(texts)
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
    def model(self) -> EncoderModel:
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
    folder: Path, config: EncoderConfig, heads: Mapping[str, HeadConfig], readings: Mapping[str, Reading]
) -> Reader:
    """Read a run's ``model`` folder.

    Raises:
        RunError: a file is missing, cut short or of another shape.
        WeightsError: the base weights are not at hand.
    """
    sizes = {name: (head, len(readings[name].labels)) for name, head in heads.items()}
    return Reader(store.load(folder, config, sizes), readings)
