"""RECCON: a small file of our own in its format, and the real one."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest

from overtone.data.fetch import catalogue, locate, verify
from overtone.data.sources import dailydialog, reccon
from overtone.data.sources.reccon import RecconSource
from overtone.data.text import fold
from overtone.errors import DataError

DIALOGUE = {
    "id": "tr_7",
    "turns": [
        {"turn": 1, "speaker": "A", "utterance": "You won !", "emotion": "happines", "type": ["no-context"]},
        {"turn": 2, "speaker": "B", "utterance": "I did ?", "emotion": "surprised"},
        {"turn": 3, "speaker": "A", "utterance": "Yes .", "emotion": "neutral"},
    ],
}


def put(folder, train=(), valid=(), test=()):
    for name, lines in (("train", train), ("valid", valid), ("test", test)):
        (folder / f"reccon_{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_turns_are_rows(tmp_path):
    put(tmp_path, [json.dumps(DIALOGUE)], [], [json.dumps({**DIALOGUE, "id": "te_1"})])
    rows = list(RecconSource().build().records(tmp_path))
    assert [(row.id, row.text, row.targets["emotion"], row.context) for row in rows[:3]] == [
        ("reccon/tr_7-1", "You won !", "happiness", None),
        ("reccon/tr_7-2", "I did ?", "surprise", "You won !"),
        ("reccon/tr_7-3", "Yes .", "neutral", "I did ?"),
    ]
    assert [(row.group, row.split) for row in rows[2:4]] == [("tr_7", "train"), ("te_1", "test")]
    alone = RecconSource(context=False).build().records(tmp_path)
    assert all(row.context is None for row in alone)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: not a JSON object"),
        ("{}", "line 2: not a dialogue with an id"),
        (json.dumps({"id": 4, "turns": []}), "line 2: not a dialogue with an id"),
        (json.dumps({"id": "a", "turns": {}}), "line 2: not a dialogue"),
        (json.dumps({"id": "a", "turns": [{"utterance": "x"}]}), "line 2: not a dialogue"),
        (json.dumps({"id": "a", "turns": ["x"]}), "line 2: not a dialogue"),
        (
            json.dumps({"id": "a", "turns": [{"utterance": "x", "emotion": "angr"}]}),
            "line 2, turn 1: 'angr' is not an emotion.*mean 'anger'",
        ),
    ],
)
def test_a_broken_file_names_the_place(tmp_path, line, message):
    put(tmp_path, [json.dumps(DIALOGUE), line])
    with pytest.raises(DataError, match=rf"(?s)reccon_train\.jsonl, {message}") as caught:
        list(reccon.records(tmp_path))
    assert caught.value.hint


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"reccon_train\.jsonl is missing"):
        list(reccon.records(tmp_path))


def test_two_data_sets_share_a_folder(tmp_path, monkeypatch):
    """Each is there when its own files are."""
    monkeypatch.setenv("OVERTONE_DATA", str(tmp_path))
    monkeypatch.setenv("OVERTONE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "dailydialog"
    folder.mkdir()
    put(folder)
    assert locate(reccon.CARD) == folder
    with pytest.raises(DataError, match="'dailydialog' is not here"):
        locate(dailydialog.CARD)
    (folder / "reccon_test.jsonl").unlink()
    with pytest.raises(DataError, match="'reccon' is not here") as caught:
        locate(reccon.CARD)
    assert "the folder that holds dailydialog/" in caught.value.hint


def test_reccon_as_published(data_root):
    folder = data_root / "dailydialog"
    verify(reccon.CARD, folder)
    rows = list(reccon.records(folder))
    assert catalogue()["reccon"].card is reccon.CARD
    assert len({row.id for row in rows}) == len(rows)
    assert Counter(row.split for row in rows) == reccon.CARD.sizes
    assert Counter(row.targets["emotion"] for row in rows if row.split == "train") == {
        "neutral": 3644,
        "happiness": 3557,
        "surprise": 366,
        "anger": 276,
        "sadness": 212,
        "disgust": 106,
        "fear": 45,
    }
    assert len({row.group for row in rows}) == sum(row.context is None for row in rows) == 1106
    for before, row in pairwise(rows):
        assert row.context == (before.text if before.group == row.group else None)


def test_the_dialogues_that_it_shares_are_as_many_as_the_card_says(data_root):
    """About one in six: nearly all of its turns stand in SILICONE's files."""
    folder = data_root / "dailydialog"
    known = {fold(row.text) for row in dailydialog.records(folder)}
    shared = Counter[str]()
    turns = Counter[str]()
    for row in reccon.records(folder):
        turns[row.group] += 1
        shared[row.group] += fold(row.text) in known
    twins = sum(shared[group] > 0.8 * turns[group] for group in turns)
    assert twins / len(turns) == pytest.approx(1 / 6, abs=0.03)
    assert "one in six" in reccon.CARD.notes
