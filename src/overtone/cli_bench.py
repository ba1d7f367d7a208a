"""The verbs that measure this machine: `overtone bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from overtone.apps.catalogue import err, out

bench_app = typer.Typer(help="What this machine can do.", no_args_is_help=True)


@bench_app.command("backbones")
def bench_backbones(
    full: Annotated[
        bool, typer.Option("--full", help="Also train emotion-mini on those at hand, for the accuracy.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the rows as JSON here.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="A name from `overtone weights list`, or a folder; may be repeated."),
    ] = None,
) -> None:
    """What each encoder costs on this machine: parameters, memory, samples a second."""
    from overtone import backbones
    from overtone.apps import bench_backbones as shown

    names = backbones.chosen(only or [])
    err.print(Text(f"reads {', '.join(names)}"))
    with shown.progress(err, backbones.steps(names)) as step:
        rows = list(backbones.measure(names, step))
    if full:
        rows = [backbones.with_accuracy(row) for row in rows]
    shown.show(out, rows)
    if output is not None:
        backbones.write(output, rows)
        err.print(Text(f"wrote {output}"))
