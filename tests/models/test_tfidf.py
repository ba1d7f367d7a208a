from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy

from overtone.errors import DataError, RunError
from overtone.models.linear import NEVER, fit
from overtone.models.tfidf import Terms, TfidfClassifier, tokens

LABELS = ("joy", "sadness", "fear")
TEXTS = [
    "What a lovely day, I could sing",
    "lovely music and a warm day",
    "I cried all night",
    "tears and rain all night",
    "something moved in the dark",
    "the dark stairs, I ran",
]
GOLD = np.array([0, 0, 1, 1, 2, 2])
INDICATORS = np.eye(3, dtype=np.int64)[GOLD]


@pytest.fixture(scope="module")
def single() -> TfidfClassifier:
    return TfidfClassifier.fit((TEXTS, GOLD), (TEXTS, GOLD), LABELS)


@pytest.fixture(scope="module")
def multi() -> TfidfClassifier:
    return TfidfClassifier.fit((TEXTS, INDICATORS), (TEXTS, INDICATORS), LABELS)


def test_learns_its_training_rows(single):
    p = single.predict_proba(TEXTS)
    assert p.shape == (6, 3)
    assert p.sum(axis=1) == pytest.approx(np.ones(6))
    assert (p.argmax(axis=1) == GOLD).all()


def test_multilabel_decides_each_label_on_its_own(multi):
    p = multi.predict_proba(TEXTS)
    assert (p.argmax(axis=1) == GOLD).all()
    assert not np.allclose(p.sum(axis=1), 1)


def test_words_and_pairs_are_terms(single):
    assert {"lovely", "lovely day", "all night"} <= set(single.terms.vocabulary)
    assert list(single.terms.vocabulary) == sorted(single.terms.vocabulary)


def test_features_are_sublinear_tfidf_by_hand(single):
    row = single.terms.features(["night night night dark"]).toarray()[0]
    at = {term: i for i, term in enumerate(single.terms.vocabulary)}
    # Smoothed idf: ln((1 + 6) / (1 + 2)) + 1 for both; three occurrences count 1 + ln 3.
    idf = np.log(7 / 3) + 1
    expected = np.array([(1 + np.log(3)) * idf, idf])
    expected /= np.linalg.norm(expected)
    assert [row[at["night"]], row[at["dark"]]] == pytest.approx(expected.tolist(), rel=1e-5)


def test_the_same_rows_give_the_same_classifier(single):
    again = TfidfClassifier.fit((TEXTS, GOLD), (TEXTS, GOLD), LABELS)
    assert (again.linear.weights == single.linear.weights).all()
    assert (again.linear.bias == single.linear.bias).all()


def test_a_text_scores_the_same_alone_and_in_a_batch(single):
    together = single.predict_proba(TEXTS)
    alone = np.vstack([single.predict_proba([text]) for text in TEXTS])
    assert (together == alone).all()


def test_no_texts_and_unknown_words(single):
    assert single.predict_proba([]).shape == (0, 3)
    assert single.predict_proba(["", "xyzzy"]).sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_loaded_gives_identical_probabilities(kind, tmp_path, request):
    model = request.getfixturevalue(kind)
    model.save(tmp_path)
    again = TfidfClassifier.load(tmp_path)
    texts = [*TEXTS, "", "a lovely dark night 🎉"]
    assert again.labels == model.labels
    assert (again.predict_proba(texts) == model.predict_proba(texts)).all()


def test_rare_terms_are_left_out_of_many_rows():
    texts = [f"common {'word' if i % 2 else 'thing'}" for i in range(2100)] + ["once"]
    gold = np.arange(2101) % 2
    model = TfidfClassifier.fit((texts, gold), (texts, gold), ("a", "b"))
    assert "once" not in model.terms.vocabulary
    assert "common word" in model.terms.vocabulary


def test_tokens_keep_the_marks_that_words_drop():
    assert tokens("Don’t you SEE?! 🎉 a_b 3.5") == [
        "don’t",
        "you",
        "see",
        "?",
        "!",
        "🎉",
        "a_b",
        "3",
        ".",
        "5",
    ]
    assert tokens("Ｗｏｗ…") == ["wow", ".", ".", "."]
    terms = Terms.fit(["is it?", "it is."], tokens)
    assert set(terms.vocabulary) == {"is", "it", "?", ".", "is it", "it ?", "it is", "is ."}
    row = terms.features(["?"]).toarray()[0]
    assert row[terms.vocabulary.index("?")] == row.sum() == 1


def test_texts_without_words_are_refused():
    with pytest.raises(DataError, match="no term in 2 training texts"):
        TfidfClassifier.fit((["", " "], np.array([0, 1])), ([""], np.array([0])), ("a", "b"))


def test_a_label_without_rows_is_never_given():
    features = np.array([[0.0, 1], [1, 0], [0.2, 1], [1, 0.1]], dtype=np.float32)
    p = fit(features, np.array([0, 2, 0, 2]), 3, 1.0).probabilities(features)
    assert (p[:, 1] == 0).all()
    assert p.sum(axis=1) == pytest.approx(np.ones(4))
    assert (p.argmax(axis=1) == [0, 2, 0, 2]).all()


def test_one_class_only():
    features = np.ones((3, 2), dtype=np.float32)
    model = fit(features, np.array([1, 1, 1]), 2, 1.0)
    assert model.bias.tolist() == [NEVER, 0.0]
    assert model.probabilities(features)[:, 1].tolist() == [1, 1, 1]
    indicators = np.array([[0, 1], [0, 1], [0, 1]])
    assert fit(features, indicators, 2, 1.0).probabilities(features).tolist() == [[0, 1]] * 3


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda folder: (folder / "tfidf.json").unlink(), "damaged"),
        (lambda folder: (folder / "tfidf.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "tfidf.json").write_text("[]"), "damaged"),
        (lambda folder: (folder / "tfidf.safetensors").write_bytes(b"\0" * 20), "damaged"),
        (lambda folder: _change(folder, vocabulary=["a"]), r"idf has shape \(\d+,\), not \(1,\)"),
        (lambda folder: _change(folder, labels=["a"]), r"weights has shape"),
        (lambda folder: _poison(folder), "bias has values that are not finite"),
    ],
)
def test_a_damaged_classifier_is_refused(damage, match, single, tmp_path):
    single.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(RunError, match=match):
        TfidfClassifier.load(tmp_path)


def _change(folder, **changes):
    path = folder / "tfidf.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _poison(folder):
    path = folder / "tfidf.safetensors"
    arrays = dict(safetensors.numpy.load(path.read_bytes()))
    arrays["bias"] = arrays["bias"] * np.nan
    path.write_bytes(safetensors.numpy.save(arrays))
