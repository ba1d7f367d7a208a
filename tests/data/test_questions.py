"""What is learnt from a collection, on one that is written here; and what never is."""

from __future__ import annotations

import pytest

from overtone.data import questions
from overtone.data.leakage import LeakageConfig
from overtone.data.questions import QuestionsConfig
from overtone.data.text import words
from overtone.errors import DataError
from toys import write_collection, write_rows


def prepare(folder, seed=7, leakage=None, **changes):
    values = {"collection": {"kind": "folder", "path": str(folder)}, **changes}
    return questions.prepare(QuestionsConfig.model_validate(values), leakage or LeakageConfig(), seed)


@pytest.fixture
def folder(tmp_path):
    return write_collection(tmp_path / "mine")


def test_pairs_are_the_judgements_and_the_sentences(folder):
    found = prepare(folder, repeats=2, sentences=1)
    contents = [each.content for each in found.collection.passages]
    assert list(found.passages) == contents
    real = len(found.splits.train) - sum(row.source == "sentences" for row in found.splits.train)
    assert real == 20
    for number, row in enumerate(found.splits.train[:real]):
        (answer,) = row.targets["passages"]
        place = [each.id for each in found.collection.passages].index(answer)
        assert found.asked[number] == row.text
        assert found.pairs.count((number, place)) == 2
    for question, passage in found.pairs[2 * real :]:
        sentence = found.asked[question]
        assert sentence in contents[passage]
        assert questions.SHORTEST <= len(sentence.split()) <= questions.LONGEST
    assert len(found.pairs) == 2 * real + len(found.asked) - real
    assert found.report.rows == {"train": len(found.asked), "validation": 10, "test": 10}
    assert set(found.fingerprints) == {"mine"}


def test_more_passages_than_one_may_answer(tmp_path):
    folder = write_collection(tmp_path / "mine")
    with (folder / "qrels" / "train.tsv").open("a") as file:
        file.write("q00\tp59\t1\nq01\tp58\t0\n")
    found = prepare(folder, repeats=1, sentences=0)
    assert {(0, 0), (0, 59), (1, 1)} <= set(found.pairs)
    assert (1, 58) not in found.pairs  # judged not to answer


def test_what_nearly_stands_in_test_is_dropped_and_counted(tmp_path):
    folder = write_collection(tmp_path / "mine")
    test = prepare(folder).splits.test[0].text
    dev = prepare(folder).splits.validation[0].text
    rows = [("near", test.upper() + " please"), ("same", f"  {dev}! ")]
    for name, text in rows:
        write_rows(folder / "queries.jsonl", [{"_id": name, "text": text}], more=True)
        with (folder / "qrels" / "train.tsv").open("a") as file:
            file.write(f"{name}\tp01\t1\n")
    # A passage that holds a test question as a sentence must not teach it either.
    write_rows(
        folder / "corpus.jsonl", [{"_id": "leak", "text": f"Well then. {test}. And so on."}], more=True
    )
    found = prepare(folder)
    asked = {" ".join(words(text)) for text in found.asked}
    for text in (test, dev, test + " please"):
        assert " ".join(words(text)) not in asked
    assert {leak.row for leak in found.report.leaks} >= {"mine/near", "mine/same"}
    assert found.report.dropped["train"] == 3
    assert found.report.dropped["test"] == 0
    told = prepare(folder, leakage=LeakageConfig(drop=False))
    assert len(told.report.leaks) == 3
    assert told.report.dropped["train"] == 0


def test_other_texts_are_learnt_from_unless_they_begin_as_a_passage(folder, tmp_path):
    known = prepare(folder).collection.passages[0].text
    other = "Quite another text stands here for once. It has two sentences of some words."
    path = write_rows(tmp_path / "more.jsonl", [{"text": known}, {"text": other}, {"text": other + " More."}])
    found = prepare(folder, texts=[{"kind": "table", "path": str(path)}])
    assert found.passages[60:] == (other,)
    assert found.report.left_out == {"more: begins as another passage": 2}
    assert {passage for _, passage in found.pairs} >= {60}
    assert set(found.fingerprints) == {"mine", "more"}


def test_the_same_seed_gives_the_same(folder):
    one, other = prepare(folder, sentences=1), prepare(folder, sentences=1)
    assert (one.asked, one.pairs) == (other.asked, other.pairs)
    assert prepare(folder, seed=8, sentences=1).asked != one.asked


def test_a_study_may_take_fewer_passages(folder):
    """All that answer a question of train stay, and two others."""
    asked = {passage for _, passage in prepare(folder, sentences=1, passages=2).pairs}
    answers = {passage for _, passage in prepare(folder, sentences=0).pairs}
    assert answers == set(range(20))
    assert answers < asked
    assert len(asked - answers) == 2


def test_a_folder_may_have_the_name_of_what_is_counted(tmp_path):
    folder = write_collection(tmp_path / "sentences")
    found = prepare(folder, repeats=2)
    assert len(found.pairs) == len(prepare(write_collection(tmp_path / "mine"), repeats=2).pairs)


def test_a_folder_is_named_by_where_it_is(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert set(prepare(".").fingerprints) == {"mine"}


def test_what_is_missing_is_said(tmp_path):
    folder = write_collection(tmp_path / "mine")
    with pytest.raises(DataError, match="nothing to learn from"):
        prepare(folder, repeats=0, sentences=0)
    dev = (folder / "qrels" / "dev.tsv").read_text()
    (folder / "qrels" / "dev.tsv").write_text(dev.replace("\t1\n", "\t0\n"))
    with pytest.raises(DataError, match="mine has no dev question"):
        prepare(folder)
    (folder / "qrels" / "dev.tsv").unlink()
    with pytest.raises(DataError, match=r"qrels/dev.tsv is missing") as caught:
        prepare(folder)
    assert "data.collection.path" in caught.value.hint
    with pytest.raises(DataError, match=r"corpus.jsonl is missing"):
        prepare(tmp_path)
