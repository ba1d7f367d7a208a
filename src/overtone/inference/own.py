"""Embedders that were trained here: a run's vectors, by the same call as a pretrained encoder's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from overtone.data import vocabulary as vocabularies
from overtone.data.batches import Encoded, by_length
from overtone.data.text import fold
from overtone.data.vocabulary import Vocabulary
from overtone.errors import RunError, UsageError
from overtone.inference.vectors import Vectors
from overtone.models import embedder as embedders
from overtone.models.embedder import EmbedderBodyConfig, EmbedderModel, Pooling
from overtone.models.language import FILE as WEIGHTS
from overtone.models.model import Model
from overtone.run import read_json, write_json

FILE = "embedder.json"
"""What a run's ``model`` folder says of its embedder; written last, so that it says that all is there."""

BUDGET = 16_384
"""Padded tokens of a batch."""

_BODY: TypeAdapter[EmbedderBodyConfig] = TypeAdapter(EmbedderBodyConfig)


def as_read(texts: Sequence[str], *, folded: bool) -> list[str]:
    """The texts as they are cut: a blank before the first word, which then is the piece it is elsewhere."""
    return [" " + (fold(text) if folded else text) for text in texts]


class Cutter:
    """How an embedder reads a text: cut into pieces, no more than so many.

    Args:
        vocabulary: the pieces.
        max_length: tokens read of a text; the rest is cut.
        folded: whether case and punctuation are taken away before.
    """

    def __init__(self, vocabulary: Vocabulary, max_length: int, *, folded: bool) -> None:
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.folded = folded

    def __call__(self, texts: Sequence[str]) -> Encoded:
        """The ids of N texts; of a text without any, the end-of-text piece stands alone."""
        encoded = self.vocabulary.encode(as_read(texts, folded=self.folded))
        lengths = np.minimum(encoded.lengths, self.max_length)
        offsets = np.concatenate([[0], np.cumsum(np.maximum(lengths, 1))]).astype(np.int64)
        flat = np.full(int(offsets[-1]), self.vocabulary.end_id, dtype=np.int64)
        shift = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        flat[np.repeat(offsets[:-1], lengths) + shift] = encoded.flat[
            np.repeat(encoded.offsets[:-1], lengths) + shift
        ]
        return Encoded(flat, offsets, self.vocabulary.end_id, int((encoded.lengths > self.max_length).sum()))


class TrainedEmbedder:
    """Vectors of an embedder that was trained from scratch.

    Args:
        model: in evaluation mode.
        cutter: how it reads.
        name: which it is; two of one name give the same vectors.
        dimensions: D, the first so many numbers of a vector; None: all.
    """

    def __init__(
        self, model: EmbedderModel, cutter: Cutter, name: str, dimensions: int | None = None
    ) -> None:
        self.model = model
        self.cutter = cutter
        self.whole = name
        self.dimensions = model.body.hidden_size if dimensions is None else dimensions

    @property
    def name(self) -> str:
        """Which it is."""
        cut = self.dimensions < self.model.body.hidden_size
        return f"{self.whole}, {self.dimensions} numbers" if cut else self.whole

    def encode(
        self, texts: Sequence[str], *, query: bool = False, told: Callable[[int], None] | None = None
    ) -> Vectors:
        """The texts as rows of length 1, (N, D), float32; questions are read as passages are."""
        return read(self.model, self.cutter(texts), self.dimensions, told)


@torch.inference_mode()
def read(
    model: Model, texts: Encoded, dimensions: int | None = None, told: Callable[[int], None] | None = None
) -> Vectors:
    """The vectors of N texts, (N, D), of length 1.

    Args:
        model: an embedder.
        texts: cut.
        dimensions: the first so many numbers of each vector alone; None: all.
        told: hears how many texts were read since the last call.
    """
    vectors = np.zeros((len(texts), dimensions or model.body.hidden_size), dtype=np.float32)
    for rows in by_length(texts.lengths, BUDGET):
        ids, mask = texts.pad(rows)
        found = model(ids.to(model.device), mask.to(model.device))[embedders.HEAD][:, :dimensions]
        vectors[rows] = torch.nn.functional.normalize(found, dim=-1).cpu().numpy()
        if told:
            told(len(rows))
    return vectors


def save(
    folder: Path, model: EmbedderModel, cutter: Cutter, body: EmbedderBodyConfig, pooling: Pooling
) -> None:
    """Write an embedder into a folder, what says that it is whole last.

    Raises:
        RunError: the folder could not be written.
    """
    embedders.save(model, folder)
    cutter.vocabulary.save(folder)
    facts = {"body": body.model_dump(mode="json"), "pooling": pooling, "max_length": cutter.max_length}
    write_json(folder / FILE, {**facts, "folded": cutter.folded})


def load(folder: Path, dimensions: int | None = None) -> TrainedEmbedder:
    """Read an embedder from a run's ``model`` folder.

    Args:
        folder: where it is.
        dimensions: numbers of a vector that are used, for an embedder that was trained with fewer; None: all.

    Raises:
        RunError: a file is missing, damaged, or not of this embedder.
        DataError: the vocabulary is missing or damaged.
        UsageError: a vector has not so many numbers.
    """
    facts = read_json(folder / FILE)
    vocabulary = vocabularies.load(folder)
    try:
        body, pooling = _BODY.validate_python(facts["body"]), facts["pooling"]
        model = embedders.load(folder, body, pooling, len(vocabulary))
        cutter = Cutter(vocabulary, int(facts["max_length"]), folded=bool(facts["folded"]))
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise RunError(f"{folder / FILE} is damaged: {error}", hint="train the run again") from error
    if dimensions is not None and not 1 <= dimensions <= model.body.hidden_size:
        raise UsageError(
            f"{dimensions} numbers of a vector of {model.body.hidden_size}",
            hint=f"take 1 to {model.body.hidden_size}; short ones are good where the recipe's "
            "objective.dimensions has them",
        )
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()[:16]
    return TrainedEmbedder(model, cutter, f"embedder {digest}", dimensions)
