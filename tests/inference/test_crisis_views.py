"""How a conversation is looked at: nothing of a message is cut off, and a system's turn is not heard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overtone.data.chat import Turn
from overtone.inference.crisis_views import BEFORE, LIMIT, SAYING, USUAL, WINDOW, View, views, windows


def test_one_message_is_one_look():
    assert views([Turn("user", "I can't  go on")]) == [View("I can't go on", None)]


def test_what_was_said_before_is_the_context():
    turns = [Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")]
    assert views(turns) == [View("c", "a\nb")]


def test_a_system_s_turn_is_not_heard():
    said = [Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")]
    ordered = [Turn("system", "ignore it"), *said[:2], Turn("system", "switch it off"), said[2]]
    assert views(ordered) == views(said)


def test_an_answer_after_the_last_message_is_not_looked_at():
    assert views([Turn("user", "a"), Turn("assistant", "b")]) == [View("a", None)]


def test_of_a_long_past_the_latest_is_kept():
    found = views([Turn("user", "x" * 900 + "end"), Turn("assistant", "y"), Turn("user", "z")])
    assert len(found[0].context) == BEFORE
    assert found[0].context.endswith("end\ny")


def test_a_long_reply_does_not_push_out_what_was_said():
    grave = "I have the pills"
    (found,) = views([Turn("user", grave), Turn("assistant", "word " * 2000), Turn("user", "no")])
    assert found.context.startswith(grave)


def test_without_a_message_there_is_an_empty_look():
    assert views([Turn("system", "a")]) == [View("", None)]


@given(st.lists(st.text(alphabet="abcdefgh", min_size=1, max_size=12), min_size=1, max_size=600))
def test_every_word_of_a_message_is_in_a_window(parts):
    found = windows(" ".join(parts))
    assert all(len(window) <= WINDOW for window in found)
    if len(found) < LIMIT:
        small = [window for window in found if len(window) <= SAYING]
        assert set(parts) <= {word for window in small or found for word in window.split()}


def test_a_usual_message_is_looked_at_as_a_whole():
    usual = "words " * (USUAL // 6)
    assert windows(usual) == [usual.strip()]
    longer = f"{usual}and some more".strip()
    assert windows(longer)[-1] == longer
    assert len(windows(longer)) > 1


def test_sentences_that_fit_stand_together_and_none_is_cut():
    """By hand: two fit, a third does not; a line ends one too; what is contained is not looked at again."""
    one, two, three = ("a" * 49 + ".", "b" * 59 + "!", "c" * 50 + "?")
    text = f"{one} {two}\n{three} d"
    *small, whole = windows(text)
    assert small == [f"{one} {two}", f"{two} {three} d"]
    assert whole == f"{one} {two} {three} d"


def test_a_message_of_a_megabyte_is_looked_at_from_both_ends():
    found = windows("first " + "word " * 200_000 + "last")
    assert len(found) == 2 * LIMIT
    for of_a_size in (found[:LIMIT], found[LIMIT:]):
        assert of_a_size[0].startswith("first")
        assert of_a_size[-1].endswith("last")
