"""A recipe's way from data to report, on one screen."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from overtone import claim as claims
from overtone import lineage, proof, teaching
from overtone import recipe as recipes
from overtone.breakdown import figure, metric_named
from overtone.data import split
from overtone.data.batches import Encoded
from overtone.data.records import Record
from overtone.data.split import Prepared
from overtone.models import store, weights
from overtone.models.model import EncoderModel, Model, sweep
from overtone.recipe import Recipe
from overtone.run import Run, write_json, writes
from overtone.scores import Predictions, summary, tune_thresholds
from overtone.training import losses, tasks
from overtone.training.cache import StateCache
from overtone.training.distil import Distilled, joined
from overtone.training.loop import Fit, Loop, TrainingData
from overtone.training.tasks import Reading, TaskConfig, scores_of


def run(recipe: Recipe, run: Run, *, overwrite: bool = False) -> Run:
    """All of it: data → model → fit → evaluate → report. A run that was stopped goes on where it stood.

    Raises:
        OvertoneError: whatever is wrong, and what to do next.
    """
    with run.lock():
        begin(recipe, run, overwrite=overwrite)
        prepared = prepare(recipe, run)
        if not finished(run):
            train(recipe, prepared, run)
        if writes():
            proof.prove(recipe, prepared, run)
    return run


def begin(recipe: Recipe, run: Run, *, overwrite: bool) -> None:
    """Claim the run's folder and write the resolved recipe; of several processes, the others wait for it.

    Raises:
        RunError: another recipe's run, or a finished one, stands there.
        UsageError: likewise, and a teacher has other labels.
        WeightsError: there is something to train, and the weights to start from are not at hand.
    """
    if overwrite or not finished(run):
        weights.resolve(recipe.body.weights)
        teaching.look(recipe, run)
    claims.folder(recipe, run, overwrite=overwrite)


def finished(run: Run) -> bool:
    """Whether the run's model is trained and written."""
    return (run.model / "labels.json").exists()


def prepare(recipe: Recipe, run: Run) -> Prepared:
    """Read, divide and check the data, and note it in the manifest.

    Raises:
        DataError: see ``split.prepare``.
        RunError: something is trained already, and on other data: its rows may be among the new test rows.
    """
    begun = time.perf_counter()
    prepared = divide(recipe)
    claim(recipe, prepared, run, seconds=time.perf_counter() - begun)
    return prepared


def divide(recipe: Recipe) -> Prepared:
    """The rows of the recipe's tasks, divided and checked; the same where only other settings differ.

    Raises:
        DataError: see ``split.prepare``.
        UsageError: there is no such recipe as `beside` names.
    """
    beside = () if recipe.beside is None else recipes.load(recipe.beside).tasks.values()
    return split.prepare(
        {name: task.data for name, task in recipe.tasks.items()},
        recipe.leakage,
        recipe.rows_seed,
        [task.data for task in beside],
    )


def claim(recipe: Recipe, prepared: Prepared, run: Run, *, seconds: float) -> None:
    """Note in the manifest what data the run is of, and how long they took to prepare.

    Raises:
        RunError: something is trained already, and on other data.
    """
    claims.refuse_other_data(prepared.fingerprints, run)
    if writes():
        kept = run.facts().get("teachers") if claims.trained_on(run) and run.manifest.exists() else None
        teachers = lineage.teachers(recipe) if kept is None else kept
        run.note(
            data={name: report.as_dict() for name, report in prepared.reports.items()},
            fingerprints=prepared.fingerprints,
            licence=proof.licence(recipe, prepared.cards, teachers),
            teachers=teachers,
            prepare_seconds=round(seconds, 1),
        )


