"""The texts for language models: small files of our own in their formats, and the real ones where at hand."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from overtone.data.fetch import verify
from overtone.data.sources import wikipassages, wikitext2
from overtone.errors import DataError

ARTICLES = (
    " \n"
    " = Invented lighthouse = \n"
    " \n"
    " It stands on a <unk> rock . \n"
    " = no title , since no empty line is above = \n"
    " \n"
    " = = Light = = \n"
    " \n"
    " It is 20 @.@ 5 metres high . \n"
    " \n"
    " = = = Keepers = = = \n"
    " \n"
    " Two . \n"
    " \n"
    " = Second one = \n"
    " \n"
    " A text . \n"
)


def test_a_passage_is_a_row_without_targets(tmp_path):
    lines = [{"id": f"w{i}", "title": "Pier", "text": f"A pier, {i}.", "source": "nq"} for i in range(2)]
    (tmp_path / "wiki_passages.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    rows = list(wikipassages.records(tmp_path))
    assert [(row.id, row.text, row.group) for row in rows] == [
        ("wikipassages/w0", "A pier, 0.", "Pier"),
        ("wikipassages/w1", "A pier, 1.", "Pier"),
    ]
    assert all(row.targets == {} and row.split is None for row in rows)


@pytest.mark.parametrize(
    "line", ['{"id": "w1", "title": "Pier"}', '{"id": 1, "title": "a", "text": "b"}', "[1]"]
)
def test_a_broken_passage_is_named(tmp_path, line):
    (tmp_path / "wiki_passages.jsonl").write_text(
        '{"id": "w0", "title": "a", "text": "b"}\n' + line, encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"wiki_passages\.jsonl, line 2"):
        list(wikipassages.records(tmp_path))


def test_an_article_begins_with_its_title_between_empty_lines(tmp_path):
    (tmp_path / "wikitext2_valid.txt").write_text(ARTICLES, encoding="utf-8")
    (tmp_path / "wikitext2_test.txt").write_text(ARTICLES[ARTICLES.index("Two") + 6 :], encoding="utf-8")
    rows = list(wikitext2.records(tmp_path))
    assert [(row.id, row.split) for row in rows] == [
        ("wikitext2/valid-00", "validation"),
        ("wikitext2/valid-01", "validation"),
        ("wikitext2/test-00", "test"),
    ]
    assert rows[0].text.startswith(" = Invented lighthouse = \n")
    assert rows[0].text.endswith(" Two . \n")
    assert rows[1].text == rows[2].text == " = Second one = \n \n A text . \n"


def test_a_file_without_an_article_is_named(tmp_path):
    (tmp_path / "wikitext2_valid.txt").write_text("some text\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"wikitext2_valid\.txt: no line"):
        list(wikitext2.records(tmp_path))


def test_the_passages_are_as_published(data_root):
    folder = data_root / "text"
    verify(wikipassages.CARD, folder)
    rows = list(wikipassages.records(folder))
    assert len(rows) == len({row.id for row in rows}) == wikipassages.CARD.sizes["all"]
    assert min(len(row.text.split()) for row in rows) >= 20


def test_the_articles_are_as_published(data_root):
    folder = data_root / "text"
    verify(wikitext2.CARD, folder)
    rows = list(wikitext2.records(folder))
    assert Counter(row.split for row in rows) == wikitext2.CARD.sizes
    tokens = Counter()
    for row in rows:
        tokens[row.split] += len(row.text.split())
    assert tokens == {"validation": 213_886, "test": 241_211}
