"""Several trained runs on the test rows of one of them: each alone, and the mean of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from overtone import lineage, pipeline, proof, system
from overtone import recipe as recipes
from overtone.evaluation.compare import Standing, System, standings
from overtone.run import Run, write_json

NAME = "ensemble"
"""What the mean of the runs is called in tables and files."""


def judge(run: Run, others: Sequence[Path]) -> dict[str, tuple[Standing, ...]]:
    """How the ensemble of a run and others stands among them, on the run's test rows.

    Its per-example scores and their summary are written beside those of the run, with these standings.

    Args:
        run: trained.
        others: the folders of the other runs.

    Returns:
        Task → the standing of the ensemble, then of each run by its folder.

    Raises:
        RunError: one is not a trained run, or was trained on test rows of the first.
        UsageError: their tasks or labels differ, or one is named twice.
        DataError: the data of one are not at hand.
    """
    ensemble = system.together([run.folder, *others])
    recipe = recipes.load(str(run.recipe))
    prepared = pipeline.prepare(recipe, run)
    divide = lineage.remembering(pipeline.divide, recipe, prepared)
    tests = {row.id: row for part in prepared.splits.values() for row in part.test}.values()
    lineage.refuse_known([Run(folder) for folder in others], tests, divide, f"test rows of {run.folder}")
    found = {}
    for name, task in recipe.tasks.items():
        rows = prepared.splits[name].test
        alone = [
            System(folder, proof.predict(recipe, name, reader, rows))
            for folder, reader in ensemble.readers.items()
        ]
        together = System(NAME, proof.predict(recipe, name, ensemble, rows))
        proof.keep(run, name, together)
        found[name] = standings(
            together,
            alone,
            list(dict.fromkeys((task.metric, *proof.METRICS_SHOWN[task.kind]))),
            seed=recipe.seed,
            resamples=recipe.evaluate.resamples,
        )
        write_json(run.evaluation / name / f"{NAME}.standings.json", [asdict(each) for each in found[name]])
    return found
