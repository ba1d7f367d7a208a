"""The data that the package ships: enough of it, varied, and its test cases kept apart from its sentences."""

from __future__ import annotations

from collections import Counter

import emoji
import pytest

from overtone.data.fetch import SHIPPED, verify
from overtone.data.leakage import near_pairs
from overtone.data.sources.overtone_emotions import CARD, LABELS, edge_cases, records
from overtone.data.text import fold, words
from overtone.errors import DataError


@pytest.fixture(scope="module")
def rows():
    return list(records(SHIPPED))


@pytest.fixture(scope="module")
def cases():
    return list(edge_cases(SHIPPED))


def test_the_files_are_those_of_the_card():
    verify(CARD, SHIPPED)


def test_there_are_enough_sentences_of_each_label(rows):
    counts = Counter(row.targets["emotion"] for row in rows)
    assert set(counts) == set(LABELS)
    assert len(rows) >= 1_600
    assert min(counts.values()) >= 200
    assert len({row.id for row in rows}) == len(rows)


def test_no_sentence_repeats_another(rows):
    folded = Counter(fold(row.text) for row in rows)
    assert [text for text, n in folded.items() if n > 1] == []
    texts = [row.text for row in rows]
    assert [(texts[i], texts[j]) for i, j, _ in near_pairs(texts, 0.6)] == []


def test_no_opening_is_a_template(rows):
    openings = Counter(" ".join(words(row.text)[:3]) for row in rows)
    assert {opening: n for opening, n in openings.items() if n > len(rows) / 100} == {}


def test_there_are_enough_edge_cases(cases):
    labelled = [case for case in cases if case.label is not None]
    assert {case.label for case in labelled} == set(LABELS)
    assert len(labelled) >= 400
    assert sum(case.kind == "emoji-only" for case in labelled) >= 100
    assert len({case.id for case in cases}) == len(cases)


def test_emoji_only_is_emoji_only(cases):
    others = [case.id for case in cases if case.kind == "emoji-only" and not _emoji_alone(case.text)]
    assert others == []


def _emoji_alone(text):
    return emoji.purely_emoji("".join(text.split()))


def test_no_edge_case_stands_among_the_sentences(rows, cases):
    assert {fold(row.text) for row in rows} & {fold(case.text) for case in cases} == set()


def test_a_broken_edge_case_names_its_line(tmp_path):
    path = tmp_path / "edge_cases.jsonl"
    path.write_text('{"id": "a", "kind": "b", "text": "", "label": null}\n{"id": "c"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"edge_cases\.jsonl, line 2: not an edge case"):
        list(edge_cases(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: not the header"),
        ("text\tlabel\tregister\na\tjoy\n", "line 2: 2 cells, not 3"),
        ("text\tlabel\tregister\na\tjoj\tchat\n", "(?s)line 2: 'joj' is not a label.*did you mean 'joy'"),
    ],
)
def test_a_broken_sentence_names_its_line(tmp_path, content, message):
    (tmp_path / "emotions.tsv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(records(tmp_path))
