from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, softmax

from overtone.data.records import Record
from overtone.inference.readout import Readout, answer
from overtone.training.tasks import Reading, scores_of

LABELS = ("a", "b", "c")
RECORD = [Record("1", "text", {}, "toy")]


def test_a_classification_by_hand():
    found = answer(Reading("classification", LABELS), np.array([0.2, 0.5, 0.3]))
    assert list(found.scores.items()) == [("b", 0.5), ("c", 0.3), ("a", 0.2)]
    assert found.labels == ("b",)
    assert found.as_dict() == {
        "kind": "classification",
        "label": "b",
        "confidence": 0.5,
        "scores": {"b": 0.5, "c": 0.3, "a": 0.2},
    }


@pytest.mark.parametrize(
    ("values", "thresholds", "labels"),
    [
        ([0.4, 0.5, 0.9], None, ["c", "b"]),
        ([0.4, 0.5, 0.9], [0.3, 0.6, 0.95], ["a"]),
        ([0.3, 0.6, 0.95], [0.3, 0.6, 0.95], ["c", "b", "a"]),
        ([0.1, 0.2, 0.3], [0.5, 0.5, 0.5], []),
    ],
)
def test_several_labels_by_hand(values, thresholds, labels):
    limits = None if thresholds is None else np.array(thresholds)
    found = answer(Reading("multilabel", LABELS, limits), np.array(values))
    assert found.as_dict() == {
        "kind": "multilabel",
        "labels": labels,
        "scores": dict(zip(LABELS, values, strict=True)),
    }
    assert list(found.scores) == ["c", "b", "a"]


def test_numbers_by_hand():
    reading = Reading("regression", ("v", "w"), mean=np.array([3.0, -1.0]), scale=np.array([0.5, 2.0]))
    found = answer(reading, np.array([2.12345678, -7.0]))
    assert found.scores == {"v": 2.12345678, "w": -7.0}
    assert found.usual == {"v": (3.0, 0.5), "w": (-1.0, 2.0)}
    assert found.labels == ()
    assert found.as_dict() == {"kind": "regression", "values": {"v": 2.123457, "w": -7.0}}


def test_the_version_stands_beside_the_heads():
    heads = {
        "mood": answer(Reading("classification", LABELS), np.array([0.25, 0.25, 0.5])),
        "tones": answer(Reading("multilabel", LABELS), np.array([0.5, 0.25, 0.125])),
        "size": answer(Reading("regression", ("v",)), np.array([2.0])),
    }
    found = Readout(heads)
    assert json.loads(json.dumps(found.as_dict())) == {
        "version": 1,
        "heads": {
            "mood": {
                "kind": "classification",
                "label": "c",
                "confidence": 0.5,
                "scores": {"c": 0.5, "a": 0.25, "b": 0.25},
            },
            "tones": {"kind": "multilabel", "labels": ["a"], "scores": {"a": 0.5, "b": 0.25, "c": 0.125}},
            "size": {"kind": "regression", "values": {"v": 2.0}},
        },
    }
    assert found.as_log() == {
        "heads": {
            "mood": {"kind": "classification", "label": "c", "confidence": 0.5},
            "tones": {"kind": "multilabel", "labels": ["a"]},
            "size": {"kind": "regression", "values": {"v": 2.0}},
        }
    }


@given(arrays(np.float64, (1, 3), elements=st.floats(-20, 20)))
def test_the_answer_is_what_the_evaluation_counts(outputs):
    one = Reading("classification", LABELS)
    decided = scores_of(one, RECORD, torch.zeros(1), outputs).decided[0]
    assert answer(one, one.values(outputs)[0]).labels == (LABELS[decided],)
    some = Reading("multilabel", LABELS, np.array([0.2, 0.5, 0.8]))
    held = scores_of(some, RECORD, torch.zeros(1, 3), outputs).decided[0]
    assert set(answer(some, some.values(outputs)[0]).labels) == {LABELS[i] for i in held.nonzero()[0]}


@given(arrays(np.float64, 3, elements=st.floats(-20, 20)))
def test_scores_are_the_probabilities(outputs):
    for kind, expected in (("classification", softmax(outputs)), ("multilabel", expit(outputs))):
        reading = Reading(kind, LABELS)
        found = answer(reading, reading.values(outputs[None])[0])
        assert [found.scores[name] for name in LABELS] == pytest.approx(expected.tolist(), abs=1e-9)
        assert list(found.scores.values()) == sorted(found.scores.values(), reverse=True)
