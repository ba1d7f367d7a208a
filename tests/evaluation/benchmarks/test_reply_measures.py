"""Measures of replies, against sacrebleu, rouge-score and by hand."""

from __future__ import annotations

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from overtone.errors import DataError, MissingExtraError
from overtone.evaluation.benchmarks import replies
from overtone.evaluation.benchmarks.replies import Replied, distinct, measured

SAID = ("That sounds hard, I am sorry.", "Oh no! What happened then?", "ok", "That sounds hard.")
GOLD = ("I am so sorry, that is hard.", "What happened?", "You must be proud of her.", "It sounds hard.")
SETTINGS = {"seed": 7, "resamples": 200}


def replied(texts=SAID, golds=GOLD):
    return Replied("toy", ("a", "a", "b", "c")[: len(texts)], tuple(texts), tuple(golds))


def test_they_are_those_of_the_packages():
    found = measured(replied(), **SETTINGS)
    assert found.bleu == pytest.approx(sacrebleu.corpus_bleu(list(SAID), [list(GOLD)]).score)
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    each = [scorer.score(gold, said)["rougeL"].fmeasure for gold, said in zip(GOLD, SAID, strict=True)]
    assert found.rouge_l.value == pytest.approx(sum(each) / 4)
    assert found.rouge_l.low <= found.rouge_l.value <= found.rouge_l.high
    assert found.words.value == pytest.approx((6 + 5 + 1 + 3) / 4)


def test_what_a_person_says_is_best():
    found = measured(replied(GOLD), **SETTINGS)
    assert found.bleu == pytest.approx(100)
    assert found.rouge_l.value == pytest.approx(1)
    assert not found.collapsed


def test_distinct_by_hand():
    texts = [["a", "b", "a"], ["a", "b"], []]
    assert distinct(texts, 1) == pytest.approx(2 / 5)
    assert distinct(texts, 2) == pytest.approx(2 / 3)  # a b, b a, a b
    assert distinct([["a"]], 2) == 0


def test_a_collapse_in_length_is_flagged():
    assert measured(replied(["ok"] * 4), **SETTINGS).collapsed


def test_what_cannot_be_measured_is_said(monkeypatch):
    with pytest.raises(DataError, match="0 replies of toy"):
        Replied("toy", (), (), ())
    with pytest.raises(DataError, match="1 replies of toy"):
        Replied("toy", ("a",), ("x",), ("y", "z"))
    with pytest.raises(MissingExtraError, match="'replies'"):
        replies._package("nowhere_to_be_found")
