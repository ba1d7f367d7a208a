from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from overtone.data.fetch import SHIPPED, catalogue
from overtone.data.files import digest
from overtone.data.leakage import LeakageConfig
from overtone.data.partition import label_names
from overtone.data.records import Record
from overtone.data.sources.emotion import LABELS as SIX
from overtone.data.sources.goemotions import LABELS as TWENTY_EIGHT
from overtone.data.sources.overtone_emotions import LABELS as EIGHT
from overtone.data.split import SPLITS, DataConfig, allowed, most_restrictive
from overtone.data.split import prepare as prepare_all
from overtone.data.text import fold
from overtone.errors import DataError


def table(folder, rows, name="mine.csv"):
    path = folder / name
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows), encoding="utf-8")
    return {"kind": "table", "path": str(path)}


def config(*sources, labels=("joy", "fear"), split="seeded", **settings):
    return DataConfig.model_validate(
        {"sources": sources, "labels": labels, "split": {"kind": split}, **settings}
    )


def prepare(data, seed):
    return prepare_all({"task": data}, LeakageConfig(), seed)


def some(n, label):
    return [(f"{label} number {i}", label) for i in range(n)]


def test_a_table_is_prepared_and_reported(tmp_path):
    leak = [("the very same long sentence stands here twice", "joy")] * 2
    data = config(table(tmp_path, some(40, "joy") + some(20, "fear") + leak))
    prepared = prepare(data, 7)
    report = prepared.reports["task"]
    assert sum(report.rows.values()) + sum(report.dropped.values()) == 62
    assert report.dropped["train"] + report.dropped["validation"] == len({leak.row for leak in report.leaks})
    assert report.counts["test"] == {"joy": {"mine": 8}, "fear": {"mine": 4}}
    assert (report.licence, report.commercial) == ("the licence of your own data", None)
    assert list(prepared.fingerprints) == ["mine"]
    assert len(prepared.fingerprints["mine"]["files"]["mine.csv"]) == 64
    assert json.loads(json.dumps(report.as_dict())) == report.as_dict()
    assert prepare(data, 7) == prepared
    assert prepare(data, 8).splits != prepared.splits


def test_the_target_is_the_recipes(tmp_path):
    prepared = prepare(config(table(tmp_path, some(9, "joy") + some(9, "fear")), target="mood"), 7)
    assert set(prepared.splits["task"].train[0].targets) == {"mood"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*some(9, "joy"), ("x", "feer")], r"(?s)'mine/000010' has the label 'feer'.*did you mean 'fear'"),
        (some(9, "joy"), r"one class only: all 9 rows are 'joy'"),
        (some(9, "joy") + some(1, "fear"), r"'fear' has 1 rows, and a label needs at least 2"),
        (some(2, "joy") + some(2, "fear"), r"the validation split is empty"),
    ],
)
def test_rows_that_cannot_be_learnt_from(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        prepare(config(table(tmp_path, rows)), 7)


def test_a_label_that_is_only_tested(tmp_path):
    path = tmp_path / "a.csv"
    rows = ["a,joy,train", "b,joy,dev", "c,fear,dev", "d,joy,test", "e,fear,test"]
    path.write_text("\n".join(["text,label,part", *rows]), encoding="utf-8")
    with pytest.raises(DataError, match="'fear' has no row to train on"):
        prepare(config({"kind": "table", "path": path, "split": "part"}, split="official"), 7)


def test_two_rows_of_one_id(tmp_path):
    source = table(tmp_path, some(9, "joy") + some(9, "fear"))
    with pytest.raises(DataError, match=r"18 ids stand twice, such as 'mine/000001'"):
        prepare(config(source, source), 7)


def test_one_label_and_lists_do_not_mix(tmp_path):
    source = table(tmp_path, some(9, "joy") + some(9, "fear"))
    other = {**table(tmp_path, some(9, "joy"), "other.csv"), "separator": ";"}
    with pytest.raises(DataError, match="some rows have one label and some a list"):
        prepare(config(source, other), 7)


def test_labels_are_listed_once():
    with pytest.raises(ValidationError, match="listed twice: joy"):
        config({"kind": "emotion"}, labels=("joy", "fear", "joy"))
    with pytest.raises(ValidationError, match="at least 1"):
        config({"kind": "emotion"}, labels=())


def test_a_catalogue_row_of_another_label_is_left_out_and_counted():
    prepared = prepare(config({"kind": "overtone-emotions"}), 7)
    every = list(catalogue()["overtone-emotions"].records(SHIPPED))
    others = sum(row.targets["emotion"] not in ("joy", "fear") for row in every)
    assert prepared.reports["task"].left_out == {"overtone-emotions: label not among the task's": others}


def test_a_target_that_the_data_lacks():
    with pytest.raises(DataError, match=r"has no labels under the target 'mood'"):
        prepare(config({"kind": "overtone-emotions"}, target="mood"), 7)


def test_the_most_restrictive_licence_binds():
    known = catalogue()
    free, closed = known["goemotions"].card, known["emotion"].card
    alike = replace(free, licence="CC-BY-SA-4.0")
    assert most_restrictive([free]) == ("CC-BY-4.0", True)
    assert most_restrictive([free, closed, alike]) == (closed.licence, False)
    assert most_restrictive([free, alike]) == ("CC-BY-SA-4.0", True)
    assert most_restrictive([known["overtone-emotions"].card, free, free]) == (
        "Apache-2.0 and CC-BY-4.0",
        True,
    )


def test_a_licence_that_is_not_known_is_not_taken_for_a_free_one():
    known = catalogue()
    free, closed = known["goemotions"].card, known["emotion"].card
    own = replace(free, licence="the licence of your own data", commercial=None)
    alike = replace(free, licence="CC-BY-SA-4.0")
    assert most_restrictive([own]) == (own.licence, None)
    assert most_restrictive([free, own]) == (f"CC-BY-4.0 and {own.licence}", None)
    assert most_restrictive([free, alike, own]) == (f"CC-BY-SA-4.0 and {own.licence}", None)
    assert most_restrictive([own, closed, free]) == (f"{own.licence} and {closed.licence}", False)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([True, True], True),
        ([True, None], None),
        ([None, False], False),
        ([False, True], False),
        ([True, None, False], False),
    ],
)
def test_a_whole_allows_what_all_its_parts_allow(parts, whole):
    assert allowed(parts) is whole


