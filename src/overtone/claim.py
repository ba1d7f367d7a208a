"""Whose a run's folder is: of which recipe, on which data, and whether something in it is trained already."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from overtone import kinds
from overtone.data.split import DataReport
from overtone.errors import RunError
from overtone.evaluation.results import environment
from overtone.recipe import BaseRecipe
from overtone.run import Run, write_atomic, writes


def folder(recipe: BaseRecipe, run: Run, *, overwrite: bool) -> None:
    """Claim a run's folder and write the resolved recipe; of several processes, the others wait for it.

    Raises:
        RunError: another recipe's run, or a finished one, stands there.
    """
    if writes():
        _claim(recipe, run, overwrite=overwrite)
    PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def _claim(recipe: BaseRecipe, run: Run, *, overwrite: bool) -> None:
    if overwrite:
        run.clear()
    goes_on = run.recipe.exists() and trained_on(run)
    if goes_on:
        if kinds.read(str(run.recipe)) != recipe:
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


def trained_on(run: Run) -> bool:
    """Whether something of the run is trained already."""
    return run.checkpoints.exists() or run.model.exists()


def _command(recipe: BaseRecipe) -> str:
    """What makes the run again, as it was typed; from Python, the recipe by its name."""
    typed = Path(sys.argv[0]).name in ("overtone", "cli.py")
    return shlex.join(["overtone", *sys.argv[1:]]) if typed else f"overtone run {recipe.name}"


def refuse_other_data(fingerprints: Mapping[str, Mapping[str, Any]], run: Run) -> None:
    """Refuse to go on where something was trained on other data: its rows may be among the new test rows.

    Args:
        fingerprints: data set → what a manifest keeps of it, as it is now.
        run: begun earlier, or not.

    Raises:
        RunError: the data changed.
    """
    if not (trained_on(run) and run.manifest.exists()):
        return
    before = run.facts().get("fingerprints", {})
    changed = [
        name
        for name, found in fingerprints.items()
        if before and before.get(name, {}).get("files") != found["files"]
    ]
    if changed:
        raise RunError(
            f"the data changed since this run began: {', '.join(changed)}",
            hint="put the old files back, or train again with --overwrite or under another --name",
        )


def note_data(
    run: Run,
    label: str,
    report: DataReport,
    fingerprints: Mapping[str, Mapping[str, Any]],
    licence: Mapping[str, Any],
    begun: float,
) -> None:
    """Write into the manifest what was read for a run, where this process writes.

    Args:
        run: the one it is for.
        label: what the rows are counted as.
        report: what was done to get them.
        fingerprints: data set → what a manifest keeps of it.
        licence: ``data``, ``weights``, ``commercial`` (None: not known).
        begun: when reading them began, by ``time.perf_counter``.
    """
    if writes():
        run.note(
            data={label: report.as_dict()},
            fingerprints=fingerprints,
            licence=licence,
            prepare_seconds=round(time.perf_counter() - begun, 1),
        )


def from_scratch(report: DataReport) -> dict[str, Any]:
    """The licence of a run whose weights begin with nothing but its data."""
    return {
        "data": report.licence,
        "weights": "trained from scratch",
        "commercial": report.commercial,
    }
