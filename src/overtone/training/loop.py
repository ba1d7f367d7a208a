"""The one training loop. It knows bodies, heads and tasks, and no system by name."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from overtone.config import Config
from overtone.data.batches import MixConfig, mixture, plan
from overtone.errors import TrainingError, UsageError
from overtone.models.model import Model
from overtone.models.states import Rows
from overtone.run import Run
from overtone.training import checkpoint, freezing, optim, processes, weighting
from overtone.training.cache import StateCache
from overtone.training.freezing import FreezeConfig, NothingFrozen
from overtone.training.journal import Journal, Step
from overtone.training.optim import CosineSchedule, OptimConfig, PlateauSchedule, ScheduleConfig
from overtone.training.precision import LossScale, Precision, products
from overtone.training.stopping import EarlyStopping, InterruptedFitError, stop_signals
from overtone.training.tasks import Task
from overtone.training.weighting import FixedConfig, WeightingConfig

Validate = Callable[[Model], Mapping[str, float]]
"""Given the model in evaluation mode, the validation figures by name: ``mean``, ``emotion.macro_f1``, …"""


class TrainConfig(Config):
    """How a model is fitted."""

    epochs: int = Field(3, ge=1, description="times that every training row is read, at most")
    batch_size: int = Field(32, ge=1, description="rows a micro-batch, over all processes together")
    accumulation: int = Field(
        1,
        ge=1,
        description="micro-batches an optimiser step; of short rows fewer, where they fit together",
    )
    precision: Precision = Field(
        "bf16",
        description="of the matrix products; weights stay fp32; fp16, where the loss is scaled, is for "
        "devices without bf16",
    )
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = CosineSchedule()
    early_stopping: EarlyStopping = EarlyStopping()
    freeze: FreezeConfig = NothingFrozen()
    mix: MixConfig = MixConfig()
    weighting: WeightingConfig = FixedConfig()
    log_every: int = Field(20, ge=1, description="optimiser steps between two lines of metrics.jsonl")
    checkpoint_every: int = Field(200, ge=1, description="optimiser steps between two checkpoints")
    tensorboard: bool = Field(False, description="also write a TensorBoard log (extra 'tensorboard')")


@dataclass(frozen=True)
class TrainingData:
    """N rows with their targets by task.

    Args:
        encoded: what the body reads of each.
        targets: task name → (N, …).
        groups: which task's set each row is from, 0..G-1, (N,), for the mixture; None mixes nothing.
    """

    encoded: Rows
    targets: Mapping[str, Tensor]
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """What a fit came to.

    Args:
        steps: optimiser steps done.
        epochs: epochs begun.
        best: the best value of the named metric.
        best_step: the step that gave it.
        seconds: training time with that of frozen states, validation left out.
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


