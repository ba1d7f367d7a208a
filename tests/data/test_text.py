from __future__ import annotations

import pytest

from overtone.data.text import fold, words


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  I'm   GLAD!!  ", "i m glad"),
        ("Ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("Straße", "strasse"),
        ("one\u2028two\tthree\x00four", "one two three four"),
        ("zero\u200bwidth", "zerowidth"),
        ("❤️ yes", "❤ yes"),
        ("😂😂 no", "😂😂 no"),
        ("wait…what", "wait what"),
        ("?!", "?!"),
        ("...", "..."),
        ("", ""),
        (" \t\n", ""),
    ],
)
def test_fold_keeps_what_matters(text, folded):
    assert fold(text) == folded


def test_words_are_those_of_the_folded_text():
    assert words("Well, WELL -- 2 cats & a dog.") == ["well", "well", "2", "cats", "a", "dog"]
