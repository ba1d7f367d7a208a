from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from overtone.data.records import Record
from overtone.errors import DataError
from overtone.training.losses import MISSING
from overtone.training.tasks import encode_targets, predictions, probabilities

LABELS = ("joy", "fear", "love")


def row(value, number=0):
    return Record(f"a/{number}", "text", {} if value is ... else {"emotion": value}, "a")


def test_classes():
    rows = [row("love"), row("joy"), row(None), row(...)]
    found = encode_targets(rows, "emotion", LABELS, multilabel=False)
    assert found.tolist() == [2, 0, MISSING, MISSING]
    assert found.dtype == torch.long


def test_indicators():
    rows = [row(("love", "joy")), row("fear"), row(()), row(None)]
    found = encode_targets(rows, "emotion", LABELS, multilabel=True)
    assert found[:3].tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert bool(found[3].isnan().all())


def test_a_list_of_labels_is_no_class():
    with pytest.raises(DataError, match="'a/1' has a list of labels") as caught:
        encode_targets([row("joy"), row(("joy", "love"), 1)], "emotion", LABELS, multilabel=False)
    assert "tasks.0.kind=multilabel" in caught.value.hint


def test_probabilities_are_scipy_s():
    logits = np.random.default_rng(0).normal(size=(5, 3)) * 4
    assert probabilities(logits, multilabel=False) == pytest.approx(softmax(logits, axis=1))
    assert probabilities(logits, multilabel=True) == pytest.approx(expit(logits))


def test_the_most_probable_class_is_decided():
    rows = [row("joy", 0), row("love", 1)]
    shares = np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    made = predictions(rows, torch.tensor([0, 2]), LABELS, shares)
    assert made.decided.tolist() == [1, 2]
    assert made.correct.tolist() == [False, True]
    assert (made.ids, made.sources, made.labels) == (("a/0", "a/1"), ("a", "a"), LABELS)


@pytest.mark.parametrize(
    ("thresholds", "decided"), [(None, [[0, 1, 1]]), (np.array([0.1, 0.6, 0.8]), [[1, 0, 1]])]
)
def test_labels_past_their_thresholds_are_decided(thresholds, decided):
    shares = np.array([[0.1, 0.5, 0.9]])
    made = predictions([row(("joy",))], torch.tensor([[1.0, 0.0, 0.0]]), LABELS, shares, thresholds)
    assert made.decided.tolist() == decided
    assert made.gold.tolist() == [[1, 0, 0]]
