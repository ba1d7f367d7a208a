"""Questions and answers of the user's own: small files in every form, and every way to write them wrong."""

from __future__ import annotations

import gzip
import json

import pytest

from overtone.data.sources.qa_file import QaSource
from overtone.errors import DataError

PAIRS = [
    {"question": "Who founded it?", "answer": "Two teachers.", "source": "a book"},
    {"input": " What is it? ", "output": "A school.\n"},
    {"question": "Which people founded it?", "answer": "two teachers"},
]


def rows(path, **changes):
    source = QaSource(path=path, **changes).build()
    return source, list(source.records(path if path.is_dir() else path.parent))


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["facts.json", "facts.json.gz", "facts.jsonl", "facts.jsonl.gz"])
def test_a_pair_is_a_row_in_whichever_file(tmp_path, name):
    listed = json.dumps(PAIRS, indent=1) if ".jsonl" not in name else "\n".join(map(json.dumps, PAIRS))
    source, found = rows(written(tmp_path / name, listed))
    assert source.card.name == "facts"
    assert [(row.id, row.text, row.targets["answer"], row.targets["source"]) for row in found] == [
        ("facts/000001", "Who founded it?", "Two teachers.", "a book"),
        ("facts/000002", "What is it?", "A school.", name),
        ("facts/000003", "Which people founded it?", "two teachers", name),
    ]
    assert found[0].group == found[2].group != found[1].group  # one answer, one fact
    assert {row.split for row in found} == {None}


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    written(tmp_path / "own" / "b.jsonl", '{"question": "B?", "answer": "b"}\n')
    written(tmp_path / "own" / "a.json", '\ufeff[{"question": "A?", "answer": "a"}]')
    written(tmp_path / "own" / "notes.txt", "not read")
    source, found = rows(tmp_path / "own")
    assert [(row.id, row.text) for row in found] == [("own/000001", "A?"), ("own/000002", "B?")]
    assert set(source.card.files) == {"a.json", "b.jsonl"}
    assert source.card.commercial is None
    named, found = rows(tmp_path / "own", name="mine", licence="CC-BY-NC-4.0", commercial=False)
    assert (named.card.name, named.card.licence, named.card.commercial) == ("mine", "CC-BY-NC-4.0", False)
    assert {row.source for row in found} == {"mine"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "", r"a\.json is empty"),
        ("a.json", "[]", r"a\.json is empty"),
        ("a.jsonl", "\n\n", r"a\.jsonl is empty"),
        ("a.json", '[{"question": "Q?", "ans', r"a\.json: not JSON .*line 1"),
        ("a.json", '{"question": "Q?", "answer": "a"}', r"a\.json: a JSON dict, not a list"),
        ("a.json", '["Q?"]', r"a\.json, item 1: not a JSON object"),
        ("a.jsonl", '{"question": "Q?", "answer": "a"}\n{', r"a\.jsonl, line 2: not JSON"),
        ("a.json", b'[{"question": "caf\xe9"}]', r"a\.json: not UTF-8 at byte 18 \(0xe9\)"),
        ("a.jsonl", b'{"question": "caf\xe9"}', r"a\.jsonl, line 1: not UTF-8"),
        ("a.json", "[" * 100_000, r"a\.json: not JSON"),
        ("a.json", '[{"Q": "Q?", "A": "a"}]', r"item 1: neither 'question' .* it has 'Q', 'A'"),
        ("a.json", '[{"question": "Q?", "output": "a"}]', r"item 1: neither 'question'"),
        ("a.json", '[{"question": "Q?", "answer": " "}]', r"item 1: 'answer' is empty"),
        ("a.json", '[{"question": 3, "answer": "a"}]', r"item 1: 'question' is int, not text"),
        ("a.json", r'[{"question": "\ud800", "answer": "a"}]', r"item 1: 'question' is not Unicode text"),
        ("a.txt", "Q? a", r"a\.txt: the name does not tell the format"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, name, content, said):
    with pytest.raises(DataError, match=f"(?s){said}"):
        rows(written(tmp_path / name, content))


def test_a_text_that_is_too_long_is_refused(tmp_path):
    path = written(tmp_path / "a.json", json.dumps([{"question": "é" * (1 << 19) + "?", "answer": "a"}]))
    with pytest.raises(DataError, match="'question' is longer than the limit of 1,048,576 bytes"):
        rows(path)


def test_a_broken_archive_is_said(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(json.dumps(PAIRS).encode())[:-9])
    with pytest.raises(DataError, match=r"a\.json\.gz cannot be read"):
        QaSource(path=path).build()


def test_a_path_without_files_is_said(tmp_path):
    with pytest.raises(DataError, match="neither a file nor a folder"):
        QaSource(path=tmp_path / "nowhere").build()
    with pytest.raises(DataError, match=r"has no file \*\.json or \*\.jsonl"):
        QaSource(path=tmp_path).build()
