from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from overtone.inference import classify
from overtone.inference.classify import CLOSE, Classifier, Reader
from overtone.models import store
from overtone.models.adapters import LoraConfig
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.models.model import sweep
from overtone.training.tasks import Reading
from toys import LABELS, build_model, sentences

KINDS = ["bert", "roberta", "distilbert"]
THRESHOLDS = np.array([0.3, 0.5, 0.62])


def of(model, thresholds=None):
    """A model with one head as a classifier."""
    kind = "classification" if thresholds is None else "multilabel"
    return Classifier(Reader(model, {"emotion": Reading(kind, LABELS, thresholds)}))


def texts(n, seed=0):
    return [text for text, _ in sentences(n, seed)]


@pytest.fixture(scope="module", params=KINDS)
def model(encoder_folder, request):
    return build_model(encoder_folder(request.param)).eval()


@pytest.fixture(scope="module")
def classifier(tiny):
    return of(build_model(tiny).eval())


def in_fp32(classifier, rows):
    encoded = classifier.reader.model.body.encode(rows)
    return sweep(classifier.reader.model, encoded, classifier.reader.model.device)["emotion"].double().numpy()


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_those_of_fp32(model, seed):
    classifier = of(model)
    rows = texts(700, seed)
    found, expected = classifier.logits(rows), in_fp32(classifier, rows)
    assert not np.array_equal(found, expected)  # most of it was read in bf16
    assert np.mean(found.argmax(axis=1) == expected.argmax(axis=1)) >= 0.999
    assert np.abs(found - expected).max() < CLOSE
    top = np.sort(found, axis=1)
    close = top[:, -1] - top[:, -2] < CLOSE / 2
    assert np.allclose(found[close], expected[close], atol=1e-4)


def test_decisions_about_several_labels_are_those_of_fp32(model):
    classifier = of(model, THRESHOLDS)
    rows = texts(700)
    found, expected = classifier.probabilities(rows), expit(in_fp32(classifier, rows))
    assert np.mean((found >= THRESHOLDS) == (expected >= THRESHOLDS)) >= 0.999


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_thresholds_at_the_ends(classifier, threshold):
    """A label that is always or never given is never close."""
    certain = of(classifier.reader.model, np.full(3, threshold))
    assert np.isfinite(certain.logits(texts(5))).all()


def test_probabilities(classifier):
    rows = texts(20)
    assert classifier.probabilities(rows) == pytest.approx(softmax(classifier.logits(rows), axis=1))
    several = of(classifier.reader.model, THRESHOLDS)
    assert several.probabilities(rows) == pytest.approx(expit(several.logits(rows)))


def test_no_texts(classifier):
    assert classifier.logits([]).shape == (0, 3)
    assert classifier.probabilities([]).shape == (0, 3)
    assert classifier.embed([]).shape == (0, 32)


def test_an_empty_text(classifier):
    found = classifier.probabilities(["", "happy day", " "])
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(found[2], abs=0.02)


def test_ten_megabytes(classifier):
    begun = time.perf_counter()
    found = classifier.probabilities(["happy day " * 1_000_000, "cry"])
    assert time.perf_counter() - begun < 2
    assert np.isfinite(found).all()


def test_the_order_changes_nothing(classifier):
    rows = texts(200)
    turn = np.random.default_rng(0).permutation(200)
    found = classifier.logits(rows)
    turned = classifier.logits([rows[i] for i in turn])
    assert np.abs(turned - found[turn]).max() < CLOSE
    assert np.array_equal(turned.argmax(axis=1), found[turn].argmax(axis=1))
    alone = np.concatenate([classifier.logits([row]) for row in rows[:20]])
    assert np.array_equal(alone.argmax(axis=1), found[:20].argmax(axis=1))


def test_one_label_has_no_tie(tiny):
    model = store.build(EncoderConfig(weights=str(tiny)), None, {"emotion": (HeadConfig(), 1)}).eval()
    reader = Reader(model, {"emotion": Reading("classification", ("joy",))})
    assert Classifier(reader).logits(["happy"]).shape == (1, 1)


def test_embeddings_are_means_of_states(classifier):
    rows = texts(9)
    found = classifier.embed(rows)
    model = classifier.reader.model
    expected = []
    for row in rows:
        with torch.no_grad():
            ids = model.body.tokenizer(row, return_tensors="pt")["input_ids"]
            expected.append(model.body(ids, torch.ones_like(ids)).hidden[0].mean(dim=0).numpy())
    cosine = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(found, expected, strict=True)]
    assert min(cosine) > 0.999


