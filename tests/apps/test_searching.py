"""`overtone search`: what it says, what it writes, and what it refuses."""

from __future__ import annotations

import io
import json
import sys
from functools import partial

import pytest
from rich.console import Console

from overtone import cli
from overtone.apps import searching
from overtone.data.corpus import Passage
from overtone.inference.search import Hit


@pytest.fixture
def overtone(monkeypatch, typed):
    """Type a search on a wide screen."""
    for module in (cli, searching):
        monkeypatch.setattr(module, "out", Console(soft_wrap=True, width=200))
        monkeypatch.setattr(module, "err", Console(stderr=True, soft_wrap=True, width=200), raising=False)
    return partial(typed, "search")


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "harbour.md").write_text("# Ferry\n\nIt runs twice a day.\n")
    (folder / "bread.txt").write_text("Bread is baked at night. Bread [bold]again[/bold].\n")
    return folder


def test_index_and_query_by_words(overtone, notes, tmp_path):
    code, said, told = overtone("index", notes, "--output", tmp_path / "index", "--weights", "none")
    assert (code, said) == (0, "")
    assert f"reads {notes}\n" in told
    assert (
        f"wrote {tmp_path / 'index'}: 2 passages of 2 files (2 read, 0 removed, 0 passages encoded)" in told
    )
    code, said, told = overtone("query", tmp_path / "index", "When does the FERRY run?")
    assert code == 0
    assert f"reads {tmp_path / 'index'}: 2 passages, bm25" in told
    assert "harbour.md:3  Ferry" in said
    assert "It runs twice a day." in said
    assert "bread.txt" not in said


def test_what_has_not_changed_is_said_to_be_up_to_date(overtone, notes, tmp_path):
    for _ in range(2):
        _, _, told = overtone("index", notes, "--output", tmp_path / "index", "--weights", "none")
    assert f"{tmp_path / 'index'} is up to date: 2 passages of 2 files" in told


def test_an_index_with_vectors(overtone, notes, tmp_path, tiny):
    code, said, _ = overtone("index", notes, "--output", tmp_path / "index", "--weights", tiny, "--json")
    assert code == 0
    assert json.loads(said) == {"passages": 2, "files": 2, "read": 2, "removed": 0, "encoded": 2}
    code, said, told = overtone("query", tmp_path / "index", "bread at night", "--json", "--top", 1)
    assert "2 passages, hybrid" in told
    (hit,) = json.loads(said)
    assert hit["rank"] == 1
    assert set(hit["places"]) == {"bm25", "dense"}
    assert hit["passage"] == {
        "id": "bread.txt#00000",
        "text": "Bread is baked at night. Bread [bold]again[/bold].",
        "title": "",
        "file": "bread.txt",
        "line": 1,
    }
    _, said, _ = overtone("query", tmp_path / "index", "bread", "--mode", "dense", "--json")
    assert len(json.loads(said)) == 2


def test_text_is_never_markup(overtone, notes, tmp_path):
    overtone("index", notes, "--output", tmp_path / "index", "--weights", "none")
    _, said, _ = overtone("query", tmp_path / "index", "bread")
    assert "[bold]again[/bold]" in said


def test_nothing_found_is_said(overtone, notes, tmp_path):
    overtone("index", notes, "--output", tmp_path / "index", "--weights", "none")
    code, said, told = overtone("query", tmp_path / "index", "zeppelin")
    assert (code, said) == (0, "")
    assert "nothing was found" in told
    assert overtone("query", tmp_path / "index", "zeppelin", "--json")[1] == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["query", "missing", "a"], 1, "missing is not an index"),
        (["query", "index", " "], 2, "the question is empty"),
        (["query", "index", "a", "--mode", "dense"], 2, "has no mode 'dense'"),
        (["query", "index", "a", "--mode", "bm52"], 2, "bm52"),
        (["query", "index", "a", "--top", "0"], 2, "--top"),
        (["query", "index"], 2, "Missing argument 'question'"),
        (["index", "missing", "--output", "x", "--weights", "none"], 1, "missing is not a folder"),
        (["index", "notes", "--output", "notes", "--weights", "none"], 1, "they are not an index"),
        (["index", "notes", "--output", "x", "--weights", "minilm"], 1, "no weights are named 'minilm'"),
        (["index", "notes"], 2, "--output"),
    ],
)
def test_what_is_refused(overtone, notes, tmp_path, monkeypatch, arguments, code, message):
    overtone("index", notes, "--output", tmp_path / "index", "--weights", "none")
    monkeypatch.chdir(tmp_path)
    ended, _, told = overtone(*arguments)
    assert (ended, message in told) == (code, True), told


def test_without_the_extra_it_is_named(overtone, notes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    code, _, told = overtone("index", notes, "--output", tmp_path / "index", "--weights", "none")
    assert code == 1
    assert "pip install 'overtone[search]'" in told


def test_the_words_of_the_question_are_marked():
    found = searching.marked("Does the Ferry, the ferry-boat or the bus run?", "ferry run")
    marked = [found.plain[span.start : span.end] for span in found.spans]
    assert marked == ["Ferry,", "ferry-boat", "run?"]


def test_of_a_long_passage_the_part_that_fits_is_shown():
    text = " ".join(f"w{i}" for i in range(300))
    found = searching.marked(text, "w200 w210").plain
    assert "w200" in found
    assert "w210" in found
    assert len(found.split()) == searching.SHOWN + 2
    assert found.startswith("… ")
    assert found.endswith(" …")
    assert searching.marked(text, "nothing").plain.startswith("w0 w1 ")
    assert searching.marked("", "nothing").plain == ""


def test_a_hit_on_a_narrow_screen():
    screen = Console(file=io.StringIO(), width=40, force_terminal=False)
    hit = Hit(1, 0.5, Passage("a", "word " * 30, "A title", "a/b.md", 7), {})
    searching.show(screen, [hit], "word")
    first, *rest = screen.file.getvalue().splitlines()
    assert first == "1  0.500  a/b.md:7  A title"
    assert all(len(line) <= 40 for line in rest)
