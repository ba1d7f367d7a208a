"""A recipe's way from data to report, on one screen."""

from __future__ import annotations

import resource
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor

from overtone import proof
from overtone import recipe as recipes
from overtone.data import split
from overtone.data.records import Record
from overtone.data.split import Prepared
from overtone.data.tokenize import encode
from overtone.errors import RunError
from overtone.evaluation.results import environment
from overtone.models import store, weights
from overtone.models.model import Model, sweep
from overtone.recipe import Recipe
from overtone.run import Run, write_atomic, write_json, writes
from overtone.scores import summary, tune_thresholds
from overtone.training import freezing, losses, tasks
from overtone.training.cache import freeze_states
from overtone.training.loop import Fit, Loop, TrainingData


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
        WeightsError: there is something to train, and the weights to start from are not at hand.
    """
    if overwrite or not finished(run):
        weights.resolve(recipe.body.weights)
    if writes():
        _claim(recipe, run, overwrite=overwrite)
    PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def _claim(recipe: Recipe, run: Run, *, overwrite: bool) -> None:
    if overwrite:
        run.clear()
    goes_on = run.recipe.exists() and _trained_on(run)
    if goes_on:
        if recipes.load(str(run.recipe)) != recipe:
            raise RunError(
                f"{run.folder} holds a run of another recipe",
                hint="give this one a name with --name, or replace the old one with --overwrite",
            )
        if (run.folder / "report.md").exists():
            raise RunError(
                f"{run.folder} is finished",
                hint=f"read {run.folder / 'report.md'}, or run again with --overwrite",
            )
    now, before = environment(), run.facts() if run.manifest.exists() else {}
    if goes_on and "commit" in before:  # what began the run stays known
        again = {"date": now["date"], "commit": now["commit"]}
        run.note(resumed=[*before.get("resumed", []), again])
    else:
        run.note(recipe=recipe.name, command=_command(recipe), seed=recipe.seed, resumed=[], **now)
    write_atomic(run.recipe, recipe.to_yaml())


def _trained_on(run: Run) -> bool:
    """Whether something of the run is trained already."""
    return run.checkpoints.exists() or run.model.exists()


def _command(recipe: Recipe) -> str:
    """What makes the run again, as it was typed; from Python, the recipe by its name."""
    typed = Path(sys.argv[0]).name in ("overtone", "cli.py")
    return shlex.join(["overtone", *sys.argv[1:]]) if typed else f"overtone run {recipe.name}"


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
    prepared = split.prepare(recipe.data, recipe.seed)
    _refuse_other_data(prepared, run)
    if not writes():
        return prepared
    run.note(
        data=prepared.report.as_dict(),
        fingerprints=prepared.fingerprints,
        licence=proof.licence(recipe, prepared.cards),
        prepare_seconds=round(time.perf_counter() - begun, 1),
    )
    return prepared


def _refuse_other_data(prepared: Prepared, run: Run) -> None:
    if not (_trained_on(run) and run.manifest.exists()):
        return
    before = run.facts().get("fingerprints", {})
    changed = [
        name
        for name, found in prepared.fingerprints.items()
        if before and before.get(name, {}).get("files") != found["files"]
    ]
    if changed:
        raise RunError(
            f"the data changed since this run began: {', '.join(changed)}",
            hint="put the old files back, or train again with --overwrite or under another --name",
        )


@dataclass(frozen=True)
class Validation:
    """The rows that choose the best step, and judge it."""

    recipe: Recipe
    records: Sequence[Record]
    data: TrainingData
    losses: Mapping[str, losses.Loss]

    def __call__(self, model: Model) -> dict[str, float]:
        """Loss and metrics of the validation rows, by ``task.metric``."""
        outputs = _outputs(model, self.data, bf16=self.recipe.train.precision == "bf16")
        figures: dict[str, float] = {"loss": 0.0}
        for task in self.recipe.tasks:
            logits, targets, loss = outputs[task.name], self.data.targets[task.name], self.losses[task.name]
            figures["loss"] += task.weight * float(
                loss.total(logits, targets) / loss.count(targets).clamp(min=1e-8)
            )
            multilabel = task.kind == "multilabel"
            shares = tasks.probabilities(logits.double().numpy(), multilabel=multilabel)
            made = tasks.predictions(self.records, targets, self.recipe.data.labels, shares)
            if multilabel:
                limits = tune_thresholds(made)
                made = tasks.predictions(self.records, targets, self.recipe.data.labels, shares, limits)
            figures |= {f"{task.name}.{name}": value for name, value in summary(made).items()}
        return figures


def _outputs(model: Model, data: TrainingData, *, bf16: bool) -> dict[str, Tensor]:
    """The outputs of every head for every row, (N, …), in the precision that training used."""

    def run(input_ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            made: dict[str, Tensor] = model(input_ids, mask)
            return made

    return sweep(run, data.encoded, model.device)


def train(recipe: Recipe, prepared: Prepared, run: Run) -> Fit:
    """Fit the model and write its best step, its labels and its thresholds."""
    labels = recipe.data.labels
    torch.manual_seed(recipe.seed)
    heads = {task.name: (task.head, len(labels)) for task in recipe.tasks}
    model = store.build(recipe.body, recipe.adapter, heads)
    freezing.freeze(model.body, recipe.train.freeze)
    held_out, _ = recipe.held_out(prepared.splits.validation)
    data = {
        "train": _tokenised(recipe, model, prepared.splits.train),
        "validation": _tokenised(recipe, model, held_out),
    }
    if not any(p.requires_grad for p in model.body.parameters()):
        frozen = freeze_states(model.body, data["train"].encoded)
        data["train"] = TrainingData(data["train"].encoded, data["train"].targets, frozen)
    losses_by_task = {
        task.name: losses.build(task.loss, data["train"].targets[task.name], len(labels))
        for task in recipe.tasks
    }
    loop = Loop(
        model=model,
        tasks=[
            tasks.Task(task.name, labels, task.kind == "multilabel", losses_by_task[task.name], task.weight)
            for task in recipe.tasks
        ],
        data=data["train"],
        validate=Validation(recipe, held_out, data["validation"], losses_by_task),
        config=recipe.train,
        run=run,
        seed=recipe.seed,
    )
    fit = loop.fit()
    if loop.accelerator.is_main_process:
        _write(recipe, run, model, fit, data, held_out)
    loop.accelerator.wait_for_everyone()
    return fit


def _tokenised(recipe: Recipe, model: Model, records: Sequence[Record]) -> TrainingData:
    """Token ids and targets of rows."""
    encoded = encode(model.body.tokenizer, [row.text for row in records], model.body.max_length)
    targets = {
        task.name: tasks.encode_targets(
            records, recipe.data.target, recipe.data.labels, multilabel=task.kind == "multilabel"
        )
        for task in recipe.tasks
    }
    return TrainingData(encoded, targets)


def _write(
    recipe: Recipe,
    run: Run,
    model: Model,
    fit: Fit,
    data: Mapping[str, TrainingData],
    held_out: Sequence[Record],
) -> None:
    """Write the trained model and what the fit cost; labels last, since they say that the rest is whole."""
    store.save(model, run.model, recipe.body)
    run.note(
        fit=asdict(fit),
        model=model.sizes(),
        tokens={name: {"texts": len(part.encoded), "cut": part.encoded.cut} for name, part in data.items()},
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
    thresholds: list[float] | None = None
    task = recipe.tasks[0]
    if task.kind == "multilabel":
        logits = _outputs(model.eval(), data["validation"], bf16=False)[task.name].double().numpy()
        shares = tasks.probabilities(logits, multilabel=True)
        made = tasks.predictions(held_out, data["validation"].targets[task.name], recipe.data.labels, shares)
        thresholds = np.round(tune_thresholds(made), 6).tolist()
    write_json(run.model / "labels.json", {"labels": recipe.data.labels, "thresholds": thresholds})
