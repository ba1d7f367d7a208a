"""The verbs that look at this machine: `overtone doctor` and `overtone bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from overtone import recipe as recipes
from overtone.apps.catalogue import Json, err, out
from overtone.cli_known import Sets

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


@bench_app.command("inference")
def bench_inference(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A trained run's folder.")],
    file: Annotated[Path, typer.Option(help="Your texts: one a line, or JSONL with a 'text'.")],
    output: Annotated[Path | None, typer.Option(help="Also write the rows as JSON here.")] = None,
) -> None:
    """Backend × precision × threads × batch on your own texts; `overtone export` adds the ONNX forms."""
    import os

    from overtone import system
    from overtone.apps import bench, stream
    from overtone.evaluation import speed

    found = system.trained(run_folder)
    reader = system.load_reader(recipes.load(str(found.recipe)), found)
    graphs = {path.stem: path for path in sorted((found.model / system.FORMS).glob("*.onnx"))}
    err.print(Text(f"reads {run_folder} and {file}"))
    texts = [text for text, _ in stream.rows(file)]
    with err.status("measuring every setting in turn"):
        rows = speed.bench_inference(reader.model, texts, graphs, os.cpu_count() or 1)
    bench.inference(out, rows, len(texts))
    if output is not None:
        speed.save(output, len(texts), rows)
        err.print(Text(f"wrote {output}"))


def doctor(
    recipe: Annotated[
        str | None, typer.Option(help="Tell what tuning the decoder of this recipe takes of memory, instead.")
    ] = None,
    set_: Sets = None,
    json_: Json = False,
) -> None:
    """Look at this machine: versions, threads, memory, devices, weights, data, a short training."""
    from overtone import doctor as examination
    from overtone.apps import screen

    found = examination.examine(err) if recipe is None else examination.memory_of(recipe, set_ or [])
    if json_:
        print(screen.as_json(found))  # noqa: T201
    else:
        screen.findings(out, found)
