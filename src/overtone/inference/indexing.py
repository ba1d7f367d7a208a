"""How an index of passages is made, and brought up to date without doing anything twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from overtone.config import Config
from overtone.data import passages as texts
from overtone.data.corpus import Passage
from overtone.data.files import digest
from overtone.errors import DataError, RunError
from overtone.inference import index_store as store
from overtone.inference.embed import Embedder, EmbedderConfig
from overtone.inference.index_store import Made, Manifest, Parts
from overtone.inference.lexical import Lexical
from overtone.inference.vectors import Approximate, ApproximateConfig, Vectors

Told = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

BLOCK = 8192
"""Passages whose vectors are made before they are written."""

UNIT = 1e-3
"""How far from 1 the length of a vector may be."""


class FusionConfig(Config):
    """How two rankings become one, see ``fuse``."""

    k: int = Field(60, ge=1, description="the larger, the less the first places count above the others")
    depth: int = Field(100, ge=1, description="places of each ranking that are read")


class IndexConfig(Config):
    """How an index is made and asked."""

    cut: texts.CutConfig = Field(texts.CutConfig(), description="how text becomes passages")
    embedder: EmbedderConfig | None = Field(
        EmbedderConfig(), description="what makes the vectors; none: BM25 alone"
    )
    approximate: ApproximateConfig = Field(
        ApproximateConfig(), description="when and how not every vector is compared"
    )
    fusion: FusionConfig = Field(FusionConfig(), description="how words and meaning are put together")


@dataclass(frozen=True, slots=True)
class Indexed:
    """What making an index came to.

    Args:
        passages: in the index.
        files: that they are from.
        read: files that were new or had changed.
        removed: files that are no longer there.
        encoded: passages whose vectors were made; the others' were there before.
    """

    passages: int
    files: int
    read: int
    removed: int
    encoded: int


def update(
    files: Mapping[str, Path],
    folder: Path,
    config: IndexConfig,
    embedder: Embedder | None,
    told: Told | None = None,
) -> Indexed:
    """Make the index in a folder what the texts say now; to be called with its lock held.

    Args:
        files: what is to be found in it, by name, see ``data.passages``.
        folder: of the index.
        config: how it is made.
        embedder: what makes the vectors; None: BM25 alone.
        told: hears how far it is.

    Raises:
        DataError: a file cannot be read, or none holds a word.
        RunError: the index cannot be written, or the embedder gives no vectors of length 1.
        MissingExtraError: the extra ``search`` is not installed.
    """
    told = told or _silent
    old = _Old.open(folder)
    same_cut = old is not None and old.said.config.get("cut") == config.cut.model_dump(mode="json")
    hashes = {name: digest(path) for name, path in files.items()}
    before = {} if old is None else old.said.files
    fresh = [name for name in hashes if not same_cut or before.get(name) != hashes[name]]
    made = described(embedder)
    removed = len(before.keys() - hashes.keys())
    if old is not None and not fresh and not removed and old.says(config, made):
        return Indexed(len(old.parts.passages), len(files), read=0, removed=0, encoded=0)
    kept = hashes.keys() - set(fresh)
    found = [] if old is None else [each for each in old.parts.passages if each.file in kept]
    for done, name in enumerate(fresh):
        told("reading", done, len(fresh))
        found += texts.read(name, files[name], config.cut)
    told("reading", len(fresh), len(fresh))
    if not found:
        raise DataError(f"the {len(files):,} files hold no words", hint="put text into them")
    found.sort(key=lambda passage: passage.id)
    vectors = old.vectors() if old is not None and made is not None and old.said.embedder == made else {}
    encoded = sum(passage.content not in vectors for passage in found) if embedder is not None else 0

    def fill(place: Path) -> None:
        store.write_passages(place / store.PASSAGES, found)
        told("words", 0, 1)
        Lexical.build(passage.content for passage in found).save(place / store.WORDS)
        told("words", 1, 1)
        if embedder is not None:
            rows = _write_vectors(place / store.VECTORS, found, vectors, embedder, told)
            if len(found) > config.approximate.above:
                told("cells", 0, 1)
                Approximate.build(rows).save(place / store.CELLS)
                told("cells", 1, 1)

    store.write(
        folder,
        lambda generation, parts: Manifest(
            config=config.model_dump(mode="json"),
            embedder=made,
            files=hashes,
            generation=generation,
            parts=parts,
        ),
        fill,
    )
    return Indexed(len(found), len(files), read=len(fresh), removed=removed, encoded=encoded)


def described(embedder: Embedder | None) -> Made | None:
    """What a manifest says of an embedder."""
    return None if embedder is None else Made(name=embedder.name, dimensions=embedder.dimensions)


@dataclass(frozen=True, slots=True)
class _Old:
    """The index as it stands."""

    said: Manifest
    parts: Parts

    @classmethod
    def open(cls, folder: Path) -> _Old | None:
        """The index in the folder; None where there is none that can be used, so all is made anew."""
        if not (folder / texts.INDEX).exists():
            return None
        try:
            return cls(*store.read(folder))
        except RunError:
            return None

    def says(self, config: IndexConfig, made: Made | None) -> bool:
        """Whether it was made in this way."""
        return self.said.config == config.model_dump(mode="json") and self.said.embedder == made

    def vectors(self) -> dict[str, Vectors]:
        """The vector (D,) of each text."""
        rows = self.parts.vectors
        if rows is None:
            return {}
        return {passage.content: rows[row] for row, passage in enumerate(self.parts.passages)}


def _write_vectors(
    path: Path, found: Sequence[Passage], known: Mapping[str, Vectors], embedder: Embedder, told: Told
) -> Vectors:
    """Write the vectors of all passages, (N, D), and encode those that are not known.

    Returns:
        The same, mapped from the file.
    """
    new = [row for row, passage in enumerate(found) if passage.content not in known]
    rows = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(len(found), embedder.dimensions)
    )
    for row, passage in enumerate(found):
        if passage.content in known:
            rows[row] = known[passage.content]
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        told("encoding", done, len(new))

    advance(0)
    for block in _blocks(new):
        vectors = embedder.encode([found[row].content for row in block], told=advance)
        _check(vectors, len(block), embedder)
        rows[block] = vectors
    rows.flush()
    return rows


def _blocks(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def _check(vectors: Vectors, count: int, embedder: Embedder) -> None:
    if vectors.shape != (count, embedder.dimensions):
        raise RunError(
            f"'{embedder.name}' gave vectors of shape {vectors.shape}, not {(count, embedder.dimensions)}",
            hint="an embedder's encode gives a row a text, of as many numbers as its dimensions say",
        )
    lengths = np.linalg.norm(vectors, axis=1)
    if not (np.abs(lengths - 1) <= UNIT).all():
        raise RunError(
            f"'{embedder.name}' gave a vector whose length is not 1", hint="divide each by its length"
        )


def _silent(what: str, done: int, total: int) -> None:
    """Say nothing."""
