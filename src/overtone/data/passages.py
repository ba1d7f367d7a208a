"""A folder of one's own as passages: text and Markdown are cut, each JSON line is one.

A passage keeps whole paragraphs under one heading together, up to a number of words. Only a paragraph that is
longer by itself is cut inside, and then the pieces overlap, so that no sentence is without its neighbours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, model_validator

from overtone.config import Config
from overtone.data.corpus import Passage, is_text, read_passages
from overtone.data.files import find, lines
from overtone.data.rows import json_rows
from overtone.errors import DataError

SUFFIXES = (".txt", ".md", ".jsonl")
"""The files that are read, each also gzipped; all others are passed over."""

INDEX = "overtone-index.json"
"""A folder that holds this file is an index of passages, and is passed over."""

_HEADING = re.compile(r"#{1,6}\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")


class CutConfig(Config):
    """How text and Markdown become passages."""

    words: int = Field(150, ge=10, le=2000, description="the most words of a passage")
    overlap: int = Field(
        30, ge=0, description="words that two pieces share, of a paragraph that is longer than a passage"
    )

    @model_validator(mode="after")
    def _smaller(self) -> CutConfig:
        if self.overlap >= self.words:
            raise ValueError("overlap has to be smaller than words")
        return self


@dataclass(frozen=True, slots=True)
class _Paragraph:
    """Consecutive lines: each word with the number of its line, and the heading that they stand under."""

    words: tuple[tuple[str, int], ...]
    text: str
    title: str


def files(folder: Path) -> dict[str, Path]:
    """The files that a folder is read from, by their path relative to it; hidden ones are passed over.

    In a BEIR collection that is its corpus alone: its queries are not to be found.

    Raises:
        DataError: the folder is missing, or holds none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", hint="name the folder that holds the texts")
    corpus = find(folder, "corpus.jsonl")
    if corpus is not None:
        return {corpus.name: corpus}
    found = {}
    for place, inside, names in os.walk(folder):
        # What os.walk goes into next is what is left in its list.
        inside[:] = sorted(name for name in inside if not name.startswith(".") and not _index(place, name))
        for name in names:
            if name.removesuffix(".gz").endswith(SUFFIXES) and not name.startswith("."):
                path = Path(place) / name
                found[path.relative_to(folder).as_posix()] = path
    if not found:
        kinds = ", ".join(SUFFIXES)
        raise DataError(f"{folder} holds no text to index", hint=f"put files into it that end in {kinds}")
    return dict(sorted(found.items()))


def read(name: str, path: Path, cut: CutConfig) -> list[Passage]:
    """The passages of one file; none of a file without words.

    Ids are ``notes/a.md#00003``, the number counted from 0 in the file; a BEIR corpus keeps its own.

    Args:
        name: the file relative to the folder that is read.
        path: where it is.
        cut: how text is cut.

    Raises:
        DataError: the file cannot be read, or a JSON line has no text.
    """
    plain = name.removesuffix(".gz")
    if plain == "corpus.jsonl":
        return list(read_passages(path))
    if plain.endswith(".jsonl"):
        found = list(_json_passages(path))
    else:
        found = list(_cut(_paragraphs(path, markdown=plain.endswith(".md")), cut))
    return [
        Passage(f"{name}#{number:05d}", text, title, name, line)
        for number, (text, title, line) in enumerate(found)
    ]


def _index(place: str, name: str) -> bool:
    return (Path(place) / name / INDEX).exists()


Piece = tuple[str, str, int]
"""A passage's text, title, and the line that it starts on."""


def _json_passages(path: Path) -> Iterator[Piece]:
    for place, row in json_rows(path):
        text, title = row.get("text"), row.get("title", "")
        if not is_text(text) or not is_text(title):
            raise DataError(f"{place}: 'text' is not a text", hint='write {"title": "…", "text": "…"}')
        if text.strip():
            yield text.strip(), title.strip(), int(place.rpartition(" ")[2])


def _paragraphs(path: Path, *, markdown: bool) -> Iterator[_Paragraph]:
    """The paragraphs: what stands between blank lines, and in Markdown between headings."""
    held: list[tuple[int, str]] = []
    title, fenced = "", False
    for number, line in lines(path):
        heading = _HEADING.match(line) if markdown and not fenced else None
        if markdown and _FENCE.match(line):  # a # inside a block of code is no heading
            fenced = not fenced
        if (heading or not line.strip()) and held:
            yield _paragraph(held, title)
            held = []
        if heading:
            title = heading[1]
        elif line.strip():
            held.append((number, line))
    if held:
        yield _paragraph(held, title)


def _paragraph(held: list[tuple[int, str]], title: str) -> _Paragraph:
    words = tuple((word, number) for number, line in held for word in line.split())
    return _Paragraph(words, "\n".join(line.rstrip() for _, line in held), title)


def _cut(paragraphs: Iterator[_Paragraph], cut: CutConfig) -> Iterator[Piece]:
    """Whole paragraphs of one heading together; one that is too long in pieces of its own."""
    held: list[_Paragraph] = []
    count = 0
    for paragraph in paragraphs:
        size = len(paragraph.words)
        if held and (count + size > cut.words or paragraph.title != held[0].title):
            yield _together(held)
            held, count = [], 0
        if size > cut.words:
            yield from _windows(paragraph, cut)
        else:
            held.append(paragraph)
            count += size
    if held:
        yield _together(held)


def _together(held: list[_Paragraph]) -> Piece:
    return "\n\n".join(each.text for each in held), held[0].title, held[0].words[0][1]


def _windows(paragraph: _Paragraph, cut: CutConfig) -> Iterator[Piece]:
    """A long paragraph in pieces; the last one is as long as the others, so it may share more words."""
    size = len(paragraph.words)
    starts = [*range(0, size - cut.words, cut.words - cut.overlap), size - cut.words]
    for start in starts:
        piece = paragraph.words[start : start + cut.words]
        yield " ".join(word for word, _ in piece), paragraph.title, piece[0][1]
