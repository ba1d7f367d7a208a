"""The verbs. Each says on one line what it reads and on one where it wrote."""

from __future__ import annotations

import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from overtone.apps.catalogue import Json, data_app, err, out, weights_app
from overtone.apps.searching import search_app
from overtone.apps.tokenizing import tokenize
from overtone.cli_bench import bench_app, doctor
from overtone.cli_chat import chat, judge
from overtone.cli_export import export
from overtone.cli_generate import generate
from overtone.cli_known import Sets, data_schema, data_show, recipes
from overtone.errors import OvertoneError, RunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from overtone.apps.stream import Row
    from overtone.inference.decisions import Decision
    from overtone.recipe import BaseRecipe
    from overtone.run import Run
    from overtone.system import System

app = typer.Typer(
    name="overtone",
    help="Adapt small language models to people, prove that it helped, and serve the result.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app.command("tokenize")(tokenize)
data_app.command("show")(data_show)
data_app.command("schema")(data_schema)
app.command("generate")(generate)
app.command("chat")(chat)
app.command("judge")(judge)
app.command("export")(export)
app.command("doctor")(doctor)
app.command("recipes")(recipes)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")
app.add_typer(bench_app, name="bench")
app.add_typer(search_app, name="search")

INTERRUPTED = 130
"""The exit code after Ctrl-C, as a shell has it."""

Name = Annotated[str | None, typer.Option("--name", help="The run's folder name, if not the recipe's name.")]
Runs = Annotated[Path, typer.Option("--runs", help="The folder that holds the runs.")]
With = Annotated[
    list[Path] | None, typer.Option("--with", help="Another run, for the ensemble of all; may be repeated.")
]
From = Annotated[
    Path | None, typer.Option("--from", help="The run that this one starts from; sets `start` of the recipe.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start over, and delete the old run.")]


def main() -> None:
    """Run the command line: exit code 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    try:
        app()
    except OvertoneError as error:
        _say_error(error.what)
        if error.hint:
            err.print(Text(f"  → {error.hint}", style="cyan"))
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except SystemExit as end:  # typer makes one of Ctrl-C, and says nothing
        if end.code == INTERRUPTED:
            err.print("stopped")
        raise
    except KeyboardInterrupt:
        err.print("stopped")
        sys.exit(INTERRUPTED)
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        _say_error(place + (error.strerror or str(error).partition("\n")[0]))
        sys.exit(1)


def _say_error(what: str) -> None:
    err.print(Text.assemble(("error ", "bold red"), what))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"overtone {version('overtone')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def overtone(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Adapt small language models to people, prove that it helped, and serve the result."""


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or file, or a run's folder to go on with.")],
    name: Name = None,
    runs: Runs = Path("runs"),
    set_: Sets = None,
    from_: From = None,
    overwrite: Overwrite = False,
) -> None:
    """Do all of it: data, model, fit, evaluation, report. A run that was stopped goes on where it stood."""
    from overtone import dispatch, kinds
    from overtone.apps import screen
    from overtone.apps.words import is_run
    from overtone.run import Run

    going_on = is_run(recipe)
    if going_on and name is not None:
        raise UsageError(
            f"{recipe} is a run's folder and has its name", hint="leave --name out, or give a recipe"
        )
    resolved = kinds.read(str(Path(recipe) / "recipe.yaml") if going_on else recipe, _changes(set_, from_))
    folder = Run(Path(recipe)) if going_on else _place(resolved, runs, name)
    _say_recipe(resolved)
    dispatch.run(resolved, folder, overwrite=overwrite)
    screen.report(folder.folder, out, err, dispatch.of(resolved).example)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or file.")],
    name: Name = None,
    runs: Runs = Path("runs"),
    set_: Sets = None,
    from_: From = None,
    overwrite: Overwrite = False,
) -> None:
    """Fit the model alone; `overtone run RUNS/NAME` evaluates it afterwards."""
    from overtone import dispatch, kinds

    resolved = kinds.read(recipe, _changes(set_, from_))
    folder = _place(resolved, runs, name)
    _say_recipe(resolved)
    verbs = dispatch.of(resolved)
    with folder.lock():
        verbs.begin(resolved, folder, overwrite=overwrite)
        if verbs.finished(folder):
            err.print(Text(f"{folder.model} is trained already; --overwrite trains it again"))
            return
        verbs.train(resolved, verbs.prepare(resolved, folder), folder)
    err.print(Text(f"wrote {folder.model}"))


def _changes(set_: list[str] | None, from_: Path | None) -> list[str]:
    """The changes to a recipe, with the run that it starts from."""
    return [*(set_ or []), *([] if from_ is None else [f"start={from_}"])]


