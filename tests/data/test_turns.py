"""What a line of a shipped file may say, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from overtone.data import turns
from overtone.data.chat import Turn
from overtone.errors import DataError

USER = {"role": "user", "text": "hi"}
ASSISTANT = {"role": "assistant", "text": "Hello."}


def test_turns_are_read_as_they_stand():
    said = [USER, ASSISTANT, {"role": "user", "text": " ok — 手話 "}]
    assert turns.turns("here", {"turns": said}) == tuple(Turn(each["role"], each["text"]) for each in said)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([], "'turns' holds no turns"),
        ("hi", "'turns' holds no turns"),
        (["hi"], "turn 1: not an object"),
        ([USER, ASSISTANT], "the last turn is not the user's"),
        ([ASSISTANT], "turn 1: the role is 'assistant' where it is the user's turn"),
        ([USER, USER, USER], "turn 2: the role is 'user' where it is the assistant's turn"),
        ([{"role": "user", "text": " "}], "turn 1: 'text' holds no text"),
        ([{"role": "user"}], "turn 1: 'text' is missing"),
        ([{**USER, "txet": "hi"}], "turn 1: no key is called 'txet'.*did you mean 'text'"),
    ],
)
def test_what_is_wrong_with_turns_is_said(listed, message):
    with pytest.raises(DataError, match=f"(?s)data, line 3.*{message}") as raised:
        turns.turns("data, line 3", {"turns": listed})
    assert raised.value.hint


def test_what_is_wrong_with_a_cell_is_said():
    with pytest.raises(DataError, match=r"(?s)here: 'crisis' is 'true'.*unquoted"):
        turns.flag("here", {"crisis": "true"}, "crisis")
    with pytest.raises(DataError, match="here: the id 'a' stands twice"):
        turns.new("here", "a", {"a"})
    assert turns.flag("here", {"crisis": False}, "crisis") is False
    assert turns.new("here", "b", {"a"}) == "b"
