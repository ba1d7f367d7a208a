"""Losses as objects: each gives the summed loss of a batch, and beforehand what that sum is divided by.

Sums are divided once, by the count of the whole optimiser step, so gradient accumulation and several
processes give the same update as one large batch. The one loss that is no sum over rows says so
(``whole_step``). All of them compute in fp32, whatever precision the outputs come in. A row without a target
is masked, not cut out, so that no sum waits for the device to tell how many rows are left.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from overtone.config import Config
from overtone.data.records import MISSING as MISSING  # what asks for a loss asks for this too

TINY = 1e-7
"""What a share that is raised to a power is kept above: below 1 the power's slope at 0 is infinite."""

STEADY = 1e-6
"""Added to the spread that the concordance is divided by, in squared standard deviations."""


class Loss(Protocol):
    """A summed loss and its normaliser."""

    @property
    def whole_step(self) -> bool:
        """Whether it is no sum over rows but belongs to the rows of a micro-batch together.

        Accumulation and several processes then change what is minimised.
        """

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The weighted sum over the rows of a batch: outputs (B, L), targets (B,) or (B, L) → ()."""

    def count(self, targets: Tensor) -> Tensor:
        """What that sum is divided by; known from the targets alone → ()."""


class CrossEntropyConfig(Config):
    """−log p(gold), with label smoothing (Szegedy et al. 2016) and class weights."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="mass given evenly to all labels")
    class_weights: float = Field(
        0.0, ge=0.0, le=1.0, description="weight of a class ∝ frequency^−p, mean 1; 0 none, 1 balanced"
    )


class FocalConfig(Config):
    """−(1 − p(gold))^γ log p(gold): rows that are easy count less (Lin et al. 2017)."""

    kind: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0.0, description="γ, how much less; 0 is the cross-entropy")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="mass given evenly to all labels")
    class_weights: float = Field(
        0.0, ge=0.0, le=1.0, description="weight of a class ∝ frequency^−p, mean 1; 0 none, 1 balanced"
    )
    weight_smoothing: float = Field(
        0.1, ge=0.0, le=1.0, description="share of a class weight that is 1 for every class"
    )


class BinaryCrossEntropyConfig(Config):
    """−y log p − (1 − y) log (1 − p), summed over the labels of a row."""

    kind: Literal["binary_cross_entropy"] = "binary_cross_entropy"
    positive_weights: float = Field(
        0.0, ge=0.0, le=1.0, description="weight of a positive = (negatives / positives)^p; 0 none"
    )


class BinaryFocalConfig(Config):
    """−(1 − p_t)^γ log p_t, p_t = p where the label holds, else 1 − p (Lin et al. 2017)."""

    kind: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0.0, description="γ, how much less; 0 is the cross-entropy")
    positive_weights: float = Field(
        0.0, ge=0.0, le=1.0, description="weight of a positive = (negatives / positives)^p; 0 none"
    )
    weight_smoothing: float = Field(
        0.1, ge=0.0, le=1.0, description="share of a positive's weight that is 1 for every label"
    )


class AsymmetricConfig(Config):
    """Easy negatives count much less than easy positives, and the easiest nothing (Ridnik et al. 2021)."""

    kind: Literal["asymmetric"] = "asymmetric"
    gamma_positive: float = Field(0.0, ge=0.0, description="γ₊, the focus on hard positives")
    gamma_negative: float = Field(4.0, ge=0.0, description="γ₋, the focus on hard negatives")
    margin: float = Field(
        0.05, ge=0.0, lt=1.0, description="m, taken off a negative's probability; below it the loss is 0"
    )


class MeanSquaredErrorConfig(Config):
    """(p − g)², the mean over the numbers of a row."""

    kind: Literal["mse"] = "mse"


class ConcordanceConfig(Config):
    """1 − the concordance correlation coefficient (Lin 1989), the mean over the numbers of a row."""

    kind: Literal["ccc"] = "ccc"
    mse: float = Field(0.0, ge=0.0, description="times the mean squared error that is added")


