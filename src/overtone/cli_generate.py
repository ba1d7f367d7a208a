"""The verb that continues a text with a trained language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from overtone.apps.catalogue import Json, err, out


def generate(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A trained language model's folder.")],
    prompt: Annotated[
        str, typer.Argument(help="What the text begins with; nothing: a text of its own.")
    ] = "",
    max_tokens: Annotated[int | None, typer.Option(help="Tokens made at most.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Below 1 bolder; 0 always takes the best token.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw among this many of the best.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw among the fewest best whose shares reach this.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draws.")] = None,
    json_: Json = False,
) -> None:
    """Continue a text, token by token; what is not set is as the run's recipe has it."""
    from overtone import system
    from overtone.apps import screen

    loaded = system.load_language(run_folder)
    err.print(Text(f"reads {run_folder}"))
    given = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
    }
    settings: dict[str, Any] = loaded.recipe.evaluate.sampling.model_dump()
    settings |= {name: value for name, value in given.items() if value is not None}
    if json_:
        made = loaded.generate(prompt, **settings)
        print(screen.as_json({"prompt": prompt, "continuation": made, **settings}))  # noqa: T201
        return
    out.file.write(prompt)
    for piece in loaded.stream(prompt, **settings):
        out.file.write(piece)
        out.file.flush()
    out.file.write("\n")
