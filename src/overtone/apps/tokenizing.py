"""The verb that shows how a tokenizer cuts texts, and how it fits a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from overtone.apps.catalogue import Json, err, out
from overtone.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from overtone.data.fertility import Fertility
    from overtone.data.vocabulary import Piece, Vocabulary

COLOURS = ("black on cyan", "black on yellow", "black on green", "black on magenta")
"""Styles of pieces, one after the other, so that a piece differs from its neighbours."""

UNKNOWN = "white on red"
"""The style of a piece that the vocabulary lacks."""

_VISIBLE = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"}


def tokenize(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOKENIZER] [TEXT]...", help="A run's or a tokenizer's folder, then texts."),
    ] = None,
    kind: Annotated[
        Literal["byte", "character", "word", "bpe"],
        typer.Option(help="The kind of tokenizer to make, where no TOKENIZER is named."),
    ] = "bpe",
    size: Annotated[int | None, typer.Option(help="Pieces of it, if not its kind's default.")] = None,
    train_on: Annotated[str, typer.Option(help="The data set that it is made on.")] = "wikipassages",
    corpus: Annotated[str | None, typer.Option(help="A data set to measure the tokenizer on.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the tokenizer into this folder.")] = None,
    json_: Json = False,
) -> None:
    """Show how a text is cut into pieces, and with --corpus how the tokenizer fits a data set."""
    from overtone.apps import screen
    from overtone.data import vocabulary
    from overtone.data.fertility import fertility

    texts = list(words or [])
    folder = _folder(texts[0]) if texts else None
    if folder is not None:
        texts = texts[1:]
    if not texts and corpus is None and save is None:
        raise UsageError("there is nothing to cut", hint='give a text, or a data set with --corpus: "a text"')
    if folder is not None:
        if size is not None:
            raise UsageError(f"--size: {folder} has its size", hint="leave one of them out")
        err.print(Text(f"reads {folder / vocabulary.FILE}"))
        made = vocabulary.load(folder)
    else:
        made = _made(kind, size, train_on)
    found = None if corpus is None else fertility(made, _texts(corpus))
    cut = [(text, made.pieces(text)) for text in texts]
    if json_:
        print(screen.as_json(as_dict(made, cut, found)))  # noqa: T201
    else:
        for _, pieces in cut:
            show(out, pieces)
        if found is not None:
            measures(out, found)
    if save is not None:
        made.save(save)
        err.print(Text(f"wrote {save / vocabulary.FILE}"))


def _folder(word: str) -> Path | None:
    """The folder of a tokenizer that the word names, a run's among them; None where it is a text.

    Raises:
        UsageError: it is a folder without one.
    """
    from overtone.data.vocabulary import FILE

    named = Path(word)
    try:
        places = (named, named / "model", named.parent if named.name == FILE else named)
        found = next((place for place in places if (place / FILE).is_file()), None)
        if found is None and named.is_dir():
            raise UsageError(f"{named} has no {FILE}", hint="name a tokenizer's folder, such as runs/NAME")
    except OSError:  # a text that is too long to be a path
        return None
    return found


def _made(kind: str, size: int | None, train_on: str) -> Vocabulary:
    from pydantic import TypeAdapter

    from overtone.data.vocabulary import ByteVocabulary, VocabularyConfig

    if kind == "byte":
        if size is not None:
            raise UsageError("--size: a vocabulary of bytes has its size", hint="leave it out")
        return ByteVocabulary().build([])
    values: dict[str, Any] = {"kind": kind} if size is None else {"kind": kind, "size": size}
    config: VocabularyConfig = TypeAdapter(VocabularyConfig).validate_python(values)
    return config.build(_texts(train_on))


def _texts(name: str) -> list[str]:
    """The texts of a data set, which are checked first."""
    from overtone.data.fetch import catalogue, locate, verify

    known = catalogue()
    if name not in known:
        raise UsageError(f"no data set '{name}'", hint=did_you_mean(name, known))
    source = known[name]
    folder = locate(source.card)
    verify(source.card, folder)
    err.print(Text(f"reads {name} in {folder}"))
    return [record.text for record in source.records(folder)]


def show(console: Console, pieces: Sequence[Piece]) -> None:
    """A text with its pieces coloured in turn, or between strokes where there are no colours; blanks show."""
    coloured = console.color_system is not None
    line = Text()
    for place, piece in enumerate(pieces):
        style = COLOURS[place % len(COLOURS)] if piece.known else UNKNOWN
        line.append("".join(_VISIBLE.get(sign, sign) for sign in piece.text), style=style)
        if piece.text.endswith("\n"):
            line.append("\n")
        elif not coloured and place < len(pieces) - 1:
            line.append("|")
    console.print(line)
    unknown = sum(not piece.known for piece in pieces)
    lost = f", {unknown} of them unknown" if unknown else ""
    console.print(Text(f"{len(pieces)} pieces{lost}", style="dim"))


def measures(console: Console, found: Fertility) -> None:
    """How a tokenizer fits a corpus."""
    from overtone.apps import screen

    screen.table(
        console,
        ["measure", "value", "of"],
        [
            (
                "tokens a word",
                f"{found.tokens_a_word:.3f}",
                f"{found.tokens:,} tokens, {found.words:,} words",
            ),
            ("bytes a token", f"{found.bytes_a_token:.3f}", f"{found.bytes:,} bytes"),
            ("share unknown", f"{found.unknown_share:.2%}", f"{found.unknown:,} tokens"),
            ("vocabulary used", f"{found.used_share:.1%}", f"{found.used:,} of {found.size:,} pieces"),
        ],
    )


def as_dict(
    vocabulary: Vocabulary, cut: Sequence[tuple[str, Sequence[Piece]]], found: Fertility | None
) -> dict[str, Any]:
    """The same as JSON values; ``exact`` says whether the ids give the text back."""
    texts = [
        {
            "text": text,
            "pieces": [{"id": piece.id, "text": piece.text, "known": piece.known} for piece in pieces],
            "exact": vocabulary.decode(piece.id for piece in pieces) == text,
        }
        for text, pieces in cut
    ]
    return {
        "size": len(vocabulary),
        "texts": texts,
        "corpus": None if found is None else found.as_dict(),
    }