def test_a_file_is_read_for_its_hash_once(tmp_path, monkeypatch):
    read = []

    def counted(path):
        read.append(path.name)
        return digest(path)

    monkeypatch.setattr("overtone.data.fetch.digest", counted)
    monkeypatch.setattr("overtone.data.sources.table.digest", counted)
    prepare(config({"kind": "overtone-emotions"}), 7)
    assert sorted(read) == sorted(catalogue()["overtone-emotions"].card.files)
    read.clear()
    prepare(config(table(tmp_path, some(9, "joy") + some(9, "fear"))), 7)
    assert read == ["mine.csv"]


def test_label_names_of_what_is_no_label():
    row = Record("a/1", "x", {"emotion": "joy", "mood": ("a", "b"), "valence": (0.5,)}, "a")
    assert label_names(row, "emotion") == ("joy",)
    assert label_names(row, "mood") == ("a", "b")
    assert label_names(row, "valence") == ()
    with pytest.raises(DataError, match=r"(?s)'a/1' has no labels under the target 'arousal'"):
        label_names(row, "arousal")


def numbers(folder, rows, name="scores.csv"):
    path = folder / name
    lines = [f"{text},{value}" for text, value in rows]
    path.write_text("\n".join(["text,warmth", *lines]), encoding="utf-8")
    return {"kind": "table", "path": str(path), "numbers": ["warmth"]}


def test_numbers_are_divided_and_counted(tmp_path):
    data = config(
        numbers(tmp_path, [(f"row number {i}", i / 10) for i in range(40)]),
        labels=("warmth",),
        target="warmth",
    )
    prepared = prepare(data, 7)
    assert prepared.reports["task"].rows == {"train": 26, "validation": 6, "test": 8}
    assert prepared.reports["task"].counts["test"] == {"warmth": {"scores": 8}}
    assert all(
        row.targets["warmth"] == (int(row.text.split()[-1]) / 10,) for row in prepared.splits["task"].test
    )


def test_rows_are_limited_by_the_seed(tmp_path):
    data = config(table(tmp_path, some(40, "joy") + some(40, "fear")), train_rows=20, validation_rows=6)
    prepared = prepare(data, 7)
    report = prepared.reports["task"]
    assert (report.rows["train"], report.rows["validation"], report.rows["test"]) == (20, 6, 16)
    assert report.left_out == {"more than train_rows": 32, "more than validation_rows": 6}
    assert prepare(data, 7) == prepared
    whole = prepare(data.model_copy(update={"train_rows": None, "validation_rows": None}), 7)
    assert _texts(prepared.splits["task"].train) < _texts(whole.splits["task"].train)
    assert prepared.splits["task"].test == whole.splits["task"].test


def test_what_one_task_is_tested_on_trains_no_other(tmp_path):
    moods = config(table(tmp_path, some(40, "joy") + some(40, "fear")))
    tested = prepare(moods, 7).splits["task"].test[0].text
    rows = [(f"quite another text {i}", i) for i in range(40)] + [(tested, 1)] * 20
    both = prepare_all(
        {"mood": moods, "warmth": config(numbers(tmp_path, rows), labels=("warmth",), target="warmth")},
        LeakageConfig(),
        7,
    )
    assert tested in _texts(both.splits["mood"].test)
    for name in ("train", "validation"):
        assert tested not in _texts(both.splits["warmth"][name])
    leaks = both.reports["warmth"].leaks
    assert {leak.twin for leak in leaks if leak.twin_split == "test"} >= {both.splits["mood"].test[0].id}
    assert both.reports["warmth"].dropped["train"] > 0
    assert both.reports["mood"].dropped == {"train": 0, "validation": 0, "test": 0}
    assert set(both.fingerprints) == {"mine", "scores"}