@dataclass(frozen=True)
class Part:
    """One task's share of the rows that choose the best step.

    Args:
        records: N validation rows of the task.
        encoded: their tokens.
        gold: their targets in the data's unit, (N, …).
        targets: the same as the loss takes them.
    """

    records: Sequence[Record]
    encoded: Encoded
    gold: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Validation:
    """The rows that choose the best step, and judge it.

    Args:
        recipe: names each task's metric and weight.
        parts: task → its rows.
        losses: task → its loss.
        readings: task → how its outputs are read, without thresholds.
        cache: gives the states below the layers that are trained.
    """

    recipe: Recipe
    parts: Mapping[str, Part]
    losses: Mapping[str, losses.Loss]
    readings: Mapping[str, Reading]
    cache: StateCache

    def __call__(self, model: Model) -> dict[str, float]:
        """Loss and metrics by ``task.metric``, and ``mean``: of every task's own metric."""
        figures: dict[str, float] = {"loss": 0.0, "mean": 0.0}
        for name, part in self.parts.items():
            task, loss = self.recipe.tasks[name], self.losses[name]
            outputs = self.outputs(model, name, bf16=self.recipe.train.precision == "bf16")
            figures["loss"] += task.weight * float(
                loss.total(outputs, part.targets) / loss.count(part.targets).clamp(min=1e-8)
            )
            scored = scores_of(self.reading(name, outputs), part.records, part.gold, outputs.double().numpy())
            chosen = metric_named(task.metric, scored)
            sign = 1 if chosen.higher_is_better else -1
            figures["mean"] += sign * chosen.function(scored) / len(self.parts)
            figures |= {f"{name}.{metric}": value for metric, value in summary(scored).items()}
            stop_task, _, path = self.recipe.train.early_stopping.metric.partition(".")
            if stop_task == name:
                figures[f"{name}.{path}"] = figure(scored, path)
        return figures

    def outputs(self, model: Model, name: str, *, bf16: bool) -> Tensor:
        """The outputs of a task's head for its rows, (N, L)."""
        part = self.parts[name]

        def run(inputs: Tensor, mask: Tensor) -> dict[str, Tensor]:
            with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
                made: dict[str, Tensor] = model(inputs, mask)
                return {name: made[name]}

        return sweep(run, self.cache(part.encoded, bf16=bf16) or part.encoded, model.device)[name]

    def reading(self, name: str, outputs: Tensor) -> Reading:
        """How a task's outputs are read, with the thresholds that are best on its rows, where it has some."""
        reading, part = self.readings[name], self.parts[name]
        if reading.kind != "multilabel":
            return reading
        made = scores_of(reading, part.records, part.gold, outputs.double().numpy())
        assert isinstance(made, Predictions)
        return replace(reading, thresholds=np.round(tune_thresholds(made), 6))


def train(recipe: Recipe, prepared: Prepared, run: Run) -> Fit:
    """Fit the model and write its best step, its labels and its thresholds."""
    torch.manual_seed(recipe.seed)
    heads = {name: (task.head, len(task.data.labels)) for name, task in recipe.tasks.items()}
    model = store.build(recipe.body, recipe.adapter, heads)
    readings = {name: _reading(task, prepared.splits[name].train) for name, task in recipe.tasks.items()}
    cache = StateCache(model)
    data = _training_data(recipe, model, teaching.teach(recipe, prepared, readings, divide), readings)
    losses_by_task = {name: _loss(task, prepared.splits[name].train) for name, task in recipe.tasks.items()}
    validation = Validation(
        recipe, _parts(recipe, model, prepared, readings), losses_by_task, readings, cache
    )
    loop = Loop(
        model=model,
        tasks=[
            tasks.Task(name, task.kind, _fitted_by(task, losses_by_task[name]), task.weight)
            for name, task in recipe.tasks.items()
        ],
        data=data,
        validate=validation,
        config=recipe.train,
        run=run,
        seed=recipe.seed,
        cache=cache,
    )
    fit = loop.fit()
    if loop.accelerator.is_main_process:
        _write(recipe, run, fit, validation, model, data)
    loop.accelerator.wait_for_everyone()
    return fit


def _reading(task: TaskConfig, records: Sequence[Record]) -> Reading:
    """How a task's outputs are read; numbers are learnt in units of their deviation over training rows."""
    context = any(row.context is not None for row in records)
    if task.kind != "regression":
        return Reading(task.kind, task.data.labels, context=context)
    numbers = tasks.encode_targets(records, task.data.target, task.data.labels, task.kind).double()
    mean, scale = numbers.mean(dim=0), numbers.std(dim=0, correction=0)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return Reading(task.kind, task.data.labels, mean=mean.numpy(), scale=scale.numpy(), context=context)


