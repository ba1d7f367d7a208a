"""BEIR's layout: a collection of our own in it, what can be wrong with one, and the real ones."""

from __future__ import annotations

import gzip
import json

import pytest

from overtone.data import corpus
from overtone.data.fetch import catalogue, locate, verify
from overtone.data.records import Record
from overtone.errors import DataError

PASSAGES = [
    {"_id": "d1", "title": "Ferry", "text": "It runs twice a day."},
    {"_id": "d2", "text": "In winter not at all."},
    {"_id": "d3", "title": "", "text": "Bread is baked at night."},
]
QUERIES = [{"_id": "q1", "text": "how often?"}, {"_id": "q2", "text": "when is bread baked?"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t1\nq1\td3\t0\n"


def put(folder, passages=PASSAGES, queries=QUERIES, qrels=QRELS):
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", passages), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


def test_a_collection_is_read(tmp_path):
    found = corpus.load(put(tmp_path))
    assert [(each.id, each.title, each.line) for each in found.passages] == [
        ("d1", "Ferry", 1),
        ("d2", "", 2),
        ("d3", "", 3),
    ]
    assert found.passages[0].content == "Ferry\nIt runs twice a day."
    assert found.passages[1].content == "In winter not at all."
    assert found.passages[1].file == "corpus.jsonl"
    assert [each.text for each in found.queries] == ["how often?", "when is bread baked?"]
    assert found.judgements == {"test": {"q1": {"d1": 2, "d2": 1, "d3": 0}}}
    assert [each.id for each in found.asked("test")] == ["q1"]  # nothing is known of q2


def test_it_may_be_packed(tmp_path):
    put(tmp_path)
    plain = corpus.load(tmp_path)
    for path in (tmp_path / "corpus.jsonl", tmp_path / "qrels" / "test.tsv"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = corpus.load(tmp_path)
    assert packed.judgements == plain.judgements
    assert [each.content for each in packed.passages] == [each.content for each in plain.passages]


def test_its_records_name_what_answers(tmp_path):
    rows = list(corpus.records(put(tmp_path), "toy"))
    assert rows == [Record("toy/q1", "how often?", {"passages": ("d1", "d2")}, "toy", "test")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "corpus.jsonl is empty"),
        ([{"_id": "d1", "text": "a"}, {"_id": "d1", "text": "b"}], "line 2: the id 'd1' was there before"),
        ([{"_id": "d1"}], "line 1: 'text' is not a text"),
        ([{"text": "a"}], "line 1: '_id' is not a text"),
        ([{"_id": 3, "text": "a"}], "line 1: '_id' is not a text"),
        ([{"_id": "d1", "text": "  "}], "line 1: 'text' is not a text"),
        ([{"_id": "d1", "text": "\ud800"}], "line 1: 'text' is not a text"),
    ],
)
def test_broken_passages_are_named(rows, message, tmp_path):
    with pytest.raises(DataError, match=message):
        corpus.load(put(tmp_path, passages=rows))


def test_a_line_that_is_not_json(tmp_path):
    put(tmp_path)
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "a"}\n{"_id": \n')
    with pytest.raises(DataError, match=r"queries.jsonl, line 2: not JSON"):
        corpus.load(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", "holds no judgements"),
        ("query-id\tcorpus-id\tscore\n", "holds no judgements"),
        ("query\tpassage\nq1\td1\n", "line 1: the columns are not query-id, corpus-id, score"),
        ("query-id\tcorpus-id\tscore\nq9\td1\t1\n", "line 2: no query has the id 'q9'"),
        ("query-id\tcorpus-id\tscore\nq1\td9\t1\n", "line 2: no passage has the id 'd9'"),
        ("query-id\tcorpus-id\tscore\nq1\td1\tyes\n", "line 2: the score 'yes' is not a whole number"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t-1\n", "line 2: the score '-1' is not a whole number"),
        (QRELS + "q1\td1\t1\n", "line 5: 'q1' and 'd1' are judged twice"),
        ("query-id\tcorpus-id\tscore\nq1\td1\n", "line 2: 2 cells"),
    ],
)
def test_broken_judgements_are_named(rows, message, tmp_path):
    with pytest.raises(DataError, match=message):
        corpus.load(put(tmp_path, qrels=rows))


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_a_missing_file_is_named(name, tmp_path):
    put(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is missing"):
        corpus.load(tmp_path)


def test_without_judgements_there_is_nothing_to_ask(tmp_path):
    put(tmp_path)
    (tmp_path / "qrels" / "test.tsv").unlink()
    with pytest.raises(DataError, match="qrels holds no judgements"):
        corpus.load(tmp_path)


def test_a_split_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"(?s)no split 'tset'.*mean 'test'"):
        corpus.load(put(tmp_path)).asked("tset")


@pytest.mark.parametrize("name", ["nq7247", "nq_beir_mini"])
def test_the_real_ones_are_as_their_cards_say(name, data_root, monkeypatch):
    monkeypatch.setenv("OVERTONE_DATA", str(data_root))
    source = catalogue()[name]
    folder = locate(source.card)
    verify(source.card, folder)
    rows = list(source.records(folder))
    found = {split: sum(row.split == split for row in rows) for split in source.card.sizes}
    assert found == source.card.sizes
    if name == "nq7247":
        assert len(corpus.load(folder).passages) == 7247
        assert all(len(row.targets["passages"]) == 1 for row in rows)
    else:
        assert max(len(row.targets["passages"]) for row in rows) > 1