def test_what_is_held_out_beside_is_not_trained_on(tmp_path):
    """As if the other task were there: the same rows are dropped, and nothing of the other comes along."""
    moods = config(table(tmp_path, some(40, "joy") + some(40, "fear")))
    tested = _texts(prepare(moods, 7).splits["task"].test)
    rows = [(f"quite another text {i}", i) for i in range(40)] + [(text, 1) for text in sorted(tested)]
    warmth = config(numbers(tmp_path, rows), labels=("warmth",), target="warmth")
    both = prepare_all({"mood": moods, "warmth": warmth}, LeakageConfig(), 7)
    alone = prepare_all({"warmth": warmth}, LeakageConfig(), 7, [moods])
    assert alone.splits == {"warmth": both.splits["warmth"]}
    assert alone.reports["warmth"].dropped["train"] > 0
    assert set(alone.fingerprints) == {"scores"}


def test_test_rows_whose_text_occurs_in_training_are_left_out(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{label} row {i},{label},train" for i in range(20) for label in ("joy", "fear")]
    rows += ["Joy row 1!,joy,test", "unseen,joy,test", "new,fear,test"]
    path.write_text("\n".join(["text,label,part", *rows]), encoding="utf-8")
    split = {"kind": "official", "unseen_test": True}
    data = config({"kind": "table", "path": str(path), "split": "part"}).model_dump() | {"split": split}
    prepared = prepare(DataConfig.model_validate(data), 7)
    assert _texts(prepared.splits["task"].test) == {"unseen", "new"}
    assert prepared.reports["task"].left_out == {"test text that occurs in training": 1}


def test_emotion_6_on_the_official_split(data_root):
    report = prepare(config({"kind": "emotion"}, labels=SIX, split="official"), 7).reports["task"]
    exact = [leak for leak in report.leaks if leak.exact]
    assert sum(leak.split == "train" and leak.twin_split == "test" for leak in exact) == 11
    assert sum(leak.split == "train" and leak.twin_split == "validation" for leak in exact) == 5
    assert report.rows["test"] == 2_000
    assert report.rows["train"] + report.dropped["train"] == 16_000
    assert not report.commercial


def test_goemotions_28_on_the_official_split(data_root):
    prepared = prepare(config({"kind": "goemotions"}, labels=TWENTY_EIGHT, split="official"), 7)
    report = prepared.reports["task"]
    assert report.rows["test"] == 5_427
    assert report.rows["train"] + report.dropped["train"] == 43_410
    # 32 texts of test stand in train letter by letter; case and punctuation aside, more do
    letter_by_letter = _texts(prepared.splits["task"].train) & _texts(prepared.splits["task"].test)
    assert not letter_by_letter
    assert sum(leak.exact and leak.twin_split == "test" for leak in report.leaks) >= 32
    assert (report.licence, report.commercial) == ("CC-BY-4.0", True)


def test_goemotions_with_a_label_missing_from_the_recipe(data_root):
    with pytest.raises(DataError, match=r"has the label 'neutral', which the task does not list"):
        prepare(config({"kind": "goemotions"}, labels=TWENTY_EIGHT[:-1], split="official"), 7)


def test_the_pooled_split_of_eight_emotions(data_root):
    sources = ({"kind": "emotion"}, {"kind": "goemotions", "single_label": True})
    prepared = prepare(config(*sources, labels=EIGHT, split="pooled"), 7)
    report = prepared.reports["task"]
    assert report.rows["test"] == 1_600
    for label in EIGHT:
        both = {"emotion": 100, "goemotions": 100}
        assert report.counts["test"][label] == (both if label in SIX else {"goemotions": 200})
        validation = sum(report.counts["validation"][label].values())
        train = sum(report.counts["train"][label].values())
        assert validation == (107 if label == "disgust" else 300)
        assert validation - 1 <= train <= 3_000
    assert report.rows["train"] > 18_000
    assert not report.commercial
    # every row is read, and is in a split or counted as left out
    assert sum(report.left_out.values()) + sum(report.rows.values()) + sum(report.dropped.values()) == 74_263
    parts = [{fold(row.text) for row in prepared.splits["task"][name]} for name in SPLITS]
    assert sum(map(len, parts)) == len(set().union(*parts)) == sum(report.rows.values())


def _texts(rows):
    return {row.text for row in rows}
