from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from overtone.data.records import Record
from overtone.errors import DataError
from overtone.scores import Estimates, Predictions
from overtone.training.losses import MISSING
from overtone.training.tasks import Reading, encode_targets, scores_of

LABELS = ("joy", "fear", "love")
NUMBERS = Reading(
    "regression", LABELS, mean=np.array([3.0, 2.0, 1.0]), scale=np.array([0.5, 1.0, 2.0]), context=True
)


def row(value, number=0):
    return Record(f"a/{number}", "text", {} if value is ... else {"emotion": value}, "a")


def test_classes():
    rows = [row("love"), row("joy"), row(None), row(...)]
    found = encode_targets(rows, "emotion", LABELS, "classification")
    assert found.tolist() == [2, 0, MISSING, MISSING]
    assert found.dtype == torch.long


def test_indicators():
    rows = [row(("love", "joy")), row("fear"), row(()), row(None)]
    found = encode_targets(rows, "emotion", LABELS, "multilabel")
    assert found[:3].tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert bool(found[3].isnan().all())


def test_numbers():
    found = encode_targets([row((1.0, 2.5, -3.0)), row(None)], "emotion", LABELS, "regression")
    assert found[0].tolist() == [1.0, 2.5, -3.0]
    assert bool(found[1].isnan().all())


def test_a_list_of_labels_is_no_class():
    with pytest.raises(DataError, match="'a/1' has a list under 'emotion'") as caught:
        encode_targets([row("joy"), row(("joy", "love"), 1)], "emotion", LABELS, "classification")
    assert "kind to multilabel" in caught.value.hint


@pytest.mark.parametrize("value", ["joy", (1.0, 2.0)])
def test_what_is_no_three_numbers(value):
    with pytest.raises(DataError, match="'a/0' has no 3 numbers under 'emotion'"):
        encode_targets([row(value)], "emotion", LABELS, "regression")


def test_probabilities_are_scipy_s():
    logits = np.random.default_rng(0).normal(size=(5, 3)) * 4
    assert Reading("classification", LABELS).values(logits) == pytest.approx(softmax(logits, axis=1))
    assert Reading("multilabel", LABELS).values(logits) == pytest.approx(expit(logits))


def test_numbers_are_learnt_in_their_deviations():
    gold = torch.tensor([[3.5, 2.0, -1.0]])
    assert NUMBERS.learnt(gold).tolist() == [[1.0, 0.0, -1.0]]
    assert NUMBERS.values(NUMBERS.learnt(gold).double().numpy()) == pytest.approx(gold.numpy())
    assert Reading("classification", LABELS).learnt(torch.tensor([1])).tolist() == [1]


def test_a_reading_is_kept_as_json():
    for reading in (NUMBERS, Reading("multilabel", LABELS, np.array([0.1, 0.2, 0.3]))):
        written = json.loads(json.dumps(reading.as_dict()))
        again = Reading.parse(written)
        assert again.as_dict() == reading.as_dict()
        assert (again.kind, again.labels, again.context) == (reading.kind, reading.labels, reading.context)


def test_the_most_probable_class_is_decided():
    rows = [row("joy", 0), row("love", 1)]
    outputs = np.log([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    made = scores_of(Reading("classification", LABELS), rows, torch.tensor([0, 2]), outputs)
    assert isinstance(made, Predictions)
    assert made.probabilities == pytest.approx(np.exp(outputs))
    assert made.decided.tolist() == [1, 2]
    assert made.correct.tolist() == [False, True]
    assert (made.ids, made.sources, made.labels) == (("a/0", "a/1"), ("a", "a"), LABELS)


@pytest.mark.parametrize(
    ("thresholds", "decided"), [(None, [[0, 1, 1]]), (np.array([0.1, 0.6, 0.8]), [[1, 0, 1]])]
)
def test_labels_past_their_thresholds_are_decided(thresholds, decided):
    outputs = np.array([[-2.0, 0.0, 2.0]])  # 0.12, 0.5, 0.88
    reading = Reading("multilabel", LABELS, thresholds)
    made = scores_of(reading, [row(("joy",))], torch.tensor([[1.0, 0.0, 0.0]]), outputs)
    assert isinstance(made, Predictions)
    assert made.decided.tolist() == decided
    assert made.gold.tolist() == [[1, 0, 0]]


def test_numbers_are_in_the_data_s_unit():
    made = scores_of(
        NUMBERS, [row((3.0, 2.0, 1.0))], torch.tensor([[3.0, 2.0, 1.0]]), np.array([[1.0, -1.0, 2.0]])
    )
    assert isinstance(made, Estimates)
    assert made.gold.tolist() == [[3.0, 2.0, 1.0]]
    assert made.decided.tolist() == [[3.5, 1.0, 5.0]]


@pytest.mark.parametrize(
    "reading",
    [
        Reading("classification", ("a", "b")),
        Reading("multilabel", ("a", "b")),
        Reading("regression", ("a", "b"), mean=np.array([1.0, -2.0]), scale=np.array([0.5, 4.0])),
    ],
    ids=lambda reading: reading.kind,
)
def test_outputs_are_read_back_as_the_values_that_they_are_made_of(reading):
    values = reading.values(np.array([[0.3, -4.0], [9.0, 9.5], [60.0, -900.0]]))
    made = reading.outputs(values)
    assert np.isfinite(made).all()
    assert reading.values(made) == pytest.approx(values, abs=1e-11)
