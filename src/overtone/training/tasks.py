"""A task: what is predicted, from which head, judged by which loss and metric, at which weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from overtone.config import Config
from overtone.data.records import Record
from overtone.data.split import DataConfig
from overtone.errors import DataError
from overtone.models.heads import HeadConfig
from overtone.scores import Estimates, Floats, Predictions
from overtone.training.distil import TeacherConfig
from overtone.training.losses import (
    MISSING,
    BinaryCrossEntropyConfig,
    ClassLoss,
    CrossEntropyConfig,
    LabelLoss,
    Loss,
    MeanSquaredErrorConfig,
    NumberLoss,
)

Kind = Literal["classification", "multilabel", "regression"]
"""One label a text, any number of them, or numbers."""

SMALLEST = 1e-12
"""Probabilities are taken for this at least where their logarithm is."""


class ClassificationConfig(Config):
    """One label a text."""

    kind: Literal["classification"] = "classification"
    data: DataConfig
    head: HeadConfig = HeadConfig()
    loss: ClassLoss = CrossEntropyConfig()
    teacher: TeacherConfig | None = Field(None, description="what else is learnt from; gold alone without")
    weight: float = Field(1.0, gt=0, description="its share in the summed loss, where weights are fixed")
    metric: str = Field("accuracy", description="what its verdict and the mean over tasks are about")


class MultilabelConfig(Config):
    """Any number of labels a text, each with a threshold tuned on validation rows."""

    kind: Literal["multilabel"] = "multilabel"
    data: DataConfig
    head: HeadConfig = HeadConfig()
    loss: LabelLoss = BinaryCrossEntropyConfig()
    teacher: TeacherConfig | None = Field(None, description="what else is learnt from; gold alone without")
    weight: float = Field(1.0, gt=0, description="its share in the summed loss, where weights are fixed")
    metric: str = Field("macro_f1", description="what its verdict and the mean over tasks are about")


class RegressionConfig(Config):
    """Numbers a text, one for each of `data.labels`; learnt in units of their training deviation."""

    kind: Literal["regression"] = "regression"
    data: DataConfig
    head: HeadConfig = HeadConfig()
    loss: NumberLoss = MeanSquaredErrorConfig()
    teacher: TeacherConfig | None = Field(None, description="what else is learnt from; gold alone without")
    weight: float = Field(1.0, gt=0, description="its share in the summed loss, where weights are fixed")
    metric: str = Field("pearson", description="what its verdict and the mean over tasks are about")


TaskConfig = Annotated[
    ClassificationConfig | MultilabelConfig | RegressionConfig, Field(discriminator="kind")
]


@dataclass(frozen=True)
class Task:
    """What the loop knows of a task.

    Args:
        name: of the task and its head.
        kind: of its targets.
        loss: outputs and targets → a sum and its normaliser.
        weight: its share in the summed loss, where weights are fixed.
    """

    name: str
    kind: Kind
    loss: Loss
    weight: float


@dataclass(frozen=True)
class Reading:
    """How a head's outputs are read.

    Args:
        kind: of the task.
        labels: L names.
        thresholds: from which probability a label holds, (L,); multi-label alone.
        mean: of the training targets, (L,); regression alone.
        scale: their standard deviation, (L,), each above 0; regression alone.
        context: whether the head was trained to read what was said before.
    """

    kind: Kind
    labels: tuple[str, ...]
    thresholds: Floats | None = None
    mean: Floats | None = None
    scale: Floats | None = None
    context: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The reading as JSON values."""
        return {
            "kind": self.kind,
            "labels": list(self.labels),
            "context": self.context,
            **{
                name: None if value is None else value.tolist()
                for name, value in (
                    ("thresholds", self.thresholds),
                    ("mean", self.mean),
                    ("scale", self.scale),
                )
            },
        }

    @classmethod
    def parse(cls, facts: Mapping[str, Any]) -> Reading:
        """What ``as_dict`` gave."""

        def numbers(value: Sequence[float] | None) -> Floats | None:
            return None if value is None else np.asarray(value, dtype=np.float64)

        return cls(
            facts["kind"],
            tuple(facts["labels"]),
            numbers(facts["thresholds"]),
            numbers(facts["mean"]),
            numbers(facts["scale"]),
            bool(facts["context"]),
        )

    def learnt(self, targets: Tensor) -> Tensor:
        """Targets (N, …) as the loss takes them: numbers in units of their training deviation."""
        if self.mean is None or self.scale is None:
            return targets
        return (targets - torch.from_numpy(self.mean).float()) / torch.from_numpy(self.scale).float()

    def values(self, outputs: Floats) -> Floats:
        """Outputs (N, L) → probabilities (rows sum to 1 unless multi-label), or numbers in their unit."""
        if self.mean is not None and self.scale is not None:
            return outputs * self.scale + self.mean
        tensor = torch.from_numpy(outputs)
        values: Floats = (tensor.sigmoid() if self.kind == "multilabel" else tensor.softmax(dim=-1)).numpy()
        return values

    def outputs(self, values: Floats) -> Floats:
        """Outputs (N, L) that are read as these probabilities or numbers; of classes, their logarithms."""
        if self.mean is not None and self.scale is not None:
            return (values - self.mean) / self.scale
        likely = np.log(np.maximum(values, SMALLEST))
        if self.kind == "multilabel":
            return likely - np.log(np.maximum(1 - values, SMALLEST))
        return likely


