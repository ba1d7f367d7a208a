"""What a fit tells while it runs: a bar on the screen, lines in metrics.jsonl, TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from overtone.errors import MissingExtraError
from overtone.run import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


PATIENCE = 2.0
"""Seconds after which a person wants to see what is being done."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimiser step came to.

    Args:
        losses: of each task that had rows in it.
        weights: of every task in it.
        norm: of the gradient, before clipping; None where it overflowed and the step was left out.
    """

    losses: Mapping[str, float]
    weights: Mapping[str, float]
    norm: float | None

    @property
    def loss(self) -> float:
        """What was made smaller."""
        return sum(self.weights[name] * loss for name, loss in self.losses.items())


class Journal:
    """The bar and the logs of one fit.

    Args:
        run: where the logs go.
        tensorboard: whether to write a TensorBoard log too.
        silent: whether another process does all of it.
    """

    def __init__(self, run: Run, *, tensorboard: bool, silent: bool) -> None:
        self.run = run
        self.tensorboard = tensorboard and not silent
        self.silent = silent
        self.board: SummaryWriter | None = None
        self.second: TaskID | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Show the bar, and hold the logs open.

        Raises:
            MissingExtraError: TensorBoard is asked for, and not installed.
        """
        columns = (
            TextColumn("{task.fields[what]}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with contextlib.ExitStack() as stack:
            # On standard error, so that what a program reads from standard output stays its own.
            bar = Progress(*columns, console=Console(stderr=True), disable=self.silent)
            self.bar = stack.enter_context(bar)
            self.place = self.bar.add_task("starting", total=1, what="training")
            if self.tensorboard:
                self.board = stack.enter_context(_board(self.run))
            yield

    def say(self, text: str) -> None:
        """Say beside the bar what is done right now."""
        self.bar.update(self.place, description=text)

    def frozen(self, done: int, total: int) -> None:
        """Show a second bar while the states of frozen layers are computed, where that takes a while."""
        if self.second is None:
            self.second = self.bar.add_task("once", total=total, visible=False, what="frozen layers")
        elapsed = self.bar.tasks[-1].elapsed or 0.0
        self.bar.update(self.second, completed=done, visible=elapsed > PATIENCE)
        if done == total:
            self.bar.remove_task(self.second)
            self.second = None

    def at(self, step: int, total: int, text: str) -> None:
        """Move the bar."""
        self.bar.update(self.place, completed=step, total=total, description=text)

    def step(
        self, place: Mapping[str, object], step: Step, learning_rate: float, rows_per_second: float
    ) -> None:
        """Log one optimiser step; ``place`` holds its number and its epoch."""
        row = {
            **place,
            "loss": step.loss,
            "losses": dict(step.losses),
            "weights": dict(step.weights),
            "lr": learning_rate,
            "gradient_norm": step.norm,
            "rows_per_second": rows_per_second,
        }
        told = {name: row[name] for name in ("loss", "lr", "gradient_norm")}
        self._log(row, "train", {name: figure for name, figure in told.items() if figure is not None})

    def validation(self, row: Mapping[str, object], figures: Mapping[str, float]) -> None:
        """Log one validation."""
        self._log({**row, "validation": dict(figures)}, "validation", figures)

    def _log(self, row: Mapping[str, object], kind: str, figures: Mapping[str, object]) -> None:
        if self.silent:
            return
        self.run.log(row)
        if self.board is not None:
            for name, figure in figures.items():
                self.board.add_scalar(f"{kind}/{name}", figure, row["step"])


def _board(run: Run) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "train.tensorboard=true") from error
    return SummaryWriter(str(run.folder / "tensorboard"))
