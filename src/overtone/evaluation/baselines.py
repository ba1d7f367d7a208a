"""What every classifier has to beat: the commonest label, TF-IDF, and a frozen backbone's embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from overtone.data.records import Record
from overtone.errors import DataError
from overtone.inference.backup import Embed
from overtone.models.linear import Linear, fit_best
from overtone.models.tfidf import TfidfClassifier
from overtone.scores import Floats, Ints, Predictions, tune_thresholds
from overtone.training.tasks import encode_targets, predictions


class TextModel(Protocol):
    """Anything that gives texts probabilities."""

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """Probabilities of N texts, (N, L)."""
        ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What a baseline is asked for.

    Args:
        labels: the label names, (L,).
        target: the target's name in the records.
        multilabel: whether a row may have several labels.
        embed: the frozen backbone, for the probe.
    """

    labels: tuple[str, ...]
    target: str
    multilabel: bool
    embed: Embed | None = None

    def gold(self, records: Sequence[Record]) -> Ints:
        """Class indices (N,), or 0/1 indicators (N, L)."""
        targets = encode_targets(records, self.target, self.labels, multilabel=self.multilabel)
        return targets.numpy().astype(np.int64)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fitted baseline.

    Args:
        name: its key in ``BASELINES``.
        model: what gives probabilities.
        setting: what it was fitted for.
        thresholds: (L,), from which probability each label holds; None for a single label.
    """

    name: str
    model: TextModel
    setting: Setting
    thresholds: Floats | None

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """Probabilities of N texts, (N, L)."""
        return self.model.predict_proba(texts)

    def predict(self, records: Sequence[Record]) -> Predictions:
        """Decisions on some rows, to stand beside a model's on the same rows."""
        setting = self.setting
        targets = encode_targets(records, setting.target, setting.labels, multilabel=setting.multilabel)
        probabilities = self.predict_proba([record.text for record in records])
        return predictions(records, targets, setting.labels, probabilities, self.thresholds)


@dataclass(frozen=True, slots=True)
class Constant:
    """The same probabilities (L,) whatever the text."""

    probabilities: Floats

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """Probabilities of N texts, (N, L)."""
        return np.tile(self.probabilities, (len(texts), 1))


@dataclass(frozen=True, slots=True)
class Probe:
    """Logistic regression on a frozen backbone's embeddings.

    Args:
        embed: texts → embeddings (N, D).
        mean: of the training embeddings, (D,).
        scale: their standard deviations, (D,), each above 0.
        linear: the classifier over the scaled embeddings.
    """

    embed: Embed
    mean: Floats
    scale: Floats
    linear: Linear

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Scaled embeddings, (N, D)."""
        return ((self.embed(texts) - self.mean) / self.scale).astype(np.float32)

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """Probabilities of N texts, (N, L)."""
        return self.linear.probabilities(self.features(texts))


def majority(train: Sequence[Record], validation: Sequence[Record], setting: Setting) -> Baseline:
    """Always the commonest label of the training rows; the probabilities are the labels' shares there."""
    gold = setting.gold(train)
    width = len(setting.labels)
    shares = gold.mean(axis=0) if setting.multilabel else np.bincount(gold, minlength=width) / len(gold)
    only = np.where(np.arange(width) == shares.argmax(), 0.0, np.inf)
    return Baseline("majority", Constant(shares), setting, only if setting.multilabel else None)


def tfidf(train: Sequence[Record], validation: Sequence[Record], setting: Setting) -> Baseline:
    """TF-IDF of words and word pairs with logistic regression; strength and thresholds by validation.

    Raises:
        DataError: the training texts hold no word.
    """
    model = TfidfClassifier.fit(
        (_texts(train), setting.gold(train)), (_texts(validation), setting.gold(validation)), setting.labels
    )
    return Baseline("tfidf", model, setting, _thresholds(model, validation, setting))


def probe(train: Sequence[Record], validation: Sequence[Record], setting: Setting) -> Baseline:
    """Logistic regression on the frozen backbone's embeddings; strength and thresholds by validation.

    Raises:
        DataError: the setting has no embeddings.
    """
    if setting.embed is None:
        raise DataError(
            "the probe needs a frozen backbone", hint="take 'probe' out of evaluate.baselines in the recipe"
        )
    raw = setting.embed(_texts(train))
    scale = raw.std(axis=0)
    scale[scale == 0] = 1.0
    mean = raw.mean(axis=0)
    inputs = [((rows - mean) / scale).astype(np.float32) for rows in (raw, setting.embed(_texts(validation)))]
    golds = [setting.gold(records) for records in (train, validation)]
    linear = fit_best((inputs[0], golds[0]), (inputs[1], golds[1]), setting.labels)
    model = Probe(setting.embed, mean, scale, linear)
    return Baseline("probe", model, setting, _thresholds(model, validation, setting))


def _texts(records: Sequence[Record]) -> list[str]:
    return [record.text for record in records]


def _thresholds(model: TextModel, validation: Sequence[Record], setting: Setting) -> Floats | None:
    if not setting.multilabel:
        return None
    plain = Baseline("untuned", model, setting, None)
    return tune_thresholds(plain.predict(validation))


BASELINES: dict[str, Callable[[Sequence[Record], Sequence[Record], Setting], Baseline]] = {
    "majority": majority,
    "tfidf": tfidf,
    "probe": probe,
}
"""Every baseline of a classifier by its name: training rows, validation rows, setting → a fitted one."""
