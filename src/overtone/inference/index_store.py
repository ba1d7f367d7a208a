"""An index of passages on disk: arrays, JSON and FAISS's own format, never a pickle, whole or not at all.

```text
INDEX/
  overtone-index.json   the manifest: what was read, how, and the hash of every part
  parts-000001/         one generation of parts
    passages.jsonl      the passages in order of id
    vectors.npy         a row each, where there are vectors
    cells.faiss         the approximate index, where there are very many
    bm25/               arrays of bm25s, and the words
```

A new generation is written beside the old one. Then the manifest, which names the one that counts, is
replaced in one step. Whoever reads sees the old index or the new one; what a killed process left is removed
by the next.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from overtone.config import Config
from overtone.data.corpus import Passage
from overtone.data.files import digest
from overtone.data.passages import INDEX
from overtone.errors import DataError, RunError
from overtone.inference.lexical import Lexical
from overtone.inference.vectors import Approximate, Vectors
from overtone.run import read_json, write_json

FORMAT = 1
"""Of the layout above; an index of another one is made again."""

PASSAGES, VECTORS, CELLS, WORDS = "passages.jsonl", "vectors.npy", "cells.faiss", "bm25"
PARTS = "parts-"
"""What the folder of a generation is called, before its number."""

_AGAIN = "delete the folder and make the index again: overtone search index FOLDER --output INDEX"


class Made(Config):
    """What made the vectors of an index."""

    name: str = Field(description="of the embedder")
    dimensions: int = Field(ge=1, description="D, the width of a vector")

    def __str__(self) -> str:
        return f"'{self.name}' ({self.dimensions} dimensions)"


class Manifest(Config):
    """What an index says of itself."""

    format: int = Field(FORMAT, description="of the layout")
    config: dict[str, Any] = Field(description="how it was made")
    embedder: Made | None = Field(description="what made the vectors; none where there are none")
    files: dict[str, str] = Field(description="file that was read → SHA-256 of its content")
    generation: str = Field(pattern=rf"^{PARTS}\d+$", description="the folder of its parts")
    parts: dict[str, str] = Field(description="file in that folder → SHA-256")


@dataclass(frozen=True, slots=True)
class Parts:
    """What is searched.

    Args:
        passages: N of them, in order of id.
        lexical: their words.
        vectors: a row each (N, D), mapped from the file; None where there are none.
        approximate: the index of the vectors; None where all are compared.
    """

    passages: Sequence[Passage]
    lexical: Lexical
    vectors: Vectors | None
    approximate: Approximate | None


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold an index for writing; reading needs no lock.

    Raises:
        RunError: another process writes it, the folder cannot be made, or it holds something else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise RunError(
            f"could not make {folder}: {error.strerror}", hint="choose another --output"
        ) from error
    if others and not (folder / INDEX).exists() and not all(name.startswith(PARTS) for name in others):
        raise RunError(
            f"{folder} holds files, and they are not an index: nothing was written",
            hint="choose another folder with --output",
        )
    held = FileLock(folder / ".lock", timeout=0)
    try:
        held.acquire()
    except Timeout as error:
        raise RunError(f"another process writes {folder}", hint="wait for it to end") from error
    try:
        yield
    finally:
        held.release()


def manifest(folder: Path) -> Manifest:
    """What the index in a folder says of itself.

    Raises:
        RunError: there is none, it is damaged, or of another format.
    """
    path = folder / INDEX
    if not path.exists():
        raise RunError(
            f"{folder} is not an index", hint="make one: overtone search index FOLDER --output INDEX"
        )
    value = read_json(path)
    found = value.get("format") if isinstance(value, dict) else None
    if isinstance(found, int) and found != FORMAT:
        raise RunError(f"{folder} is an index of format {found}, not {FORMAT}", hint=_AGAIN)
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        raise RunError(f"{path} is damaged: {error}", hint=_AGAIN) from error


def read(folder: Path) -> tuple[Manifest, Parts]:
    """An index: what it says of itself, and its parts, each with the hash that is named there.

    Raises:
        RunError: the index is missing or damaged.
    """
    while True:
        said = manifest(folder)
        try:
            return said, _parts(folder / said.generation, said)
        except RunError:
            if manifest(folder) == said:  # else it was replaced, and its parts removed, meanwhile
                raise


def _parts(place: Path, said: Manifest) -> Parts:
    for name, expected in said.parts.items():
        try:
            found = digest(place / name)
        except DataError as error:
            raise RunError(f"{place / name} is missing or unreadable", hint=_AGAIN) from error
        if found != expected:
            raise RunError(f"{place / name} is damaged: it is not what was written", hint=_AGAIN)
    try:
        with (place / PASSAGES).open(encoding="utf-8") as lines:
            passages = [Passage(**json.loads(line)) for line in lines]
        vectors = None
        if VECTORS in said.parts:
            vectors = np.load(place / VECTORS, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{place} is damaged: {error}", hint=_AGAIN) from error
    if vectors is not None and (vectors.ndim != 2 or len(vectors) != len(passages)):
        raise RunError(f"{place / VECTORS} is damaged: not a row a passage", hint=_AGAIN)
    cells = Approximate.load(place / CELLS) if CELLS in said.parts else None
    return Parts(passages, Lexical.load(place / WORDS), vectors, cells)


def write(
    folder: Path, said: Callable[[str, dict[str, str]], Manifest], fill: Callable[[Path], None]
) -> None:
    """Write a new generation and make it the one that counts; to be called with the lock held.

    Args:
        folder: of the index.
        said: makes the manifest, given the generation and the hashes of the parts.
        fill: writes the parts into a folder.

    Raises:
        RunError: the disk is full or the folder cannot be written; the older index stays as it was.
    """
    try:
        current = manifest(folder).generation
    except RunError:  # there is none, or none that can be read
        current = f"{PARTS}000000"
    _remove_all_but(folder, current)
    generation = f"{PARTS}{int(current.removeprefix(PARTS)) + 1:06d}"
    temporary: Path | None = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{PARTS}"))
        fill(temporary)
        parts = {}
        for path in sorted(path for path in temporary.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            parts[path.relative_to(temporary).as_posix()] = digest(path)
        temporary.chmod(0o755)
        temporary.replace(folder / generation)
    except OSError as error:
        raise RunError(
            f"could not write {folder}: {error.strerror or error}",
            hint="free some space or choose another --output, then run the same command again",
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    write_json(folder / INDEX, said(generation, parts).model_dump(mode="json"))
    _remove_all_but(folder, generation)


def write_passages(path: Path, passages: Sequence[Passage]) -> None:
    """Write passages as JSON lines."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in passages)


def _remove_all_but(folder: Path, generation: str) -> None:
    """Remove other generations and what a killed process left."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != generation and path.name.removeprefix(".").startswith(PARTS):
            shutil.rmtree(path, ignore_errors=True)
