"""The typed study file: a base recipe, arms that change it, seeds, and figures that compare the arms."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, StringConstraints, model_validator

from overtone import recipe as recipes
from overtone.config import Config
from overtone.errors import DataError, UsageError, did_you_mean
from overtone.evaluation.study import COSTS, Measure, measure_of
from overtone.recipe import Recipe
from overtone.schema import check, read_yaml
from overtone.scores import Estimates, Predictions, Scored
from overtone.training.tasks import TaskConfig

Way = Literal["plain", "temperature", "dropout"]
"""How a trained model's outputs are read."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""The name of a study or an arm: a part of a folder's and of a figure's name."""

FigureName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$")]
EVERY = "tasks.*."


class Arm(Config):
    """One setting of the base recipe, or one way to read what it has trained."""

    set: tuple[str, ...] = Field(
        (), description="changes, as --set takes them; `tasks.*.` is every task's that is kept"
    )
    tasks: tuple[str, ...] = Field((), description="the tasks that are kept; as the study says without")
    read: Way = Field(
        "plain",
        description="outputs as they are; divided by a temperature fitted on validation rows; or the mean of "
        "passes with dropout on",
    )

    @property
    def changes(self) -> tuple[str, ...]:
        """What it changes, as the study file says it."""
        tasks = (f"tasks: {', '.join(self.tasks)}",) if self.tasks else ()
        return (*self.set, *tasks, *(() if self.read == "plain" else (f"read: {self.read}",)))


class Study(Config):
    """A question, and the grid of runs that answers it."""

    name: Name = Field(description="of its folder, page and figures")
    question: str = Field(min_length=1, description="what it asks, for people")
    base: str = Field(description="a recipe's name, or its file's path from here")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        min_length=3, description="one run an arm and seed; the rows stay those of the base"
    )
    set: tuple[str, ...] = Field((), description="changes to the base, of all arms")
    tasks: tuple[str, ...] = Field((), description="the tasks that all arms keep; the base's without")
    against: str = Field(description="the arm that the others are compared with")
    arms: dict[Name, Arm] = Field(min_length=2, description="by name")
    figures: tuple[FigureName, ...] = Field(
        min_length=1,
        description="the first that an arm has is its verdict: mean (of every task's own metric), "
        "mean.metric (of the tasks that have it), task.metric, task.label.metric, "
        "gap (mean on training rows less mean on test rows), " + ", ".join(COSTS),
    )
    resamples: int = Field(2000, ge=100, description="bootstrap resamples of the rows")

    @model_validator(mode="after")
    def _fits_together(self) -> Study:
        if self.against not in self.arms:
            raise ValueError(f"against: no arm '{self.against}': {did_you_mean(self.against, self.arms)}")
        if self.arms[self.against].tasks:
            raise ValueError(f"arms.{self.against}.tasks: the others are compared with it, so it keeps all")
        for field in ("seeds", "figures"):
            found, times = Counter(getattr(self, field)).most_common(1)[0]
            if times > 1:
                raise ValueError(f"{field}: '{found}' stands there {times} times")
        if self.figures[0] in COSTS:
            raise ValueError(f"figures: '{self.figures[0]}' is a cost, and the first one gives the verdict")
        return self

    @property
    def settings(self) -> tuple[str, ...]:
        """What all arms change, as the study file says it."""
        return (*self.set, *((f"tasks: {', '.join(self.tasks)}",) if self.tasks else ()))

    @property
    def parts(self) -> tuple[Literal["test", "train"], ...]:
        """The rows that are scored: training rows only for the gap."""
        return ("test", "train") if "gap" in self.figures else ("test",)

    def run_name(self, arm: str, seed: int) -> str:
        """The folder of an arm's run: arms that differ in how they are read alone share one."""
        mine = self.arms[arm]
        first = next(
            name for name, each in self.arms.items() if (each.set, each.tasks) == (mine.set, mine.tasks)
        )
        return f"{first}-{seed}"

    def recipe(self, arm: str, seed: int) -> Recipe:
        """The recipe of one run.

        Raises:
            UsageError: see ``recipe.load``, or the arm keeps a task that there is not.
        """
        base = recipes.load(self.base)
        kept = self.arms[arm].tasks or self.tasks or tuple(base.tasks)
        for task in kept:
            if task not in base.tasks:
                raise UsageError(f"arm '{arm}': no task '{task}'", hint=did_you_mean(task, base.tasks))
        changes = [
            override.replace(EVERY, f"tasks.{task}.", 1)
            for override in (*self.set, *self.arms[arm].set)
            for task in (kept if override.startswith(EVERY) else [""])
        ]
        changes += [f"tasks.{task}=null" for task in base.tasks if task not in kept]
        changes += [f"name={self.name}-{self.run_name(arm, seed)}", f"seed={seed}"]
        try:
            return recipes.load(self.base, [*changes, f"split_seed={base.rows_seed}"])
        except UsageError as error:
            raise UsageError(f"arm '{arm}': {error.what}", hint=error.hint) from error

    def measures(self) -> tuple[Measure, ...]:
        """The figures, as the tasks of the arm that all are compared with give them.

        Raises:
            UsageError: no such task, label or metric.
        """
        tasks = self.recipe(self.against, self.seeds[0]).tasks
        known = {name: (_blank(task), task.metric) for name, task in tasks.items()}
        try:
            return tuple(measure_of(figure, known) for figure in self.figures)
        except DataError as error:
            raise UsageError(f"figures: {error.what}", hint=error.hint) from error


def _blank(task: TaskConfig) -> Scored:
    """No rows, with the task's labels: enough to look a metric up."""
    labels, width = task.data.labels, len(task.data.labels)
    if task.kind == "regression":
        return Estimates((), labels, np.zeros((0, width)), np.zeros((0, width)), ())
    none = np.zeros((0, width) if task.kind == "multilabel" else 0, dtype=np.int64)
    return Predictions((), labels, none, none, np.zeros((0, width)), ())


def shipped() -> dict[str, Path]:
    """The studies that come with the package, by name."""
    folder = Path(str(resources.files("overtone") / "recipes" / "studies"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def is_study(name: str) -> bool:
    """Whether that names a study: a shipped one, or a file in YAML."""
    return name in shipped() or Path(name).suffix in (".yaml", ".yml")


def load(name: str) -> Study:
    """Read a study by its shipped name or from a file, and resolve every arm.

    Raises:
        UsageError: no such study, broken YAML, an unknown key, an arm or figure that does not fit the base.
    """
    known = shipped()
    path = known.get(name, Path(name))
    if not path.is_file():
        raise UsageError(f"no study '{name}'", hint=did_you_mean(name, known))
    values = read_yaml(path, "study")
    base = values.get("base")
    if isinstance(base, str) and base not in recipes.shipped() and (path.parent / base).is_file():
        values["base"] = str(path.parent / base)
    study = check(Study, values, name, hint="the shipped ones show how: overtone compare weighting")
    for arm in study.arms:
        study.recipe(arm, study.seeds[0])
    study.measures()
    return study
