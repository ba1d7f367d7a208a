"""What every model has to beat: the commonest answer, TF-IDF, and a frozen backbone's embeddings.

A baseline sees what the model sees: where rows carry what was said before, so do its features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import logit

from overtone.data.records import Record
from overtone.errors import DataError
from overtone.inference.backup import Embed
from overtone.models.linear import Features, Linear, fit_best, fit_best_numbers
from overtone.models.tfidf import Terms, tokens
from overtone.scores import Floats, Predictions, Scored, tune_thresholds
from overtone.training.tasks import Kind, Reading, encode_targets, scores_of

Rows = Sequence[Record]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a baseline is asked for.

    Args:
        kind: of the task.
        labels: the names of its labels or numbers, (L,).
        target: the target's name in the records.
        metric: what its strength is chosen by on validation rows, as a name or path.
        embed: the frozen backbone, for the probe.
    """

    kind: Kind
    labels: tuple[str, ...]
    target: str
    metric: str
    embed: Embed | None = None

    def gold(self, rows: Rows) -> NDArray[Any]:
        """Class indices (N,), 0/1 indicators (N, L), or numbers (N, L)."""
        encoded = encode_targets(rows, self.target, self.labels, self.kind).numpy()
        return encoded.astype(np.float64 if self.kind == "regression" else np.int64)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A fitted baseline.

    Args:
        name: what the report calls it.
        setting: what it was fitted for.
        outputs: N rows → logits or numbers, (N, L).
        thresholds: (L,), from which probability each label holds; multi-label alone.
    """

    name: str
    setting: Setting
    outputs: Callable[[Rows], Floats]
    thresholds: Floats | None = None

    def predict(self, rows: Rows) -> Scored:
        """What it says about some rows, to stand beside a model's on the same rows."""
        setting, width = self.setting, len(self.setting.labels)
        numbers = setting.kind == "regression"
        reading = Reading(
            setting.kind,
            setting.labels,
            self.thresholds,
            mean=np.zeros(width) if numbers else None,
            scale=np.ones(width) if numbers else None,
        )
        targets = encode_targets(rows, setting.target, setting.labels, setting.kind)
        return scores_of(reading, rows, targets, self.outputs(rows))


@dataclass(frozen=True, slots=True)
class Constant:
    """The same outputs (L,) whatever the text."""

    outputs: Floats

    def __call__(self, rows: Rows) -> Floats:
        """Logits or numbers of N rows, (N, L)."""
        return np.tile(self.outputs, (len(rows), 1))


@dataclass(frozen=True, slots=True)
class LinearModel:
    """A linear map of features of the text and, apart, of what was said before it.

    Args:
        text: N texts → features (N, F).
        context: N contexts → features (N, G); None where no training row has one.
        linear: the map.
    """

    text: Callable[[Sequence[str]], Features]
    context: Callable[[Sequence[str | None]], Features] | None
    linear: Linear

    def __call__(self, rows: Rows) -> Floats:
        """Logits or numbers of N rows, (N, L)."""
        return self.linear.outputs(_features(rows, self.text, self.context))


@dataclass(frozen=True, slots=True)
class Embedding:
    """A frozen backbone's embeddings, each dimension in units of its training deviation.

    Args:
        embed: texts → embeddings (N, D).
        mean: of the training embeddings, (D,).
        scale: their standard deviations, (D,), each above 0.
    """

    embed: Embed
    mean: Floats
    scale: Floats

    @classmethod
    def fit(cls, embed: Embed, texts: Sequence[str]) -> Embedding:
        """Take mean and deviation of N training texts."""
        raw = embed(texts)
        scale = raw.std(axis=0)
        return cls(embed, raw.mean(axis=0), np.where(scale == 0, 1.0, scale))

    def __call__(self, texts: Sequence[str | None]) -> Features:
        """Scaled embeddings, (N, D); the training mean, which is 0, where there is no text."""
        there = [text for text in texts if text is not None]
        found = np.zeros((len(texts), len(self.mean)), dtype=np.float32)
        if there:
            held = np.array([text is not None for text in texts])
            found[held] = (self.embed(there) - self.mean) / self.scale
        return found


