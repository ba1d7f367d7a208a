"""The measures of an exam: by hand, by SQuAD's own program, and what may not change them."""

from __future__ import annotations

import collections
import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overtone.errors import DataError
from overtone.evaluation.benchmarks.qa import (
    declines,
    exact_match,
    grade,
    interval,
    normalised,
    paired,
    token_f1,
)


def squad_tokens(text):
    """``get_tokens`` of the official evaluation script of SQuAD 2.0, step by step."""
    lowered = text.lower()
    unpunctuated = "".join(sign for sign in lowered if sign not in set(string.punctuation))
    without = re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", unpunctuated)
    return " ".join(without.split()).split()


def squad_f1(gold, said):
    """``compute_f1`` of the same script."""
    wanted, found = squad_tokens(gold), squad_tokens(said)
    same = sum((collections.Counter(wanted) & collections.Counter(found)).values())
    if len(wanted) == 0 or len(found) == 0:
        return int(wanted == found)
    if same == 0:
        return 0
    precision, recall = same / len(found), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat, sat!", "cat sat"),
        ("An apple a day", "apple day"),
        ("I'll be there", "ill be there"),
        ("deaf-blind", "deafblind"),
        ("theatre  of\tthe Deaf", "theatre of deaf"),
        ("A", ""),
        ("“the” l'Épée", "“ ” lépée"),
    ],
)
def test_normalised_by_hand(text, expected):
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("said", "gold", "match", "f1"),
    [
        ("William Stokoe.", "william stokoe", 1, 1),
        ("It was William Stokoe", "William Stokoe", 0, 2 * 2 / (4 + 2)),
        ("in 1960", "1864", 0, 0),
        ("yes yes yes", "yes yes", 0, 2 * 2 / 5),
        ("", "the", 1, 1),
        ("", "hand", 0, 0),
        ("Laurent Clerc and Thomas Gallaudet", "Thomas Gallaudet and Laurent Clerc", 0, 1),
    ],
)
def test_one_answer_by_hand(said, gold, match, f1):
    assert exact_match(said, gold) == match
    assert token_f1(said, gold) == pytest.approx(f1)


WORDS = st.lists(
    st.sampled_from(["the", "a", "Deaf", "deaf", "sign!", "sign", "1960,", "–", "Épée"]), max_size=8
)


@given(WORDS, WORDS)
def test_f1_is_that_of_squad_s_script(said, gold):
    one, other = " ".join(said), " ".join(gold)
    assert token_f1(one, other) == pytest.approx(squad_f1(other, one))
    assert token_f1(one, other) == token_f1(other, one)
    assert exact_match(one, other) == float(squad_tokens(one) == squad_tokens(other))
    assert exact_match(one, other) <= token_f1(one, other) <= 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("I don't know that.", True),
        ("I’m not sure.", True),
        ("Sorry, I cannot answer this.", True),
        ("We do not know", True),
        ("I cannot find anything on it.", True),
        ("Many hearing people don't know this: ASL is a language.", False),
        ("It is not a sign.", False),
        ("", False),
    ],
)
def test_what_declines(answer, expected):
    assert declines(answer) is expected


class Letters:
    """Vectors of how often a letter stands, of length 1."""

    name, dimensions = "letters", 26

    def encode(self, texts, *, query=False, told=None):
        counts = np.array([[text.count(letter) for letter in string.ascii_lowercase] for text in texts])
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


def graded(answers, golds=("one", "two", "three"), facts=("f", "f", "g"), ids=("x", "y", "z")):
    return grade("held_out", ids, facts, answers, golds, Letters())


def test_a_column_by_hand():
    found = graded(["one", "two three", "I don't know"])
    assert found.of("exact_match").tolist() == [1, 0, 0]
    assert found.of("f1").tolist() == pytest.approx([1, 2 / 3, 0])
    assert found.of("declined").tolist() == [0, 0, 1]
    # "twothree": t 2, w, o, h, r, e 2; "two": t, w, o
    assert found.of("cosine")[:2].tolist() == pytest.approx([1, 4 / np.sqrt(12 * 3)])
    assert interval(found, "f1", seed=1).value == pytest.approx(5 / 9)


def test_questions_without_an_answer_are_declined_or_not():
    found = grade("unknown", ["u", "v"], ["u", "v"], ["I am not sure.", "Blue."], None)
    assert set(found.scores) == {"declined"}
    assert interval(found, "declined", seed=1).value == 0.5
    with pytest.raises(DataError, match="no measure 'f1'"):
        found.of("f1")


def test_facts_are_resampled_whole():
    """Two questions on each of two facts: any resample holds 0, 2 or 4 right ones."""
    ids, facts = ("a", "b", "c", "d"), ("f", "f", "g", "g")
    found = grade("trained", ids, facts, ["yes", "yes", "no", "no"], ["yes"] * 4)
    bounds = interval(found, "f1", seed=1)
    assert (bounds.value, bounds.low, bounds.high) == (0.5, 0, 1)
    apart = grade("trained", ids, ids, ["yes", "yes", "no", "no"], ["yes"] * 4)
    many = [
        grade("trained", [f"{n}" for n in range(400)], facts_of, ["yes", "no"] * 200, ["yes"] * 400)
        for facts_of in ([f"{n}" for n in range(400)], [f"{n // 4}" for n in range(400)])
    ]
    assert interval(apart, "f1", seed=1).value == 0.5
    widths = [bound.high - bound.low for bound in (interval(each, "f1", seed=1) for each in many)]
    # Each group of four holds two right ones, so whole groups do not differ at all.
    assert widths[1] == 0
    # 1.96 * 2 * sqrt(0.25 / 400)
    assert widths[0] == pytest.approx(0.098, abs=0.01)


def test_a_gain_is_paired():
    a, b = graded(["one", "x", "x"]), graded(["one", "two", "x"])
    found = paired(a, b, "exact_match", seed=1)
    assert found.value == pytest.approx(1 / 3)
    assert paired(a, a, "f1", seed=1).high == 0
    assert paired(b, a, "f1", seed=1).value == pytest.approx(-found.value)


def test_what_cannot_be_graded_is_said():
    with pytest.raises(DataError, match="2 answers to 3 questions"):
        graded(["one", "two"])
    with pytest.raises(DataError, match="0 answers to 0 questions"):
        grade("unknown", [], [], [], None)
    with pytest.raises(DataError, match="stands twice"):
        graded(["one", "two", "three"], ids=("x", "x", "z"))
    other = grade("trained", ["x", "y", "z"], ["f", "f", "g"], ["one"] * 3, ["one"] * 3)
    with pytest.raises(DataError, match="not the same questions: 3 of 'held_out' and 3 of 'trained'"):
        paired(graded(["one"] * 3), other, "f1", seed=1)
