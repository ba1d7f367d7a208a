"""`overtone search`: index a folder of texts once, then ask it."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from overtone.apps.catalogue import Json, err, out
from overtone.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overtone.inference.indexing import Indexed, Told
    from overtone.inference.search import Hit

search_app = typer.Typer(help="Index a folder of texts, then ask it.", no_args_is_help=True)

Place = Annotated[Path, typer.Argument(metavar="INDEX", help="The folder of an index.")]
SHOWN = 60
"""Words of a passage that are shown; the rest is left out around the words of the question."""


class Mode(StrEnum):
    """How an index is asked."""

    bm25 = "bm25"
    dense = "dense"
    hybrid = "hybrid"


@search_app.command("index")
def search_index(
    folder: Annotated[
        Path, typer.Argument(help="A folder of .txt, .md and .jsonl files, or a BEIR collection.")
    ],
    output: Annotated[Path, typer.Option(help="Where the index goes, or is to be brought up to date.")],
    weights: Annotated[
        str, typer.Option(help="What makes the vectors: one of `overtone weights list`, a run, or none.")
    ] = "minilm-l6",
    words: Annotated[int, typer.Option(min=10, max=2000, help="The most words of a passage.")] = 150,
    json_: Json = False,
) -> None:
    """Make an index of a folder, or bring it up to date: what has not changed is not read again."""
    from dataclasses import asdict

    from overtone.apps import screen
    from overtone.data.passages import CutConfig
    from overtone.inference.embed import EmbedderConfig
    from overtone.inference.indexing import IndexConfig
    from overtone.inference.search import Index

    err.print(Text(f"reads {folder}"))
    config = IndexConfig(
        cut=CutConfig(words=words, overlap=words // 5),
        embedder=None if weights == "none" else EmbedderConfig(weights=weights),
    )
    with _progress() as told:
        _, what = Index.build(folder, output, config, told=told)
    if json_:
        print(screen.as_json(asdict(what)))  # noqa: T201
    err.print(Text(_said(what, output)))


@search_app.command("query")
def search_query(
    index: Place,
    question: Annotated[str, typer.Argument(help="What is looked for, in words.")],
    top: Annotated[int, typer.Option(min=1, help="How many passages.")] = 5,
    mode: Annotated[
        Mode | None, typer.Option(help="By words, by meaning, or both, which is taken if it can be.")
    ] = None,
    json_: Json = False,
) -> None:
    """The passages that fit a question best, each with its score and where it stands."""
    from dataclasses import asdict

    from overtone.apps import screen
    from overtone.inference.search import Index

    if not question.strip():
        raise UsageError("the question is empty", hint='overtone search query INDEX "when does it open?"')
    opened = Index.open(index)
    asked = opened.modes[0] if mode is None else mode.value
    err.print(Text(f"reads {index}: {len(opened.parts.passages):,} passages, {asked}"))
    hits = opened.query(question, top, asked)
    if json_:
        print(screen.as_json([asdict(hit) for hit in hits]))  # noqa: T201
        return
    if not hits:
        err.print(Text("nothing was found: no passage holds a word of the question"))
    show(out, hits, question)


def show(console: Console, hits: Sequence[Hit], question: str) -> None:
    """Each passage with its rank, score and place, the words of the question in bold."""
    for hit in hits:
        passage = hit.passage
        console.print(
            Text.assemble(
                (f"{hit.rank}  ", "bold"),
                f"{hit.score:.3f}  ",
                (f"{passage.file}:{passage.line}", "cyan"),
                (f"  {passage.title}" if passage.title else "", "bold"),
            )
        )
        console.print(Padding(marked(passage.text, question), (0, 0, 1, 3)), soft_wrap=False)


def marked(text: str, question: str) -> Text:
    """A part of a text of at most ``SHOWN`` words, where most words of the question are, these in bold."""
    from overtone.data.text import fold

    wanted = set(fold(question).split())
    words = text.split()
    hit = [bool(wanted & set(fold(word).split())) for word in words]
    before = [0, *accumulate(hit)]  # hits before each word
    starts = range(max(1, len(words) - SHOWN + 1))
    start = max(starts, key=lambda at: (before[min(at + SHOWN, len(words))] - before[at], -at))
    shown = Text("… " if start else "")
    for at, word in enumerate(words[start : start + SHOWN], start):
        shown.append(word, "bold yellow" if hit[at] else "").append(" ")
    if start + SHOWN < len(words):
        shown.append("…")
    shown.rstrip()
    return shown


def _said(what: Indexed, output: Path) -> str:
    """One line on what was done and where it is."""
    size = f"{what.passages:,} passages of {what.files:,} file{'' if what.files == 1 else 's'}"
    if not (what.read or what.removed or what.encoded):
        return f"{output} is up to date: {size}"
    parts = f"{what.read:,} read, {what.removed:,} removed, {what.encoded:,} passages encoded"
    return f"wrote {output}: {size} ({parts})"


@contextmanager
def _progress() -> Iterator[Told]:
    """A bar for each thing that is done."""
    from rich.progress import Progress, TaskID

    with Progress(console=err, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield told
