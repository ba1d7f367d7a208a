"""The mean of several models: of probabilities and numbers, not of logits; and which models go together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from overtone.errors import UsageError
from overtone.inference.ensemble import Ensemble
from overtone.training.tasks import Reading

CLASSES = Reading("classification", ("a", "b", "c"))
LABELS = Reading("multilabel", ("x", "y"), thresholds=np.array([0.2, 0.5]))
NUMBERS = Reading("regression", ("v",), mean=np.array([3.0]), scale=np.array([2.0]), context=True)


class Fixed:
    """A reader that gives the same outputs for every text, and remembers what it was asked."""

    def __init__(self, outputs, readings):
        self.made = outputs
        self.readings = readings

    def values(self, texts, contexts=None, tasks=None):
        self.asked = (texts, contexts, tasks)
        names = [name for name in self.readings if tasks is None or name in tasks]
        return {
            name: self.readings[name].values(np.repeat([self.made[name]], len(texts), axis=0))
            for name in names
        }


def reader(classes, labels, numbers, **changes):
    readings = {"mood": CLASSES, "tags": LABELS, "size": NUMBERS, **changes}
    return Fixed({"mood": classes, "tags": labels, "size": numbers}, readings)


@pytest.fixture
def two():
    other = replace(NUMBERS, mean=np.array([5.0]), scale=np.array([1.0]), context=False)
    more = replace(LABELS, thresholds=np.array([0.2, 0.9]))
    return {
        "one": reader([0.0, 0.0, np.log(2)], [0.0, np.log(3)], [1.0]),
        "two": reader([5.0, -5.0, 1.0], [2.0, -1.0], [-1.0], size=other, tags=more),
    }


def test_probabilities_and_numbers_are_averaged(two):
    values = Ensemble(two).values(["t", "u"])
    assert values["mood"].shape == (2, 3)
    expected = (np.array([0.25, 0.25, 0.5]) + softmax([5.0, -5.0, 1.0])) / 2
    assert values["mood"][1] == pytest.approx(expected)
    assert values["tags"][0] == pytest.approx((np.array([0.5, 0.75]) + expit([2.0, -1.0])) / 2)
    assert values["size"][0] == pytest.approx((5.0 + 4.0) / 2)  # 3 + 2, 5 − 1


def test_its_outputs_are_read_as_its_values(two):
    ensemble = Ensemble(two)
    outputs, values = ensemble.outputs(["t"]), ensemble.values(["t"])
    for name, reading in ensemble.readings.items():
        assert reading.values(outputs[name]) == pytest.approx(values[name])


def test_one_model_is_its_own_ensemble(two):
    alone = two["two"]
    ensemble = Ensemble({"two": alone})
    for name, reading in ensemble.readings.items():
        assert ensemble.values(["t"])[name] == pytest.approx(alone.values(["t"])[name])
        assert reading.labels == alone.readings[name].labels
    assert ensemble.readings["tags"].thresholds == pytest.approx(np.array([0.2, 0.9]))


def test_thresholds_are_averaged_in_log_odds(two):
    found = Ensemble(two).readings["tags"].thresholds
    assert found == pytest.approx(np.array([0.2, expit((logit(0.5) + logit(0.9)) / 2)]))
    certain = {
        name: reader([0.0] * 3, [0.0] * 2, [0.0], tags=replace(LABELS, thresholds=np.array([0.0, limit])))
        for name, limit in (("one", 0.0), ("two", 1.0))
    }
    assert Ensemble(certain).readings["tags"].thresholds == pytest.approx(np.array([0.0, 0.5]), abs=1e-9)


def test_numbers_are_shown_beside_the_mean_of_what_was_usual(two):
    reading = Ensemble(two).readings["size"]
    assert (reading.mean, reading.scale) == (np.array([4.0]), np.array([1.5]))
    assert reading.context


def test_every_model_gets_the_question(two):
    ensemble = Ensemble(two)
    assert ensemble.values(["t"], ["before"], ["mood"]).keys() == {"mood"}
    assert {tuple(map(tuple, each.asked)) for each in two.values()} == {(("t",), ("before",), ("mood",))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mood": replace(CLASSES, labels=("a", "c", "b"))}, "'mood' of one is .* a, b, c; of two, a"),
        (
            {"mood": replace(CLASSES, kind="multilabel")},
            "of one is a classification .*; of two, a multilabel",
        ),
        ({"extra": CLASSES}, "one has the heads mood, tags, size, and two mood, tags, size, extra"),
    ],
)
def test_models_of_other_questions_are_refused(two, change, message):
    two["two"].readings |= change
    with pytest.raises(UsageError, match=message) as caught:
        Ensemble(two)
    assert caught.value.hint


def test_only_the_tasks_that_are_asked_have_to_be_alike(two):
    two["two"].readings |= {"extra": CLASSES, "tags": replace(LABELS, labels=("x", "z"))}
    ensemble = Ensemble(two, ["mood"])
    assert list(ensemble.readings) == ["mood"]
    assert ensemble.values(["t"]).keys() == {"mood"}
    with pytest.raises(UsageError, match="'tags' of one"):
        Ensemble(two, ["mood", "tags"])
