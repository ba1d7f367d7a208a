"""The verbs about what is known and at hand: data sets and weights."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from overtone.errors import DataError, UsageError, did_you_mean

data_app = typer.Typer(
    help="Data sets: what is known, what is at hand, how recipes are written.", no_args_is_help=True
)
weights_app = typer.Typer(help="Pretrained weights: what is known and what is at hand.", no_args_is_help=True)

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@data_app.command("list")
def data_list(json_: Json = False) -> None:
    """Every data set that is known, its licence, and whether it is at hand."""
    from overtone.apps import screen
    from overtone.data.fetch import catalogue, locate

    rows = []
    for name, source in catalogue().items():
        try:
            where = str(locate(source.card))
        except DataError:
            where = ""
        rows.append({"name": name, "title": source.card.title, "licence": source.card.licence, "at": where})
    if json_:
        print(screen.as_json(rows))  # noqa: T201
        return
    for row, source in zip(rows, catalogue().values(), strict=True):
        if source.card.shipped:  # its folder is deep inside the installed package, and nobody's business
            row["at"] = "this package"
    screen.rows(out, rows)


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="A data set's name.")]) -> None:
    """Download a data set from its source and check its hash."""
    from rich.progress import Progress

    from overtone.data.fetch import catalogue, fetch

    known = catalogue()
    if name not in known:
        raise UsageError(f"no data set '{name}'", hint=did_you_mean(name, known))
    with Progress(console=err) as bar:
        task = bar.add_task(name, total=None)
        folder = fetch(
            known[name].card,
            lambda part, done, total: bar.update(task, description=part, completed=done, total=total),
        )
    err.print(Text(f"'{name}' is in {folder}"))


@weights_app.command("list")
def weights_list(json_: Json = False) -> None:
    """Every set of weights that is known, and whether it is at hand."""
    from overtone.apps import screen
    from overtone.models import weights

    rows = [
        {
            "name": known.name,
            "hub": known.hub,
            "package": known.package or "",
            "licence": known.licence,
            "millions": known.parameters,
            "at": str(weights.find(known.name) or ""),
        }
        for known in weights.CATALOGUE.values()
    ]
    if json_:
        print(screen.as_json(rows))  # noqa: T201
    else:
        screen.rows(out, rows)


@weights_app.command("fetch")
def weights_fetch(name: Annotated[str, typer.Argument(help="A name from `overtone weights list`.")]) -> None:
    """Get weights from the hub, unless they are at hand."""
    from overtone.models import weights

    err.print(Text(f"'{name}' is in {weights.fetch(name)}"))
