"""A folder cut into passages: what is read, where it is cut, and that nothing is lost."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from overtone.data.passages import INDEX, CutConfig, files, read
from overtone.errors import DataError

SHORT = CutConfig(words=10, overlap=2)


def written(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_which_files_are_read(tmp_path):
    for name in ("b.md", "a/x.txt", "a/y.jsonl.gz", "c.pdf", ".hidden.md", ".git/z.md", "old/1/w.md"):
        written(tmp_path, name, "{}")
    written(tmp_path, f"old/{INDEX}", "{}")
    assert list(files(tmp_path)) == ["a/x.txt", "a/y.jsonl.gz", "b.md"]


def test_of_a_beir_collection_only_the_corpus(tmp_path):
    for name in ("corpus.jsonl", "queries.jsonl", "notes.md"):
        written(tmp_path, name, "{}")
    assert list(files(tmp_path)) == ["corpus.jsonl"]


def test_a_folder_without_texts_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no text"):
        files(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        files(tmp_path / "missing")


MARKDOWN = """# Harbour

The ferry runs
twice a day.

In winter, no.

## Bread

```sh
# not a heading
```

Baked at night.
"""


def test_markdown_is_cut_at_headings(tmp_path):
    found = read("notes/town.md", written(tmp_path, "town.md", MARKDOWN), CutConfig())
    assert [(each.id, each.title, each.line, each.file) for each in found] == [
        ("notes/town.md#00000", "Harbour", 3, "notes/town.md"),
        ("notes/town.md#00001", "Bread", 10, "notes/town.md"),
    ]
    assert found[0].text == "The ferry runs\ntwice a day.\n\nIn winter, no."
    assert found[1].text == "```sh\n# not a heading\n```\n\nBaked at night."


def test_paragraphs_stay_whole_while_they_fit(tmp_path):
    text = "one two three four\n\nfive six seven eight\n\nnine ten eleven twelve\n"
    found = read("a.txt", written(tmp_path, "a.txt", text), SHORT)
    assert [(each.text, each.line) for each in found] == [
        ("one two three four\n\nfive six seven eight", 1),
        ("nine ten eleven twelve", 5),
    ]


def test_a_long_paragraph_is_cut_with_an_overlap(tmp_path):
    text = "\n\n" + "\n".join(f"w{i} v{i}" for i in range(12))
    found = read("a.txt", written(tmp_path, "a.txt", text), SHORT)
    words = text.split()
    assert [each.text.split() for each in found] == [words[0:10], words[8:18], words[14:24]]
    assert [each.line for each in found] == [3, 7, 10]


def test_a_hash_in_plain_text_is_no_heading(tmp_path):
    (found,) = read("a.txt", written(tmp_path, "a.txt", "# one\ntwo\n"), SHORT)
    assert (found.title, found.text) == ("", "# one\ntwo")


def test_a_json_line_is_a_passage(tmp_path):
    rows = [{"text": "a", "title": "T"}, {"text": " "}, {"text": "word " * 50}]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode()))
    found = read("a.jsonl.gz", path, SHORT)
    assert [(each.id, each.title, each.line) for each in found] == [
        ("a.jsonl.gz#00000", "T", 1),
        ("a.jsonl.gz#00001", "", 3),
    ]
    assert len(found[1].text.split()) == 50


def test_a_json_line_without_a_text_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a.jsonl, line 2: 'text' is not a text"):
        read("a.jsonl", written(tmp_path, "a.jsonl", '{"text": "a"}\n{"body": "b"}\n'), SHORT)


def test_an_overlap_smaller_than_the_passage():
    with pytest.raises(ValidationError, match="overlap has to be smaller"):
        CutConfig(words=20, overlap=20)


@given(
    paragraphs=st.lists(st.integers(1, 40), max_size=8),
    words=st.integers(10, 20),
    overlap=st.integers(0, 9),
)
def test_no_word_is_lost_and_no_passage_too_long(paragraphs, words, overlap, tmp_path_factory):
    names = iter(range(10_000))
    text = "\n\n".join(" ".join(f"w{next(names)}" for _ in range(size)) for size in paragraphs)
    path = written(tmp_path_factory.mktemp("cut"), "a.txt", text)
    found = read("a.txt", path, CutConfig(words=words, overlap=overlap))
    pieces = [each.text.split() for each in found]
    assert all(0 < len(piece) <= words for piece in pieces)
    assert list(dict.fromkeys(word for piece in pieces for word in piece)) == text.split()
    lines = text.split("\n")
    assert all(lines[each.line - 1].find(each.text.split()[0]) >= 0 for each in found)
