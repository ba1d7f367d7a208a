"""What teachers make of the rows that a run is trained on, written beside their gold before the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.progress import track

from overtone import lineage, system
from overtone import recipe as recipes
from overtone.data.records import Record, Splits
from overtone.data.split import Prepared
from overtone.errors import RunError, UsageError
from overtone.inference.ensemble import Ensemble
from overtone.recipe import Recipe
from overtone.run import Run, writes
from overtone.scores import Floats
from overtone.training.tasks import Reading, TaskConfig

CHUNK = 4096
"""Rows that a teacher reads between two moves of the bar."""


def column(task: str) -> str:
    """The target under which a row carries what the task's teacher makes of it; no task has such a name."""
    return f"{task}.teacher"


def look(recipe: Recipe, run: Run) -> None:
    """Refuse teachers that cannot teach the recipe's tasks, before anything is touched.

    Raises:
        RunError: a teacher is not a trained run, or is the run itself.
        UsageError: it lacks the task, or has it with another kind or other labels.
    """
    for name, task in recipe.tasks.items():
        for folder in () if task.teacher is None else task.teacher.runs:
            if folder.resolve() == run.folder.resolve():
                raise RunError(
                    f"{folder} would be its own teacher", hint="give this run another name with --name"
                )
            _check_task(name, task, system.trained(folder))


def _check_task(name: str, task: TaskConfig, teacher: Run) -> None:
    known = recipes.load(str(teacher.recipe)).tasks
    if name not in known:
        raise UsageError(
            f"tasks.{name}.teacher.runs: {teacher.folder} has no task '{name}'",
            hint=f"it has {', '.join(known)}; a task has the name that it has in its teacher",
        )
    its = known[name]
    if (its.kind, its.data.labels) != (task.kind, task.data.labels):
        raise UsageError(
            f"tasks.{name}.teacher.runs: '{name}' of {teacher.folder} is a {its.kind} of "
            f"{', '.join(its.data.labels)}, not a {task.kind} of {', '.join(task.data.labels)}",
            hint="a teacher has its student's labels, in the same order",
        )


def teach(
    recipe: Recipe, prepared: Prepared, readings: Mapping[str, Reading], divide: lineage.Divide
) -> Prepared:
    """The data with what the teachers make of their tasks' training rows, and of rows without gold.

    Args:
        recipe: with teachers or without.
        prepared: its data.
        readings: task → how the student's outputs are read, which the columns are made for.
        divide: gives a recipe's rows.

    Returns:
        The same rows; those that a teacher has read carry what the student's head has to put out to agree
        with it, L numbers, as the target ``column(task)``.

    Raises:
        RunError: a teacher was trained on rows that validate or test the student.
        DataError: the data of a teacher are not at hand.
    """
    teachers = {name: task.teacher for name, task in recipe.tasks.items() if task.teacher is not None}
    divide = lineage.remembering(divide, recipe, prepared)
    judges = {
        row.id: row for part in prepared.splits.values() for row in (*part.validation, *part.test)
    }.values()
    for teacher in teachers.values():
        runs = [Run(folder) for folder in teacher.runs]
        lineage.refuse_known(runs, judges, divide, "rows that validate and test its student")
    splits, unlabelled = dict(prepared.splits), dict(prepared.unlabelled)
    for name, teacher in teachers.items():
        own = splits[name]
        rows = (*own.train, *unlabelled[name])
        taught = _taught(name, rows, system.together(teacher.runs, [name]), readings[name])
        splits[name] = Splits(taught[: len(own.train)], own.validation, own.test)
        unlabelled[name] = taught[len(own.train) :]
    return replace(prepared, splits=splits, unlabelled=unlabelled)


def _taught(task: str, rows: Sequence[Record], reader: Ensemble, reading: Reading) -> tuple[Record, ...]:
    """The rows with the teacher's column."""
    said = reading.outputs(_read(task, rows, reader)).tolist()
    return tuple(
        replace(row, targets={**row.targets, column(task): tuple(outputs)})
        for row, outputs in zip(rows, said, strict=True)
    )


def _read(task: str, rows: Sequence[Record], reader: Ensemble) -> Floats:
    """What the teacher makes of N rows: probabilities or numbers, (N, L)."""
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    shown = track(
        chunks,
        description=f"the teacher of '{task}' reads {len(rows):,} rows",
        console=Console(stderr=True),
        disable=not writes(),
    )
    values = [
        reader.values([row.text for row in chunk], [row.context for row in chunk], [task])[task]
        for chunk in shown
    ]
    return np.concatenate(values)
