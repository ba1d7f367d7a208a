"""Rows for a teacher: what is taken of them, what leaks, and what the report says."""

from __future__ import annotations

import json

import pytest

from overtone.data.leakage import LeakageConfig
from overtone.data.split import SPLITS, DataConfig, prepare
from overtone.errors import DataError


def rows_of(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"kind": "table", "path": str(path)}


def labelled(folder, name="gold.jsonl", words="the cat number {} sat on a mat of its own"):
    texts = [words.format(f"{i} {i * i}") for i in range(30)]
    return rows_of(folder / name, [{"text": t, "label": "ab"[i % 2]} for i, t in enumerate(texts)])


def config(*sources, **settings):
    values = {"sources": sources, "labels": ("a", "b"), "split": {"kind": "seeded"}, **settings}
    return DataConfig.model_validate(values)


def texts(rows):
    return {row.text for row in rows}


def test_rows_without_labels_are_only_trained_on(tmp_path):
    """A file with neither label nor split; rows keep their context and have nothing to learn."""
    more = rows_of(tmp_path / "more.jsonl", [{"text": "hello there", "before": "hm"}, {"text": "so be it"}])
    data = config(labelled(tmp_path), unlabelled=[{**more, "context": "before"}])
    prepared = prepare({"mood": data}, LeakageConfig(), 7)
    rows = prepared.unlabelled["mood"]
    assert [(row.id, row.text, row.context) for row in rows] == [
        ("more/000001", "hello there", "hm"),
        ("more/000002", "so be it", None),
    ]
    assert all(row.targets == {} and row.split is None for row in rows)
    assert not texts(rows) & {text for split in SPLITS for text in texts(prepared.splits["mood"][split])}
    report = prepared.reports["mood"]
    assert (report.unlabelled, report.unlabelled_leaks) == (2, ())
    assert list(prepared.fingerprints) == ["gold", "more"]
    assert json.loads(json.dumps(report.as_dict())) == report.as_dict()


@pytest.mark.parametrize("drop", [True, False])
def test_twins_of_held_out_rows_are_dropped(tmp_path, drop):
    """Those of any task, equal or near, whatever is done about the leaks of labelled rows."""
    other = config(labelled(tmp_path, "other.jsonl", "a dog called {} ran off with my left shoe today"))
    plain = prepare({"mood": config(labelled(tmp_path)), "place": other}, LeakageConfig(drop=drop), 7)
    equal = plain.splits["mood"].test[0].text.upper() + "!"
    near = plain.splits["place"].validation[0].text + " anyway"
    of_train = plain.splits["place"].train[0].text
    more = rows_of(tmp_path / "more.jsonl", [{"text": t} for t in (equal, near, of_train, "quite new")])
    tasks = {"mood": config(labelled(tmp_path), unlabelled=[more]), "place": other}
    found = prepare(tasks, LeakageConfig(drop=drop), 7)
    assert texts(found.unlabelled["mood"]) == {of_train, "quite new"}
    assert found.unlabelled["place"] == ()
    report = found.reports["mood"]
    assert report.unlabelled == 2
    leaks = {(leak.row, leak.twin_split, leak.exact) for leak in report.unlabelled_leaks}
    assert leaks >= {("more/000001", "test", True), ("more/000002", "validation", False)}
    assert {row for row, _, _ in leaks} == {"more/000001", "more/000002"}
    assert not {leak.row for leak in report.leaks} & {"more/000001", "more/000002"}
    assert found.splits == plain.splits


def test_the_rows_that_a_limit_leaves_out(tmp_path):
    """One file with labels, few of which may be used: the teacher gets the others, but no held-out row."""
    source = labelled(tmp_path)
    whole = prepare({"mood": config(source)}, LeakageConfig(), 7).splits["mood"]
    few = prepare({"mood": config(source, unlabelled=[source], train_rows=4)}, LeakageConfig(), 7)
    assert len(few.splits["mood"].train) == 4
    taught = {row.id for row in few.unlabelled["mood"]}
    assert taught == {row.id for row in whole.train} - {row.id for row in few.splits["mood"].train}
    assert few.reports["mood"].unlabelled_leaks == ()


def test_one_id_for_two_texts(tmp_path):
    """Two files of one name would be taken for one row of two tasks."""
    (tmp_path / "new").mkdir()
    same = rows_of(tmp_path / "new" / "gold.jsonl", [{"text": "another text"}])
    with pytest.raises(DataError, match=r"two rows have the id 'gold/000001'") as caught:
        prepare({"mood": config(labelled(tmp_path), unlabelled=[same])}, LeakageConfig(), 7)
    assert "different names" in caught.value.hint


def test_their_licence_binds_too(data_root):
    sources = [{"kind": "overtone-emotions"}]
    labels = ("joy", "sadness")
    free = config(*sources, labels=labels, target="emotion")
    bound = config(*sources, labels=labels, target="emotion", unlabelled=[{"kind": "reccon"}])
    licences = {}
    for name, data in (("free", free), ("bound", bound)):
        report = prepare({"mood": data}, LeakageConfig(), 7).reports["mood"]
        licences[name] = (report.licence, report.commercial)
    assert licences == {"free": ("Apache-2.0", True), "bound": ("CC-BY-NC-SA-4.0", False)}


def test_dialogues_for_a_teacher_of_acts(data_root):
    """What RECCON shares with the test dialogues of SILICONE is found."""
    acts = {
        "sources": [{"kind": "dailydialog"}],
        "target": "intent",
        "labels": ("inform", "question", "directive", "commissive"),
        "split": {"kind": "official"},
        "unlabelled": [{"kind": "reccon"}],
    }
    found = prepare({"intent": DataConfig.model_validate(acts)}, LeakageConfig(), 7)
    rows, splits = found.unlabelled["intent"], found.splits["intent"]
    report = found.reports["intent"]
    assert len(rows) == report.unlabelled
    assert len(rows) + len({leak.row for leak in report.unlabelled_leaks}) == 8_206 + 493 + 2_405
    folded = [{row.text.casefold() for row in part} for part in (rows, splits.test, splits.validation)]
    assert not folded[0] & (folded[1] | folded[2])
    assert report.unlabelled > 8_000