def majority(train: Rows, validation: Rows, setting: Setting) -> Baseline:
    """Always the commonest label of the training rows, its probability its share there.

    Of numbers: always their training mean, and the baseline is called "mean".
    """
    gold, width = setting.gold(train), len(setting.labels)
    if setting.kind == "regression":
        return Baseline("mean", setting, Constant(gold.mean(axis=0)))
    tiny, most = np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg
    if setting.kind == "multilabel":
        shares = gold.mean(axis=0)
        only = np.where(np.arange(width) == shares.argmax(), 0.0, np.inf)
        return Baseline("majority", setting, Constant(logit(shares.clip(tiny, most))), only)
    shares = np.bincount(gold, minlength=width) / len(gold)
    return Baseline("majority", setting, Constant(np.log(shares.clip(tiny))))


def tfidf(train: Rows, validation: Rows, setting: Setting) -> Baseline:
    """TF-IDF of words, punctuation marks and their pairs, then logistic or ridge regression.

    What was said before has terms of its own. Strength and thresholds are chosen on validation rows.

    Raises:
        DataError: the training texts hold no word.
    """
    text = Terms.fit([row.text for row in train], tokens)
    before = _before(train)
    context = Terms.fit(before, tokens) if before else None

    def counted(contexts: Sequence[str | None]) -> Features:
        assert context is not None
        return context.features([each or "" for each in contexts])

    model = _fitted(train, validation, setting, (text.features, None if context is None else counted))
    return _decided("tfidf", model, validation, setting)


def probe(train: Rows, validation: Rows, setting: Setting) -> Baseline:
    """Logistic or ridge regression on a frozen backbone's embeddings of the text and of what was said before.

    Strength and thresholds are chosen on validation rows.

    Raises:
        DataError: the setting has no embeddings.
    """
    if setting.embed is None:
        raise DataError(
            "the probe needs a frozen backbone", hint="take 'probe' out of evaluate.baselines in the recipe"
        )
    text = Embedding.fit(setting.embed, [row.text for row in train])
    before = _before(train)
    context = Embedding.fit(setting.embed, before) if before else None
    return _decided("probe", _fitted(train, validation, setting, (text, context)), validation, setting)


def _before(rows: Rows) -> list[str]:
    """What was said before the rows that have something before them."""
    return [row.context for row in rows if row.context is not None]


def _features(
    rows: Rows,
    text: Callable[[Sequence[str]], Features],
    context: Callable[[Sequence[str | None]], Features] | None,
) -> Features:
    """Features of the text and of what was said before it, side by side."""
    own = text([row.text for row in rows])
    if context is None:
        return own
    before = context([row.context for row in rows])
    return sparse.hstack([own, before]).tocsr() if sparse.issparse(own) else np.hstack([own, before])


def _fitted(
    train: Rows,
    validation: Rows,
    setting: Setting,
    maps: tuple[Callable[[Sequence[str]], Features], Callable[[Sequence[str | None]], Features] | None],
) -> LinearModel:
    """The best linear map of the features of text and context."""
    fit_on, choose_on = ((_features(rows, *maps), setting.gold(rows)) for rows in (train, validation))
    if setting.kind == "regression":
        measure = setting.metric.rpartition(".")[2]
        linear = fit_best_numbers(fit_on, choose_on, setting.labels, measure)
    else:
        linear = fit_best(fit_on, choose_on, setting.labels, setting.metric)
    return LinearModel(*maps, linear)


def _decided(name: str, model: LinearModel, validation: Rows, setting: Setting) -> Baseline:
    """The baseline, with thresholds where it needs them."""
    plain = Baseline(name, setting, model)
    said = plain.predict(validation)
    if not isinstance(said, Predictions) or not said.multilabel:
        return plain
    return Baseline(name, setting, model, tune_thresholds(said))


BASELINES: dict[str, Callable[[Rows, Rows, Setting], Baseline]] = {
    "majority": majority,
    "tfidf": tfidf,
    "probe": probe,
}
"""Every baseline by its name in a recipe: training rows, validation rows, setting → a fitted one."""


def fit(name: str, train: Rows, validation: Rows, setting: Setting) -> Baseline:
    """Fit the baseline of that name.

    Args:
        name: a key of ``BASELINES``.
        train: the rows that the model was fitted on.
        validation: the rows that choose strengths and thresholds.
        setting: what is asked for.

    Raises:
        DataError: the rows do not allow it.
    """
    return BASELINES[name](train, validation, setting)
