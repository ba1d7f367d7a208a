"""What all heads of a model make of one text, and the JSON that a program reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from overtone.scores import Floats
from overtone.training.tasks import Kind, Reading

VERSION = 1
"""Of the JSON shape; it changes when a key goes away or means something else."""

DIGITS = 6
"""Decimals of the numbers in the JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one head makes of one text.

    Args:
        kind: of its task.
        scores: label → probability, likeliest first; of a regression name → number, in the data's unit.
        labels: the label, or every label past its threshold, likeliest first; none of a regression.
        usual: of a regression name → mean and standard deviation of the training rows, in the same unit.
    """

    kind: Kind
    scores: Mapping[str, float]
    labels: tuple[str, ...]
    usual: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON values; see ``Readout.as_dict``."""
        scores = {name: round(value, DIGITS) for name, value in self.scores.items()}
        if self.kind == "regression":
            return {"kind": self.kind, "values": scores}
        if self.kind == "multilabel":
            return {"kind": self.kind, "labels": list(self.labels), "scores": scores}
        label = self.labels[0]
        return {"kind": self.kind, "label": label, "confidence": scores[label], "scores": scores}

    def as_log(self) -> dict[str, Any]:
        """What a log keeps of it: no scores."""
        return {key: value for key, value in self.as_dict().items() if key != "scores"}


@dataclass(frozen=True, slots=True)
class Readout:
    """What every head makes of one text, by task."""

    heads: Mapping[str, Answer]

    def as_dict(self) -> dict[str, Any]:
        """The read-out as JSON values.

        ``{"version": 1, "heads": {task: answer}}``, where an answer holds its ``kind`` and, of a
        classification ``label``, ``confidence`` and ``scores``; of a multi-label task ``labels`` and
        ``scores``; of a regression ``values``.
        """
        return {"version": VERSION, "heads": {name: answer.as_dict() for name, answer in self.heads.items()}}

    def as_log(self) -> dict[str, Any]:
        """What a log keeps of it: the heads' answers without their scores."""
        return {"heads": {name: answer.as_log() for name, answer in self.heads.items()}}


def answer(reading: Reading, values: Floats) -> Answer:
    """One head's probabilities or numbers of one text, (L,), as an answer."""
    if reading.kind == "regression":
        scores = dict(zip(reading.labels, values.tolist(), strict=True))
        return Answer("regression", scores, (), _usual(reading))
    order = np.argsort(-values, kind="stable")
    scores = {reading.labels[i]: float(values[i]) for i in order}
    if reading.kind == "classification":
        return Answer("classification", scores, (reading.labels[order[0]],))
    limits = np.full(len(values), 0.5) if reading.thresholds is None else reading.thresholds
    return Answer("multilabel", scores, tuple(reading.labels[i] for i in order if values[i] >= limits[i]))


def _usual(reading: Reading) -> dict[str, tuple[float, float]]:
    if reading.mean is None or reading.scale is None:
        return {}
    spread = zip(reading.mean.tolist(), reading.scale.tolist(), strict=True)
    return dict(zip(reading.labels, spread, strict=True))