def _loss(task: TaskConfig, records: Sequence[Record]) -> losses.Loss:
    """A task's loss against gold; classes and labels are weighed as these training rows have them."""
    gold = tasks.encode_targets(records, task.data.target, task.data.labels, task.kind)
    return losses.build(task.loss, gold, len(task.data.labels))


def _fitted_by(task: TaskConfig, loss: losses.Loss) -> losses.Loss:
    """A task's loss, with the teacher's share where it has one."""
    if task.teacher is None:
        return loss
    return Distilled(loss, task.teacher, task.kind, len(task.data.labels))


def _training_data(
    recipe: Recipe, model: EncoderModel, prepared: Prepared, readings: Mapping[str, Reading]
) -> TrainingData:
    """The training rows of all tasks, each once; a task's target is masked where the row is not its own.

    Rows that a teacher alone has labelled are among them.
    """
    belonging = {name: (*prepared.splits[name].train, *prepared.unlabelled[name]) for name in recipe.tasks}
    rows: dict[str, Record] = {}
    groups: list[int] = []
    for group, own in enumerate(belonging.values()):
        new = {row.id: row for row in own if row.id not in rows}
        rows |= new
        groups += [group] * len(new)
    place = {row: i for i, row in enumerate(rows)}
    targets: dict[str, Tensor] = {}
    for name, task in recipe.tasks.items():
        own, labels = belonging[name], task.data.labels
        places = [place[row.id] for row in own]
        gold = readings[name].learnt(tasks.encode_targets(own, task.data.target, labels, task.kind))
        missing = losses.MISSING if task.kind == "classification" else math.nan
        targets[name] = _scattered(gold, places, len(rows), missing)
        if task.teacher is not None:
            said = tasks.encode_targets(own, teaching.column(name), labels, "regression")
            targets[name] = joined(targets[name], _scattered(said, places, len(rows), math.nan))
    encoded = _tokenised(model, list(rows.values()))
    return TrainingData(encoded, targets, groups=np.array(groups))


def _scattered(values: Tensor, places: Sequence[int], rows: int, missing: float) -> Tensor:
    """Values (M, …) at their M places of a tensor of N rows; the others hold what stands for missing."""
    every = values.new_full((rows, *values.shape[1:]), missing)
    every[list(places)] = values
    return every


def _parts(
    recipe: Recipe, model: EncoderModel, prepared: Prepared, readings: Mapping[str, Reading]
) -> dict[str, Part]:
    """Every task's rows that choose the best step."""
    parts = {}
    for name, task in recipe.tasks.items():
        records, _ = recipe.held_out(prepared.splits[name].validation)
        gold = tasks.encode_targets(records, task.data.target, task.data.labels, task.kind)
        parts[name] = Part(records, _tokenised(model, records), gold, readings[name].learnt(gold))
    return parts


def _tokenised(model: EncoderModel, records: Sequence[Record]) -> Encoded:
    return model.body.encode([row.text for row in records], [row.context for row in records])


def _write(
    recipe: Recipe, run: Run, fit: Fit, validation: Validation, model: EncoderModel, data: TrainingData
) -> None:
    """Write the trained model and what the fit cost; labels last, since they say that the rest is whole."""
    store.save(model, run.model, recipe.body)
    assert isinstance(data.encoded, Encoded)
    texts = {"train": [data.encoded], "validation": [part.encoded for part in validation.parts.values()]}
    run.note(
        fit=asdict(fit),
        model=model.sizes(),
        tokens={
            name: {"texts": sum(map(len, parts)), "cut": sum(part.cut for part in parts)}
            for name, parts in texts.items()
        },
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
    model.eval()
    final = dict(validation.readings)
    for name in [name for name, reading in final.items() if reading.kind == "multilabel"]:
        final[name] = validation.reading(name, validation.outputs(model, name, bf16=False))
    write_json(run.model / "labels.json", {name: reading.as_dict() for name, reading in final.items()})
