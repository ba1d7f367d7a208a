"""How likely a text is sarcastic: a trained detector, asked only where the primary is unsure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from overtone.errors import DataError, RunError
from overtone.models.tfidf import TfidfClassifier
from overtone.scores import Bools, Floats

LABELS = ("plain", "sarcastic")
"""The detector's two labels."""

POSITIVE = ("joy", "love", "surprise")
"""Labels that a sarcastic text states."""

UNPLEASANT = ("anger", "disgust", "sadness")
"""Labels that a sarcastic text means."""


@dataclass(frozen=True, slots=True)
class SarcasmScores:
    """How the detector does on held-out texts.

    Args:
        n: held-out texts; none of them was trained on, and none is a copy of one that was.
        accuracy: share decided right, 0..1.
        auc: area under the ROC curve, 0..1.
        majority: accuracy of always giving the commoner answer, 0..1.
    """

    n: int
    accuracy: float
    auc: float
    majority: float


class SarcasmDetector:
    """TF-IDF and logistic regression, trained on news headlines.

    What it learned is the house style of one satirical paper against that of one news site, which is not all
    of sarcasm; outside headlines its probabilities rank texts at best. The cascade therefore fits, on rows of
    its own, how far they may be believed, and switches the step off where they break as much as they fix.
    On these headlines word counts find more than the embedding of a frozen small encoder does
    (docs/LOG.md), so no encoder is needed.

    Args:
        model: a classifier into ``LABELS``.
    """

    def __init__(self, model: TfidfClassifier) -> None:
        self.model = model

    @classmethod
    def fit(
        cls, texts: Sequence[str], sarcastic: Bools, *, seed: int = 0, held_out: float = 0.15
    ) -> tuple[SarcasmDetector, SarcasmScores]:
        """Train on a seeded part of the texts and measure on the rest.

        Copies of one text are joined first, so none is on both sides. As many texts as are held out for the
        scores are held out for the strength of the regression.

        Args:
            texts: N texts.
            sarcastic: whether each is, (N,).
            seed: of the parts.
            held_out: the share of each held-out part, 0..0.4.

        Raises:
            DataError: all texts are of one kind.
        """
        _, first = np.unique(np.asarray(texts, dtype=object), return_index=True)
        order = np.random.default_rng(seed).permutation(np.sort(first))
        cut = max(int(len(order) * held_out), 1)
        test, validation, train = order[:cut], order[cut : 2 * cut], order[2 * cut :]
        gold = np.asarray(sarcastic, dtype=np.int64)
        if any(len(np.unique(gold[part])) < 2 for part in (test, train)):
            raise DataError(
                "sarcasm needs texts of both kinds", hint="see `overtone data show sarcasm_headlines`"
            )

        def pick(part: np.ndarray) -> tuple[list[str], np.ndarray]:
            return [texts[i] for i in part], gold[part]

        detector = cls(TfidfClassifier.fit(pick(train), pick(validation), LABELS))
        share = detector.probabilities(pick(test)[0])
        truth = gold[test]
        scores = SarcasmScores(
            n=len(test),
            accuracy=float(((share >= 0.5) == truth).mean()),
            auc=float(roc_auc_score(truth, share)),
            majority=float(max(truth.mean(), 1 - truth.mean())),
        )
        return detector, scores

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """The probability that each text is sarcastic, (N,), 0..1."""
        return self.model.predict_proba(texts)[:, 1]

    def save(self, folder: Path) -> None:
        """Write the detector into a folder: safetensors and JSON."""
        self.model.save(folder)

    @classmethod
    def load(cls, folder: Path) -> SarcasmDetector:
        """Read what ``save`` wrote.

        Raises:
            RunError: a file is missing, cut short or not a sarcasm detector.
        """
        model = TfidfClassifier.load(folder)
        if model.labels != LABELS:
            raise RunError(f"{folder} holds a classifier into {model.labels}, not a sarcasm detector")
        return cls(model)


def shift(probabilities: Floats, sarcastic: Floats, strength: float, labels: Sequence[str]) -> Floats:
    """Move what the pleasant labels hold to the unpleasant ones, as far as a text is sarcastic.

    A share strength x p(sarcastic) of the mass on ``POSITIVE`` goes to ``UNPLEASANT``, divided as these
    stand to each other already. Rows whose best label is not positive stay as they are, and so does
    everything where the labels lack one of the two sides.

    Args:
        probabilities: (N, L), rows sum to 1.
        sarcastic: (N,), 0..1.
        strength: how far the detector is believed, 0 (not at all) to 1.
        labels: the label names, (L,).
    """
    positive = np.array([label in POSITIVE for label in labels])
    unpleasant = np.array([label in UNPLEASANT for label in labels])
    if not (positive.any() and unpleasant.any()) or not len(probabilities):
        return probabilities
    share = np.where(positive[probabilities.argmax(axis=1)], strength * sarcastic, 0.0)[:, None]  # (N, 1)
    moved = share * probabilities * positive
    target = np.maximum(probabilities, 1e-12) * unpleasant
    shifted: Floats = (
        probabilities - moved + moved.sum(axis=1, keepdims=True) * target / target.sum(axis=1, keepdims=True)
    )
    return shifted
