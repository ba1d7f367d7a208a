"""The verb that exports a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from overtone.apps.catalogue import Json, err, out
from overtone.errors import RunError, UsageError


def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A trained run's folder.")],
    gguf: Annotated[
        Literal["f16", "f32", "q8_0", "none"] | None,
        typer.Option(help="Of a tuned decoder: how the GGUF file keeps its matrices; f16 if not given."),
    ] = None,
    json_: Json = False,
) -> None:
    """Export a run; a form that answers otherwise than the run is refused.

    A run that reads texts becomes ONNX, float and int8; a tuned decoder merged weights and a GGUF file.
    """
    from overtone import exporting
    from overtone.apps import bench, screen
    from overtone.run import Run

    err.print(Text(f"reads {run_folder}"))
    place = Run(run_folder)
    if exporting.converses(place):
        told = exporting.export_decoder(place, None if gguf == "none" else gguf or "f16")
        if json_:
            print(screen.as_json([each.as_dict() for each in told]))  # noqa: T201
        else:
            for each in told:
                out.print(Text(each.sentence, style="" if each.passed else "red"))
        err.print(Text(f"wrote {run_folder / 'model' / 'merged'}"))
        refused = [each.form for each in told if not each.passed]
        if refused:
            raise RunError(f"{' and '.join(refused)} refused, and removed", hint="its figures: parity.json")
        return
    if gguf is not None:
        raise UsageError(f"--gguf: {run_folder} is no tuned decoder", hint="leave it out")
    judged = exporting.export(place)
    if json_:
        print(screen.as_json([each.as_dict() for each in judged]))  # noqa: T201
    else:
        bench.forms(out, judged)
    err.print(Text(f"wrote {run_folder / 'model' / 'onnx'}"))
