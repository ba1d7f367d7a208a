"""The public data sets: small files of our own in their formats, and the real ones where they are at hand."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from overtone.data.fetch import verify
from overtone.data.sources import emotion, goemotions
from overtone.data.sources.goemotions import GoEmotionsSource
from overtone.errors import DataError

EKMAN = {"joy": ["joy", "love"], "anger": ["anger", "annoyance"]}


@pytest.fixture
def comments(tmp_path):
    """A folder in the format of GoEmotions with four comments."""
    (tmp_path / "train.tsv").write_text(
        '"so it begins, my friend\t3,2\taaa\nplain; text\t27\tbbb\nhow sweet\t17,18\tccc\n', encoding="utf-8"
    )
    (tmp_path / "dev.tsv").write_text("hm\t2\tddd\n", encoding="utf-8")
    (tmp_path / "test.tsv").write_text("", encoding="utf-8")
    (tmp_path / "ekman_mapping.json").write_text(json.dumps(EKMAN), encoding="utf-8")
    (tmp_path / "sentiment_mapping.json").write_text(json.dumps({"positive": ["joy"]}), encoding="utf-8")
    return tmp_path


def test_emotion_splits_on_the_last_semicolon(tmp_path):
    (tmp_path / "train.txt").write_text("oh; no; why;sadness\nyes;joy\n", encoding="utf-8")
    (tmp_path / "val.txt").write_text("boo;fear\n", encoding="utf-8")
    (tmp_path / "test.txt").write_text("", encoding="utf-8")
    rows = list(emotion.records(tmp_path))
    assert [(row.id, row.text, row.targets["emotion"], row.split) for row in rows] == [
        ("emotion/train-00000", "oh; no; why", "sadness", "train"),
        ("emotion/train-00001", "yes", "joy", "train"),
        ("emotion/validation-00000", "boo", "fear", "validation"),
    ]


def test_emotion_names_the_line_of_an_unknown_label(tmp_path):
    (tmp_path / "train.txt").write_text("yes;joy\nno;angr\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"(?s)train\.txt, line 2: 'angr'.*did you mean 'anger'"):
        list(emotion.records(tmp_path))


def test_goemotions_reads_quotes_as_text(comments):
    rows = list(goemotions.records(comments))
    assert rows[0].text == '"so it begins, my friend'
    assert rows[0].targets == {"emotion": ("annoyance", "anger")}
    assert [row.id for row in rows] == [f"goemotions/{name}" for name in ("aaa", "bbb", "ccc", "ddd")]
    assert [row.split for row in rows] == ["train", "train", "train", "validation"]


@pytest.mark.parametrize("line", ["no tabs", "text\t28\tabc", "text\tjoy\tabc", "a\tb\t1\tabc"])
def test_goemotions_names_a_broken_line(comments, line):
    (comments / "dev.tsv").write_text(f"fine\t0\tx\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"dev\.tsv, line 2"):
        list(goemotions.records(comments))


def test_goemotions_groups_then_selects(comments):
    def targets(**settings):
        return [row.targets["emotion"] for row in GoEmotionsSource(**settings).build().records(comments)]

    assert targets() == [("annoyance", "anger"), ("neutral",), ("joy", "love"), ("anger",)]
    assert targets(grouping="ekman") == [("anger",), ("neutral",), ("joy",), ("anger",)]
    assert targets(single_label=True) == ["neutral", "anger"]
    assert targets(grouping="ekman", single_label=True) == ["anger", "neutral", "joy", "anger"]


def test_emotion_has_the_published_counts(data_root):
    folder = data_root / "emotion"
    verify(emotion.CARD, folder)
    rows = list(emotion.records(folder))
    assert Counter(row.split for row in rows) == emotion.CARD.sizes
    assert Counter(row.targets["emotion"] for row in rows if row.split == "train") == {
        "joy": 5362,
        "sadness": 4666,
        "anger": 2159,
        "fear": 1937,
        "love": 1304,
        "surprise": 572,
    }
    assert len({row.id for row in rows}) == len(rows)
    assert _shared(rows, "test") == 11
    assert _shared(rows, "validation") == 5


def test_goemotions_has_the_published_counts(data_root):
    folder = data_root / "goemotions"
    verify(goemotions.CARD, folder)
    assert (folder / "emotions.txt").read_text(encoding="utf-8").split() == list(goemotions.LABELS)
    rows = list(goemotions.records(folder))
    train = [row for row in rows if row.split == "train"]
    assert Counter(row.split for row in rows) == goemotions.CARD.sizes
    assert Counter(len(row.targets["emotion"]) for row in train) == {1: 36308, 2: 6541, 3: 532, 4: 28, 5: 1}
    labels = Counter(label for row in train for label in row.targets["emotion"])
    assert (labels["neutral"], labels["admiration"], labels["grief"], labels["pride"]) == (
        14219,
        4130,
        77,
        111,
    )
    assert len({row.id for row in rows}) == len(rows)
    assert _shared(rows, "test") == 32
    assert _shared(rows, "validation") == 41


def test_goemotions_groupings_cover_every_label(data_root):
    maps = goemotions.groupings(data_root / "goemotions")
    assert all(set(groups) == set(goemotions.LABELS) for groups in maps.values())
    assert set(maps["ekman"].values()) == {
        *("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"),
    }
    assert set(maps["sentiment"].values()) == {"positive", "negative", "ambiguous", "neutral"}
    assert all(label == group for label, group in maps["none"].items())


def _shared(rows, split):
    """How many of a split's distinct texts stand in train, letter by letter."""
    train = {row.text for row in rows if row.split == "train"}
    return len({row.text for row in rows if row.split == split} & train)
