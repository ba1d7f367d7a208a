from __future__ import annotations

import gzip
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overtone.data.files import digest, need
from overtone.data.sources import sarcasm_headlines as source
from overtone.errors import DataError, RunError
from overtone.inference.sarcasm import LABELS, SarcasmDetector, shift
from overtone.models.tfidf import TfidfClassifier

EIGHT = ("joy", "sadness", "anger", "fear", "love", "surprise", "neutral", "disgust")


def headlines(n=300, seed=0):
    """Toy headlines: sarcastic ones have words of their own, and some of each are alike."""
    rng = random.Random(seed)
    rows = []
    for _ in range(n):
        mark = rng.random() < 0.5
        own = rng.choice(["area", "nation", "local"] if mark else ["senate", "court", "market"])
        rows.append(
            (f"{own} man {rng.choice('abcdefgh')}x {rng.choice('ijklmnop')}y {rng.randrange(999)}", mark)
        )
    return [text for text, _ in rows], np.array([mark for _, mark in rows])


def test_detector_learns_and_is_measured_on_other_rows():
    texts, sarcastic = headlines()
    detector, scores = SarcasmDetector.fit(texts, sarcastic, seed=3)
    assert scores.accuracy > 0.95
    assert scores.auc > 0.98
    assert 0.5 <= scores.majority < 0.7
    assert scores.n == int(len(set(texts)) * 0.15)
    high, low = detector.probabilities(["local man ax", "senate man ax"])
    assert high > 0.8
    assert low < 0.2


def test_labels_without_a_pattern_score_like_chance():
    texts, _ = headlines(600)
    rng = np.random.default_rng(0)
    _, scores = SarcasmDetector.fit(texts, rng.uniform(size=600) < 0.5)
    assert abs(scores.auc - 0.5) < 0.2


def test_copies_cannot_stand_on_both_sides():
    # Each of 80 texts three times, with labels that nothing but memory could know.
    words = np.random.default_rng(0).permutation(80)
    texts = [f"word{word} other{word}" for word in words] * 3
    sarcastic = np.tile(np.arange(80) % 2 == 0, 3)
    _, scores = SarcasmDetector.fit(texts, sarcastic, held_out=0.2)
    assert scores.n == 16
    assert scores.accuracy < 0.85


def test_one_kind_only_is_refused():
    with pytest.raises(DataError, match="both kinds"):
        SarcasmDetector.fit(["a b", "c d"] * 10, np.ones(20, dtype=bool))


def test_saved_and_loaded_says_the_same(tmp_path):
    texts, sarcastic = headlines()
    detector, _ = SarcasmDetector.fit(texts, sarcastic)
    detector.save(tmp_path)
    assert np.array_equal(SarcasmDetector.load(tmp_path).probabilities(texts), detector.probabilities(texts))
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(RunError):
            SarcasmDetector.load(tmp_path)
        path.write_bytes(whole)
    rows = (["a b", "c d"] * 5, np.array([0, 1] * 5))
    TfidfClassifier.fit(rows, rows, ("spam", "ham")).save(tmp_path)
    with pytest.raises(RunError, match="not a sarcasm detector"):
        SarcasmDetector.load(tmp_path)


def test_shift_by_hand():
    labels = ("joy", "anger", "sadness", "neutral")
    before = np.array([[0.6, 0.1, 0.2, 0.1], [0.2, 0.5, 0.2, 0.1]])
    after = shift(before, np.array([0.5, 0.9]), 0.8, labels)
    # Of joy's 0.6 a share 0.8 x 0.5 = 0.4 moves, 0.24: one third to anger, two thirds to sadness.
    assert after[0] == pytest.approx([0.36, 0.18, 0.36, 0.1])
    assert after[1] == pytest.approx(before[1])  # its best label is not a positive one
    assert shift(before, np.ones(2), 0.0, labels) == pytest.approx(before)


def test_shift_without_one_of_the_sides_does_nothing():
    rows = np.array([[0.9, 0.1]])
    assert shift(rows, np.ones(1), 1.0, ("joy", "neutral")) is rows
    assert shift(rows, np.ones(1), 1.0, ("anger", "sadness")) is rows
    empty = np.zeros((0, 8))
    assert shift(empty, np.zeros(0), 1.0, EIGHT).shape == (0, 8)


@given(
    st.lists(st.floats(0, 1), min_size=8, max_size=8).filter(lambda row: sum(row) > 0),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_shift_keeps_a_distribution(row, sarcastic, strength):
    before = np.array([row]) / sum(row)
    after = shift(before, np.array([sarcastic]), strength, EIGHT)
    assert after.sum() == pytest.approx(1)
    assert np.all(after >= -1e-12)
    for column, label in enumerate(EIGHT):
        if label in ("fear", "neutral"):
            assert after[0, column] == pytest.approx(before[0, column])
        elif label in ("anger", "disgust", "sadness"):
            assert after[0, column] >= before[0, column] - 1e-12


def write(folder, text):
    with gzip.open(folder / "headlines.tsv.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    return folder


def test_source_reads_rows(tmp_path):
    write(tmp_path, 'is_sarcastic\theadline\n1\tman says "hi"\n0\ta; b\n')
    rows = list(source.records(tmp_path))
    assert [(row.id, row.text, row.targets["sarcasm"]) for row in rows] == [
        ("sarcasm_headlines/00000", 'man says "hi"', "sarcastic"),
        ("sarcasm_headlines/00001", "a; b", "plain"),
    ]
    config = source.SarcasmHeadlinesSource()
    assert config.build() is source.SOURCE
    assert config.kind == source.CARD.name == rows[0].source


@pytest.mark.parametrize(
    "text", ["", "headline\n", "is_sarcastic\theadline\n2\tx\n", "is_sarcastic\theadline\n1 x\n"]
)
def test_source_refuses_another_file(tmp_path, text):
    with pytest.raises(DataError, match=r"headlines\.tsv"):
        list(source.records(write(tmp_path, text)))


def test_source_without_its_file(tmp_path):
    with pytest.raises(DataError, match="missing"):
        list(source.records(tmp_path))


def test_real_headlines(data_root):
    folder = data_root / "sarcasm_headlines"
    assert digest(need(folder, "headlines.tsv")) == source.CARD.files["headlines.tsv"]
    rows = list(source.records(folder))
    assert len(rows) == source.CARD.sizes["all"]
    marks = np.array([row.targets["sarcasm"] == LABELS[1] for row in rows])
    assert marks.sum() == 11_724
    assert LABELS == source.LABELS
    few = slice(0, 4000)
    _, scores = SarcasmDetector.fit([row.text for row in rows[few]], marks[few])
    assert scores.accuracy > 0.72 > scores.majority + 0.1
