"""The loss of an embedder: a question is nearer to its passage than to others, as a teacher has it."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from overtone.config import Config

FAR = -1e4
"""What a candidate scores that does not count."""


class ContrastiveConfig(Config):
    """What an embedder learns from the pairs of a batch.

    All passages of the batch are candidates for every question of it. The loss is ``contrastive`` times the
    cross-entropy of the right one (InfoNCE, van den Oord et al. 2018; in-batch negatives, Karpukhin et al.,
    EMNLP 2020) plus ``distillation`` times the divergence from what a teacher makes of the same candidates
    (Hinton et al. 2015). With ``dimensions``, it is the mean over vectors cut to their first so many numbers
    (Matryoshka, Kusupati et al., NeurIPS 2022) and whole ones.
    """

    contrastive: float = Field(1.0, ge=0, description="weight of the cross-entropy of the right passage")
    temperature: float = Field(0.05, gt=0, description="what cosines are divided by")
    distillation: float = Field(0.0, ge=0, description="weight of the teacher's share; 0 needs no teacher")
    teacher_temperature: float = Field(0.05, gt=0, description="what the teacher's cosines are divided by")
    margin: float | None = Field(
        0.0,
        description="a candidate that the teacher ranks above the right passage by more than this is no "
        "negative of the cross-entropy; null: all are",
    )
    dimensions: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="shorter vectors that have to do as well"
    )

    @model_validator(mode="after")
    def _learns_something(self) -> ContrastiveConfig:
        if not self.contrastive and not self.distillation:
            raise ValueError("contrastive and distillation are both 0: there is nothing to learn")
        return self


class ContrastiveLoss:
    """See ``ContrastiveConfig``; of a whole step, since a row is told apart from the rest of its batch.

    Args:
        config: weights and temperatures.
        asked: the question of each of the N pairs, (N,).
        answers: its passage and those that are not, (N, 1 + H).
        passages: the teacher's vectors, (P, E), of length 1; None: no teacher.
        questions: likewise, (M, E).
    """

    whole_step: ClassVar[bool] = True

    def __init__(
        self,
        config: ContrastiveConfig,
        asked: Tensor,
        answers: Tensor,
        passages: Tensor | None = None,
        questions: Tensor | None = None,
    ) -> None:
        self.config = config
        self.asked, self.answers = asked, answers
        self.passages, self.questions = passages, questions

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Vectors (B · (2 + H), D), in the order of ``Pairs.pad``, and the pairs' numbers (B,) → the sum."""
        size = len(targets)
        rows = targets.cpu()
        candidates = self.answers[rows].reshape(-1)  # (C,), C = B · (1 + H)
        right = torch.arange(size) * self.answers.shape[1]  # the place of each row's own passage
        own = candidates[right]
        # Any other candidate that is the same passage would be a negative of itself.
        twin = candidates[None, :] == own[:, None]
        twin[torch.arange(size), right] = False
        taught = None
        if self.passages is not None and self.questions is not None:
            taught = self.questions[self.asked[rows]] @ self.passages[candidates].T  # (B, C)
        loss = outputs.new_zeros(())
        widths = (*self.config.dimensions, outputs.shape[1])
        for width in widths:
            vectors = functional.normalize(outputs[:, :width], dim=-1)
            scores = vectors[:size] @ vectors[size:].T  # (B, C)
            loss = loss + self._of(scores, right, twin, taught) / len(widths)
        return loss

    def _of(self, scores: Tensor, right: Tensor, twin: Tensor, taught: Tensor | None) -> Tensor:
        """The summed loss of one width: cosines (B, C) → ()."""
        config, device = self.config, scores.device
        loss = scores.new_zeros(())
        if config.contrastive:
            out = twin
            if taught is not None and config.margin is not None:
                above = taught > taught.gather(1, right[:, None]) + config.margin
                above[torch.arange(len(right)), right] = False  # a margin below 0 would take the right one
                out = twin | above
            logits = (scores / config.temperature).masked_fill(out.to(device), FAR)
            loss = loss + config.contrastive * functional.cross_entropy(
                logits, right.to(device), reduction="sum"
            )
        if config.distillation and taught is not None:
            wanted = (taught / config.teacher_temperature).masked_fill(twin, FAR).softmax(dim=1).to(device)
            said = (scores / config.temperature).masked_fill(twin.to(device), FAR).log_softmax(dim=1)
            loss = loss + config.distillation * functional.kl_div(said, wanted, reduction="sum")
        return loss

    def count(self, targets: Tensor) -> Tensor:
        """How many pairs there are, ()."""
        return torch.tensor(len(targets))
