from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from overtone.errors import RunError
from overtone.inference import backup
from overtone.inference.backup import DecoderBackup, PrototypeBackup, TfidfBackup
from overtone.inference.calibrate import log_loss, softmax
from overtone.inference.mixing import blend, fit_blend, fit_pool, pool
from overtone.models.tfidf import TfidfClassifier

LABELS = ("joy", "sadness", "anger")
POINTS = {"joy": (1.0, 0.1), "sadness": (-0.5, 0.8), "anger": (-0.6, -0.9)}


def embed(texts):
    """Texts such as "joy 0.25" → the label's point, moved a little, on a large common direction."""
    rows = []
    for text in texts:
        name, wobble = text.split()
        x, y = POINTS[name]
        rows.append((x + float(wobble), y - float(wobble), 50.0))
    return np.array(rows).reshape(-1, 3)


def corpus(n=240, seed=0):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 3, n)
    return [f"{LABELS[label]} {rng.normal(scale=0.5):.3f}" for label in gold], gold


def test_prototypes_are_the_class_means():
    texts, gold = corpus()
    model = PrototypeBackup.fit(texts, gold, LABELS, embed)
    states = embed(texts) - embed(texts).mean(axis=0)
    rows = states / np.linalg.norm(states, axis=1, keepdims=True)
    for label in range(3):
        mean = rows[gold == label].mean(axis=0)
        assert model.prototypes[label] == pytest.approx(mean / np.linalg.norm(mean))
    shares = model.probabilities(texts)
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(texts)))
    # A nearest-centroid classifier by cosine decides the same.
    assert np.array_equal(shares.argmax(axis=1), (rows @ model.prototypes.T).argmax(axis=1))
    assert (shares.argmax(axis=1) == gold).mean() > 0.8
    fresh, truth = corpus(seed=1)
    assert log_loss(model.probabilities(fresh), truth) < np.log(3) / 2


def test_a_class_without_rows_is_never_nearest_to_its_rivals():
    texts, gold = corpus()
    seen = gold < 2
    model = PrototypeBackup.fit([t for t, s in zip(texts, seen, strict=True) if s], gold[seen], LABELS, embed)
    assert np.all(np.isfinite(model.probabilities(["anger 0", "joy 0"])))
    assert model.probabilities(["joy 0"])[0].argmax() == 0


def test_prototypes_saved_and_loaded(tmp_path):
    texts, gold = corpus()
    model = PrototypeBackup.fit(texts, gold, LABELS, embed)
    model.save(tmp_path)
    again = backup.load("prototypes", tmp_path, embed)
    assert np.array_equal(again.probabilities(texts), model.probabilities(texts))
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(RunError, match="damaged"):
            backup.load("prototypes", tmp_path, embed)
        path.write_bytes(whole)
    facts = (tmp_path / "prototypes.json").read_text().replace('"anger"', '"anger", "fear"')
    (tmp_path / "prototypes.json").write_text(facts)
    with pytest.raises(RunError, match="do not fit"):
        backup.load("prototypes", tmp_path, embed)


def test_tfidf_saved_and_loaded(tmp_path):
    texts, gold = ["good fine day", "sad grey tears", "mad red rage"] * 10, np.array([0, 1, 2] * 10)
    model = TfidfBackup(TfidfClassifier.fit((texts, gold), (texts, gold), LABELS))
    assert np.array_equal(model.probabilities(texts).argmax(axis=1), gold)
    model.save(tmp_path)
    again = backup.load("tfidf", tmp_path, embed)
    assert again.labels == LABELS
    assert again.kind == "tfidf"
    assert np.array_equal(again.probabilities(texts), model.probabilities(texts))


WORDS = {" joy": {"happy", "glad"}, " sadness": {"crying", "lost"}, " anger": {"mad", "furious"}}
PRIOR = {" joy": 3.0, " sadness": 0.0, " anger": -1.0}


def toy(prompts, continuations):
    """A language model that likes " joy" whatever is said, and else follows the words of the message."""
    rows = []
    for prompt in prompts:
        message = prompt.partition("\n")[0].removeprefix("Message: ").split()
        heard = [PRIOR[word] + 2.0 * len(WORDS[word].intersection(message)) for word in continuations]
        rows.append(log_softmax(heard))
    return np.array(rows).reshape(-1, len(continuations))


def test_decoder_takes_off_what_it_would_say_anyway():
    texts, gold = ["i am happy", "lost and crying", "furious here", "mad"], np.array([0, 1, 2, 2])
    plain = toy([f"Message: {text}\n" for text in texts], list(WORDS)).argmax(axis=1)
    assert (plain == gold).sum() < 4
    model = DecoderBackup(LABELS, toy)
    assert np.array_equal(model.probabilities(texts).argmax(axis=1), gold)
    # With the prior off, one matching word weighs 2 against 0 and 0, by hand.
    logits = model.logits(["glad"])[0]
    assert logits[0] - logits[1] == pytest.approx(2.0)
    assert logits[1] - logits[2] == pytest.approx(0.0)
    assert model.probabilities([]).shape == (0, 3)


def test_decoder_temperature_is_fitted():
    texts, gold = ["glad"] * 4, np.array([0, 0, 1, 2])
    model = DecoderBackup(LABELS, toy).fit(texts, gold)
    # Half of the rows are right, and exp(2/T) / (exp(2/T) + 2) = 1/2 where exp(2/T) = 2.
    assert model.temperature == pytest.approx(2 / np.log(2), rel=1e-3)
    assert model.probabilities(["glad"])[0, 0] == pytest.approx(0.5, rel=1e-3)


def test_pool_and_blend_by_hand():
    first, second = np.array([[0.8, 0.2]]), np.array([[0.25, 0.75]])
    assert pool(first, second, (1.0, 1.0)) == pytest.approx(np.array([[0.2, 0.15]]) / 0.35)
    assert pool(first, second, (1.0, 0.0)) == pytest.approx(first)
    assert blend(first, second, 0.5) == pytest.approx(np.array([[0.525, 0.475]]))


def test_fitted_weights_find_the_truth():
    rng = np.random.default_rng(0)
    first, second = softmax(rng.normal(size=(20_000, 4))), softmax(2 * rng.normal(size=(20_000, 4)))
    truth = pool(first, second, (0.9, 0.3))
    gold = np.array([rng.choice(4, p=row) for row in truth])
    assert fit_pool(first, second, gold) == pytest.approx((0.9, 0.3), abs=0.05)
    mixed = blend(first, second, 0.3)
    gold = np.array([rng.choice(4, p=row) for row in mixed])
    assert fit_blend(first, second, gold) == pytest.approx(0.3, abs=0.03)
    # An opinion without a relation to the truth gets no say.
    assert fit_pool(first, second[::-1], gold)[1] < 0.05
