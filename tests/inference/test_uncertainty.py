from __future__ import annotations

import numpy as np
import pytest
import torch

from overtone.data.tokenize import encode
from overtone.inference.calibrate import fit_temperature, softmax
from overtone.inference.classify import Reader
from overtone.inference.uncertainty import DropoutPasses, tempered
from overtone.models import store
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.scores import Predictions
from overtone.training.tasks import Reading
from toys import LABELS, sentences

READINGS = {
    "mood": Reading("classification", LABELS),
    "many": Reading("multilabel", LABELS, thresholds=np.full(3, 0.5)),
    "vad": Reading("regression", ("up",), mean=np.array([3.0]), scale=np.array([0.5])),
}
TEXTS = [text for text, _ in sentences(12)]


@pytest.fixture
def model(tiny):
    """A fresh model with one head of each kind."""

    def built(dropout):
        torch.manual_seed(0)
        heads = {
            name: (HeadConfig(hidden=(), dropout=dropout), len(reading.labels))
            for name, reading in READINGS.items()
        }
        return store.build(EncoderConfig(weights=str(tiny), dropout=dropout), None, heads).eval()

    return built


def values(made, passes):
    return Reader(made, READINGS, passes).values(TEXTS)


@pytest.mark.parametrize("frozen", [None, 1, 2])
def test_without_dropout_every_pass_is_the_plain_one(model, frozen):
    made = model(0.0)
    plain = Reader(made, READINGS).values(TEXTS)
    passes = values(made, DropoutPasses(made, READINGS, frozen=frozen, passes=3))
    for name, expected in plain.items():
        assert passes[name] == pytest.approx(expected, abs=0.03)  # one is in bf16
    assert passes["mood"].sum(axis=1) == pytest.approx(1.0)


def test_probabilities_are_averaged_not_logits(model):
    """Of one head on frozen states, by hand: the same dropout, drawn in the same order."""
    made = model(0.5)
    passes = DropoutPasses(made, READINGS, frozen=2, passes=4, seed=3)
    encoded = encode(made.body.tokenizer, TEXTS[:1], made.body.max_length)
    one = [
        DropoutPasses(made, READINGS, frozen=2, passes=n, seed=3)(encoded)["mood"].softmax(dim=-1)
        for n in (1, 2, 3, 4)
    ]
    mean = passes(encoded)["mood"].softmax(dim=-1)
    assert torch.allclose(mean, one[3])
    single = [one[0], *(n * one[n - 1] - (n - 1) * one[n - 2] for n in (2, 3, 4))]
    assert all(
        (each >= -1e-6).all() and torch.allclose(each.sum(), torch.tensor(1.0).double()) for each in single
    )
    assert torch.allclose(mean, torch.stack(single).mean(dim=0))
    assert not torch.allclose(single[0], single[1])


def test_passes_leave_the_model_and_the_random_state_alone(model):
    made = model(0.5)
    plain = Reader(made, READINGS).values(TEXTS)
    passes = DropoutPasses(made, READINGS, frozen=1, passes=2, seed=1)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    one, two = values(made, passes), values(made, passes)
    assert torch.equal(torch.get_rng_state(), before)
    other = values(made, DropoutPasses(made, READINGS, frozen=1, passes=2, seed=2))
    for name in READINGS:
        assert (one[name] == two[name]).all()
        assert not (one[name] == other[name]).all()
    again = Reader(made, READINGS).values(TEXTS)
    assert all((plain[name] == again[name]).all() for name in READINGS)
    assert not made.training
    assert all(parameter.requires_grad for parameter in made.parameters())


def test_a_temperature_is_that_of_the_logits():
    chance = np.random.default_rng(0)
    gold, logits = chance.integers(3, size=400), 3 * chance.normal(size=(400, 3))
    logits[np.arange(400), gold] += 2

    def said(rows):
        p = softmax(logits[rows])
        ids = tuple(map(str, rows))
        return Predictions(ids, LABELS, gold[rows], p.argmax(axis=1), p, ("s",) * len(rows))

    test, validation = said(np.arange(200)), said(np.arange(200, 400))
    cooled = tempered(test, validation)
    expected = softmax(logits[:200], fit_temperature(logits[200:], gold[200:]))
    assert cooled.probabilities == pytest.approx(expected, abs=1e-4)
    assert (cooled.decided == test.decided).all()
    assert (cooled.probabilities.argmax(axis=1) == test.decided).all()