ClassLoss = Annotated[CrossEntropyConfig | FocalConfig, Field(discriminator="kind")]
"""For one label a text."""

LabelLoss = Annotated[
    BinaryCrossEntropyConfig | BinaryFocalConfig | AsymmetricConfig, Field(discriminator="kind")
]
"""For any number of labels a text."""

NumberLoss = Annotated[MeanSquaredErrorConfig | ConcordanceConfig, Field(discriminator="kind")]
"""For numbers."""


class OfClasses:
    """What losses of classes share: they are divided by the weights of the gold classes, ``weights`` (L,)."""

    whole_step: ClassVar[bool] = False
    weights: Tensor

    def count(self, targets: Tensor) -> Tensor:
        """The summed class weights of the rows that carry a target."""
        known = targets != MISSING
        return (self.weights.to(targets.device)[targets.where(known, 0)] * known).sum()


class OfRows:
    """What losses of indicators and numbers share: they are divided by the rows."""

    whole_step: ClassVar[bool] = False

    def count(self, targets: Tensor) -> Tensor:
        """The rows that carry targets."""
        return _known(targets).sum()


class CrossEntropy(OfClasses):
    """Cross-entropy over L classes; rows with the class ``MISSING`` count nothing.

    Args:
        config: smoothing and the power of the class weights.
        frequencies: rows of each class in training, (L,).
    """

    def __init__(self, config: CrossEntropyConfig, frequencies: Tensor) -> None:
        self.smoothing = config.label_smoothing
        self.weights = _class_weights(frequencies, config.class_weights)

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows: outputs (B, L) logits, targets (B,) classes → ()."""
        return functional.cross_entropy(
            outputs.float().where((targets != MISSING).unsqueeze(-1), 0.0),
            targets,
            weight=self.weights.to(outputs.device),
            ignore_index=MISSING,
            label_smoothing=self.smoothing,
            reduction="sum",
        )


class Focal(OfClasses):
    """Focal loss over L classes (Lin et al. 2017): −w_y (1 − p_y)^γ log p_y, p the softmax.

    With label smoothing ε every class k has a share q_k of the target, ε/L and 1 − ε more for the gold one,
    and the loss is −Σ_k q_k w_k (1 − p_k)^γ log p_k. At γ = 0 both are ``CrossEntropy``. A class weight is
    (1 − σ) w + σ, with σ the weight smoothing. Rows with the class ``MISSING`` count nothing.

    Args:
        config: γ, the smoothings and the power of the class weights.
        frequencies: rows of each class in training, (L,).
    """

    def __init__(self, config: FocalConfig, frequencies: Tensor) -> None:
        self.gamma = config.gamma
        self.smoothing = config.label_smoothing
        self.weights = _smooth(_class_weights(frequencies, config.class_weights), config.weight_smoothing)

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows: outputs (B, L) logits, targets (B,) classes → ()."""
        known = targets != MISSING
        logits = outputs.float().where(known.unsqueeze(-1), 0.0)
        terms = _focal(logits.log_softmax(dim=-1), self.gamma) * self.weights.to(outputs.device)  # (B, L)
        gold = terms.gather(1, targets.where(known, 0).unsqueeze(-1)).squeeze(-1)
        rows = (1 - self.smoothing) * gold + self.smoothing * terms.mean(dim=-1)
        return (rows * known).sum()


