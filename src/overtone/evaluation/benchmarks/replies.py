"""Replies to conversations: how varied, how long, and how near what a person said there.

There are many good replies to one conversation, so BLEU and ROUGE-L are low for good ones too; they tell
whether a model speaks like its data. What repeats itself has a low ``distinct``, and a collapse in length is
flagged.

| measure | of all replies of a system |
| --- | --- |
| ``bleu`` | corpus BLEU, 0..100, as sacrebleu has it (Papineni et al. 2002; Post 2018) |
| ``rouge_l`` | mean F of the longest common subsequence with the person's reply, 0..1 (Lin 2004) |
| ``distinct_1``, ``distinct_2`` | different words, and pairs, over all of them, 0..1 (Li et al. 2016) |
| ``words`` | mean number of words |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from overtone.data.text import words
from overtone.errors import DataError, MissingExtraError
from overtone.evaluation.bootstrap import draws
from overtone.evaluation.compare import Interval, interval_of
from overtone.scores import Floats

COLLAPSED = 0.5
"""A system whose replies have fewer words than this share of the persons' has collapsed in length."""


@dataclass(frozen=True, slots=True)
class Replied:
    """What one system replied to N conversations.

    Args:
        system: its name.
        conversations: which conversation each is from, (N,); replies in one are not independent.
        texts: the replies, (N,).
        golds: what a person replied there, (N,).
    """

    system: str
    conversations: tuple[str, ...]
    texts: tuple[str, ...]
    golds: tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.conversations) == len(self.texts) == len(self.golds) > 0:
            raise DataError(f"{len(self.texts):,} replies of {self.system} cannot be measured")


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of one system's replies.

    Args:
        system: its name.
        bleu: see the table above.
        rouge_l: with its 95% interval from a bootstrap over conversations.
        distinct_1: see the table above.
        distinct_2: see the table above.
        words: with its interval.
        collapsed: whether they are less than ``COLLAPSED`` as long as a person's.
    """

    system: str
    bleu: float
    rouge_l: Interval
    distinct_1: float
    distinct_2: float
    words: Interval
    collapsed: bool


def measured(replied: Replied, *, seed: int, resamples: int) -> Measured:
    """Measure the replies of one system.

    Raises:
        MissingExtraError: ``sacrebleu`` or ``rouge-score`` is not installed.
    """
    said = [words(text) for text in replied.texts]
    lengths = np.array([len(each) for each in said], dtype=np.float64)
    gold = float(np.mean([len(words(text)) for text in replied.golds]))
    over = (replied.conversations, seed, resamples)
    return Measured(
        system=replied.system,
        bleu=_bleu(replied),
        rouge_l=_mean(_rouge_l(replied), *over),
        distinct_1=distinct(said, 1),
        distinct_2=distinct(said, 2),
        words=_mean(lengths, *over),
        collapsed=float(lengths.mean()) < COLLAPSED * gold,
    )


def distinct(texts: Sequence[Sequence[str]], n: int) -> float:
    """Different runs of n words over all runs in N texts; 0 where there is none."""
    runs = [tuple(text[at : at + n]) for text in texts for at in range(len(text) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def _bleu(replied: Replied) -> float:
    return float(_package("sacrebleu").corpus_bleu(list(replied.texts), [list(replied.golds)]).score)


def _rouge_l(replied: Replied) -> Floats:
    scorer = _package("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=True)
    pairs = zip(replied.golds, replied.texts, strict=True)
    return np.array([scorer.score(gold, text)["rougeL"].fmeasure for gold, text in pairs])


def packages() -> None:
    """Look for what measures replies, before anything that takes long.

    Raises:
        MissingExtraError: ``sacrebleu`` or ``rouge-score`` is not installed.
    """
    for name in ("sacrebleu", "rouge_score.rouge_scorer"):
        _package(name)


def _package(name: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("replies", "measuring replies") from error


def _mean(values: Floats, conversations: Sequence[str], seed: int, resamples: int) -> Interval:
    """The mean of the values (N,), with an interval from resamples of whole conversations."""
    _, of = np.unique(conversations, return_inverse=True)
    sums, sizes = np.bincount(of, weights=values), np.bincount(of)
    found = [(draw.weights @ sums) / (draw.weights @ sizes) for draw in draws(len(sizes), resamples, seed)]
    return interval_of(float(values.mean()), np.concatenate(found), 0.95)
