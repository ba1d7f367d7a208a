"""Second models of another kind, asked where the primary is unsure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import safetensors
import safetensors.numpy

from overtone.errors import RunError
from overtone.inference.calibrate import fit_temperature, softmax
from overtone.models.tfidf import TfidfClassifier
from overtone.run import read_json, write_atomic, write_json
from overtone.scores import Floats, Ints

Embed = Callable[[Sequence[str]], Floats]
"""N texts → pooled states of an encoder, (N, D)."""

_AGAIN = "fit the cascade again"

BackupKind = Literal["tfidf", "prototypes"]
"""The backups that a cascade can keep."""


class Backup(Protocol):
    """A model that can be asked for a second opinion, and kept beside the primary."""

    @property
    def kind(self) -> BackupKind:
        """Its name in a config and on disk."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The label names, (L,)."""
        ...

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Probabilities, (N, L), rows sum to 1."""
        ...

    def save(self, folder: Path) -> None:
        """Write what it needs to be loaded again."""
        ...


class TfidfBackup:
    """TF-IDF and logistic regression: it sees words where an encoder sees sense, so it errs elsewhere.

    Args:
        model: the fitted classifier.
    """

    kind: BackupKind = "tfidf"

    def __init__(self, model: TfidfClassifier) -> None:
        self.model = model
        self.labels = model.labels

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Probabilities, (N, L), rows sum to 1."""
        return self.model.predict_proba(texts)

    def save(self, folder: Path) -> None:
        """Write the classifier into the folder."""
        self.model.save(folder)


class PrototypeBackup:
    """One mean embedding a class; a text is near a class as the cosine to its mean says.

    Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017, with cosine instead of distance.
    Embeddings are centred first, since those of an encoder share one large direction.

    Args:
        labels: the label names, (L,).
        centre: the mean embedding, (D,).
        prototypes: class means of the centred, unit-length embeddings, scaled to length 1, (L, D).
        temperature: what cosines are divided by, above 0.
        embed: the encoder, usually the frozen one that the primary started from.
    """

    kind: BackupKind = "prototypes"

    def __init__(
        self, labels: tuple[str, ...], centre: Floats, prototypes: Floats, temperature: float, embed: Embed
    ) -> None:
        self.labels = labels
        self.centre = centre
        self.prototypes = prototypes
        self.temperature = temperature
        self.embed = embed

    @classmethod
    def fit(
        cls, texts: Sequence[str], gold: Ints, labels: tuple[str, ...], embed: Embed, *, seed: int = 0
    ) -> PrototypeBackup:
        """Take the class means; the temperature is fitted on a tenth of the rows that the means leave out.

        Args:
            texts: N training texts.
            gold: class indices, (N,).
            labels: the label names, (L,).
            embed: texts → (N, D).
            seed: of the tenth.
        """
        states = np.asarray(embed(texts), dtype=np.float64)
        order = np.random.default_rng(seed).permutation(len(gold))
        held, rest = order[: len(gold) // 10], order[len(gold) // 10 :]
        draft = cls(labels, *_means(states[rest], gold[rest], len(labels)), 1.0, embed)
        temperature = fit_temperature(draft._cosines(states[held]), gold[held]) if len(held) else 0.1
        return cls(labels, *_means(states, gold, len(labels)), temperature, embed)

    def _cosines(self, states: Floats) -> Floats:
        cosines: Floats = _unit(states - self.centre) @ self.prototypes.T
        return cosines

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Probabilities, (N, L), rows sum to 1."""
        states = np.asarray(self.embed(texts), dtype=np.float64)
        return softmax(self._cosines(states), self.temperature)

    def save(self, folder: Path) -> None:
        """Write ``prototypes.safetensors`` and ``prototypes.json`` into the folder."""
        tensors = {"centre": self.centre, "prototypes": self.prototypes}
        write_atomic(folder / "prototypes.safetensors", safetensors.numpy.save(tensors))
        write_json(folder / "prototypes.json", {"labels": list(self.labels), "temperature": self.temperature})

    @classmethod
    def load(cls, folder: Path, embed: Embed) -> PrototypeBackup:
        """Read what ``save`` wrote.

        Raises:
            RunError: a file is missing, cut short or of another shape.
        """
        facts = read_json(folder / "prototypes.json")
        try:
            tensors = safetensors.numpy.load((folder / "prototypes.safetensors").read_bytes())
            centre, prototypes = tensors["centre"], tensors["prototypes"]
            labels, temperature = tuple(facts["labels"]), float(facts["temperature"])
        except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            raise RunError(
                f"the prototypes in {folder} are damaged: {error}", hint="fit them again"
            ) from error
        if prototypes.shape != (len(labels), *centre.shape) or centre.ndim != 1:
            raise RunError(f"the prototypes in {folder} do not fit their labels", hint=_AGAIN)
        return cls(labels, centre, prototypes, temperature, embed)


def _unit(rows: Floats) -> Floats:
    scaled: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled


def _means(states: Floats, gold: Ints, n_labels: int) -> tuple[Floats, Floats]:
    """The centre (D,) and the class means (L, D); a class without rows stays at 0, far from everything."""
    centre = states.mean(axis=0)
    rows = _unit(states - centre)
    means = np.zeros((n_labels, states.shape[1]))
    for label in range(n_labels):
        if np.any(gold == label):
            means[label] = rows[gold == label].mean(axis=0)
    return centre, _unit(means)


Score = Callable[[Sequence[str], Sequence[str]], Floats]
"""N prompts, L continuations → log-probability of each continuation after each prompt, (N, L), in nats."""


class DecoderBackup:
    """A causal language model that says which label word comes next.

    The log-probability of a label after a prompt without content is taken off (Zhao et al., Calibrate Before
    Use, ICML 2021), since a small model prefers some words whatever the text is.

    Args:
        labels: the label names, (L,), used as the words.
        score: the language model.
        temperature: what scores are divided by, above 0; ``fit`` finds it.
    """

    prompt = "Message: {text}\nThe feeling in one word ({labels}):"
    empty = "N/A"

    def __init__(self, labels: tuple[str, ...], score: Score, temperature: float = 1.0) -> None:
        self.labels = labels
        self.score = score
        self.temperature = temperature
        self._words = [f" {label}" for label in labels]
        self._bias = score([self._ask(self.empty)], self._words)

    def _ask(self, text: str) -> str:
        return self.prompt.format(text=text, labels=", ".join(self.labels))

    def logits(self, texts: Sequence[str]) -> Floats:
        """Scores above those of a text without content, (N, L), in nats."""
        return self.score([self._ask(text) for text in texts], self._words) - self._bias

    def fit(self, texts: Sequence[str], gold: Ints) -> DecoderBackup:
        """The same backup with the temperature that fits held-out rows, gold (N,)."""
        temperature = fit_temperature(self.logits(texts), gold)
        return DecoderBackup(self.labels, self.score, temperature)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Probabilities, (N, L), rows sum to 1."""
        return softmax(self.logits(texts), self.temperature)


def load(kind: BackupKind, folder: Path, embed: Embed) -> Backup:
    """Read a saved backup.

    Args:
        kind: which one.
        folder: where ``save`` wrote it.
        embed: the encoder that prototypes are compared in.

    Raises:
        RunError: a file is missing, cut short or of another shape.
    """
    if kind == "tfidf":
        return TfidfBackup(TfidfClassifier.load(folder))
    return PrototypeBackup.load(folder, embed)