class BinaryCrossEntropy(OfRows):
    """Binary cross-entropy over L independent labels; rows of NaN count nothing.

    Args:
        config: the power of the weights of positives.
        frequencies: positive rows of each label in training, (L,).
        rows: rows in training that carry targets.
    """

    def __init__(self, config: BinaryCrossEntropyConfig, frequencies: Tensor, rows: int) -> None:
        self.positive = _positive_weights(frequencies, rows, config.positive_weights)

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows and labels: outputs (B, L) logits, targets (B, L) of 0 and 1 → ()."""
        logits, gold, known = _masked(outputs, targets)
        terms = functional.binary_cross_entropy_with_logits(
            logits, gold, pos_weight=self.positive.to(outputs.device), reduction="none"
        )
        return (terms * known).sum()


class BinaryFocal(OfRows):
    """Focal loss over L independent labels, the sigmoid form of Lin et al. 2017: −w (1 − p_t)^γ log p_t.

    p_t is p where the label holds, else 1 − p. The weight w is 1 for a negative, and for a positive
    (1 − σ) (negatives / positives)^p + σ, with σ the weight smoothing; the paper's α is such a weight, up to
    a factor for the whole loss. At γ = 0 this is ``BinaryCrossEntropy``. Rows of NaN count nothing.

    Args:
        config: γ, the power of the weights of positives and its smoothing.
        frequencies: positive rows of each label in training, (L,).
        rows: rows in training that carry targets.
    """

    def __init__(self, config: BinaryFocalConfig, frequencies: Tensor, rows: int) -> None:
        self.gamma = config.gamma
        positive = _positive_weights(frequencies, rows, config.positive_weights)
        self.positive = _smooth(positive, config.weight_smoothing)

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows and labels: outputs (B, L) logits, targets (B, L) of 0 and 1 → ()."""
        logits, gold, known = _masked(outputs, targets)
        holds = self.positive.to(outputs.device) * gold * _focal(functional.logsigmoid(logits), self.gamma)
        fails = (1 - gold) * _focal(functional.logsigmoid(-logits), self.gamma)
        return ((holds + fails) * known).sum()


class Asymmetric(OfRows):
    """Asymmetric loss over L independent labels (Ridnik et al. 2021), summed over the labels of a row.

    Where the label holds −(1 − p)^γ₊ log p, else −p_m^γ₋ log(1 − p_m) with p_m = max(p − m, 0): a negative
    below the margin m has neither loss nor gradient. With both γ and m at 0 this is ``BinaryCrossEntropy``.
    The gradient goes through the focusing factors as well. Rows of NaN count nothing.

    Args:
        config: γ₊, γ₋ and m.
    """

    def __init__(self, config: AsymmetricConfig) -> None:
        self.gamma_positive = config.gamma_positive
        self.gamma_negative = config.gamma_negative
        self.log_margin = math.log(config.margin) if config.margin else -math.inf

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows and labels: outputs (B, L) logits, targets (B, L) of 0 and 1 → ()."""
        logits, gold, known = _masked(outputs, targets)
        margin = torch.full_like(logits, self.log_margin)
        # log(1 − p_m) = log min(1 − p + m, 1), in logarithms so that no probability rounds to 0 on the way.
        rejected = torch.logaddexp(functional.logsigmoid(-logits), margin).clamp(max=0.0)
        holds = gold * _focal(functional.logsigmoid(logits), self.gamma_positive)
        fails = (1 - gold) * _focal(rejected, self.gamma_negative)
        return ((holds + fails) * known).sum()


class MeanSquaredError(OfRows):
    """(p − g)², the mean over the D numbers of a row; rows of NaN count nothing.

    Targets are in units of their training deviation, so always guessing the mean costs about 1.
    """

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Sum over rows: outputs (B, D), targets (B, D) → ()."""
        found, gold, _ = _masked(outputs, targets)
        return (found - gold).square().mean(dim=-1).sum()


