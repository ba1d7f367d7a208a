"""What is thought before a reply: what the model says is needed counts where it holds, else a table."""

from __future__ import annotations

import pytest

from overtone.data.sources import esconv
from overtone.inference.reflect import NEEDS, WORDS, Guess, Reflection, holding, reflect

SAD, ASKS = Guess("sad", 0.4), Guess("Question", 0.7)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("A hug and some rest.", "a hug and some rest"),
        ("This person needs to be heard. And more.", "to be heard"),
        ("They need: time alone", "time alone"),
        ("Rest", None),  # too little
        ("1. Support\n2. Love", None),  # a list
        ("You need to calm down", None),  # it speaks to somebody
        ("I am sorry to hear that", None),  # it replies
        (" ".join(["long"] * (WORDS + 1)), None),
        ("", None),
        ("...", None),
    ],
)
def test_what_holds_as_a_need(said, expected):
    assert holding(said) == expected


def test_a_need_that_does_not_hold_is_that_of_the_strategy():
    found = reflect(SAD, ASKS, "I think you should rest")
    assert (found.needed, found.own) == (NEEDS["Question"], False)
    assert found.text == f"They feel sad. They need {NEEDS['Question']}. I reply with: Question."
    found = reflect(SAD, ASKS, "somebody to talk to")
    assert (found.needed, found.own) == ("somebody to talk to", True)


def test_without_heads_there_is_still_a_need():
    assert reflect(None, None, "") == Reflection(None, None, NEEDS["Others"], False)
    assert reflect(None, None, "").text == f"They need {NEEDS['Others']}."


def test_every_strategy_has_its_need():
    assert NEEDS.keys() == set(esconv.LABELS)