def test_a_frozen_encoder_for_embeddings(tiny, monkeypatch):
    rows = texts(6)
    plain = of(build_model(tiny).eval()).embed(rows)
    body = classify.FrozenEncoder(EncoderConfig(weights=str(tiny)))
    assert body(rows) == pytest.approx(plain, abs=1e-6)
    assert not any(p.requires_grad for p in body.model.parameters())
    assert body([]).shape == (0, 32)

    remembering = classify.FrozenEncoder(EncoderConfig(weights=str(tiny)), remember=True)
    read = []
    real = classify.embed
    monkeypatch.setattr(classify, "embed", lambda model, new: (read.extend(new), real(model, new))[1])
    doubled = [*rows[:4], *rows[:2]]
    assert remembering(doubled) == pytest.approx(plain[[0, 1, 2, 3, 0, 1]], abs=0.02)
    assert remembering(rows) == pytest.approx(plain, abs=0.02)
    assert remembering(rows[:2]) == pytest.approx(plain[:2], abs=0.02)
    assert remembering([]).shape == (0, 32)
    assert read == rows


def test_a_run_s_model_is_loaded(tiny, tmp_path):
    config, head = EncoderConfig(weights=str(tiny)), HeadConfig(hidden=(5,), dropout=0.0)
    model = build_model(tiny, adapter=LoraConfig(r=2), head=head)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    store.save(model, tmp_path, config)
    readings = {"emotion": Reading("classification", LABELS)}
    loaded = Classifier(classify.load(tmp_path, config, {"emotion": head}, readings))
    assert loaded.labels == LABELS
    expected = in_fp32(of(model.eval()), texts(30))
    assert np.abs(loaded.logits(texts(30)) - expected).max() < CLOSE


HEADS = {
    "emotion": Reading("classification", LABELS),
    "mood": Reading("multilabel", ("up", "down"), np.array([0.4, 0.6])),
    "warmth": Reading("regression", ("warmth",), mean=np.array([3.0]), scale=np.array([0.5]), context=True),
}
"""Three heads over one body; the last was trained with what was said before."""


@pytest.fixture(scope="module")
def reader(tiny):
    sizes = {name: (HeadConfig(hidden=(), dropout=0.0), len(each.labels)) for name, each in HEADS.items()}
    torch.manual_seed(0)
    return Reader(store.build(EncoderConfig(weights=str(tiny)), None, sizes).eval(), HEADS)


def by_hand(reader, row, before=None):
    """Every head's outputs for one text, in fp32."""
    body = reader.model.body
    inputs = body.tokenizer(row) if before is None else body.tokenizer(before, row)
    ids = torch.tensor([inputs["input_ids"]])
    with torch.no_grad():
        return {name: made[0].numpy() for name, made in reader.model(ids, torch.ones_like(ids)).items()}


def test_all_heads_answer_in_their_own_way(reader):
    rows = texts(12)
    found = reader.values(rows)
    for i, row in enumerate(rows):
        expected = by_hand(reader, row)
        assert found["emotion"][i] == pytest.approx(softmax(expected["emotion"]), abs=0.03)
        assert found["mood"][i] == pytest.approx(expit(expected["mood"]), abs=0.03)
        assert found["warmth"][i] == pytest.approx(expected["warmth"] * 0.5 + 3.0, abs=0.03)


def test_only_the_heads_that_were_trained_with_it_read_what_was_said_before(reader):
    rows, before = texts(8), [*texts(4, seed=5), *[None] * 4]
    found, alone = reader.outputs(rows, before), reader.outputs(rows)
    for i, row in enumerate(rows):
        expected = by_hand(reader, row, before[i])["warmth"]
        assert found["warmth"][i] == pytest.approx(expected, abs=0.05)
    assert np.abs(found["warmth"][:4] - alone["warmth"][:4]).max() > 0.1
    for name in ("emotion", "mood"):
        assert np.array_equal(found[name], alone[name])


def test_heads_can_be_asked_for_alone(reader):
    rows = texts(6)
    assert reader.outputs(rows, tasks=["mood"]).keys() == {"mood"}
    assert reader.outputs([], tasks=["mood"])["mood"].shape == (0, 2)
    assert reader.values([]).keys() == HEADS.keys()


def test_a_form_answers_by_itself(reader):
    class Marked:
        name = "marked"

        def __call__(self, encoded):
            return {name: torch.full((len(encoded), len(each.labels)), 2.0) for name, each in HEADS.items()}

    marked = Reader(reader.model, HEADS, Marked())
    assert marked.values(["a", "b"])["warmth"].tolist() == [[4.0], [4.0]]
