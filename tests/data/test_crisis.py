"""The conversations that the crisis detector learns from: enough of each kind, varied, none twice."""

from __future__ import annotations

from collections import Counter

import pytest

from overtone.data.crisis import HELD_OUT, INNOCENT, KINDS, NEED_OF, NEEDS, TRAIN, read_cases
from overtone.data.leakage import LeakageConfig, near_between, near_pairs
from overtone.data.text import fold, words


@pytest.fixture(scope="module")
def cases():
    return read_cases(TRAIN)


def test_there_are_enough_of_each_kind(cases):
    counts = Counter(case.kind for case in cases)
    assert set(counts) == set(KINDS)
    assert len(KINDS) == 25
    assert min(counts.values()) >= 30
    assert len(cases) >= 700
    assert 0.4 < sum(case.crisis for case in cases) / len(cases) < 0.6


def test_no_conversation_stands_twice_or_nearly(cases):
    assert len({case.id for case in cases}) == len(cases)
    folded = Counter(fold(case.text) for case in cases)
    assert [text for text, n in folded.items() if n > 1] == []
    texts = [case.text for case in cases]
    assert [(texts[i], texts[j]) for i, j, _ in near_pairs(texts, LeakageConfig().near)] == []


def test_nothing_that_examines_the_detector_is_learnt_from(cases):
    held = read_cases(HELD_OUT)
    assert list(near_between([case.text for case in cases], [case.text for case in held], 0.5)) == []
    last = {fold(case.turns[-1].text) for case in held}
    assert [case.id for case in cases if fold(case.turns[-1].text) in last] == []


def test_no_opening_is_a_template(cases):
    openings = Counter(" ".join(words(case.turns[0].text)[:4]) for case in cases)
    assert {opening: n for opening, n in openings.items() if n > len(cases) / 100} == {}


def test_speakers_take_turns_and_the_user_speaks_last(cases):
    for case in cases:
        roles = [turn.role for turn in case.turns]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"], case.id
        assert len(roles) <= 7, case.id


def test_conversations_come_in_many_lengths(cases):
    lengths = [len(words(case.turns[-1].text)) for case in cases]
    assert min(lengths) <= 3
    assert max(lengths) >= 30
    several = [case for case in cases if len(case.turns) > 1]
    assert {case.crisis for case in several} == {True, False}
    assert all(
        len(case.turns) > 1 for case in cases if case.kind in ("despair_in_context", "innocent_in_context")
    )


def test_every_kind_has_its_need():
    assert set(NEED_OF.values()) == set(NEEDS)
    assert not set(NEED_OF) & set(INNOCENT)
