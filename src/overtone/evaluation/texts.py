"""What language models give the documents of a text, and intervals over its articles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from overtone.data.records import Record
from overtone.data.stream import Stream
from overtone.errors import DataError
from overtone.evaluation.bootstrap import draws
from overtone.evaluation.compare import Standing, difference_of, interval_of
from overtone.likelihood import MEASURES
from overtone.run import write_atomic

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

JUDGED = "bits_per_byte"
"""What a model is compared with its baselines in: it compares across tokenizers, too."""


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """What systems give each of N documents.

    Args:
        text: the data set that they are of.
        ids: of the documents.
        articles: which article each is from; documents of one article are not independent of each other.
        tokens: to predict in each with its end, (N,).
        characters: code points of each, (N,).
        bytes: of each in UTF-8, (N,).
        nats: system → the negative log-likelihood of each, (N,); the first one is the model.
    """

    text: str
    ids: tuple[str, ...]
    articles: tuple[str, ...]
    tokens: Ints
    characters: Ints
    bytes: Ints
    nats: Mapping[str, Floats]

    def beside(self, others: Mapping[str, Floats]) -> Likelihoods:
        """The same documents with more systems."""
        return replace(self, nats={**self.nats, **others})


def likelihoods(
    text: str, records: Sequence[Record], stream: Stream, end: int, nats: Mapping[str, Floats]
) -> Likelihoods:
    """The likelihood of each document from that of each token of the stream that they make.

    Args:
        text: the data set.
        records: N documents, in the order of the stream.
        stream: made of them, M tokens.
        end: the id of the end-of-text token; the one after a document is a token of it.
        nats: system → the negative log-likelihood of each token but the first, (M - 1,).
    """
    document = np.cumsum(stream.ids[:-1] == end) - 1  # of each token that is predicted
    n = len(records)
    return Likelihoods(
        text=text,
        ids=tuple(record.id for record in records),
        articles=tuple(record.group or record.id for record in records),
        tokens=np.bincount(document, minlength=n),
        characters=np.array([len(record.text) for record in records]),
        bytes=np.array([len(record.text.encode()) for record in records]),
        nats={name: _summed(document, each, n) for name, each in nats.items()},
    )


def standings(found: Likelihoods, *, seed: int, resamples: int) -> tuple[Standing, ...]:
    """Every system's perplexity, bits a character and bits a byte, and what the first gains in bits a byte.

    All from the same resamples of articles; the measures are of all documents together, not a mean of theirs.

    Args:
        found: of one text.
        seed: of the resamples.
        resamples: how many.
    """
    _, article = np.unique(found.articles, return_inverse=True)

    n = int(article.max()) + 1
    nats = np.stack([_summed(article, each, n) for each in found.nats.values()], axis=1)  # (A, S)
    measured = (found.tokens, found.characters, found.bytes)
    sizes = np.stack([_summed(article, each, n) for each in measured], axis=1)  # (A, 3)
    points = _measured(nats.sum(axis=0)[None], sizes.sum(axis=0)[None])[0]  # (S, 3)
    parts = [
        _measured(draw.weights @ nats, draw.weights @ sizes) for draw in draws(len(nats), resamples, seed)
    ]
    values = np.concatenate(parts)  # (R, S, 3)
    judged = MEASURES.index(JUDGED)
    made = []
    for place, name in enumerate(found.nats):
        figures = {
            measure: interval_of(points[place, i], values[:, place, i], 0.95)
            for i, measure in enumerate(MEASURES)
        }
        gain = None
        if place:
            apart = values[:, 0, judged] - values[:, place, judged]
            gain = difference_of(points[0, judged] - points[place, judged], apart, 0.95)
        made.append(Standing(name, figures, gain))
    return tuple(made)


def _summed(places: Ints, values: NDArray[Any], n: int) -> Floats:
    """The sum of the values at each of n places."""
    return np.bincount(places, weights=values, minlength=n).astype(np.float64)


def _measured(nats: Floats, sizes: Floats) -> Floats:
    """Nats (C, S) over tokens, characters and bytes (C, 3) → the ``MEASURES``, (C, S, 3)."""
    each = nats[:, :, None] / sizes[:, None, :]
    return np.stack([np.exp(each[..., 0]), each[..., 1] / np.log(2), each[..., 2] / np.log(2)], axis=2)


def write(path: Path, found: Likelihoods) -> None:
    """Write one JSON line a document.

    Raises:
        RunError: it could not be written.
    """
    lines = []
    for place, name in enumerate(found.ids):
        row = {
            "id": name,
            "article": found.articles[place],
            "tokens": int(found.tokens[place]),
            "characters": int(found.characters[place]),
            "bytes": int(found.bytes[place]),
            "nats": {system: round(float(each[place]), 6) for system, each in found.nats.items()},
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_atomic(path, "".join(lines))


def read(path: Path, text: str) -> Likelihoods:
    """What ``write`` wrote.

    Args:
        path: the file.
        text: the data set that its documents are of.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return Likelihoods(
            text=text,
            ids=tuple(row["id"] for row in rows),
            articles=tuple(row["article"] for row in rows),
            tokens=np.array([row["tokens"] for row in rows]),
            characters=np.array([row["characters"] for row in rows]),
            bytes=np.array([row["bytes"] for row in rows]),
            nats={name: np.array([row["nats"][name] for row in rows]) for name in rows[0]["nats"]},
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"{path} is not a file of likelihoods: {error!r}", hint="overtone evaluate RUN makes it again"
        ) from error
