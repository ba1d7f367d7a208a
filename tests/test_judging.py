"""A judge of an exam: examined first, then heard on every system, and what it thinks is written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from overtone import dispatch, exam, judging, kinds
from overtone.errors import DataError, UsageError
from overtone.evaluation import agreement, judge
from overtone.evaluation.agreement import GradedAnswer
from overtone.run import Run, read_json
from toys import chat, write_answers, write_chat

BY_HAND = tuple(
    GradedAnswer(f"a{n}", f"what is {n}?", f"{n}", f"{n + n % 2}", "guide", 2 - 2 * (n % 2)) for n in range(6)
)

ALL = {"most": 1000, "seed": 7, "resamples": 100}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A random decoder that reads texts as long as the rubric is in letters."""
    place = write_chat(tmp_path_factory.mktemp("weights"))
    settings = json.loads((place / "config.json").read_text())
    settings["max_position_embeddings"] = 4096
    (place / "config.json").write_text(json.dumps(settings))
    return place


@pytest.fixture(scope="module")
def run(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    recipe = kinds.parse(chat(weights, write_answers(folder / "places.jsonl")), "test")
    return dispatch.run(recipe, Run(folder / "guide"))


def asked(run):
    """The questions of each column."""
    recipe = kinds.read(str(run.recipe))
    found = exam.asked(recipe.exam, recipe.rows_seed, dispatch.of(recipe).divide(recipe))
    return {each.column: each for each in found}


def test_every_system_is_judged_by_an_examined_judge(run, weights):
    by = judging.local(str(weights), str(weights))
    assert by.judges_itself
    answers = exam.read(run.evaluation)
    for column, of in asked(run).items():
        if of.golds is None:
            with pytest.raises(UsageError, match="no right answers to unknown"):
                judging.judged(run, of, by, BY_HAND, **ALL)
            continue
        found = judging.judged(run, of, by, BY_HAND, **ALL)
        assert found.column == column
        assert found.examined.n == len(BY_HAND)
        assert [one.system for one in found.systems] == list(answers[column])
        for one in found.systems:
            said = answers[column][one.system].answers
            heard = judge.judge(by, of.ids, of.questions, of.golds, said)
            assert one.grade.value == pytest.approx(np.mean([verdict.expected for verdict in heard]))
            assert one.grade.low <= one.grade.value <= one.grade.high
            assert one.n == len(said)
        told = read_json(run.evaluation / column / judging.JUDGED)
        assert (told["judge"], told["systems"][0]["system"]) == (by.name, found.systems[0].system)


def test_a_tuned_run_judges_with_its_adapter(run, weights):
    own = judging.local(str(run.folder), str(weights))
    assert own.name == "guide, tuned, judging itself"
    assert not judging.local(str(run.folder), "other").judges_itself
    ids, text = ["a"], ["Is it?"]
    shares = [
        judge.judge(by, ids, text, text, text)[0].shares for by in (own, judging.local(str(weights), None))
    ]
    assert shares[0] != shares[1]


def test_the_verb(run, weights, tmp_path, typed):
    graded = tmp_path / "graded.jsonl"
    rows = [{key: getattr(each, key) for key in GradedAnswer.__slots__} for each in BY_HAND]
    graded.write_text("".join(json.dumps(row) + "\n" for row in rows))

    some = ("--by", weights, "--graded", graded, "--most", 2)
    code, out, err = typed("judge", run.folder, *some, "--column", "trained", "--json")
    assert code == 0, err
    assert json.loads(out)["column"] == "trained"
    assert {one["n"] for one in json.loads(out)["systems"]} <= {1, 2}
    code, out, _ = typed("judge", run.folder, *some)
    assert code == 0
    assert all(word in out for word in ("guide", "base", "nearest", "κ", "graded"))  # lines are folded
    code, _, err = typed("judge", run.folder, "--graded", tmp_path / "none.jsonl")
    assert code == 1
    assert "none.jsonl" in err


def test_a_run_that_answers_nothing_is_no_judge(tmp_path):
    run = Run(tmp_path)
    run.recipe.write_text("kind: language\nname: a\n")
    with pytest.raises(UsageError):
        judging.local(str(tmp_path), None)


def test_the_shipped_grades():
    found = agreement.read_graded(judging.BY_HAND)
    assert len(found) >= 100
    assert {each.grade for each in found} == {0, 1, 2}


def test_without_grades_nothing_is_judged(run, weights):
    with pytest.raises(DataError):
        judging.judged(run, asked(run)["trained"], judging.local(str(weights), None), (), **ALL)