def encode_targets(records: Sequence[Record], target: str, labels: Sequence[str], kind: Kind) -> Tensor:
    """Targets of N rows; ``MISSING`` or NaN where a row has none.

    Returns:
        Classes (N,), 0/1 indicators (N, L), or numbers (N, L).

    Raises:
        DataError: a row's target is of another kind.
    """
    index = {label: i for i, label in enumerate(labels)}
    values = [record.targets.get(target) for record in records]
    if kind == "classification":
        several = next((r for r in records if isinstance(r.targets.get(target), tuple)), None)
        if several is not None:
            raise DataError(
                f"'{several.id}' has a list under '{target}', and the task takes one label",
                hint="set the task's kind to multilabel or regression, or `single_label` on the source",
            )
        return torch.tensor([MISSING if v is None else index[str(v)] for v in values], dtype=torch.long)
    encoded = torch.full((len(records), len(labels)), torch.nan if kind == "regression" else 0.0)
    for row, value in enumerate(values):
        if value is None:
            encoded[row] = torch.nan
        elif kind == "multilabel":
            names = value if isinstance(value, tuple) else (value,)
            encoded[row, [index[str(name)] for name in names]] = 1
        elif isinstance(value, str) or len(value) != len(labels):
            raise DataError(
                f"'{records[row].id}' has no {len(labels)} numbers under '{target}'",
                hint="set the task's kind to classification or multilabel, or list its numbers in `labels`",
            )
        else:
            encoded[row] = torch.tensor([float(number) for number in value])
    return encoded


def scores_of(
    reading: Reading, records: Sequence[Record], targets: Tensor, outputs: Floats
) -> Predictions | Estimates:
    """A head's outputs (N, L) as decisions: the likeliest class, every label past its threshold, or numbers.

    Args:
        reading: how outputs are read; without thresholds a label holds from 0.5.
        records: N rows that carry the target.
        targets: theirs, from ``encode_targets``.
        outputs: of the task's head.
    """
    values = reading.values(outputs)
    ids = tuple(record.id for record in records)
    sources = tuple(record.source for record in records)
    if reading.kind == "regression":
        return Estimates(ids, reading.labels, targets.double().numpy(), values.astype(np.float64), sources)
    if reading.kind == "multilabel":
        limits = np.full(len(reading.labels), 0.5) if reading.thresholds is None else reading.thresholds
        decided = (values >= limits).astype(np.int64)
    else:
        decided = values.argmax(axis=1).astype(np.int64)
    gold = targets.numpy().astype(np.int64)
    return Predictions(ids, reading.labels, gold, decided, values.astype(np.float64), sources)
