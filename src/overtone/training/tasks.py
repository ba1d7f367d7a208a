"""A task: what is predicted, from which head, judged by which loss and metrics, at which weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from overtone.config import Config
from overtone.data.records import Record
from overtone.errors import DataError
from overtone.models.heads import HeadConfig
from overtone.scores import Floats, Predictions
from overtone.training.losses import (
    MISSING,
    BinaryCrossEntropyConfig,
    CrossEntropyConfig,
    Loss,
)


class ClassificationConfig(Config):
    """One label a text."""

    kind: Literal["classification"] = "classification"
    name: str = Field("emotion", pattern=r"^[a-z][a-z0-9_]*$", description="the task's and its head's name")
    head: HeadConfig = HeadConfig()
    loss: CrossEntropyConfig = CrossEntropyConfig()
    weight: float = Field(1.0, gt=0, description="its share in the summed loss")


class MultilabelConfig(Config):
    """Any number of labels a text, each with a threshold tuned on validation rows."""

    kind: Literal["multilabel"] = "multilabel"
    name: str = Field("emotion", pattern=r"^[a-z][a-z0-9_]*$", description="the task's and its head's name")
    head: HeadConfig = HeadConfig()
    loss: BinaryCrossEntropyConfig = BinaryCrossEntropyConfig()
    weight: float = Field(1.0, gt=0, description="its share in the summed loss")


TaskConfig = Annotated[ClassificationConfig | MultilabelConfig, Field(discriminator="kind")]


@dataclass(frozen=True)
class Task:
    """What the loop knows of a task.

    Args:
        name: of the task and its head.
        labels: L names.
        multilabel: whether a row may have several.
        loss: outputs and targets → a sum and its normaliser.
        weight: its share in the summed loss.
    """

    name: str
    labels: tuple[str, ...]
    multilabel: bool
    loss: Loss
    weight: float


def encode_targets(
    records: Sequence[Record], target: str, labels: Sequence[str], *, multilabel: bool
) -> Tensor:
    """Targets of N rows: classes (N,), or 0/1 indicators (N, L); ``MISSING`` or NaN where there is none.

    Raises:
        DataError: a row has a list of labels, and the task is not multi-label.
    """
    index = {label: i for i, label in enumerate(labels)}
    values = [record.targets.get(target) for record in records]
    if not multilabel:
        several = next((r for r in records if isinstance(r.targets.get(target), tuple)), None)
        if several is not None:
            raise DataError(
                f"'{several.id}' has a list of labels, and the task takes one",
                hint="set tasks.0.kind=multilabel, or `single_label` on the source",
            )
        return torch.tensor([MISSING if v is None else index[str(v)] for v in values], dtype=torch.long)
    indicators = torch.zeros(len(records), len(labels))
    for row, value in enumerate(values):
        if value is None:
            indicators[row] = torch.nan
        else:
            indicators[
                row, [index[str(name)] for name in (value if isinstance(value, tuple) else (value,))]
            ] = 1
    return indicators


def probabilities(logits: Floats, *, multilabel: bool) -> Floats:
    """Logits (N, L) → probabilities (N, L): softmax over labels, or a sigmoid each."""
    tensor = torch.from_numpy(logits)
    return (tensor.sigmoid() if multilabel else tensor.softmax(dim=-1)).numpy()


def predictions(
    records: Sequence[Record],
    targets: Tensor,
    labels: Sequence[str],
    shares: Floats,
    thresholds: Floats | None = None,
) -> Predictions:
    """Probabilities (N, L) as predictions: the most probable class, or every label past its threshold."""
    if targets.ndim == 1:
        decided = shares.argmax(axis=1)
    else:
        limit = np.full(len(labels), 0.5) if thresholds is None else thresholds
        decided = (shares >= limit).astype(np.int64)
    return Predictions(
        ids=tuple(record.id for record in records),
        labels=tuple(labels),
        gold=targets.numpy().astype(np.int64),
        decided=decided.astype(np.int64),
        probabilities=shares.astype(np.float64),
        sources=tuple(record.source for record in records),
    )