class Concordance:
    """1 − CCC (Lin 1989), the mean over D numbers; 0 where they agree, 1 without relation, at most 2.

    1 − CCC = 1 − 2 cov(p, g) / (var p + var g + (mean p − mean g)²) = mean (p − g)² / (that denominator),
    the variances over N. The second form is computed, which cannot fall below 0, with ``STEADY`` added to
    its denominator. Where all gold numbers are equal the loss is 1 and teaches nothing; ``mse`` does then.

    The moments are those of the rows of one call, a micro-batch of one process. So this is no sum over rows:
    ``total`` is the loss times the rows, and accumulation or several processes make it another loss, of the
    smaller pieces. Fewer than two rows have no variance, give 0 and count nothing; rows of NaN neither.

    Args:
        config: the share of the mean squared error.
    """

    whole_step: ClassVar[bool] = True

    def __init__(self, config: ConcordanceConfig) -> None:
        self.mse = config.mse

    def total(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of these rows together, times their number: outputs (B, D), targets (B, D) → ()."""
        found, gold, known = _masked(outputs, targets)
        rows = known.sum()
        error = (found - gold).square().sum(dim=0) / rows.clamp(min=1)  # (D,)
        (found_mean, found_var), (gold_mean, gold_var) = (_moments(found, known), _moments(gold, known))
        spread = found_var + gold_var + (found_mean - gold_mean).square()
        loss = (error / (spread + STEADY) + self.mse * error).mean()
        return loss * self.count(targets)

    def count(self, targets: Tensor) -> Tensor:
        """The rows that carry targets; 0 where there is but one."""
        rows = _known(targets).sum()
        return rows * (rows > 1)


def build(config: ClassLoss | LabelLoss | NumberLoss, targets: Tensor, labels: int) -> Loss:
    """The loss of a task.

    Args:
        config: which one.
        targets: those of the training rows, whose frequencies weigh classes and positives: classes (N,),
            indicators (N, L) or numbers (N, L).
        labels: L.
    """
    match config:
        case CrossEntropyConfig():
            return CrossEntropy(config, _frequencies(targets, labels))
        case FocalConfig():
            return Focal(config, _frequencies(targets, labels))
        case BinaryCrossEntropyConfig():
            return BinaryCrossEntropy(config, targets.nansum(dim=0), int(_known(targets).sum()))
        case BinaryFocalConfig():
            return BinaryFocal(config, targets.nansum(dim=0), int(_known(targets).sum()))
        case AsymmetricConfig():
            return Asymmetric(config)
        case MeanSquaredErrorConfig():
            return MeanSquaredError()
        case ConcordanceConfig():
            return Concordance(config)


def _frequencies(targets: Tensor, labels: int) -> Tensor:
    """Rows of each class, (N,) → (L,)."""
    return torch.bincount(targets[targets != MISSING], minlength=labels)


def _class_weights(frequencies: Tensor, power: float) -> Tensor:
    """Frequency^−power, scaled to a mean of 1: (L,) → (L,)."""
    weights = frequencies.float().clamp(min=1).pow(-power)
    return weights / weights.mean()


def _positive_weights(frequencies: Tensor, rows: int, power: float) -> Tensor:
    """(Negatives / positives)^power, each taken as 1 at least: (L,) → (L,)."""
    positives = frequencies.float().clamp(min=1)
    return ((rows - positives).clamp(min=1) / positives).pow(power)


def _smooth(weights: Tensor, share: float) -> Tensor:
    """Weights pulled towards 1, by a share of the way: (L,) → (L,)."""
    return (1 - share) * weights + share


def _focal(log_p: Tensor, gamma: float) -> Tensor:
    """−(1 − p)^γ log p, elementwise, of log p ≤ 0."""
    return -(-log_p.expm1()).clamp(min=TINY).pow(gamma) * log_p


def _known(targets: Tensor) -> Tensor:
    """Which rows carry indicators or numbers: (B, L) → (B,)."""
    return ~targets[:, 0].isnan()


def _masked(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs in fp32 and targets, 0 in rows without a target, and which rows have one, (B, 1)."""
    known = _known(targets).unsqueeze(-1)
    return outputs.float().where(known, 0.0), targets.where(known, 0.0), known


def _moments(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over the known rows: (B, D), (B, 1) → (D,), (D,)."""
    rows = known.sum().clamp(min=1)
    mean = values.sum(dim=0) / rows  # rows that are not known hold 0
    return mean, ((values - mean).square() * known).sum(dim=0) / rows
