"""What ends a fit before its last epoch: patience, or a signal."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

from pydantic import Field

from overtone.config import Config
from overtone.errors import TrainingError, UsageError
from overtone.scores import METRICS
from overtone.training.tasks import Task


class EarlyStopping(Config):
    """When to stop, and which step is the best one."""

    metric: str = Field(
        "mean",
        description="of the validation rows: 'mean' over the tasks of each one's own metric, 'loss', "
        "'task.metric' or 'task.label.metric'",
    )
    patience: int = Field(3, ge=1, description="validations without a gain before the fit stops")
    minimum_gain: float = Field(0.001, ge=0, description="what counts as a gain")

    def direction(self, tasks: Sequence[Task], others: Mapping[str, int] | None = None) -> int:
        """1 if the named figure of these tasks, or of the others, is better when higher, else -1.

        Raises:
            UsageError: no such task or metric.
        """
        whole = {"mean": 1, "loss": -1, **(others or {})}
        if self.metric in whole:
            return whole[self.metric]
        task, _, rest = self.metric.partition(".")
        name = rest.rpartition(".")[2]
        if task not in {each.name for each in tasks} or name not in METRICS:
            known = [*whole, *(f"{each.name}.{metric}" for each in tasks for metric in METRICS)]
            raise UsageError(
                f"train.early_stopping.metric names '{self.metric}'", hint=f"known: {', '.join(known)}"
            )
        return 1 if METRICS[name].higher_is_better else -1


class InterruptedFitError(TrainingError):
    """Somebody stopped the fit; its last step is on disk."""


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM, so that the step under way is saved; a second one stops at once."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals stay with whoever handles them
        yield caught
        return
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
