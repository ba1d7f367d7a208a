"""The verb that converses with a tuned decoder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from overtone.apps.catalogue import Json, err, out


def chat(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A tuned decoder's folder.")],
    persona: Annotated[
        str | None, typer.Option(help="Who answers: a name, such as teacher, or a YAML file.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show first what the model says without its adapter.")
    ] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of an answer at most.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Below 1 bolder; 0 always takes the best token.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draws.")] = None,
    json_: Json = False,
) -> None:
    """Converse with a tuned decoder: at a prompt, or a line of standard input after the other.

    What is said is kept nowhere, unless it is saved with /save.
    """
    from overtone import system
    from overtone.apps import chat as chatting
    from overtone.apps import persona as personas
    from overtone.apps import stream

    who = None if persona is None else personas.load(persona)
    loaded = system.load_chat(run_folder)
    err.print(Text(f"reads {run_folder}"))
    if terms := chatting.licence_line(loaded.licence):
        err.print(Text(terms, style="yellow"))
    given = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    settings = {name: value for name, value in given.items() if value is not None}
    conversation = chatting.Conversation(loaded, settings, who, compare)
    if sys.stdin.isatty() and out.is_terminal and not json_:
        chatting.talk(conversation, Console())  # `out` wraps no line, and an answer is drawn in lines
    else:
        lines = (text for text, _ in stream.rows(None))
        chatting.answer_lines(conversation, lines, out.file, err, as_json=json_)
