"""The verbs about what a tuned decoder says: converse with it, and have its answers judged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from overtone.apps.catalogue import Json, err, out
from overtone.errors import UsageError

if TYPE_CHECKING:
    from overtone.apps.chat import Converses
    from overtone.evaluation.judge import Judge


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
    top_p: Annotated[
        float | None, typer.Option(min=0, max=1, help="Draw among the fewest best whose shares reach this.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(help="A text that ends an answer; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draws.")] = None,
    engine: Annotated[
        Literal["torch", "llama.cpp"],
        typer.Option(help="What computes; llama.cpp speaks the GGUF file of `overtone export`."),
    ] = "torch",
    locale: Annotated[
        str, typer.Option(help="Whose services a listener names in a crisis, such as US or en-GB.")
    ] = "US",
    policy: Annotated[
        bool, typer.Option("--policy/--no-policy", help="Of a listener: the crisis policy before and after.")
    ] = True,
    json_: Json = False,
) -> None:
    """Converse with a tuned decoder: at a prompt, or a line of standard input after the other.

    What is said is kept nowhere, unless it is saved with /save. A listener (a companion) reflects before it
    replies, and the crisis policy stands before and after.
    """
    from overtone import system
    from overtone.apps import chat as chatting
    from overtone.apps import persona as personas
    from overtone.apps import stream
    from overtone.companion_recipe import CompanionRecipe
    from overtone.inference import policy as crisis
    from overtone.listener import Listener
    from overtone.preference_recipe import PreferenceRecipe

    who = None if persona is None else personas.load(persona)
    if compare and engine != "torch":
        raise UsageError("--compare: an exported form has its adapter merged", hint="add --engine torch")
    loaded = system.load_chat(run_folder) if engine == "torch" else system.load_exported_chat(run_folder)
    err.print(Text(f"reads {run_folder}"))
    if terms := chatting.licence_line(loaded.licence):
        err.print(Text(terms, style="yellow"))
    given = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "stop": stop,
        "seed": seed,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    model: Converses = loaded
    if isinstance(loaded.recipe, CompanionRecipe | PreferenceRecipe):
        guard = crisis.load(locale) if policy else None
        model = Listener(loaded, guard)
        if warning := crisis.notice(guard):
            err.print(Text(warning, style="bold yellow"))
    conversation = chatting.Conversation(model, settings, who, compare)
    if sys.stdin.isatty() and out.is_terminal and not json_:
        chatting.talk(conversation, Console())  # `out` wraps no line, and an answer is drawn in lines
    else:
        lines = (text for text, _ in stream.rows(None))
        chatting.answer_lines(conversation, lines, out.file, err, as_json=json_)


def judge(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run whose exam has been asked.")],
    by: Annotated[
        str, typer.Option(help="Who judges: weights that are at hand, or the folder of a tuned decoder.")
    ] = "smollm2-135m-instruct",
    endpoint: Annotated[
        str | None, typer.Option(help="Judge with the model --by at this OpenAI-compatible URL.")
    ] = None,
    key_variable: Annotated[
        str | None, typer.Option(help="The environment variable with the key of the endpoint.")
    ] = None,
    column: Annotated[
        Literal["trained", "held_out"], typer.Option(help="The questions whose answers are judged.")
    ] = "held_out",
    most: Annotated[int, typer.Option(min=1, help="Questions at most, drawn by the seed.")] = 60,
    graded: Annotated[
        Path | None, typer.Option(help="Your own answers graded by hand, as JSON lines; else the shipped.")
    ] = None,
    json_: Json = False,
) -> None:
    """Have the answers of an exam graded 0, 1 or 2 by a model, after it is set beside grades by hand."""
    from dataclasses import asdict

    from overtone import claim, dispatch, exam, judging, kinds, system
    from overtone.apps import screen
    from overtone.chat_recipe import ChatRecipe
    from overtone.evaluation import agreement
    from overtone.evaluation.judge import EndpointJudge
    from overtone.inference.endpoint import EndpointConfig
    from overtone.seq2seq_recipe import Seq2SeqRecipe

    by_hand = agreement.read_graded(graded or judging.BY_HAND)
    run = system.trained(run_folder)
    recipe = kinds.read(str(run.recipe))
    if not isinstance(recipe, ChatRecipe | Seq2SeqRecipe):
        raise UsageError(
            f"{run_folder} answers no questions", hint="train with: overtone run tutor-knowledge"
        )
    own = recipe.body.weights if isinstance(recipe, ChatRecipe) else None
    if endpoint is not None:
        config = EndpointConfig(url=endpoint, model=by, key_variable=key_variable)
        who: Judge = EndpointJudge(config, judges_itself=by == own)
    else:
        who = judging.local(by, own)
    with run.lock():
        prepared = dispatch.of(recipe).divide(recipe)
        claim.refuse_other_data(prepared.fingerprints, run)
        asked = exam.asked(recipe.exam, recipe.rows_seed, prepared)
        (questions,) = (each for each in asked if each.column == column)
        settings = {"most": most, "seed": recipe.seed, "resamples": recipe.exam.resamples}
        found = judging.judged(run, questions, who, by_hand, **settings)
    if json_:
        print(screen.as_json(asdict(found)))  # noqa: T201
        return
    rows = [(one.system, agreement.shown(one.grade, found.examined)) for one in found.systems]
    screen.table(out, [column.replace("_", " "), f"grade by {found.judge}"], rows)
    err.print(Text(f"wrote {run.evaluation / column / judging.JUDGED}"))
