from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from overtone.data.partition import OfficialSplit, PooledSplit, SeededSplit
from overtone.data.records import Record
from overtone.errors import DataError

NAMES = ("train", "validation", "test")


def rows(n, label="joy", source="a", split=None, group=None):
    return [
        Record(f"{source}/{label}-{i:05d}", f"{source} {label} {i}", {"emotion": label}, source, split, group)
        for i in range(n)
    ]


def sizes(splits):
    return {name: len(splits[name]) for name in NAMES}


def ids(splits):
    return [row.id for name in NAMES for row in splits[name]]


def test_seeded_shares_hold_for_every_label():
    data = rows(200) + rows(100, "fear") + rows(40, "love")
    splits, left_out = SeededSplit(validation=0.15, test=0.2).divide(data, "emotion", 7)
    assert not left_out
    for name, expected in {"test": (40, 20, 8), "validation": (30, 15, 6), "train": (130, 65, 26)}.items():
        found = Counter(row.targets["emotion"] for row in splits[name])
        assert (found["joy"], found["fear"], found["love"]) == expected
    assert sorted(ids(splits)) == sorted(row.id for row in data)


def test_a_seed_is_a_split_whatever_the_order():
    data = rows(50) + rows(50, "fear")
    shuffled = random.Random(1).sample(data, len(data))
    split = SeededSplit()
    assert split.divide(data, "emotion", 7) == split.divide(shuffled, "emotion", 7)
    assert split.divide(data, "emotion", 7) != split.divide(data, "emotion", 8)


@given(n=st.integers(2, 30), test=st.floats(0.05, 0.6), validation=st.floats(0.05, 0.35))
def test_every_label_is_trained_and_tested(n, test, validation):
    splits, _ = SeededSplit(test=test, validation=validation).divide(rows(n), "emotion", 7)
    assert splits.train
    assert splits.test
    assert bool(splits.validation) == (len(splits.train) + len(splits.validation) > 1)
    assert len(set(ids(splits))) == n


def test_groups_stay_together():
    data = [row for g in range(20) for row in _grouped(g)]
    splits, _ = SeededSplit().divide(data, "emotion", 7)
    homes = {row.group: name for name in NAMES for row in splits[name]}
    assert all(homes[row.group] == name for name in NAMES for row in splits[name])
    assert sum(sizes(splits).values()) == len(data)
    assert min(sizes(splits).values()) > 0


def _grouped(g):
    return [
        Record(f"a/{g}-{i}", f"{g} {i}", {"emotion": "joy"}, "a", group=f"g{g}") for i in range(g % 4 + 1)
    ]


def test_rows_with_several_labels_are_stratified_by_their_rarest():
    data = [
        Record(f"a/{i:03d}", str(i), {"emotion": ("joy", "grief") if i < 10 else ("joy",)}, "a")
        for i in range(100)
    ]
    splits, _ = SeededSplit(test=0.2, validation=0.2).divide(data, "emotion", 7)
    assert {name: sum("grief" in row.targets["emotion"] for row in splits[name]) for name in NAMES} == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }


def test_shares_must_leave_something_to_train_on():
    with pytest.raises(ValidationError, match="nothing to train on"):
        SeededSplit(validation=0.5, test=0.5)


def test_official_follows_the_rows():
    data = rows(30, split="train") + rows(9, "fear", split="validation") + rows(8, "love", split="test")
    splits, _ = OfficialSplit().divide(data, "emotion", 7)
    assert sizes(splits) == {"train": 30, "validation": 9, "test": 8}


def test_official_without_validation_takes_it_from_train():
    data = rows(30, split="train") + rows(20, "fear", split="train") + rows(8, "love", split="test")
    splits, _ = OfficialSplit(validation_share=0.1).divide(data, "emotion", 7)
    assert sizes(splits) == {"train": 45, "validation": 5, "test": 8}
    splits, _ = OfficialSplit(validation_share=0).divide(data, "emotion", 7)
    assert sizes(splits) == {"train": 50, "validation": 0, "test": 8}


def test_official_needs_every_row_to_name_its_split():
    with pytest.raises(DataError, match=r"'a/fear-00000' names no split"):
        OfficialSplit().divide(rows(3, split="train") + rows(1, "fear"), "emotion", 7)


POOLED = PooledSplit(test_per_label=20, validation_per_label=30, train_per_label=100)


def by_source(splits, label):
    return {
        name: dict(Counter(row.source for row in splits[name] if row.targets["emotion"] == label))
        for name in NAMES
    }


def test_pooled_takes_evenly_and_fills_up():
    data = rows(500) + rows(40, source="b") + rows(300, "fear", "b")
    splits, left_out = POOLED.divide(data, "emotion", 7)
    assert by_source(splits, "joy") == {
        "test": {"a": 10, "b": 10},
        "validation": {"a": 15, "b": 15},
        "train": {"a": 85, "b": 15},
    }
    assert by_source(splits, "fear") == {"test": {"b": 20}, "validation": {"b": 30}, "train": {"b": 100}}
    assert left_out == {"more than train_per_label": 390 + 150}


def test_pooled_fills_test_from_the_other_source():
    splits, _ = POOLED.divide(rows(500) + rows(4, source="b"), "emotion", 7)
    assert by_source(splits, "joy")["test"] == {"a": 16, "b": 4}


def test_pooled_leaves_a_rare_label_three_quarters_of_what_test_leaves():
    splits, _ = POOLED.divide(rows(61), "emotion", 7)
    assert sizes(splits) == {"test": 20, "validation": 10, "train": 31}


def test_pooled_ignores_the_official_splits():
    data = rows(200, split="train") + rows(200, "fear", split="test")
    splits, _ = POOLED.divide(data, "emotion", 7)
    assert {row.targets["emotion"] for row in splits.test} == {"joy", "fear"}


def test_pooled_keeps_the_first_of_equal_texts():
    repeats = [
        Record("b/1", "A JOY 0!", {"emotion": "joy"}, "b"),
        Record("b/2", "a joy 1", {"emotion": "fear"}, "b"),
    ]
    data = rows(100) + rows(100, "fear") + repeats
    splits, left_out = POOLED.divide(data, "emotion", 7)
    assert left_out["repeated text, same label"] == 1
    assert left_out["repeated text, another label"] == 1
    assert not {"b/1", "b/2"} & set(ids(splits))
    assert len(ids(splits)) == 200


def test_pooled_names_a_label_with_too_few_rows():
    with pytest.raises(DataError, match=r"(?s)'fear' has 21 distinct rows, too few for 20 test rows"):
        POOLED.divide(rows(100) + rows(21, "fear"), "emotion", 7)


def test_pooled_refuses_several_labels_and_groups():
    several = Record("a/0", "x", {"emotion": ("joy", "fear")}, "a")
    with pytest.raises(DataError, match="'a/0' has several labels or a group"):
        POOLED.divide([several], "emotion", 7)
    with pytest.raises(DataError, match="has several labels or a group"):
        POOLED.divide(rows(1, group="g"), "emotion", 7)
