"""Two other ways to read a trained model, so that its probabilities may mean more than as they come."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from overtone.data.batches import Encoded
from overtone.inference.calibrate import fit_temperature, softmax
from overtone.models.model import EncoderModel, sweep
from overtone.scores import Predictions
from overtone.training.cache import StateCache
from overtone.training.tasks import Reading

SMALLEST = 1e-12
"""Probabilities are kept this far from 0 and 1 where their logarithm is taken."""


class DropoutPasses:
    """The mean of what a model says in several passes with dropout on.

    Gal and Ghahramani, Dropout as a Bayesian Approximation, ICML 2016: probabilities (or numbers) are
    averaged, not logits. Layers that were frozen in training had no dropout there, and have none here, so
    they run once.

    Args:
        model: a trained model; it is copied.
        readings: task → how its head's outputs are read.
        frozen: layers above the embeddings that were frozen with them; None where nothing was.
        passes: how many.
        seed: of the dropout.
    """

    def __init__(
        self,
        model: EncoderModel,
        readings: Mapping[str, Reading],
        *,
        frozen: int | None,
        passes: int = 20,
        seed: int = 0,
    ) -> None:
        self.name = f"torch-dropout-{passes}"
        self.model = copy.deepcopy(model)
        self.model.body.freeze(frozen)
        self.readings = readings
        self.passes = passes
        self.seed = seed

    def __call__(self, encoded: Encoded) -> dict[str, Tensor]:
        """Task → outputs (N, L) that a ``Reading`` reads as the mean over the passes."""
        texts = StateCache(self.model)(encoded, bf16=True) or encoded
        self.model.train()

        def run(inputs: Tensor, mask: Tensor) -> dict[str, Tensor]:
            with torch.autocast(self.model.device.type, torch.bfloat16):
                made: dict[str, Tensor] = self.model(inputs, mask)
                return made

        sums: dict[str, Tensor] = {}
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            for _ in range(self.passes):
                for name, outputs in sweep(run, texts, self.model.device).items():
                    said = _said(outputs.double(), self.readings[name])
                    sums[name] = sums[name] + said if name in sums else said
        return {name: _unsaid(total / self.passes, self.readings[name]) for name, total in sums.items()}


def _said(outputs: Tensor, reading: Reading) -> Tensor:
    """Outputs (N, L) as what is averaged: probabilities, or numbers."""
    if reading.kind == "regression":
        return outputs
    return outputs.sigmoid() if reading.kind == "multilabel" else outputs.softmax(dim=-1)


def _unsaid(means: Tensor, reading: Reading) -> Tensor:
    """Outputs that are read as these means."""
    if reading.kind == "regression":
        return means
    return torch.logit(means, eps=SMALLEST) if reading.kind == "multilabel" else means.clamp(SMALLEST).log()


def tempered(test: Predictions, validation: Predictions) -> Predictions:
    """Predictions of one label a row, at the temperature that fits validation rows best.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017. No decision changes. The logarithms of
    probabilities are logits, up to a constant a row that does not matter.
    """
    temperature = fit_temperature(_logits(validation), validation.gold)
    return replace(test, probabilities=softmax(_logits(test), temperature))


def _logits(predictions: Predictions) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    made: np.ndarray[tuple[int, int], np.dtype[np.float64]] = np.log(
        np.maximum(predictions.probabilities, SMALLEST)
    )
    return made