def _place(recipe: BaseRecipe, runs: Path, name: str | None) -> Run:
    """The folder of a run of this recipe."""
    from overtone.recipe import BaseRecipe
    from overtone.run import Run

    pattern = BaseRecipe.model_json_schema()["properties"]["name"]["pattern"]
    if name is not None and not re.fullmatch(pattern, name):
        raise UsageError(
            f"--name {name}: not a run's name",
            hint="small letters, digits, '.', '_', '-', and a letter or digit first; --runs names the place",
        )
    return Run(runs / (name or recipe.name))


def _say_recipe(recipe: BaseRecipe) -> None:
    err.print(Text.assemble("reads recipe ", (recipe.name, "bold"), f": {recipe.description}"))


@app.command()
def evaluate(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A trained run's folder.")],
    with_: With = None,
    benchmark: Annotated[
        Literal["eq_bench"] | None, typer.Option(help="This benchmark alone, of a run that answers.")
    ] = None,
    json_: Json = False,
) -> None:
    """Evaluate a trained run again and rewrite its report; or, beside others, their ensemble alone."""
    from dataclasses import asdict

    from overtone import dispatch, jury, kinds, system
    from overtone.apps import screen

    try:
        place = system.trained(run_folder)
    except RunError as error:
        raise UsageError(error.what, hint=error.hint) from error
    resolved = kinds.read(str(place.recipe))
    verbs = dispatch.of(resolved)
    err.print(Text(f"reads {', '.join(map(str, [run_folder, *(with_ or [])]))}"))
    if benchmark is not None:
        _eq_bench(place, as_json=json_)
        return
    if with_:
        with place.lock():
            judged = jury.judge(place, with_)
        if json_:
            print(screen.as_json({name: list(map(asdict, found)) for name, found in judged.items()}))  # noqa: T201
        else:
            for name, found in judged.items():
                screen.standings(out, name, found)
        err.print(Text(f"wrote {place.evaluation / '*' / jury.NAME}.jsonl"))
        return
    with place.lock():
        verbs.prove(resolved, verbs.prepare(resolved, place), place)
    if json_:
        print(screen.as_json(verbs.told(resolved, place)))  # noqa: T201
    else:
        screen.report(run_folder, out, err, verbs.example)


def _eq_bench(place: Run, *, as_json: bool) -> None:
    """Have a run sit EQ-Bench, and show what it came to."""
    from overtone import eq_exam, system
    from overtone.apps import screen
    from overtone.evaluation import eq_bench_report
    from overtone.evaluation.benchmarks.eq_bench import EqExamConfig

    loaded = system.load_chat(place.folder)
    with place.lock():
        cells = eq_exam.of_run(place, loaded.body, EqExamConfig())
    if as_json:
        told = [dict(zip(eq_bench_report.HEADER, row, strict=True)) for row in cells]
        print(screen.as_json(told))  # noqa: T201
    else:
        screen.table(out, eq_bench_report.HEADER, cells)
    err.print(Text(f"wrote {place.evaluation / eq_exam.FOLDER / eq_exam.TABLE}"))


@app.command()
def compare(
    a: Annotated[
        Path, typer.Argument(help="A run's folder, a file of per-example scores, or a study's name or file.")
    ],
    b: Annotated[Path | None, typer.Argument(help="Another run or file; none with a study.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="The metric whose difference is given, such as valence.pearson.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="One task of several.")] = None,
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 7,
    runs: Runs = Path("runs"),
    docs: Annotated[Path | None, typer.Option(help="Of a study: the folder of its page and index.")] = None,
    results: Annotated[Path | None, typer.Option(help="Of a study: the file of its figures.")] = None,
    json_: Json = False,
) -> None:
    """Compare two runs on the same test rows, or the arms of a study, which trains what it lacks."""
    from overtone import grid, study
    from overtone.apps import comparing, screen

    if b is None:
        if not grid.is_study(str(a)):
            known = ", ".join(grid.shipped())
            raise UsageError(f"{a} is compared with nothing", hint=f"name a second run, or a study: {known}")
        places = study.Places(runs, docs, results)
        found = study.answer(grid.load(str(a)), str(a), places, lambda line: err.print(Text(line)))
        if json_:
            print(screen.as_json(asdict(found)))  # noqa: T201
        return
    pairs = {
        name: comparing.compared((str(a), str(b)), files, metric, seed)
        for name, files in comparing.pairs(a, b, task).items()
    }
    if json_:
        print(screen.as_json({name: each.as_dict() for name, each in pairs.items()}))  # noqa: T201
        return
    for name, each in pairs.items():
        if len(pairs) > 1:
            out.print(Text(f"\n{name}", style="bold"))
        each.show(out)


