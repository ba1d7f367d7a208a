"""A study's way from its file to its page: train the grid, compare the arms, write what came of it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from overtone import grid, pipeline, proof
from overtone import recipe as recipes
from overtone.data.batches import Encoded
from overtone.data.split import Prepared
from overtone.errors import RunError
from overtone.evaluation import study_page
from overtone.evaluation.compare import load_predictions, save_predictions
from overtone.evaluation.results import Results, load_results, write_results
from overtone.evaluation.study import COSTS, Measure, Part, Trial, analyse
from overtone.evaluation.study_page import Design
from overtone.grid import Study, Way
from overtone.inference.classify import Reader
from overtone.inference.forms import Form
from overtone.inference.uncertainty import DropoutPasses, tempered
from overtone.models.model import EncoderModel, sweep
from overtone.recipe import Recipe
from overtone.run import Run, write_atomic
from overtone.scores import Predictions, Scored
from overtone.system import load_reader
from overtone.training.cache import StateCache
from overtone.training.freezing import ever_frozen
from overtone.training.stopping import InterruptedFitError


@dataclass(frozen=True, slots=True)
class Places:
    """Where a study is worked on and published.

    Args:
        runs: the folder of runs; the study's own are in ``studies/<name>`` below it.
        docs: the folder of its page, its picture and the index of studies; None: beside its runs, no index.
        results: the file of its figures; None: ``results.json`` beside its runs.
    """

    runs: Path
    docs: Path | None = None
    results: Path | None = None


def answer(study: Study, typed: str, places: Places, say: Callable[[str], None]) -> Results:
    """Train what is not trained yet, compare the arms, and write figures, page, picture and index.

    Args:
        study: the typed study.
        typed: its name or file, for the command that makes it again.
        places: where.
        say: told a line a run, and what is written.

    Raises:
        OvertoneError: whatever is wrong; what is finished stays finished.
    """
    folder = Run(places.runs / "studies" / study.name)
    with folder.lock():
        trials = _trials(study, folder.folder, say)
        seed = study.recipe(study.against, study.seeds[0]).rows_seed
        found = analyse(trials, study.measures(), study.against, seed=seed, resamples=study.resamples)
        told, file = design(study), places.results or folder.folder / "results.json"
        results = write_results(file, _command(typed, places), seed, study_page.figures(told, found))
        page = study_page.write(told, results, places.docs or folder.folder)
        if places.docs is not None:
            publish(places.docs, file.parent)
    say(f"wrote {file}")
    say(f"wrote {page}")
    return results


def publish(docs: Path, results: Path) -> None:
    """Write the pages of the shipped studies anew, and their index, from the results that are committed.

    Args:
        docs: the folder of pages.
        results: the folder that holds ``study-<name>.json``; a study without one has no page.

    Raises:
        DataError: a results file is not its study's.
        RunError: a file could not be read or written.
    """
    known = {name: results / f"study-{name}.json" for name in grid.shipped()}
    told = [(design(grid.load(name)), load_results(file)) for name, file in known.items() if file.exists()]
    for each, figures in told:
        study_page.write(each, figures, docs)
    write_atomic(docs / "README.md", study_page.index(told))


def design(study: Study) -> Design:
    """The study as its page tells it."""
    return Design(
        name=study.name,
        question=study.question,
        base=Path(study.base).stem,
        seeds=study.seeds,
        against=study.against,
        settings=study.settings,
        arms={name: arm.changes for name, arm in study.arms.items()},
        partial=tuple(name for name, arm in study.arms.items() if arm.tasks),
        measures=study.measures(),
    )


def _command(typed: str, places: Places) -> str:
    """What makes the figures again."""
    words = ["overtone", "compare", typed]
    if places.docs is not None:
        words += ["--docs", str(places.docs)]
    if places.results is not None:
        words += ["--results", str(places.results)]
    return shlex.join(words)


def _trials(study: Study, folder: Path, say: Callable[[str], None]) -> dict[str, list[Trial]]:
    """Every arm's trials, in the order of the seeds; what is not finished is made first.

    Seed by seed and not arm by arm, so that a machine that slows down slows all arms alike.
    """
    data = _Data()
    measures = study.measures()
    found: dict[str, list[Trial]] = {arm: [] for arm in study.arms}
    cells = [(seed, arm) for seed in study.seeds for arm in study.arms]
    for place, (seed, arm) in enumerate(cells, 1):
        begun = time.perf_counter()
        cell = _Cell(study, arm, seed, Run(folder / study.run_name(arm, seed)))
        done = cell.finish(data)
        took = f"{time.perf_counter() - begun:.0f} s" if done else "was finished"
        say(f"{study.name} {place}/{len(cells)}: {arm}, seed {seed}, {took}")
        found[arm].append(cell.trial(measures))
    return found


@dataclass
class _Data:
    """The rows of every data setting that was met, each prepared once."""

    known: list[tuple[object, Prepared, float]] = field(default_factory=list)

    def __call__(self, recipe: Recipe) -> tuple[Prepared, float]:
        """The rows, and the seconds that preparing them took."""
        setting = recipe.rows_setting
        for other, prepared, seconds in self.known:
            if other == setting:
                return prepared, seconds
        begun = time.perf_counter()
        self.known.append((setting, pipeline.divide(recipe), time.perf_counter() - begun))
        return self.known[-1][1:]


class FromStates:
    """A trained model in bf16 that begins at the states of its frozen layers: a study computes them once.

    Args:
        model: in evaluation mode.
        frozen: its lowest layers that training left as they were; None where it left none.
    """

    name = "from-states"

    def __init__(self, model: EncoderModel, frozen: int | None) -> None:
        self.model = model
        model.body.freeze(frozen)
        self.states = StateCache(model)

    def __call__(self, encoded: Encoded) -> dict[str, Tensor]:
        """Task → raw outputs of N texts, (N, L)."""

        def run(inputs: Tensor, mask: Tensor) -> dict[str, Tensor]:
            with torch.autocast(self.model.device.type, torch.bfloat16):
                made: dict[str, Tensor] = self.model(inputs, mask)
                return made

        return sweep(run, self.states(encoded, bf16=True) or encoded, self.model.device)


@dataclass
class _Cell:
    """One arm with one seed.

    Args:
        study: the grid that it is of.
        arm: its arm.
        seed: its seed.
        run: the folder of the run, which arms may share that differ in how they read.
    """

    study: Study
    arm: str
    seed: int
    run: Run

    @cached_property
    def recipe(self) -> Recipe:
        """Of its run."""
        return self.study.recipe(self.arm, self.seed)

    @property
    def way(self) -> Way:
        """How the trained model is read."""
        return self.study.arms[self.arm].read

    def file(self, part: Part, task: str) -> Path:
        """The per-example scores of a task's rows."""
        name = part if self.way == "plain" else f"{self.way}-{part}"
        return self.run.evaluation / task / f"{name}.jsonl"

    def finish(self, data: _Data) -> bool:
        """Train and score, as far as it is not done; whether anything was.

        Raises:
            RunError: the folder holds a run of another recipe.
            InterruptedFitError: somebody stopped it; the same command goes on.
        """
        recipe = self.recipe
        _refuse_another(self.run, recipe)
        files = [self.file(part, task) for part in self.study.parts for task in recipe.tasks]
        if pipeline.finished(self.run) and all(file.exists() for file in files):
            return False
        with self.run.lock():
            pipeline.begin(recipe, self.run, overwrite=False)
            prepared, seconds = data(recipe)
            pipeline.claim(recipe, prepared, self.run, seconds=seconds)
            if not pipeline.finished(self.run):
                try:
                    pipeline.train(recipe, prepared, self.run)
                except InterruptedFitError as error:
                    again = "run the same command again; what is finished is not trained again"
                    raise InterruptedFitError(error.what, hint=again) from error
            self._score(recipe, prepared)
        return True

    def _score(self, recipe: Recipe, prepared: Prepared) -> None:
        """Write what the model says of the rows, read in the arm's way."""
        trained = load_reader(recipe, self.run)
        model, readings = trained.model, trained.readings
        frozen = ever_frozen(recipe.train.freeze, recipe.train.epochs, model.body.depth)
        form: Form = FromStates(model, frozen)
        if self.way == "dropout":
            form = DropoutPasses(model, readings, frozen=frozen, seed=recipe.seed)
        reader = Reader(model, readings, form)
        if self.way == "plain":
            proof.score(recipe, prepared, self.run, reader)
        for part in self.study.parts:
            for task in recipe.tasks:
                if not self.file(part, task).exists():
                    said = self._said(recipe, (part, task), reader, prepared)
                    save_predictions(self.file(part, task), said)

    def _said(self, recipe: Recipe, where: tuple[Part, str], reader: Reader, prepared: Prepared) -> Scored:
        """What the reader says of a part of a task's rows."""
        part, task = where
        splits = prepared.splits[task]
        said = proof.predict(recipe, task, reader, splits[part])
        if self.way == "temperature" and isinstance(said, Predictions) and not said.multilabel:
            held_out = proof.predict(recipe, task, reader, recipe.held_out(splits.validation)[0])
            assert isinstance(held_out, Predictions)
            return tempered(said, held_out)
        return said

    def trial(self, measures: Sequence[Measure]) -> Trial:
        """The scores that the measures need, and the costs; of a finished run.

        Raises:
            DataError: a file of scores is damaged.
            RunError: the manifest is damaged.
        """
        wanted = {(term.part, term.task) for measure in measures for term in measure.terms}
        scores = {
            (part, task): load_predictions(self.file(part, task))
            for part, task in wanted
            if task in self.recipe.tasks
        }
        facts = self.run.facts()
        costs = {name: float(facts[part][key]) for name, (part, key, _) in COSTS.items()}
        return Trial(scores, costs, self.run.name)


def _refuse_another(run: Run, recipe: Recipe) -> None:
    """Refuse a folder whose run is not the study's."""
    begun = run.recipe.exists() and (run.checkpoints.exists() or run.model.exists())
    if begun and recipes.load(str(run.recipe)) != recipe:
        raise RunError(
            f"{run.folder} holds a run of another recipe: the study, or what it is based on, has changed",
            hint=f"move {run.folder.parent} away, or give the study another name",
        )
