from __future__ import annotations

import numpy as np
import pytest

from overtone import mining
from overtone.cache import cache_folder
from overtone.data import questions
from overtone.data.leakage import LeakageConfig
from overtone.data.questions import QuestionsConfig
from overtone.embedder_recipe import NegativesConfig
from toys import write_collection


class Counting:
    """An embedder that counts the texts that it reads; a text's vector is of its letters."""

    name, dimensions = "letters", 26

    def __init__(self):
        self.read = 0

    def encode(self, texts, *, query=False, told=None):
        self.read += len(texts)
        if told:
            told(len(texts))
        counts = [[text.count(chr(97 + n)) + 0.01 * query for n in range(26)] for text in texts]
        made = np.array(counts, dtype=np.float32) + 0.1
        return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Questions; the first has three passages that answer it."""
    folder = write_collection(tmp_path_factory.mktemp("mining") / "mine")
    with (folder / "qrels" / "train.tsv").open("a") as file:
        file.write("q00\tp40\t1\nq00\tp41\t1\n")
    config = {"collection": {"kind": "folder", "path": str(folder)}, "sentences": 1, "repeats": 3}
    return questions.prepare(QuestionsConfig.model_validate(config), LeakageConfig(), 7)


@pytest.fixture(scope="module")
def taught(asked):
    teacher = Counting()
    return teacher.encode(asked.passages), teacher.encode(asked.asked, query=True)


def right_of(asked):
    return {q: {p for other, p in asked.pairs if other == q} for q, _ in asked.pairs}


@pytest.mark.parametrize("parts", [{"bm25": 2}, {"teacher": 3}, {"bm25": 1, "teacher": 1}, {"bm25": 70}])
def test_no_negative_answers_its_question(asked, taught, parts):
    config = NegativesConfig(**parts)
    found = mining.negatives(config, asked, taught, 7)
    assert found.shape == (len(asked.pairs), config.bm25 + config.teacher)
    right = right_of(asked)
    for (question, _), row in zip(asked.pairs, found.tolist(), strict=True):
        assert not right[question] & set(row)
    np.testing.assert_array_equal(found, mining.negatives(config, asked, taught, 7))
    assert (found != mining.negatives(config, asked, taught, 8)).any()


def test_what_the_teacher_finds_too_near_is_passed_over(asked, taught):
    config = NegativesConfig(teacher=2, depth=60, margin=0.9)
    for (question, passage), row in zip(asked.pairs, mining.negatives(config, asked, taught, 7), strict=True):
        near = taught[0] @ taught[1][question]
        allowed = near < 0.9 * near[passage]
        if allowed.sum() >= 2:
            assert allowed[row].all()


def test_they_are_of_the_first_places(asked, taught):
    """Without a margin to speak of, those that the teacher finds nearest and that do not answer."""
    found = mining.negatives(NegativesConfig(teacher=2, depth=5, margin=100), asked, taught, 7)
    for (question, _), row in zip(asked.pairs, found, strict=True):
        order = np.argsort(-(taught[0] @ taught[1][question]), kind="stable")[:5]
        assert set(row.tolist()) <= set(order.tolist()) - right_of(asked)[question]


def test_none_is_asked_for(asked):
    assert mining.negatives(NegativesConfig(), asked, None, 7).shape == (len(asked.pairs), 0)


def test_vectors_are_made_once(monkeypatch, tmp_path):
    monkeypatch.setenv("OVERTONE_CACHE", str(tmp_path))
    teacher, texts = Counting(), ["one", "two", ""]
    made = mining.vectors(teacher, texts, "texts", query=False)
    np.testing.assert_array_equal(made, Counting().encode(texts))
    np.testing.assert_array_equal(mining.vectors(teacher, texts, "texts", query=False), made)
    assert teacher.read == 3
    assert (mining.vectors(teacher, texts, "texts", query=True) != made).any()
    mining.vectors(teacher, texts[:2], "texts", query=False)
    mining.vectors(teacher, ["onetwo", ""], "texts", query=False)  # other bounds, another file
    assert teacher.read == 10


@pytest.mark.parametrize("damage", [lambda kept: kept[:20], lambda kept: b"", lambda kept: kept[:-4]])
def test_a_damaged_file_is_made_again(monkeypatch, tmp_path, damage):
    monkeypatch.setenv("OVERTONE_CACHE", str(tmp_path))
    teacher = Counting()
    made = mining.vectors(teacher, ["one", "two"], "texts", query=False)
    (path,) = cache_folder("vectors").iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    np.testing.assert_array_equal(mining.vectors(teacher, ["one", "two"], "texts", query=False), made)
    assert path.read_bytes() == whole
