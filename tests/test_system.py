from __future__ import annotations

import json

import pytest

import overtone
from overtone import system
from overtone.errors import RunError

LIMIT = 8_000_000
"""Bytes that the shipped classifier may have."""


@pytest.fixture(scope="module")
def shipped(minilm):
    return overtone.load()


def test_the_shipped_classifier_is_small_and_holds_no_code():
    files = [path for path in system.shipped().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LIMIT
    assert {path.suffix for path in files} <= {".yaml", ".json", ".safetensors"}


def test_its_manifest_says_what_it_may_be_used_for():
    facts = json.loads((system.shipped() / "manifest.json").read_text())
    assert set(facts["fingerprints"]) == {"goemotions", "overtone-emotions"}
    assert facts["licence"]["commercial"] is True
    assert facts["licence"]["data"]
    assert facts["fit"]["steps"] > 0


def test_one_text_and_many(shipped):
    one = shipped.classify("I finally did it, I passed!")
    assert one.label in shipped.labels
    assert one.scores[one.label] == one.confidence == max(one.scores.values())
    assert sum(one.scores.values()) == pytest.approx(1.0)
    assert shipped.classify(["I finally did it, I passed!"])[0].label == one.label
    assert shipped.classify([]) == []


def test_order_and_company_change_nothing(shipped):
    texts = ["what a wonderful surprise", "", "he stole my bike and laughed", "🤢", "the bus leaves at nine"]
    together = shipped.classify(texts)
    backwards = shipped.classify(texts[::-1])[::-1]
    for a, b, text in zip(together, backwards, texts, strict=True):
        assert a.label == b.label == shipped.classify(text).label
        assert a.confidence == pytest.approx(b.confidence, abs=0.02)


def test_steps_can_be_switched_off(shipped):
    unsure = "well, that happened"
    assert shipped.classify(unsure, ask=False).answered
    for step in ("backup", "sarcasm", "emoji"):
        assert shipped.classify(unsure, **{step: False}).label in shipped.labels


def test_a_long_text_and_odd_characters(shipped):
    for text in ("sad " * 100_000, "\x00\x01 ok", "\u202eterrible", "a\u0301" * 50, "💥" * 500):
        assert shipped.classify(text) is not None


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(RunError, match="not a trained run"):
        overtone.load(tmp_path)
    with pytest.raises(AttributeError):
        overtone.loda  # noqa: B018
