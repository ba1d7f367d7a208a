"""The one training loop. It knows bodies, heads and tasks, and no system by name."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from overtone.config import Config
from overtone.data.batches import Encoded, plan
from overtone.errors import MissingExtraError, TrainingError, UsageError
from overtone.models.model import Model
from overtone.run import Run
from overtone.training import checkpoint, optim
from overtone.training.cache import FrozenStates
from overtone.training.freezing import FreezeConfig, NothingFrozen
from overtone.training.optim import CosineSchedule, OptimConfig, PlateauSchedule, ScheduleConfig
from overtone.training.stopping import EarlyStopping, InterruptedFitError, stop_signals
from overtone.training.tasks import Task

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Validate = Callable[[Model], Mapping[str, float]]
"""Given the model in evaluation mode, the validation figures by name, such as ``emotion.macro_f1``."""


class TrainConfig(Config):
    """How a model is fitted."""

    epochs: int = Field(3, ge=1, description="times that every training row is read, at most")
    batch_size: int = Field(32, ge=1, description="rows a micro-batch, over all processes together")
    accumulation: int = Field(1, ge=1, description="micro-batches an optimiser step")
    precision: Literal["fp32", "bf16"] = Field(
        "bf16", description="of the matrix products; weights stay fp32"
    )
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = CosineSchedule()
    early_stopping: EarlyStopping = EarlyStopping()
    freeze: FreezeConfig = NothingFrozen()
    log_every: int = Field(20, ge=1, description="optimiser steps between two lines of metrics.jsonl")
    checkpoint_every: int = Field(200, ge=1, description="optimiser steps between two checkpoints")
    tensorboard: bool = Field(False, description="also write a TensorBoard log (extra 'tensorboard')")


@dataclass(frozen=True)
class TrainingData:
    """N tokenised rows with their targets by task.

    Args:
        encoded: the texts.
        targets: task name → (N, …).
        states: of a frozen body, computed beforehand.
    """

    encoded: Encoded
    targets: Mapping[str, Tensor]
    states: FrozenStates | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """What a fit came to.

    Args:
        steps: optimiser steps done.
        epochs: epochs begun.
        best: the best value of the named metric.
        best_step: the step that gave it.
        seconds: training time, validation left out.
        rows_per_second: rows trained on a second.
        stopped_early: whether patience ran out.
        final_loss: the training loss of the last step.
    """

    steps: int
    epochs: int
    best: float
    best_step: int
    seconds: float
    rows_per_second: float
    stopped_early: bool
    final_loss: float


def accelerator_for(config: TrainConfig) -> Accelerator:
    """An accelerator of the wished precision; accelerate keeps one a process, so an older one is forgotten.

    Raises:
        TrainingError: fewer processes take part than were started.
    """
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision="bf16" if config.precision == "bf16" else "no", cpu=not torch.cuda.is_available()
    )
    wanted = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != wanted:
        raise TrainingError(
            f"{wanted} processes were started, but {accelerator.num_processes} take part",
            hint="start them with: torchrun --nproc_per_node 2 -m overtone.cli run RECIPE",
        )
    return accelerator


@dataclass
class Loop:
    """One fit.

    Args:
        model: body and heads; what requires a gradient is trained.
        tasks: the tasks whose heads the model has.
        data: the training rows.
        validate: called at the end of each epoch.
        config: how.
        run: where metrics and checkpoints go.
        seed: of the shuffle and of dropout.
    """

    model: Model
    tasks: Sequence[Task]
    data: TrainingData
    validate: Validate
    config: TrainConfig
    run: Run
    seed: int
    progress: checkpoint.Progress = field(default_factory=checkpoint.Progress)

    def fit(self) -> Fit:
        """Train until the epochs or the patience end; the model holds the best step's weights afterwards.

        Raises:
            TrainingError: nothing is trained, or the loss is not a finite number.
            InterruptedFitError: stopped by a signal; resumable.
            RunError: a checkpoint is damaged or could not be written.
        """
        if not any(p.requires_grad for p in self.model.parameters()):
            raise TrainingError("no parameter is trained", hint="see train.freeze and adapter in the recipe")
        self.sign = self.config.early_stopping.direction(self.tasks)
        self.accelerator = accelerator_for(self.config)
        torch.manual_seed(self.seed + self.accelerator.process_index)
        self.model.to(self.accelerator.device)
        self.optimizer = optim.build(self.model, self.config.optim)
        if checkpoint.exists(self.run.checkpoints / "last"):
            self.progress = checkpoint.resume(
                self.run.checkpoints / "last",
                self.model,
                self.optimizer,
                self.accelerator.process_index,
                self.accelerator.num_processes,
            )
        self.forward, self.stepper = self.accelerator.prepare(self.model, self.optimizer)
        if self.accelerator.is_main_process:
            self.run.rewind(self.progress.step)
        done = self.progress
        with stop_signals() as caught, self._bar() as bar, self._board() as board:
            self.bar, self.board = bar, board
            while done.epoch < self.config.epochs and done.stale < self.config.early_stopping.patience:
                self._epoch(caught)
                self._after_epoch()
                if self._asked_to_stop(caught):
                    raise self._interrupted()
        # Else the model would go on computing in the precision of training, and so would every copy of it.
        self.accelerator.unwrap_model(self.forward, keep_fp32_wrapper=False)
        checkpoint.load_weights(self.run.checkpoints / "best", self.model)
        return Fit(
            done.step,
            done.epoch,
            done.best if done.best is not None else math.nan,
            done.best_step,
            done.seconds,
            done.rows / done.seconds if done.seconds else 0.0,
            done.epoch < self.config.epochs,
            done.loss,
        )

    def _epoch(self, caught: list[int]) -> None:
        """The rest of one epoch, in its seeded order."""
        order = plan(
            self.data.encoded.lengths,
            self.config.batch_size,
            self.config.accumulation,
            seed=self.seed * 100_003 + self.progress.epoch,
        )
        total = len(order) * self.config.epochs
        self.bar.update(self.bar_task, total=total, completed=self.progress.step)
        self.model.train()
        for step in order[self.progress.in_epoch :]:
            begun = time.perf_counter()
            losses, norm = self._step(step, total)
            done = self.progress
            done.step += 1
            done.in_epoch += 1
            done.rows += sum(map(len, step))
            done.seconds += time.perf_counter() - begun
            self._report(losses, norm, total)
            last_of_epoch = done.in_epoch == len(order)
            stop = self._asked_to_stop(caught)
            if stop or (done.step % self.config.checkpoint_every == 0 and not last_of_epoch):
                self._save()
            if stop:
                raise self._interrupted()

    def _asked_to_stop(self, caught: list[int]) -> bool:
        """Whether any process caught a signal; all of them know, so they end at the same step."""
        asked = torch.tensor(float(bool(caught)), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum"))

    def _interrupted(self) -> InterruptedFitError:
        return InterruptedFitError(
            f"stopped after step {self.progress.step}; nothing is lost",
            hint=f"overtone run {self.run.folder}",
        )

    def _step(self, micro_batches: Sequence[Sequence[int]], total: int) -> tuple[dict[str, float], float]:
        """One optimiser step; the losses of its tasks, and the norm of the gradient."""
        rate = optim.multiplier(self.config.schedule, self.progress.step, total, self.progress.plateau)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        everyone = [row for rows in micro_batches for row in rows]
        # Every process sees the whole step's targets, so all divide by the same count without asking.
        counts = {
            task.name: task.loss.count(self.data.targets[task.name][everyone]).clamp(min=1e-8)
            for task in self.tasks
        }
        sums = {task.name: torch.zeros((), device=self.accelerator.device) for task in self.tasks}
        for place, rows in enumerate(micro_batches):
            last = place == len(micro_batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.forward):
                self._backward(rows, counts, sums)
        losses = {
            name: float(self.accelerator.reduce(value, "sum")) / float(counts[name])
            for name, value in sums.items()
        }
        norm = float(self.accelerator.clip_grad_norm_(self.forward.parameters(), self.config.clip))
        found = {f"the loss of '{name}'": value for name, value in losses.items()}
        for what, value in {**found, "the norm of the gradient": norm}.items():
            if not math.isfinite(value):  # found before the weights are touched
                raise TrainingError(
                    f"{what} is {value} at step {self.progress.step + 1}",
                    hint="lower train.optim.lr, or set train.precision=fp32; the last checkpoint is whole",
                )
        self.stepper.step()
        self.stepper.zero_grad()
        return losses, norm

    def _backward(self, rows: Sequence[int], counts: Mapping[str, Tensor], sums: dict[str, Tensor]) -> None:
        """Add one micro-batch's gradient: this process's share of its rows."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = list(rows[rank::world])
        share = 1.0 if mine else 0.0  # a process without a row still has to take part in the sum of gradients
        mine = mine or [rows[0]]
        input_ids, mask = self.data.encoded.pad(mine)
        device = self.accelerator.device
        hidden = None if self.data.states is None else self.data.states.pad(mine).to(device)
        outputs = self.forward(input_ids.to(device), mask.to(device), hidden)
        loss = torch.zeros((), device=device)
        for task in self.tasks:
            summed = share * task.loss.total(
                outputs[task.name], self.data.targets[task.name][mine].to(device)
            )
            sums[task.name] += summed.detach()
            # Gradients are averaged over the processes; times their number, that is the sum.
            loss = loss + task.weight * summed / counts[task.name].to(device) * world
        self.accelerator.backward(loss)

    def _report(self, losses: Mapping[str, float], norm: float, total: int) -> None:
        """Show the step, and log every so many."""
        done = self.progress
        loss = sum(task.weight * losses[task.name] for task in self.tasks)
        done.loss = loss
        rate = done.rows / done.seconds
        self.bar.update(
            self.bar_task, completed=done.step, description=f"loss {loss:.3f} · {rate:.0f} rows/s"
        )
        if not self.accelerator.is_main_process or done.step % self.config.log_every:
            return
        row = {
            "step": done.step,
            "epoch": round(done.epoch + done.in_epoch * self.config.epochs / total, 4),
            "loss": loss,
            "losses": dict(losses),
            "lr": max(group["lr"] for group in self.optimizer.param_groups),
            "gradient_norm": norm,
            "rows_per_second": round(rate, 2),
        }
        self.run.log(row)
        if self.board is not None:
            for name in ("loss", "lr", "gradient_norm"):
                self.board.add_scalar(f"train/{name}", row[name], done.step)

    def _after_epoch(self) -> None:
        """Validate, keep the best, save."""
        self.model.eval()
        self.bar.update(self.bar_task, description="validating")
        figures = dict(self.validate(self.model))
        stopping = self.config.early_stopping
        if stopping.metric not in figures:
            raise UsageError(
                f"train.early_stopping.metric names '{stopping.metric}'", hint=f"known: {', '.join(figures)}"
            )
        value, done = figures[stopping.metric], self.progress
        if not math.isfinite(value):
            raise TrainingError(
                f"'{stopping.metric}' of the validation rows is {value} at step {done.step}",
                hint="lower train.optim.lr, or name another metric in train.early_stopping.metric",
            )
        gained = done.best is None or self.sign * (value - done.best) > stopping.minimum_gain
        done.epoch += 1
        done.in_epoch = 0
        done.stale = 0 if gained else done.stale + 1
        if isinstance(self.config.schedule, PlateauSchedule):
            done.plateau.after_validation(self.config.schedule, gained=gained)
        if gained:
            done.best, done.best_step = value, done.step
        if self.accelerator.is_main_process:
            self.run.log({"step": done.step, "epoch": done.epoch, "validation": figures, "best": gained})
            if self.board is not None:
                for name, figure in figures.items():
                    self.board.add_scalar(f"validation/{name}", figure, done.step)
            if gained:
                checkpoint.save_weights(self.run.checkpoints / "best", self.model)
        self._save()

    def _save(self) -> None:
        """Write the last checkpoint, with the random state of every process."""
        states = self.accelerator.gather(torch.get_rng_state().unsqueeze(0).to(self.accelerator.device)).cpu()
        if self.accelerator.is_main_process:
            checkpoint.save(self.run.checkpoints / "last", self.model, self.optimizer, self.progress, states)
        self.accelerator.wait_for_everyone()

    @contextlib.contextmanager
    def _bar(self) -> Iterator[Progress]:
        columns = (
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        silent = not self.accelerator.is_main_process
        # On standard error, so that what a program reads from standard output stays its own.
        with Progress(*columns, console=Console(stderr=True), disable=silent) as bar:
            self.bar_task = bar.add_task("starting", total=1)
            yield bar

    @contextlib.contextmanager
    def _board(self) -> Iterator[SummaryWriter | None]:
        """A TensorBoard writer, where one is asked for."""
        if not (self.config.tensorboard and self.accelerator.is_main_process):
            yield None
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "train.tensorboard=true") from error
        with SummaryWriter(str(self.run.folder / "tensorboard")) as board:
            yield board
