"""The typed recipe: one YAML file that says everything a run does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, StringConstraints, model_validator

from overtone.breakdown import metric_paths
from overtone.config import Config
from overtone.data.leakage import LeakageConfig
from overtone.data.partition import carve
from overtone.data.records import Record
from overtone.errors import UsageError, did_you_mean
from overtone.evaluation.config import EvaluateConfig
from overtone.inference.cascade import CascadeConfig
from overtone.models.adapters import LoraConfig
from overtone.models.encoder import EncoderConfig
from overtone.schema import check, read_yaml
from overtone.training.loop import TrainConfig
from overtone.training.optim import OptimConfig
from overtone.training.tasks import TaskConfig

TaskName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
"""A task's name, which is its head's too."""


class BaseRecipe(Config):
    """What every recipe has, whatever it makes."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]*$", description="the run's folder, unless --name says else"
    )
    description: str = Field("", description="one line for people")
    seed: int = Field(7, ge=0, description="the only seed: splits, shuffles, dropout, resamples")
    split_seed: int | None = Field(
        None, ge=0, description="of the splits, where runs of other seeds are to have the same rows"
    )

    @property
    def rows_seed(self) -> int:
        """What the rows are divided by."""
        return self.seed if self.split_seed is None else self.split_seed

    def to_yaml(self) -> str:
        """The recipe as YAML, every default written out; reading it back gives an equal recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def refuse_frozen(train: TrainConfig, frozen: str) -> None:
    """Refuse to freeze layers where there are none to freeze.

    Args:
        train: the fit.
        frozen: why nothing can be frozen, in words.

    Raises:
        ValueError: something is frozen.
    """
    if train.freeze.kind != "none":
        raise ValueError(f"train.freeze: {frozen}; set kind: none")


def refuse_several_tasks(train: TrainConfig, frozen: str, rate: str) -> None:
    """Refuse what of a fit is for several tasks or for pretrained layers, where there are neither.

    Args:
        train: the fit.
        frozen: why nothing can be frozen, in words.
        rate: what is trained at ``train.optim.lr``, in words.

    Raises:
        ValueError: something of that is set.
    """
    refuse_frozen(train, frozen)
    if train.weighting.kind != "fixed" or train.mix.temperature != 1:
        raise ValueError("train.weighting and train.mix are for several tasks; leave them out")
    plain = OptimConfig()
    for name in ("head_lr", "layer_decay"):
        if getattr(train.optim, name) != getattr(plain, name):
            raise ValueError(f"train.optim.{name}: {rate} is trained at train.optim.lr")


FROM_SCRATCH = ("a model from scratch is trained as a whole", "all of this model")
"""What ``refuse_several_tasks`` is told of a model from scratch."""

R = TypeVar("R", bound=BaseRecipe)


class Recipe(BaseRecipe):
    """Everything that a run of a text reader depends on, every default written out."""

    tasks: dict[TaskName, TaskConfig] = Field(min_length=1, description="what is predicted, and from what")
    leakage: LeakageConfig = Field(LeakageConfig(), description="what counts as a leak between splits")
    beside: str | None = Field(
        None,
        description="a recipe whose held-out rows, divided by this one's seed, are not trained on either; "
        "what is to teach it needs that",
    )
    body: EncoderConfig = EncoderConfig()
    adapter: LoraConfig | None = Field(None, description="what is trained in place of the body's own weights")
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    cascade: CascadeConfig | None = Field(
        None, description="the steps that heal an unsure answer; none without"
    )

    @model_validator(mode="after")
    def _adapter_is_trained(self) -> Recipe:
        if self.adapter is not None and self.train.freeze.kind in ("backbone", "progressive"):
            raise ValueError(
                f"train.freeze.kind={self.train.freeze.kind} would freeze the adapter too; set adapter=null"
            )
        return self

    @model_validator(mode="after")
    def _metrics_apply(self) -> Recipe:
        known = ["mean", "loss"]
        for name, task in self.tasks.items():
            apply = metric_paths(task.kind, task.data.labels)
            if task.metric not in apply:
                raise ValueError(
                    f"tasks.{name}.metric: no '{task.metric}': {did_you_mean(task.metric, apply)}"
                )
            known += (f"{name}.{metric}" for metric in apply)
        stop = self.train.early_stopping.metric
        if stop not in known:
            raise ValueError(f"train.early_stopping.metric: no '{stop}': {did_you_mean(stop, known)}")
        return self

    @model_validator(mode="after")
    def _losses_are_whole(self) -> Recipe:
        for name, task in self.tasks.items():
            if task.loss.kind == "ccc" and self.train.accumulation > 1:
                raise ValueError(
                    f"tasks.{name}.loss.kind=ccc is of a whole step, so it needs train.accumulation=1"
                )
        return self

    @model_validator(mode="after")
    def _rows_without_labels_have_a_teacher(self) -> Recipe:
        for name, task in self.tasks.items():
            if task.data.unlabelled and task.teacher is None:
                raise ValueError(f"tasks.{name}.data.unlabelled: rows that tasks.{name}.teacher would label")
        return self

    @model_validator(mode="after")
    def _labels_are_two(self) -> Recipe:
        for name, task in self.tasks.items():
            if task.kind != "regression" and len(task.data.labels) < 2:
                raise ValueError(f"tasks.{name}.data.labels: a classifier needs two at least")
        return self

    @model_validator(mode="after")
    def _cascade_has_one_label(self) -> Recipe:
        if self.cascade is not None and [task.kind for task in self.tasks.values()] != ["classification"]:
            raise ValueError("a cascade decides on one label a text, of one task; set cascade=null")
        return self

    @property
    def only(self) -> tuple[str, TaskConfig]:
        """The name and config of the first task: of the only one, where there is a cascade."""
        return next(iter(self.tasks.items()))

    def held_out(self, validation: Sequence[Record]) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
        """Validation rows that choose (best step, thresholds), and rows that only certify the cascade."""
        if self.cascade is None:
            return tuple(validation), ()
        certify, choose = carve(
            validation,
            self.cascade.calibration_share,
            self.only[1].data.target,
            f"{self.rows_seed}/calibration",
        )
        return choose, certify

    @property
    def rows_setting(self) -> object:
        """All that the rows depend on: recipes with equal ones have the same."""
        data = [(name, task.data) for name, task in self.tasks.items()]
        return data, self.leakage, self.rows_seed, self.beside


def shipped() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = Path(str(resources.files("overtone") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a text reader's recipe by its shipped name or from a file, with ``a.b=c`` overrides.

    Raises:
        UsageError: see ``resolve``; or the recipe is of another kind.
    """
    return resolve(name, overrides, parse)


