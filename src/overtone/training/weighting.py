"""How the losses of several tasks are added up: the weight of each, step by step.

A weighting is a plain object without gradients. Its weights are constants of an optimiser step, so they are
the same for all micro-batches and processes; after the step it is told the step's losses, which are the same
everywhere too, and makes the weights of the next step of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import Field

from overtone.config import Config
from overtone.errors import RunError


class Weighting(Protocol):
    """The weights of the tasks, which may follow their losses."""

    def weights(self) -> dict[str, float]:
        """The weight of every task for the step to come, each finite and above 0."""

    def observe(self, losses: Mapping[str, float]) -> None:
        """Take in the losses of a step that was made: finite, of the tasks that had rows in it."""

    def state(self) -> dict[str, Any]:
        """What the weights depend on, ready for JSON."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state``.

        Raises:
            RunError: it is of another weighting or of other tasks.
        """


class FixedConfig(Config):
    """Each task's own ``weight``."""

    kind: Literal["fixed"] = "fixed"


class EqualConfig(Config):
    """Every weight 1: the one to beat."""

    kind: Literal["equal"] = "equal"


class UncertaintyConfig(Config):
    """Weights learnt as the inverse of each task's noise (Kendall, Gal and Cipolla 2018)."""

    kind: Literal["uncertainty"] = "uncertainty"
    bound: float = Field(
        3.0, gt=0, le=20, description="largest log variance, either way; weights stay in exp(∓bound)"
    )
    lr: float = Field(0.01, gt=0, description="learning rate of the log variances")


class InverseVarianceConfig(Config):
    """Weights by how little a task's loss has moved lately."""

    kind: Literal["inverse_variance"] = "inverse_variance"
    window: int = Field(100, ge=2, description="latest losses of a task that its variance is taken of")
    floor: float = Field(1e-3, gt=0, description="smallest variance of a loss that is told from none")


WeightingConfig = Annotated[
    FixedConfig | EqualConfig | UncertaintyConfig | InverseVarianceConfig, Field(discriminator="kind")
]


class Constant:
    """Weights that do not change.

    Args:
        fixed: task name → weight.
    """

    def __init__(self, fixed: Mapping[str, float]) -> None:
        self.fixed = dict(fixed)

    def weights(self) -> dict[str, float]:
        """The weights given."""
        return dict(self.fixed)

    def observe(self, losses: Mapping[str, float]) -> None:
        """Nothing follows from the losses."""

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing is taken up.

        Raises:
            RunError: there is something.
        """
        _same(state, {})


class Uncertainty:
    """Homoscedastic uncertainty (Kendall, Gal and Cipolla 2018, equations 7 and 10).

    With s = log σ² of a task and L its loss, Σ c exp(−s) L + s / 2 is minimised over s as well; c is 1, and ½
    for regression, whose squared error stands in the exponent of a Gaussian. So the weight is c exp(−s), and
    after a step s moves by −lr (½ − c exp(−s) L). It rests where c exp(−s) L = ½: a constant loss ends with
    weight 1 / (2 L), and every task with the same share of the sum. s is kept within ±bound, so a loss that
    goes to 0 has a weight of c exp(bound) at most. All begin at s = 0.

    Args:
        config: the bound and the learning rate.
        kinds: task name → classification, multilabel or regression.
    """

    def __init__(self, config: UncertaintyConfig, kinds: Mapping[str, str]) -> None:
        self.bound = config.bound
        self.lr = config.lr
        self.scale = {name: 0.5 if kind == "regression" else 1.0 for name, kind in kinds.items()}
        self.log_variance = dict.fromkeys(kinds, 0.0)

    def weights(self) -> dict[str, float]:
        """Of each task c exp(−s)."""
        return {name: self.scale[name] * math.exp(-s) for name, s in self.log_variance.items()}

    def observe(self, losses: Mapping[str, float]) -> None:
        """One step of gradient descent on the log variances of these tasks."""
        weights = self.weights()
        for name, loss in losses.items():
            moved = self.log_variance[name] - self.lr * (0.5 - weights[name] * loss)
            self.log_variance[name] = min(max(moved, -self.bound), self.bound)

    def state(self) -> dict[str, Any]:
        """The log variances."""
        return {"log_variance": dict(self.log_variance)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up log variances.

        Raises:
            RunError: they are of another weighting or of other tasks.
        """
        _same(state, self.state())
        self.log_variance.update(state["log_variance"])


class InverseVariance:
    """Weights ∝ 1 / variance of each task's last losses, scaled so that they sum to the number of tasks.

    w_i = K (1 / v_i) / Σ_j (1 / v_j), with v_i the variance (over N) of the last ``window`` losses of task i,
    or ``floor`` where that is more: a loss that hardly moves would else have the weight of all. No weight is
    above K. All are 1 until every task has ``window`` losses.

    Args:
        config: the window and the floor.
        tasks: their names.
    """

    def __init__(self, config: InverseVarianceConfig, tasks: Iterable[str]) -> None:
        self.window = config.window
        self.floor = config.floor
        self.losses: dict[str, deque[float]] = {name: deque(maxlen=config.window) for name in tasks}

    def weights(self) -> dict[str, float]:
        """K shares, by the inverse of the variances."""
        if any(len(losses) < self.window for losses in self.losses.values()):
            return dict.fromkeys(self.losses, 1.0)
        inverse = {
            name: 1 / max(float(np.var(np.array(losses))), self.floor) for name, losses in self.losses.items()
        }
        mean = sum(inverse.values()) / len(inverse)
        return {name: value / mean for name, value in inverse.items()}

    def observe(self, losses: Mapping[str, float]) -> None:
        """Keep these losses, and forget the oldest."""
        for name, loss in losses.items():
            self.losses[name].append(loss)

    def state(self) -> dict[str, Any]:
        """The losses in each window, oldest first."""
        return {"losses": {name: list(losses) for name, losses in self.losses.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the losses of each window.

        Raises:
            RunError: they are of another weighting or of other tasks.
        """
        _same(state, self.state())
        for name, losses in state["losses"].items():
            self.losses[name] = deque(losses, maxlen=self.window)


def build(config: WeightingConfig, fixed: Mapping[str, float], kinds: Mapping[str, str]) -> Weighting:
    """The weighting of a fit.

    Args:
        config: which one.
        fixed: task name → its own weight, for ``fixed``.
        kinds: task name → classification, multilabel or regression.
    """
    match config:
        case FixedConfig():
            return Constant(fixed)
        case EqualConfig():
            return Constant(dict.fromkeys(kinds, 1.0))
        case UncertaintyConfig():
            return Uncertainty(config, kinds)
        case InverseVarianceConfig():
            return InverseVariance(config, kinds)


def _same(state: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a state that has other parts or other tasks than one's own."""
    if {part: set(tasks) for part, tasks in state.items()} != {p: set(tasks) for p, tasks in own.items()}:
        raise RunError(
            "the checkpoint is of another weighting of the losses, or of other tasks",
            hint="give this run another name, or start over with --overwrite",
        )
