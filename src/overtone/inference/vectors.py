"""The nearest of many vectors: every one compared, or, among very many, a part of them by an index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from overtone.config import Config
from overtone.errors import MissingExtraError, RunError
from overtone.scores import Floats, Ints

Vectors = NDArray[np.float32]
"""Rows of length 1, (N, D)."""

CHUNK = 1 << 16
"""Vectors that are compared at once: 100 MB of 384 dimensions."""

SAMPLE = 64
"""Vectors a cell that its centre is learnt from; more changes little (FAISS warns below 39)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, best first.

    Args:
        rows: which, (K,).
        scores: how good, (K,), falling; of equal scores the lower row comes first.
    """

    rows: Ints
    scores: Floats


class ApproximateConfig(Config):
    """When and how not every vector is compared.

    The vectors are grouped into about 4 √N cells by k-means; a question is compared with those of the nearest
    cells, a byte a number (IVF with a scalar quantiser, in FAISS), and the best of them again in full.
    """

    above: int = Field(
        100_000, ge=1, description="up to so many passages every vector is compared, which is exact"
    )
    probes: int = Field(64, ge=1, description="cells that a question is compared with; more finds more")
    candidates: int = Field(
        10, ge=1, description="vectors compared again in full, for each that is asked for"
    )


def best(rows: Ints, scores: Floats, k: int) -> Found:
    """The K best of some rows, by score, then by row: the same whatever order they come in."""
    if len(rows) > k:  # those as good as the K-th stay in, so that the rows decide between them
        enough = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        rows, scores = rows[enough], scores[enough]
    order = np.lexsort((rows, -scores))[:k]
    return Found(rows[order], scores[order])


def exact(vectors: Vectors, query: Vectors, k: int, chunk: int = CHUNK) -> Found:
    """The K nearest by cosine, every vector compared; the same for every chunk, to the last bit.

    A matrix product rounds differently for other shapes. So it only chooses those that may be among the best
    within its error, and these are computed again in double precision, row by row.

    Args:
        vectors: of length 1, (N, D), possibly mapped from a file.
        query: of length 1, (D,).
        k: how many are wanted.
        chunk: rows that are compared at once.
    """
    near = 2 * vectors.shape[1] * float(np.finfo(np.float32).eps)  # twice the most that a product can be off
    rows, scores = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    for start in range(0, len(vectors), chunk):
        part: Vectors = vectors[start : start + chunk] @ query
        rows = np.concatenate([rows, np.arange(start, start + len(part))])
        scores = np.concatenate([scores, part])
        if len(scores) > k:
            enough = scores >= np.partition(scores, len(scores) - k)[len(scores) - k] - near
            rows, scores = rows[enough], scores[enough]
    return again(vectors, query, rows, k)


def again(vectors: Vectors, query: Vectors, rows: Ints, k: int) -> Found:
    """The K nearest of some rows, compared in double precision."""
    products = vectors[rows].astype(np.float64) * query.astype(np.float64)
    return best(rows, products.sum(axis=1), k)


class Approximate:
    """An index of very many vectors, beside the vectors themselves.

    Args:
        index: of FAISS, trained and filled.
    """

    def __init__(self, index: Any) -> None:  # noqa: ANN401 - FAISS's own types
        self.index = index

    @classmethod
    def build(cls, vectors: Vectors, chunk: int = CHUNK) -> Approximate:
        """Group N vectors and enter all of them.

        Raises:
            MissingExtraError: FAISS is not installed.
        """
        faiss = _faiss()
        count, width = vectors.shape
        cells = max(1, min(round(4 * count**0.5), count // SAMPLE))
        index = faiss.index_factory(width, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = 7
        sample = np.random.default_rng(7).permutation(count)[: cells * SAMPLE]
        index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
        for start in range(0, count, chunk):
            index.add(np.ascontiguousarray(vectors[start : start + chunk]))
        return cls(index)

    def search(self, vectors: Vectors, query: Vectors, k: int, config: ApproximateConfig) -> Found:
        """About the K nearest by cosine; the scores are exact.

        Args:
            vectors: those that were indexed, (N, D).
            query: of length 1, (D,).
            k: how many are wanted.
            config: how many cells and vectors are looked at.
        """
        cells = _faiss().SearchParametersIVF(nprobe=min(config.probes, self.index.nlist))
        _, rows = self.index.search(query[None], min(k * config.candidates, len(vectors)), params=cells)
        found = rows[0][rows[0] >= 0]  # FAISS fills up with -1 where the cells hold too few
        return again(vectors, query, found.astype(np.int64), k)

    def save(self, path: Path) -> None:
        """Write the index in FAISS's own format."""
        _faiss().write_index(self.index, str(path))

    @classmethod
    def load(cls, path: Path) -> Approximate:
        """Read what ``save`` wrote; FAISS trusts a file, so check its hash first.

        Raises:
            MissingExtraError: FAISS is not installed.
            RunError: the file cannot be read.
        """
        faiss = _faiss()
        try:
            return cls(faiss.read_index(str(path)))
        except RuntimeError as error:
            raise RunError(
                f"{path} is damaged: {error}", hint="make the index again: overtone search index"
            ) from error


def _faiss() -> Any:  # noqa: ANN401 - a module without types
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("search", "an approximate index") from error
    return faiss