def resolve(name: str, overrides: Sequence[str], parse: Callable[[Mapping[str, Any], str], R]) -> R:
    """Read a recipe of any kind by its shipped name or from a file, with ``a.b=c`` overrides.

    Overrides change the resolved recipe, so a key that the file leaves at its default can be set alone. A
    changed ``kind`` drops the keys of the old one, so kinds are set before all else.

    Args:
        name: of a shipped recipe, or of a file.
        overrides: what is changed.
        parse: makes a recipe of plain values, whose origin it is told for its message.

    Raises:
        UsageError: no such recipe, broken YAML, an unknown key or a value that does not fit.
    """
    recipe = parse(_read(name), name)
    if not overrides:
        return recipe
    values = recipe.model_dump(mode="json")
    for override in sorted(overrides, key=lambda each: not each.partition("=")[0].endswith(".kind")):
        _apply(values, override)
    return parse(values, name)


def parse(values: Mapping[str, Any], origin: str) -> Recipe:
    """Check plain values against the schema; a task that is null is left out.

    Raises:
        UsageError: an unknown key (with what was probably meant), a value that does not fit, or a recipe of
            another kind.
    """
    if "kind" in values:
        raise UsageError(
            f"{origin} is a recipe of kind '{values['kind']}', and here one that reads texts is needed",
            hint="one with `tasks`, such as emotion-mini; `overtone recipes` lists all",
        )
    tasks = values.get("tasks")
    if isinstance(tasks, dict):
        kept = {name: task for name, task in tasks.items() if task is not None}
        values = {**values, "tasks": kept}
    return check(Recipe, values, origin, hint="the schema: overtone data schema")


def _read(name: str, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The YAML of a recipe, with what it extends filled in below it; ``above`` are those that extend it."""
    known = shipped()
    path = known.get(name, Path(name))
    if not path.is_file():
        raise UsageError(f"no recipe '{name}'", hint=did_you_mean(name, known))
    if path in above:
        raise UsageError(f"{path} extends itself", hint="see `extends` in " + ", ".join(map(str, above)))
    values = read_yaml(path, "recipe")
    base = values.pop("extends", None)
    if base is None:
        return values
    below = str(base) if str(base) in known else str(path.parent / str(base))
    return _merge(_read(below, (*above, path)), values)


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge key by key, unless they change kind; everything else is replaced."""
    if _changes_kind(below, above.get("kind")):
        below = _kept(below)
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of a part that changes its kind: of a task, what it learns from."""
    return {key: value for key, value in values.items() if key == "data"}


def _changes_kind(old: Mapping[str, Any], kind: object) -> bool:
    return kind is not None and "kind" in old and old["kind"] != kind


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one ``a.b.0.c=value``; the value is read as YAML."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UsageError(f"--set {override}: not of the form a.b=c", hint="--set train.epochs=5")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {override}: the value is not YAML") from error
    place: Any = values
    *parents, last = path.split(".")
    for part in parents:
        if isinstance(place, list):
            place = _item(place, part, override)
        else:
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
        if not isinstance(place, dict | list):
            raise UsageError(f"--set {override}: '{part}' holds a value, not keys")
    if isinstance(place, list):
        _item(place, last, override)
        place[int(last)] = value
        return
    if last == "kind" and _changes_kind(place, value):
        kept = _kept(place)
        place.clear()
        place |= kept
    place[last] = value


def _item(items: list[Any], part: str, override: str) -> Any:  # noqa: ANN401 - any YAML value
    if not part.isdigit() or int(part) >= len(items):
        raise UsageError(f"--set {override}: '{part}' is not a place in a list of {len(items)}")
    return items[int(part)]
