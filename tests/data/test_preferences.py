"""Preferences of a user's file."""

from __future__ import annotations

import gzip
import json

import pytest

from overtone.data import preferences
from overtone.data.chat import Turn
from overtone.errors import DataError

PLAIN = {"prompt": "It rains.", "chosen": "Stay in, then.", "rejected": "So what?"}
TURNS = {
    "prompt": [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "It rains."},
        {"role": "assistant", "content": "Still?"},
        {"role": "user", "content": "Yes."},
    ],
    "chosen": [{"role": "assistant", "content": " Stay in, then. "}],
    "rejected": "So what?",
}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_texts_and_turns_say_the_same(tmp_path):
    plain, turns = preferences.own(write(tmp_path / "mine.jsonl", PLAIN, TURNS))
    assert plain == preferences.Preference(
        "mine/000001", (Turn("user", "It rains."),), "Stay in, then.", "So what?", "mine", ("it rains",)
    )
    assert turns.id == "mine/000002"
    assert turns.context == (
        Turn("system", "be kind"),
        Turn("user", "It rains."),
        Turn("assistant", "Still?"),
        Turn("user", "Yes."),
    )
    assert (turns.chosen, turns.rejected) == (plain.chosen, plain.rejected)


def test_a_list_and_a_packed_file_are_read_too(tmp_path):
    path = tmp_path / "mine.json.gz"
    path.write_bytes(gzip.compress(json.dumps([PLAIN]).encode()))
    assert [each.id for each in preferences.own(path)] == ["mine/000001"]


SPOKEN = TURNS["prompt"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"chosen": None}, "line 2: 'chosen' is NoneType, not text"),
        ({"rejected": " "}, "line 2: 'rejected' is empty"),
        ({"chosen": "so  WHAT"}, "line 2: 'chosen' and 'rejected' are the same text"),
        ({"prompt": []}, "line 2: 'prompt' has turns of nobody"),
        ({"prompt": SPOKEN[:3]}, "line 2: 'prompt' has turns of system, user, assistant"),
        ({"prompt": SPOKEN[2:]}, "line 2: 'prompt' has turns of assistant, user"),
        ({"prompt": [SPOKEN[1], SPOKEN[0]]}, "line 2: 'prompt' has turns of user, system"),
        ({"prompt": [SPOKEN[1], SPOKEN[3]]}, "line 2: 'prompt' has turns of user, user"),
        ({"prompt": ["hello"]}, "line 2, 'prompt', turn 1: not an object"),
        ({"prompt": [{"role": "usr", "content": "a"}]}, "line 2, 'prompt', turn 1: 'usr'.*mean 'user'"),
        ({"prompt": [{"role": "user", "text": "a"}]}, "line 2, 'prompt', turn 1: no 'content'"),
        ({"chosen": SPOKEN[1:2]}, "line 2: 'chosen' is not one turn of the assistant"),
        ({"rejected": [SPOKEN[2], SPOKEN[3]]}, "line 2: 'rejected' is not one turn of the assistant"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, change, problem):
    with pytest.raises(DataError, match=rf"(?s)mine\.jsonl, {problem}"):
        list(preferences.own(write(tmp_path / "mine.jsonl", PLAIN, {**PLAIN, **change})))


def test_a_key_that_is_missing_is_named(tmp_path):
    path = write(tmp_path / "mine.jsonl", {"prompt": "a", "chosen": "b", "rejectd": "c"})
    with pytest.raises(DataError, match=r"(?s)line 1: no 'rejected'.*did you mean 'rejectd'"):
        list(preferences.own(path))


def test_a_broken_file_is_named(tmp_path):
    for name, content, problem in (
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b'{"prompt"', "line 1: not JSON"),
        ("a.jsonl", b'["a"]', "line 1: not a JSON object"),
        ("a.jsonl", b'{"prompt": "\xff"}', "not UTF-8"),
        ("a.csv", b"a", "does not tell the format"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=problem):
            list(preferences.own(tmp_path / name))
