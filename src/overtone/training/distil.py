"""Learn from a teacher: what a trained run makes of a row stands beside the row's gold, in one loss.

Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional

from overtone.config import Config
from overtone.training.losses import Loss

if TYPE_CHECKING:
    from overtone.training.tasks import Kind


class TeacherConfig(Config):
    """Trained runs whose outputs are learnt beside the gold (Hinton et al. 2015)."""

    runs: tuple[Path, ...] = Field(
        min_length=1,
        description="folders of trained runs that have this task; of several, their mean is learnt",
    )
    share: float = Field(0.5, ge=0.0, le=1.0, description="α, of the loss that is the teacher's")
    temperature: float = Field(
        2.0, gt=0.0, description="T, by which both sides' logits are divided; numbers have none"
    )

    @field_validator("runs")
    @classmethod
    def _distinct(cls, runs: tuple[Path, ...]) -> tuple[Path, ...]:
        if len(set(runs)) < len(runs):
            raise ValueError("a run is listed twice")
        return runs


class Distilled:
    """(1 − α) of a task's own loss, and α of the distance to a teacher.

    The distance of a row is T² KL(teacher ‖ student), both with logits divided by T. Of classes that is one
    divergence; of L labels one divergence of two outcomes each, summed; of numbers it is the mean squared
    error, in units of the student's training deviation. T² keeps gradients about as large as at T = 1.

    Targets hold the gold in their first columns (one class, L indicators or L numbers) and the teacher's
    outputs in the last L: what a head has to put out to agree with it. A row may lack either: its gold is
    missing as it is for the own loss, its teacher is NaN, and what it lacks counts nothing.

    The count is (1 − α) times the own loss's count, plus α times the rows with a teacher. Total and count
    are sums over rows (as far as the own loss's are), so accumulation is exact, and the loss is the mean of
    all terms, each gold with the weight 1 − α (times its class's, if classes have weights) and each teacher
    with the weight α. At α = 0 it is the own loss.

    Args:
        loss: the task's own.
        config: α and T.
        kind: of the task.
        labels: L.
    """

    def __init__(self, loss: Loss, config: TeacherConfig, kind: Kind, labels: int) -> None:
        self.loss = loss
        self.share = config.share
        self.temperature = config.temperature
        self.kind = kind
        self.labels = labels
        self.whole_step = loss.whole_step

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows: outputs (B, L), targets (B, 1 + L) or (B, 2 L) → ()."""
        gold, teacher = self._parts(targets)
        known = ~teacher[:, :1].isnan()  # (B, 1)
        student, teacher = outputs.float().where(known, 0.0), teacher.where(known, 0.0)
        own = self.loss.total(outputs, gold)
        return (1 - self.share) * own + self.share * self._distance(student, teacher).sum()

    def count(self, targets: Tensor) -> Tensor:
        """The gold's count and the teacher's rows, each by its share → ()."""
        gold, teacher = self._parts(targets)
        rows = (~teacher[:, 0].isnan()).sum()
        return (1 - self.share) * self.loss.count(gold) + self.share * rows

    def _parts(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The gold as the own loss takes it, (B,) or (B, L), and the teacher's outputs, (B, L)."""
        gold, teacher = targets[:, : -self.labels], targets[:, -self.labels :]
        return (gold[:, 0].long() if self.kind == "classification" else gold), teacher

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """How far each row's outputs are from the teacher's: (B, L), (B, L) → (B,); 0 for equal ones."""
        if self.kind == "regression":
            return (student - teacher).square().mean(dim=-1)
        at = self.temperature
        divergence = _of_classes if self.kind == "classification" else _of_labels
        return at**2 * divergence(student / at, teacher / at)


def joined(gold: Tensor, teacher: Tensor) -> Tensor:
    """Targets as ``Distilled`` takes them.

    Args:
        gold: classes (N,), indicators (N, L) or numbers (N, L).
        teacher: its outputs, (N, L); NaN in rows that it did not label.
    """
    return torch.cat([gold.float().reshape(len(gold), -1), teacher.float()], dim=1)


def _of_classes(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher ‖ student) of logits over L classes: (B, L), (B, L) → (B,)."""
    meant = teacher.log_softmax(dim=-1)
    return (meant.exp() * (meant - student.log_softmax(dim=-1))).sum(dim=-1)


def _of_labels(student: Tensor, teacher: Tensor) -> Tensor:
    """The sum over L labels of KL(teacher ‖ student) of logits: (B, L), (B, L) → (B,)."""
    holds = teacher.sigmoid() * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
    fails = (-teacher).sigmoid() * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))
    return (holds + fails).sum(dim=-1)
