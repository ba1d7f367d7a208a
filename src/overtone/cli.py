"""The verbs. Each says on one line what it reads and on one where it wrote."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from overtone.errors import DataError, OvertoneError, UsageError

if TYPE_CHECKING:
    from overtone.inference.decisions import DecisionLog
    from overtone.system import System

app = typer.Typer(
    name="overtone",
    help="Adapt small language models to people, prove that it helped, and serve the result.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    help="Data sets: what is known, what is at hand, how recipes are written.", no_args_is_help=True
)
weights_app = typer.Typer(help="Pretrained weights: what is known and what is at hand.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)
CHUNK = 512
"""Texts that are read, classified and written at a time."""

Name = Annotated[str | None, typer.Option("--name", help="The run's folder name, if not the recipe's name.")]
Runs = Annotated[Path, typer.Option("--runs", help="The folder that holds the runs.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="A change to the recipe: train.epochs=5.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start over, and delete the old run.")]


def main() -> None:
    """Run the command line: exit code 0 done, 1 failed, 2 wrong usage."""
    try:
        app()
    except OvertoneError as error:
        err.print("[bold red]error[/]", end=" ")
        err.print(error.what, markup=False, highlight=False)
        if error.hint:
            err.print(f"  → {error.hint}", markup=False, highlight=False, style="cyan")
        sys.exit(2 if isinstance(error, UsageError) else 1)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or file, or a run's folder to go on with.")],
    name: Name = None,
    runs: Runs = Path("runs"),
    set_: Sets = None,
    overwrite: Overwrite = False,
) -> None:
    """Do all of it: data, model, fit, evaluation, report. A run that was stopped goes on where it stood."""
    from overtone import pipeline
    from overtone import recipe as recipes
    from overtone.run import Run

    going_on = (Path(recipe) / "recipe.yaml").exists()
    resolved = recipes.load(str(Path(recipe) / "recipe.yaml") if going_on else recipe, set_ or [])
    folder = Run(Path(recipe) if going_on else runs / (name or resolved.name))
    err.print(f"reads recipe [bold]{resolved.name}[/]: {resolved.description}", highlight=False)
    pipeline.run(resolved, folder, overwrite=overwrite)
    _show_report(folder.folder)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name or file.")],
    name: Name = None,
    runs: Runs = Path("runs"),
    set_: Sets = None,
    overwrite: Overwrite = False,
) -> None:
    """Fit the model alone; `overtone run RUNS/NAME` evaluates it afterwards."""
    from overtone import pipeline
    from overtone import recipe as recipes
    from overtone.run import Run

    resolved = recipes.load(recipe, set_ or [])
    folder = Run(runs / (name or resolved.name))
    err.print(f"reads recipe [bold]{resolved.name}[/]: {resolved.description}", highlight=False)
    with folder.lock():
        pipeline.begin(resolved, folder, overwrite=overwrite)
        if not pipeline.finished(folder):
            pipeline.train(resolved, pipeline.prepare(resolved, folder), folder)
    err.print(f"wrote {folder.model}", highlight=False)


@app.command()
def evaluate(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A trained run's folder.")],
    json_: Json = False,
) -> None:
    """Evaluate a trained run again and rewrite its report."""
    from overtone import pipeline, proof
    from overtone import recipe as recipes
    from overtone.run import Run, read_json

    folder = _trained(run_folder)
    resolved = recipes.load(str(folder / "recipe.yaml"))
    err.print(f"reads {folder}", highlight=False)
    place = Run(folder)
    with place.lock():
        proof.prove(resolved, pipeline.prepare(resolved, place), place)
    if json_:
        print(json.dumps(read_json(place.evaluation / "test.summary.json"), indent=2))  # noqa: T201
    else:
        _show_report(folder)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A run's folder, or a file of per-example scores.")],
    b: Annotated[Path, typer.Argument(help="Another.")],
    metric: Annotated[str, typer.Option(help="The metric whose difference is given.")] = "accuracy",
    seed: Annotated[int, typer.Option(help="Of the resamples.")] = 7,
    json_: Json = False,
) -> None:
    """Compare two runs on the same test rows: paired bootstrap, McNemar, and the rows that flipped."""
    from overtone.errors import did_you_mean
    from overtone.evaluation.compare import flips, load_predictions, mcnemar, paired
    from overtone.scores import METRICS

    if metric not in METRICS:
        raise UsageError(f"no metric '{metric}'", hint=did_you_mean(metric, METRICS))
    files = [path / "evaluation" / "test.jsonl" if path.is_dir() else path for path in (a, b)]
    first, second = (load_predictions(file) for file in files)
    difference = paired(METRICS[metric], first, second, seed=seed)
    test, flipped = mcnemar(first, second), flips(first, second)
    fixed = sum(flip.fixed for flip in flipped)
    if json_:
        print(  # noqa: T201
            json.dumps(
                {
                    "metric": metric,
                    "a": METRICS[metric].function(first),
                    "b": METRICS[metric].function(second),
                    "difference": [difference.value, difference.low, difference.high],
                    "mcnemar": {"only_a": test.only_a, "only_b": test.only_b, "p": test.p},
                    "fixed": fixed,
                    "broken": len(flipped) - fixed,
                },
                indent=2,
            )
        )
        return
    out.print(f"{metric}: {METRICS[metric].function(first):.4f} → {METRICS[metric].function(second):.4f}")
    out.print(
        f"difference {difference.value:+.4f}, 95% interval {difference.low:+.4f} to {difference.high:+.4f}"
    )
    out.print(f"right in only one: a {test.only_a}, b {test.only_b}; McNemar p = {test.p:.2g}")
    table = Table(
        "row", "gold", "a", "b", title=f"flips: {fixed} fixed, {len(flipped) - fixed} broken (first 20)"
    )
    for flip in flipped[:20]:
        table.add_row(flip.id, flip.gold, flip.a, flip.b, style="green" if flip.fixed else "red")
    out.print(table)


@app.command()
def classify(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN] [TEXT]...", help="A run's folder, then texts.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="One text a line, or JSONL with a 'text'; - for standard input.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Where the JSONL goes, if not to standard output.")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Append the decisions here, without the texts.")] = None,
    log_text: Annotated[bool, typer.Option(help="Put the texts into the log as well.")] = False,
    backup: Annotated[bool, typer.Option(help="Let the backup model help where unsure.")] = True,
    sarcasm: Annotated[bool, typer.Option(help="Check for sarcasm where unsure.")] = True,
    ask: Annotated[bool, typer.Option(help="Ask back instead of answering where unsure.")] = True,
    json_: Json = False,
) -> None:
    """Classify texts: arguments, a file, standard input, or a conversation at a prompt.

    Without a RUN, the classifier that ships with the package answers.
    """
    from overtone.apps import prompt
    from overtone.inference.decisions import DecisionLog
    from overtone.system import load

    texts = list(words or [])
    folder = Path(texts.pop(0)) if texts and (Path(texts[0]) / "recipe.yaml").exists() else None
    system = load(folder)
    steps = {"backup": backup, "sarcasm": sarcasm, "ask": ask}
    journal = DecisionLog(log, with_text=log_text) if log else None
    if not texts and file is None and sys.stdin.isatty():
        prompt.converse(
            lambda asked: system.classify(asked, **steps), out, journal, Path("overtone-stats.png")
        )
        return
    if texts and not json_ and output is None:
        decisions = system.classify(texts, **steps)
        for text, decision in zip(texts, decisions, strict=True):
            prompt.show(out, decision, text)
        if journal:
            journal.add(texts, decisions)
        return
    source = iter(texts) if texts else _lines(file)
    _classify_stream(system, source, output, journal, steps)


def _classify_stream(
    system: System,
    texts: Iterator[str],
    output: Path | None,
    journal: DecisionLog | None,
    steps: dict[str, bool],
) -> None:
    """Texts in, one JSON line a decision out, in order, a chunk at a time."""
    target = output.open("w", encoding="utf-8") if output else sys.stdout
    done = 0
    try:
        with Progress(console=err, transient=True) as bar:
            task = bar.add_task("classifying", total=None)
            while chunk := list(islice(texts, CHUNK)):
                decisions = system.classify(chunk, **steps)
                for text, decision in zip(chunk, decisions, strict=True):
                    target.write(json.dumps({"text": text, **asdict(decision)}, ensure_ascii=False) + "\n")
                if journal:
                    journal.add(chunk, decisions)
                done += len(chunk)
                bar.update(task, completed=done, description=f"classified {done}")
            target.flush()
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away, as `head` does; there is nobody left to tell
    finally:
        if output:
            target.close()
    if output:
        err.print(f"wrote {done} decisions to {output}", highlight=False)


def _lines(file: Path | None) -> Iterator[str]:
    """The texts of a file or of standard input; JSONL rows by their 'text'."""
    from overtone.data.files import lines

    if file is None or str(file) == "-":
        yield from (line.rstrip("\n") for line in sys.stdin)
        return
    if not file.is_file():
        raise DataError(f"{file} is not a file", hint="--file - reads standard input")
    for number, line in lines(file):
        if file.suffix != ".jsonl":
            yield line
            continue
        try:
            yield str(json.loads(line)["text"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DataError(f"{file}, line {number}: not a JSON object with a 'text'") from error


@app.command()
def doctor(json_: Json = False) -> None:
    """Look at this machine: versions, threads, memory, devices, weights, data, a short training."""
    from overtone import doctor as examination

    findings = examination.examine(err)
    if json_:
        print(json.dumps(findings, indent=2))  # noqa: T201
        return
    table = Table("what", "found", show_header=False, box=None)
    for what, found in findings.items():
        table.add_row(f"[bold]{what}[/]", found if isinstance(found, str) else json.dumps(found))
    out.print(table)


@data_app.command("list")
def data_list(json_: Json = False) -> None:
    """Every data set that is known, its licence, and whether it is at hand."""
    from overtone.data.fetch import catalogue, locate

    rows = []
    for name, source in catalogue().items():
        try:
            where = str(locate(source.card))
        except DataError:
            where = ""
        rows.append({"name": name, "title": source.card.title, "licence": source.card.licence, "at": where})
    _print_rows(rows, json_=json_)


@data_app.command("show")
def data_show(
    name: Annotated[str, typer.Argument(help="A data set's name, or a recipe's to see its splits.")],
    rows: Annotated[int, typer.Option(help="How many rows to show.")] = 5,
) -> None:
    """A data set's card and first rows, or a recipe's splits, leaks and licence."""
    from overtone import recipe as recipes
    from overtone.data import split
    from overtone.data.fetch import catalogue, locate
    from overtone.errors import did_you_mean

    known = catalogue()
    if (name in recipes.shipped() and name not in known) or Path(name).is_file():
        resolved = recipes.load(name)
        prepared = split.prepare(resolved.data, resolved.seed)
        out.print_json(data={k: v for k, v in prepared.report.as_dict().items() if k != "leaks"})
        out.print(f"{len(prepared.report.leaks)} leaks between splits")
        return
    if name not in known:
        raise UsageError(f"no data set '{name}'", hint=did_you_mean(name, known))
    card = known[name].card
    for key in ("title", "licence", "url", "citation", "sizes", "notes"):
        out.print(f"[bold]{key}[/] {getattr(card, key)}", highlight=False)
    table = Table("id", "split", "targets", "text")
    for record in islice(known[name].records(locate(card)), rows):
        table.add_row(record.id, record.split or "", str(dict(record.targets)), record.text)
    out.print(table)


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="A data set's name.")]) -> None:
    """Download a data set from its source and check its hash."""
    from overtone.data.fetch import catalogue, fetch
    from overtone.errors import did_you_mean

    known = catalogue()
    if name not in known:
        raise UsageError(f"no data set '{name}'", hint=did_you_mean(name, known))
    with Progress(console=err) as bar:
        task = bar.add_task(name, total=None)
        folder = fetch(
            known[name].card,
            lambda part, done, total: bar.update(task, description=part, completed=done, total=total),
        )
    err.print(f"'{name}' is in {folder}", highlight=False)


@data_app.command("schema")
def data_schema() -> None:
    """The JSON schema of a recipe."""
    from overtone.recipe import Recipe

    print(json.dumps(Recipe.model_json_schema(), indent=2))  # noqa: T201


@weights_app.command("list")
def weights_list(json_: Json = False) -> None:
    """Every set of weights that is known, and whether it is at hand."""
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
    _print_rows(rows, json_=json_)


@weights_app.command("fetch")
def weights_fetch(name: Annotated[str, typer.Argument(help="A name from `overtone weights list`.")]) -> None:
    """Get weights from the hub, unless they are at hand."""
    from overtone.models import weights

    err.print(f"'{name}' is in {weights.fetch(name)}", highlight=False)


@app.command()
def recipes() -> None:
    """The recipes that come with the package."""
    from overtone import recipe

    _print_rows(
        [{"name": name, "description": recipe.load(name).description} for name in recipe.shipped()],
        json_=False,
    )


def _print_rows(rows: list[dict[str, Any]], *, json_: bool) -> None:
    if json_:
        print(json.dumps(rows, indent=2))  # noqa: T201
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    out.print(table)


def _trained(folder: Path) -> Path:
    if not (folder / "model" / "labels.json").exists():
        raise UsageError(f"{folder} is not a trained run", hint="train one with: overtone run emotion-mini")
    return folder


def _show_report(folder: Path) -> None:
    """The report in the terminal, and how to go on."""
    from rich.markdown import Markdown

    from overtone.run import Run

    text = (folder / "report.md").read_text(encoding="utf-8")
    if out.is_terminal:
        out.print(Markdown(text))
    else:
        print(text)  # noqa: T201
    left_out = (Run(folder).facts().get("cascade") or {}).get("left_out")
    if left_out:
        err.print(f"no cascade: {left_out}", style="yellow", markup=False, highlight=False)
    out.print(f"\nwrote {folder / 'report.html'} (open it in a browser)", highlight=False)
    out.print(f'try:  overtone classify {folder} "I finally did it!"', highlight=False)


if __name__ == "__main__":
    main()
