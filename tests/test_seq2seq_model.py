from __future__ import annotations

import json
from itertools import pairwise

import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

import overtone
from overtone import dispatch, exam, kinds, seq2seq_model
from overtone.data import exchanges, vocabulary
from overtone.data.records import Record
from overtone.errors import RunError
from overtone.evaluation.benchmarks import qa
from overtone.run import Run
from toys import identical, seq2seq, stopped_at, write_answers


def made(path, **changes):
    return kinds.parse(seq2seq(path, **changes), "test")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return write_answers(tmp_path_factory.mktemp("answers") / "places.jsonl")


@pytest.fixture(scope="module")
def run(answers, tmp_path_factory):
    return dispatch.run(made(answers), Run(tmp_path_factory.mktemp("run") / "listener"))


def splits(run):
    return seq2seq_model.divide(kinds.read(str(run.recipe))).splits


def test_what_a_run_leaves(run):
    for part in (
        "checkpoints/best",
        "model/model.safetensors",
        "model/tokenizer.json",
        "evaluation/trained/answers.jsonl",
        "evaluation/held_out/answers.jsonl",
        "plots/learning.png",
        "plots/attention-1.png",
        "report.html",
    ):
        assert (run.folder / part).exists(), part
    facts = run.facts()
    assert facts["exchanges"]["train"] == len(splits(run).train)
    assert facts["licence"]["weights"] == "trained from scratch"
    report = (run.folder / "report.md").read_text()
    assert "| nearest |" in report
    assert "## Where it looked" in report


def test_the_vocabulary_is_of_what_is_learnt_alone(run):
    rows = splits(run).train
    texts = [*(row.text for row in rows), *(str(row.targets["answer"]) for row in rows)]
    own = vocabulary.WordVocabulary(size=200).build(texts)
    exchanges.add_marks(own)
    assert vocabulary.load(run.model) == own


def test_the_loss_that_chooses_is_that_of_the_answers(run):
    """Counted again, an answer at a time and token by token, from the files."""
    loaded, total, count = overtone.load(run.folder), 0.0, 0
    for row in splits(run).validation:
        rows = exchanges.encode(loaded.vocabulary, [row.text], [str(row.targets["answer"])], 12)
        state = loaded.body.begin(*rows.questions.pad([0]))
        said = rows.answers.flat.tolist()
        for token, wanted in pairwise(said):
            with torch.no_grad():
                scores, state = loaded.body.step(state, torch.tensor([[token]]))
            total -= float(scores.log_softmax(dim=-1)[0, wanted])
            count += 1
    assert run.facts()["fit"]["best"] == pytest.approx(total / count, rel=1e-4)


def test_the_exam_is_what_was_said(run):
    loaded = overtone.load(run.folder)
    told = (run.evaluation / "held_out" / "answers.jsonl").read_text().splitlines()
    rows = {row["id"]: row["systems"] for row in map(json.loads, told)}
    assert set(rows) == {row.id for row in splits(run).test}
    for record in splits(run).test[:3]:
        (said,) = loaded.answer([record.text])
        assert rows[record.id]["listener"]["answer"] == said.text
        gold = str(record.targets["answer"])
        assert rows[record.id]["listener"]["f1"] == pytest.approx(qa.token_f1(said.text, gold))


def test_an_exam_is_read_as_it_was_written(run, tmp_path):
    found = exam.read(run.evaluation)
    assert list(found) == ["trained", "held_out"]
    exam.write(tmp_path, found)
    for column in found:
        path = tmp_path / column / "answers.jsonl"
        assert path.read_bytes() == (run.evaluation / column / "answers.jsonl").read_bytes()
    path.write_text('{"id": "a"}\n')
    with pytest.raises(RunError, match="is damaged"):
        exam.read(tmp_path)
    with pytest.raises(RunError, match="has no exam"):
        exam.read(tmp_path / "trained")


def test_the_nearest_question_answers(run):
    """By scikit-learn's own cosine."""
    train, test = splits(run).train, splits(run).test
    words = TfidfVectorizer(sublinear_tf=True).fit([row.text for row in train])
    alike = cosine_similarity(
        words.transform([row.text for row in test]), words.transform([row.text for row in train])
    )
    wanted = [train[place].targets["answer"] for place in alike.argmax(axis=1)]
    assert exam.nearest(train)([row.text for row in test]) == wanted


def test_nobody_is_nearest_to_nothing():
    talk = Record("a", "text", {"roles": ("user", "assistant"), "turns": ("a", "b")}, "talk")
    assert exam.nearest([talk])(["why?"]) == [""]


def test_every_answer_of_a_conversation_is_learnt():
    roles = ("system", "user", "assistant", "user", "assistant")
    talk = Record("a", "text", {"roles": roles, "turns": ("s", "q1", "a1", "q2", "a2")}, "talk")
    asked = Record("b", "q3", {"answer": "a3"}, "talk")
    assert seq2seq_model.pairs([talk, asked]) == (["q1", "q2", "q3"], ["a1", "a2", "a3"])


def test_stopped_and_run_again(answers, tmp_path, monkeypatch):
    """The same weights as the run that nobody stopped, though teacher forcing decays by the epoch."""
    recipe = made(answers, name="stopped")
    whole = dispatch.run(recipe, Run(tmp_path / "whole" / "stopped"))
    again = Run(tmp_path / "again" / "stopped")
    with stopped_at(monkeypatch, 5):
        dispatch.run(recipe, again)
    dispatch.run(recipe, again)
    one, other = (overtone.load(each.folder).body.state_dict() for each in (whole, again))
    assert identical(one, other)


def test_a_model_cut_short(run, tmp_path):
    path = run.model / "model.safetensors"
    raw = path.read_bytes()
    path.write_bytes(raw[:100])
    with pytest.raises(RunError, match="cannot be read"):
        overtone.load(run.folder)
    path.write_bytes(raw)