@dataclass
class Loop:
    """One fit.

    Args:
        model: body and heads; what requires a gradient and ``config.freeze`` does not take out is trained.
        tasks: the tasks whose heads the model has.
        data: the training rows.
        validate: called at the end of each epoch.
        config: how.
        run: where metrics and checkpoints go.
        seed: of the shuffle and of dropout.
        cache: computes what is frozen once; None computes it at every step.
        directions: of figures that ``validate`` gives and no task names: 1 if better when higher, else -1.
    """

    model: Model
    tasks: Sequence[Task]
    data: TrainingData
    validate: Validate
    config: TrainConfig
    run: Run
    seed: int
    cache: StateCache | None = None
    directions: Mapping[str, int] = field(default_factory=dict)
    progress: checkpoint.Progress = field(default_factory=checkpoint.Progress)

    def fit(self) -> Fit:
        """Train until the epochs or the patience end; the model holds the best step's weights afterwards.

        Raises:
            TrainingError: nothing is trained, or the loss is not a finite number.
            UsageError: a metric or a layer that the recipe names does not exist, or a loss cannot be divided.
            InterruptedFitError: stopped by a signal; resumable.
            RunError: a checkpoint is damaged or could not be written.
        """
        self.sign = self.config.early_stopping.direction(self.tasks, self.directions)
        always_frozen = freezing.ever_frozen(self.config.freeze, self.config.epochs, self.model.body.depth)
        self.model.body.freeze(always_frozen)
        if not any(p.requires_grad for p in self.model.parameters()):
            raise TrainingError("no parameter is trained", hint="see train.freeze and adapter in the recipe")
        self.accelerator = processes.accelerator()
        pieces = self.config.accumulation * self.accelerator.num_processes
        whole = [task.name for task in self.tasks if task.loss.whole_step]
        if whole and pieces > 1:
            raise UsageError(
                f"the loss of '{whole[0]}' is of a whole step, and a step comes in {pieces} pieces",
                hint="set train.accumulation=1 and start one process, or choose another loss",
            )
        torch.manual_seed(self.seed + self.accelerator.process_index)
        self.model.to(self.accelerator.device)
        self.optimizer = optim.build(self.model, self.config.optim)
        self.scale = LossScale(self.accelerator.device.type, self.config.precision)
        self.weighting = weighting.build(
            self.config.weighting,
            {task.name: task.weight for task in self.tasks},
            {task.name: task.kind for task in self.tasks},
        )
        if checkpoint.exists(self.run.checkpoints / "last"):
            state = checkpoint.resume(
                self.run.checkpoints / "last",
                self.optimizer,
                self.accelerator.process_index,
                self.accelerator.num_processes,
            )
            self.progress = state.progress
            self.weighting.restore(state.weighting)
            self.scale.restore(state.scale)
        silent = not self.accelerator.is_main_process
        if not silent:
            self.run.rewind(self.progress.step)
        done = self.progress
        self.forward: nn.Module | None = None
        self.journal = Journal(self.run, tensorboard=self.config.tensorboard, silent=silent)
        if self.cache is not None:
            self.cache.tell = self.journal.frozen
        with stop_signals() as caught, self.journal.open():
            while done.epoch < self.config.epochs and done.stale < self.config.early_stopping.patience:
                self._epoch(caught)
                self._after_epoch()
                if self._asked_to_stop(caught):
                    raise self._interrupted()
        self._train_above(always_frozen)
        checkpoint.load_weights(self.run.checkpoints / "best", self.optimizer)
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

    def _enter_stage(self) -> None:
        """Freeze what this epoch freezes, and take the states below from the cache."""
        layers = freezing.frozen_layers(self.config.freeze, self.progress.epoch, self.model.body.depth)
        if self.forward is not None and layers == self.model.body.frozen:
            return
        begun = time.perf_counter()
        self._train_above(layers)
        if self.forward is not None and self.accelerator.num_processes > 1:
            # What sums the gradients over processes would wait for those of layers that are frozen by now.
            self.forward = None
            self.accelerator.free_memory()
        if self.forward is None:
            self.forward = self.accelerator.prepare(self.model)
        self.rows: Rows = self.data.encoded
        if self.cache is not None:
            self.rows = self.cache(self.data.encoded, bf16=self.config.precision == "bf16") or self.rows
        self.progress.seconds += time.perf_counter() - begun

    def _train_above(self, layers: int | None) -> None:
        """Train what the optimiser holds, but not the embeddings and these lowest layers."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.requires_grad_(True)
        self.model.body.freeze(layers)

    def _epoch(self, caught: list[int]) -> None:
        """The rest of one epoch, in its seeded order."""
        self._enter_stage()
        seed = self.seed * 100_003 + self.progress.epoch
        groups = self.data.groups
        order = plan(
            self.data.encoded.lengths,
            self.config.batch_size,
            self.config.accumulation,
            seed=seed,
            rows=None if groups is None else mixture(groups, self.config.mix.temperature, seed),
        )
        total = len(order) * self.config.epochs
        self.model.train()
        for micro_batches in order[self.progress.in_epoch :]:
            begun = time.perf_counter()
            step = self._step(micro_batches, total)
            done = self.progress
            done.step += 1
            done.in_epoch += 1
            done.rows += sum(map(len, micro_batches))
            done.loss = step.loss
            done.seconds += time.perf_counter() - begun
            self._report(step, total)
            last_of_epoch = done.in_epoch == len(order)
            stop = self._asked_to_stop(caught)
            if stop or (done.step % self.config.checkpoint_every == 0 and not last_of_epoch):
                self._save()
            if stop:
                raise self._interrupted()

    def _asked_to_stop(self, caught: list[int]) -> bool:
        """Whether any process caught a signal; all of them know, so they end at the same step."""
        if self.accelerator.num_processes == 1:
            return bool(caught)
        asked = torch.tensor(float(bool(caught)), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum"))

    def _interrupted(self) -> InterruptedFitError:
        return InterruptedFitError(
            f"stopped after step {self.progress.step}; nothing is lost",
            hint=f"overtone run {self.run.folder}",
        )

    def _step(self, micro_batches: Sequence[Sequence[int]], total: int) -> Step:
        """One optimiser step."""
        rate = optim.multiplier(self.config.schedule, self.progress.step, total, self.progress.plateau)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        everyone = torch.tensor([row for rows in micro_batches for row in rows])
        # Every process sees the whole step's targets, so all divide by the same count without asking.
        counts = {
            task.name: float(task.loss.count(self.data.targets[task.name][everyone])) for task in self.tasks
        }
        weights = self.weighting.weights()
        # Gradients are averaged over the processes; times their number, that is the sum.
        world = self.accelerator.num_processes
        shares = {name: weights[name] / count * world for name, count in counts.items() if count > 0}
        sums = torch.zeros(len(shares), device=self.accelerator.device)
        for place, rows in enumerate(micro_batches):
            last = place == len(micro_batches) - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.forward):
                sums += self._backward(rows, shares)
        summed = self.accelerator.reduce(sums, "sum").tolist()
        losses = {name: value / counts[name] for name, value in zip(shares, summed, strict=True)}
        for name in counts.keys() - shares.keys():  # a head without rows stays as it is
            for parameter in self.model.heads[name].parameters():
                parameter.grad = None
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.scale.unscale(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(trained, self.config.clip))
        found = {f"the loss of '{name}'": value for name, value in losses.items()}
        if not self.scale.scales:
            found["the norm of the gradient"] = norm
        for what, value in found.items():
            if not math.isfinite(value):  # found before the weights are touched
                raise TrainingError(
                    f"{what} is {value} at step {self.progress.step + 1}",
                    hint="lower train.optim.lr, or set train.precision=fp32; the last checkpoint is whole",
                )
        self.scale.step(self.optimizer)
        self.optimizer.zero_grad()
        self.weighting.observe(losses)
        return Step(losses, weights, norm if math.isfinite(norm) else None)

    def _backward(self, rows: Sequence[int], shares: Mapping[str, float]) -> Tensor:
        """Add one micro-batch's gradient: this process's share of its rows.

        Args:
            rows: of all processes together.
            shares: what the summed loss of each task that has rows in this step is multiplied by.

        Returns:
            The summed loss of each of these tasks over this process's rows.
        """
        assert self.forward is not None
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = list(rows[rank::world])
        share = 1.0 if mine else 0.0  # a process without a row still has to take part in the sum of gradients
        mine = mine or [rows[0]]
        inputs, mask = self.rows.pad(mine)
        device, places = self.accelerator.device, torch.tensor(mine)
        with products(device.type, self.config.precision):
            outputs = self.forward(inputs.to(device), mask.to(device))
        loss = torch.zeros((), device=device)
        sums: list[Tensor] = []
        for task in self.tasks:
            if task.name in shares:
                targets = self.data.targets[task.name][places].to(device)
                summed = share * task.loss.total(outputs[task.name], targets)
                loss = loss + shares[task.name] * summed
                sums.append(summed.detach())
            else:  # its head takes part all the same, where gradients are summed over processes
                loss = loss + 0.0 * outputs[task.name].sum()
        self.accelerator.backward(self.scale.scaled(loss))
        return torch.stack(sums) if sums else loss.new_zeros(0)

    def _report(self, step: Step, total: int) -> None:
        """Show the step, and log every so many."""
        done = self.progress
        rate = done.rows / done.seconds
        self.journal.at(done.step, total, f"loss {step.loss:.3f} · {rate:.0f} rows/s")
        if done.step % self.config.log_every == 0:
            epoch = round(done.epoch + done.in_epoch * self.config.epochs / total, 4)
            rates = [group["lr"] for group in self.optimizer.param_groups]
            self.journal.step({"step": done.step, "epoch": epoch}, step, max(rates), round(rate, 2))

    def _after_epoch(self) -> None:
        """Validate, keep the best, save."""
        self.model.eval()
        self.journal.say("validating")
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
        self.journal.validation({"step": done.step, "epoch": done.epoch, "best": gained}, figures)
        if gained and self.accelerator.is_main_process:
            checkpoint.save_weights(self.run.checkpoints / "best", self.optimizer)
        self._save()

    def _save(self) -> None:
        """Write the last checkpoint, with the random state of every process."""
        random = self.accelerator.gather(torch.get_rng_state().unsqueeze(0).to(self.accelerator.device)).cpu()
        if self.accelerator.is_main_process:
            state = checkpoint.State(self.progress, self.weighting.state(), self.scale.state())
            checkpoint.save(self.run.checkpoints / "last", self.optimizer, state, random)
        self.accelerator.wait_for_everyone()
