"""What stands behind trained runs: their data sets and licences, their teachers, the texts they have seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from overtone import recipe as recipes
from overtone.data.records import Card, Record
from overtone.data.split import Prepared, allowed, most_restrictive
from overtone.data.text import fold
from overtone.errors import RunError
from overtone.recipe import Recipe
from overtone.run import Run

Divide = Callable[[Recipe], Prepared]
"""Gives a recipe's rows, divided and checked."""

Teachers = Mapping[str, Sequence[Mapping[str, Any]]]
"""Task → of each of its teachers the run's folder, and ``KEPT`` of its manifest."""

KEPT = ("commit", "fingerprints", "licence", "teachers")
"""What a student's manifest keeps of its teacher's."""


def teachers(recipe: Recipe) -> dict[str, list[dict[str, Any]]]:
    """What a manifest keeps of a recipe's teachers.

    Raises:
        RunError: a teacher's own manifest is missing or damaged.
    """
    found = {}
    for name, task in recipe.tasks.items():
        if task.teacher is not None:
            facts = {str(folder): _facts(Run(folder)) for folder in task.teacher.runs}
            found[name] = [
                {"run": folder, **{key: each[key] for key in KEPT if key in each}}
                for folder, each in facts.items()
            ]
    return found


def _facts(run: Run) -> dict[str, Any]:
    """The manifest of a trained run, which says what data it is of.

    Raises:
        RunError: it is missing or damaged, or does not say so.
    """
    facts = run.facts()
    if not {"fingerprints", "licence"} <= facts.keys():
        raise RunError(
            f"{run.manifest} does not say what data the run is of",
            hint=f"overtone run {run.folder} --overwrite",
        )
    return facts


def cards(facts: Mapping[str, Any]) -> list[Card]:
    """The data sets behind the run of a manifest, those behind its teachers included."""
    own = [
        Card(name, name, kept["licence"], kept["commercial"], kept["url"], "", kept["files"])
        for name, kept in facts["fingerprints"].items()
    ]
    above = [each for runs in facts.get("teachers", {}).values() for each in runs]
    return [*own, *(card for each in above for card in cards(each))]


def licence(runs: Sequence[Run]) -> dict[str, Any]:
    """What runs may be used for together, in the form in which a manifest has it of one."""
    manifests = [_facts(run) for run in runs]
    each = [facts["licence"] for facts in manifests]
    data, _ = most_restrictive([card for facts in manifests for card in cards(facts)])
    return {
        "data": data,
        "weights": " and ".join(dict.fromkeys(one["weights"] for one in each)),
        "commercial": allowed(one["commercial"] for one in each),
    }


def remembering(divide: Divide, recipe: Recipe, prepared: Prepared) -> Divide:
    """The same, but what was divided once is not divided again; of this recipe the rows are known already."""
    known = [(recipe.rows_setting, prepared)]

    def divided(other: Recipe) -> Prepared:
        for setting, found in known:
            if setting == other.rows_setting:
                return found
        known.append((other.rows_setting, divide(other)))
        return known[-1][1]

    return divided


def refuse_known(runs: Sequence[Run], rows: Iterable[Record], divide: Divide, what: str) -> None:
    """Refuse runs that were trained on rows which are to judge.

    Args:
        runs: trained.
        rows: that are to judge.
        divide: gives a recipe's rows.
        what: the rows are, for the message.

    Raises:
        RunError: a run, or a teacher of it, was trained on the text of one; or its data have changed, so
            that nobody can say.
        DataError: its data are not at hand.
    """
    texts = [fold(row.text) for row in rows]
    for run in runs:
        known = _texts(run, divide)
        count = sum(text in known for text in texts)
        if count:
            raise RunError(
                f"{run.folder} was trained on {count:,} of the {len(texts):,} {what}",
                hint="train it on the same `data` with the same `split_seed`, or `beside` its student",
            )


def _texts(run: Run, divide: Divide) -> set[str]:
    """The folded texts that a run was trained on, and its teachers."""
    recipe = recipes.load(str(run.recipe))
    prepared = divide(recipe)
    before = _facts(run)["fingerprints"]
    changed = [
        name
        for name, found in prepared.fingerprints.items()
        if before.get(name, {}).get("files") != found["files"]
    ]
    if changed:
        raise RunError(
            f"the data of {run.folder} changed since it was trained ({', '.join(changed)}), "
            "so its training rows are not known",
            hint="put the old files back, or train it again",
        )
    rows = [row for part in prepared.splits.values() for row in part.train]
    rows += (row for part in prepared.unlabelled.values() for row in part)
    texts = {fold(row.text) for row in rows}
    for task in recipe.tasks.values():
        for folder in () if task.teacher is None else task.teacher.runs:
            texts |= _texts(Run(folder), divide)
    return texts