@app.command()
def classify(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN] [TEXT]...", help="A run's folder, then texts.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="One text a line, or JSONL with a 'text' and a 'context'; - for standard input."),
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="What was said before the texts, for a run that reads it.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where the JSONL goes, if not to standard output.")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Append the decisions here, without the texts.")] = None,
    log_text: Annotated[bool, typer.Option(help="Put the texts into the log as well.")] = False,
    backup: Annotated[bool, typer.Option(help="Let the backup model help where unsure.")] = True,
    sarcasm: Annotated[bool, typer.Option(help="Check for sarcasm where unsure.")] = True,
    ask: Annotated[bool, typer.Option(help="Ask back instead of answering where unsure.")] = True,
    with_: With = None,
    json_: Json = False,
) -> None:
    """Classify texts: arguments, a file, standard input, or a conversation at a prompt.

    Without a RUN, the classifier that ships with the package answers. A run of several heads says what each
    of them makes of a text.
    """
    from overtone.apps import prompt, readouts, stream
    from overtone.apps.words import run_and_texts
    from overtone.inference.decisions import DecisionLog
    from overtone.inference.readout import Readout

    folder, texts = run_and_texts(words or [])
    if with_ and folder is None:
        raise UsageError("--with needs a RUN to stand beside", hint="overtone classify RUN --with RUN TEXT")
    if texts and file is not None:
        raise UsageError("texts and --file are two sources", hint="give one of them")
    if context is not None and not texts:
        raise UsageError("--context needs texts", hint="rows of a JSONL file have a 'context' of their own")
    if log_text and log is None:
        raise UsageError("--log-text needs --log", hint="name the log's file: --log decisions.jsonl")
    asking = not texts and file is None and output is None and not json_ and sys.stdin.isatty()
    source = None if file is None or str(file) == "-" else file
    stream.check_apart(source, output, log)
    total = len(texts) if texts else stream.count(source)
    system = _load(folder, with_ or [])
    journal = DecisionLog(log, with_text=log_text) if log else None
    steps = {"backup": backup, "sarcasm": sarcasm, "ask": ask}
    left_out = ", ".join(f"--no-{name}" for name, wanted in steps.items() if not wanted)
    if left_out and not system.decides:
        raise UsageError(f"{left_out}: {system.run.folder} has no such step", hint="leave it out")
    turns = not system.decides and any(reading.context for reading in system.reader.readings.values())
    if context is not None and not turns:
        raise UsageError(f"--context: {system.run.folder} reads each text alone", hint="leave it out")

    def decide(rows: list[Row]) -> list[Decision]:
        return system.classify([text for text, _ in rows], **steps)

    def read(rows: list[Row]) -> list[Readout]:
        return system.read([text for text, _ in rows], [before for _, before in rows])

    judge: Callable[[list[Row]], Sequence[Decision | Readout]] = decide if system.decides else read
    given = [(text, stream.stated(context)) for text in texts]
    if asking and system.decides:
        prompt.converse(decide, out, journal, Path("overtone-stats.png"))
    elif asking:
        readouts.converse(read, out, journal, context=turns)
    elif texts and not json_ and output is None:
        outcomes = judge(given)
        for text, outcome in zip(texts, outcomes, strict=True):
            if isinstance(outcome, Readout):
                readouts.show(out, outcome, text)
            else:
                prompt.show(out, outcome, text)
        if journal:
            journal.add(texts, outcomes)
    else:
        waiting = iter(given) if texts else stream.rows(source)
        if not turns:  # what was said before stands in the output only where it was read
            waiting = ((text, None) for text, _ in waiting)
        done = stream.classify(judge, waiting, output, err, total=total, journal=journal)
        if output:
            err.print(Text(f"wrote {done} {'decisions' if system.decides else 'read-outs'} to {output}"))


def _load(folder: Path | None, others: list[Path]) -> System:
    """The run and others, or the classifier that ships with the package, and a word on its licence."""
    from overtone import system

    loaded = system.load([folder, *others] if folder is not None and others else folder)
    if not isinstance(loaded, system.System):
        raise UsageError(
            f"{folder} is no run that reads texts",
            hint=f"overtone generate {folder} continues a text, where it is a language model",
        )
    named = ", ".join(str(each) for each in (folder, *others) if each is not None)
    err.print(Text(f"reads {named or 'the classifier that ships with the package'}"))
    licence = loaded.licence
    if licence["commercial"] is not True:
        allowed = "not" if licence["commercial"] is False else "not known to be"
        terms = f"data: {licence['data']}; weights: {licence['weights']}"
        err.print(Text(f"{allowed} for commercial use ({terms})", style="yellow"))
    return loaded


if __name__ == "__main__":
    main()
