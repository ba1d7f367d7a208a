"""The knowledge set that the package ships: enough of it, sourced, and its exam not given away."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest

from overtone.data.fetch import SHIPPED, catalogue, verify
from overtone.data.leakage import LeakageConfig, check, near_pairs
from overtone.data.records import Record, Splits
from overtone.data.sources import asl_signing, deaf_knowledge
from overtone.data.text import fold
from overtone.errors import DataError


@pytest.fixture(scope="module")
def facts():
    return list(deaf_knowledge.records(SHIPPED))


@pytest.fixture(scope="module")
def signing():
    return list(asl_signing.records(SHIPPED))


@pytest.fixture(scope="module")
def unknown():
    return list(deaf_knowledge.unknown(SHIPPED))


def test_the_files_are_those_of_the_cards():
    for card in (deaf_knowledge.CARD, asl_signing.CARD):
        verify(card, SHIPPED)
        assert card.shipped
        assert card.licence == "Apache-2.0"
        assert catalogue()[card.name].card == card


def test_there_are_enough(facts, signing):
    assert len(facts) + len(signing) >= 600
    assert len({row.group for row in signing}) >= 85
    by_fact = defaultdict(list)
    for row in facts:
        by_fact[row.group].append(row)
    assert len(by_fact) >= 200
    assert {name.rpartition("-")[0] for name in by_fact} == set(deaf_knowledge.TOPICS)
    for rows in by_fact.values():
        assert [row.split for row in rows] == ["train"] * 5 + ["test"]
        assert len({row.targets["answer"] for row in rows}) == 1
    sizes = Counter(row.split for row in facts)
    assert dict(sizes) == dict(deaf_knowledge.CARD.sizes)
    assert dict(Counter(row.split for row in signing)) == dict(asl_signing.CARD.sizes)


def test_ids_and_questions_stand_once(facts, signing, unknown):
    every = [*facts, *signing]
    assert len({row.id for row in every}) == len(every)
    assert len({each.id for each in unknown}) == len(unknown)
    folded = Counter([fold(row.text) for row in every] + [fold(each.text) for each in unknown])
    assert [text for text, n in folded.items() if n > 1] == []


def test_every_pair_is_a_question_an_answer_and_its_source(facts, signing):
    for row in (*facts, *signing):
        assert 3 <= len(row.text.split()) <= 30, row.id
        assert 3 <= len(str(row.targets["answer"]).split()) <= 45, row.id
        assert str(row.targets["source"]).strip(), row.id


def test_no_two_facts_say_the_same(facts, signing):
    answers = sorted({str(row.targets["answer"]) for row in (*facts, *signing)})
    assert len(answers) == len({row.group for row in (*facts, *signing)})
    assert [(answers[i], answers[j]) for i, j, _ in near_pairs(answers, 0.8)] == []


def test_no_held_out_wording_is_near_a_trained_one(facts, signing):
    """By the check that every run makes, and at a stricter limit than its default."""
    train = tuple(row for row in (*facts, *signing) if row.split == "train")
    test = tuple(row for row in facts if row.split == "test")
    _, leaks = check(Splits(train, (), test), LeakageConfig(near=0.75))
    assert leaks == ()


def test_no_unknown_question_is_near_a_known_one(facts, signing, unknown):
    asked = tuple(Record(each.id, each.text, {}, "unknown") for each in unknown)
    _, leaks = check(Splits((*facts, *signing), (), asked), LeakageConfig(near=0.75))
    assert leaks == ()


def test_the_unknown_questions_are_in_two_even_parts(unknown):
    assert Counter(each.part for each in unknown) == {"fit": 60, "test": 60}
    assert {each.kind for each in unknown} == {"near", "far"}
    kinds = {part: Counter(each.kind for each in unknown if each.part == part) for part in ("fit", "test")}
    assert kinds["fit"] == kinds["test"]


def write(folder, name, line):
    path = folder / "knowledge" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(line + "\n", encoding="utf-8")


FACT = {"id": "f", "questions": ["a?", "b?", "c?"], "answer": "so", "source": "a book"}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        json.dumps({**FACT, "questions": ["a?"]}),
        json.dumps({key: value for key, value in FACT.items() if key != "answer"}),
        "[1]",
    ],
)
def test_a_broken_fact_is_named(tmp_path, line):
    write(tmp_path, "history.jsonl", json.dumps(FACT) + "\n" + line)
    with pytest.raises(DataError, match=r"history\.jsonl, line 2: not"):
        list(deaf_knowledge.records(tmp_path))


def test_a_broken_question_or_pair_is_named(tmp_path):
    write(tmp_path, "unknown.jsonl", '{"id": "u"}')
    with pytest.raises(DataError, match=r"unknown\.jsonl, line 1: not a question"):
        list(deaf_knowledge.unknown(tmp_path))
    write(tmp_path, "signing.jsonl", '{"id": "s"}')
    with pytest.raises(DataError, match=r"signing\.jsonl, line 1: not an answer"):
        list(asl_signing.records(tmp_path))
