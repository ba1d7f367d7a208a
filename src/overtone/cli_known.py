"""The verbs about recipes and data that are known: what they hold, how they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from overtone.apps.catalogue import out
from overtone.errors import UsageError, did_you_mean

Sets = Annotated[list[str] | None, typer.Option("--set", help="A change to the recipe: train.epochs=5.")]


def data_show(
    name: Annotated[str, typer.Argument(help="A data set's name, or a recipe's to see its splits.")],
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 5,
    as_recipe: Annotated[
        bool, typer.Option("--recipe", help="The recipe, if a data set has the name.")
    ] = False,
    set_: Sets = None,
) -> None:
    """A data set's card and first rows, or a recipe's splits, leaks and licence."""
    from overtone import dispatch, kinds
    from overtone import recipe as recipes
    from overtone.apps import screen
    from overtone.data.fetch import catalogue, locate

    known = catalogue()
    is_recipe = name not in known and (name in recipes.shipped() or Path(name).is_file())
    if as_recipe or is_recipe:
        resolved = kinds.read(name, set_ or [])
        verbs = dispatch.of(resolved)
        for task, report in verbs.reports(verbs.divide(resolved)).items():
            out.print(Text(task, style="bold"))
            out.print_json(data={key: value for key, value in report.as_dict().items() if "leaks" not in key})
            out.print(f"{len(report.leaks)} leaks between splits")
        return
    if name not in known:
        raise UsageError(
            f"no data set or recipe '{name}'", hint=did_you_mean(name, {*known, *recipes.shipped()})
        )
    if set_:
        raise UsageError("--set changes a recipe", hint=f"overtone data show --recipe {name}")
    card = known[name].card
    screen.data_set(out, card, known[name].records(locate(card)), rows)


def data_schema(
    kind: Annotated[str, typer.Argument(help="The kind of recipe: reader, language, embedder.")] = "reader",
) -> None:
    """The JSON schema of a recipe."""
    from overtone.kinds import KINDS

    if kind not in KINDS:
        raise UsageError(f"no kind of recipe '{kind}'", hint=did_you_mean(kind, KINDS))
    print(json.dumps(KINDS[kind].model_json_schema(), indent=2))  # noqa: T201


def recipes() -> None:
    """The recipes that come with the package."""
    from overtone import kinds
    from overtone import recipe as known
    from overtone.apps import screen

    screen.rows(
        out, [{"name": name, "description": kinds.read(name).description} for name in known.shipped()]
    )
