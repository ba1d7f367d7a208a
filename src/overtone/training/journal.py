"""What a fit tells while it runs: a bar on the screen, lines in metrics.jsonl, TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from overtone.errors import MissingExtraError
from overtone.run import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


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

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Show the bar, and hold the logs open.

        Raises:
            MissingExtraError: TensorBoard is asked for, and not installed.
        """
        columns = (
            TextColumn("training"),
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
            self.place = self.bar.add_task("starting", total=1)
            if self.tensorboard:
                self.board = stack.enter_context(_board(self.run))
            yield

    def say(self, text: str) -> None:
        """Say beside the bar what is done right now."""
        self.bar.update(self.place, description=text)

    def at(self, step: int, total: int, text: str) -> None:
        """Move the bar."""
        self.bar.update(self.place, completed=step, total=total, description=text)

    def step(self, row: Mapping[str, object]) -> None:
        """Log one optimiser step: its number, and its figures by name."""
        self._log(row, "train", {name: row[name] for name in ("loss", "lr", "gradient_norm")})

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
