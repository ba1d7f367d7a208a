from __future__ import annotations

import json

import pytest

from overtone.data import documents
from overtone.data.documents import DocumentsConfig
from overtone.data.leakage import LeakageConfig
from overtone.data.records import Card, Record
from overtone.data.sources.table import TableSource
from overtone.data.split import SPLITS
from overtone.errors import DataError
from toys import write_documents

CARD = Card("toy", "", "CC-BY-SA-4.0", True, "https://example.org", "", {})


@pytest.fixture
def texts(tmp_path):
    return write_documents(tmp_path / "texts.jsonl", 60)


def config(*paths, **changes):
    sources = [TableSource(path=path) for path in paths]
    return DocumentsConfig(sources=sources, **{"validation": 0.2, "test": 0.1, **changes})


def prepared(*paths, others=(), seed=7, **changes):
    return documents.prepare(config(*paths, **changes), LeakageConfig(), seed, others)


def test_every_document_is_in_one_split(texts):
    found = prepared(texts)
    every = [row.id for name in SPLITS for row in found.splits[name]]
    assert len(every) == len(set(every)) == 60
    assert found.report.rows == {"train": 42, "validation": 12, "test": 6}
    assert found.report.counts["test"] == {"documents": {"texts": 6}}
    assert found.report.left_out == {}
    assert prepared(texts).splits == found.splits
    assert prepared(texts, seed=8).splits != found.splits
    assert set(found.fingerprints) == {"texts"}


def test_passages_of_an_article_stay_together(monkeypatch, texts):
    rows = [
        Record(f"toy/{i:03d}", f"about {i} and {i * i}", {}, "toy", group=f"a{i // 4}") for i in range(80)
    ]
    monkeypatch.setattr(documents, "_documents", lambda choice: (CARD, rows))
    found = prepared(texts)
    places = {row.group: name for name in SPLITS for row in found.splits[name]}
    for name in SPLITS:
        assert {places[row.group] for row in found.splits[name]} == {name}
        assert found.report.rows[name] % 4 == 0
    assert found.report.licence == "CC-BY-SA-4.0"


def test_a_held_out_text_is_not_trained_on(tmp_path, texts):
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    splits = prepared(texts).splits
    held = splits.test[0].text
    place = rows.index({"text": splits.train[0].text})
    rows[place] = {"text": held.upper()}
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = prepared(texts)
    (leak,) = found.report.leaks
    assert (leak.split, leak.twin_split, leak.exact) == ("train", "test", True)
    assert found.report.dropped == {"train": 1, "validation": 0, "test": 0}
    assert held.upper() not in [row.text for row in found.splits.train]


def test_documents_that_only_judge(tmp_path, texts):
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    other = tmp_path / "other.jsonl"
    known = prepared(texts).splits.train[0].text
    lines = [{"text": known, "part": "test"}, {"text": "not for us", "part": "train"}]
    other.write_text("".join(json.dumps(row) + "\n" for row in lines))
    found = prepared(texts, others=[TableSource(path=other, split="part")])
    assert [row.text for row in found.judges["other"]] == [known]
    assert known not in [row.text for row in found.splits.train]  # it leaked into what judges
    assert len(found.splits.test) == 6
    assert set(found.fingerprints) == {"texts", "other"}
    assert len(rows) == 60


def test_as_many_documents_as_wanted(texts):
    found = prepared(texts, documents=30)
    assert sum(found.report.rows.values()) == 30
    assert found.report.left_out == {"more than `documents`": 30}


def test_what_is_wrong_is_said(tmp_path, texts):
    empty = tmp_path / "empty.jsonl"
    empty.write_text(json.dumps({"text": "one"}) + "\n")
    with pytest.raises(DataError, match="1 documents cannot be divided"):
        prepared(empty)
    with pytest.raises(DataError, match="named twice"):
        prepared(texts, others=[TableSource(path=texts)])
    again = tmp_path / "more" / "texts.jsonl"
    again.parent.mkdir()
    again.write_text(texts.read_text())
    with pytest.raises(DataError, match="60 ids stand twice"):
        prepared(texts, again)
    trained = tmp_path / "trained.jsonl"
    trained.write_text('{"text": "one", "part": "train"}\n')
    with pytest.raises(DataError, match="'trained' has no test documents"):
        prepared(texts, others=[TableSource(path=trained, split="part")])
