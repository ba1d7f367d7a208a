"""EQ-Bench's files: small ones of our own in their form, and the real ones where at hand."""

from __future__ import annotations

import gzip
import json

import pytest

from overtone.data.fetch import catalogue, locate, verify
from overtone.data.sources import eq_bench
from overtone.errors import DataError


def reference(names, scores):
    return {
        **{f"emotion{n}": name for n, name in enumerate(names, start=1)},
        **{f"emotion{n}_score": score for n, score in enumerate(scores, start=1)},
    }


def entry(**changes):
    names = ("Glad", "Uneasy", "Envious", "Calm")
    return {
        "prompt": "How does Ola feel?",
        "reference_answer": reference(names, (0, 6, 1, 3)),
        "reference_answer_fullscale": reference(names, (0, "8", "2", 5)),
        **changes,
    }


def write(folder, found, version="v2"):
    name = {"v1": "eq_bench_v1_questions_60.json", "v2": "eq_bench_v2_questions_171.json"}[version]
    (folder / name).write_text(json.dumps(found), encoding="utf-8")


def test_a_question_has_two_references_as_numbers(tmp_path):
    write(tmp_path, {"7": entry()})
    write(tmp_path, {"1": entry(prompt="And now?")}, "v1")
    (found,) = eq_bench.questions(tmp_path)
    assert found == eq_bench.Question(
        "7", "How does Ola feel?", ("Glad", "Uneasy", "Envious", "Calm"), (0, 6, 1, 3), (0, 8, 2, 5)
    )
    assert all(isinstance(each, float) for each in found.full + found.relative)
    assert [each.prompt for each in eq_bench.questions(tmp_path, "v1")] == ["And now?"]
    (row,) = eq_bench.records(tmp_path)
    assert (row.id, row.text, row.split) == ("eq_bench/v2-7", found.prompt, "test")
    assert row.targets == {"emotions": found.emotions, "relative": found.relative, "full": found.full}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "not an object of questions"),
        ({}, "not an object of questions"),
        ({"7": {}}, "question 7: not a prompt with two references"),
        ({"7": entry(reference_answer=None)}, "question 7: not a prompt with two references"),
        ({"7": entry(prompt=3)}, "question 7: not a text that asks about 4 emotions"),
        (
            {"7": entry(reference_answer=reference("abba", (1, 2, 3, 4)))},
            "question 7: its two references are not of the same emotions",
        ),
        (
            {"7": entry(reference_answer_fullscale=reference(("Glad", "Uneasy", "Envious", "Calm"), "012x"))},
            "'emotion4_score' holds 'x'",
        ),
    ],
)
def test_what_is_no_question_is_named(tmp_path, found, said):
    write(tmp_path, found)
    with pytest.raises(DataError, match=said):
        eq_bench.questions(tmp_path)


def test_what_is_not_json_is_named(tmp_path):
    (tmp_path / "eq_bench_v2_questions_171.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="not JSON"):
        eq_bench.questions(tmp_path)


def test_published_answers_are_numbers(tmp_path):
    answers = {"1": {"first_pass": {"Glad": "3", "Calm": 4}, "revised": {}}}
    run = {"model": "m", "benchmark_score": 12.5, "n_questions_parseable": 1, "answers": answers}
    with gzip.open(tmp_path / "published_runs.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n" + json.dumps({**run, "answers": [3]}))
    found = eq_bench.published(tmp_path)
    assert next(found) == eq_bench.PublishedRun("m", 12.5, 1, {"1": ({"Glad": 3.0, "Calm": 4.0}, {})})
    with pytest.raises(DataError, match=r"line 2: not a run"):
        next(found)


def test_raw_outputs_are_read(tmp_path):
    row = {"model": "m", "question_id": "1", "revise": False, "text": "Glad: 3", "first_pass": {"Glad": "3"}}
    lines = [json.dumps({**row, "revised": {}}), json.dumps(row)]
    (tmp_path / "raw_outputs_10_models.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = eq_bench.raw_outputs(tmp_path)
    assert next(found) == eq_bench.RawOutput("m", "1", False, "Glad: 3", {"Glad": 3.0}, {})
    with pytest.raises(DataError, match=r"line 2: not an answer"):
        next(found)


def test_the_questions_are_as_published(data_root):
    folder = locate(catalogue()["eq_bench"].card)
    verify(eq_bench.CARD, folder)
    second, first = eq_bench.questions(folder), eq_bench.questions(folder, "v1")
    assert [each.id for each in second] == [str(n) for n in range(1, 172)]
    assert len(second) == eq_bench.CARD.sizes["test"]
    assert [each.id for each in first] == [str(n) for n in range(1, 61)]
    assert {sum(each.relative) for each in first} == {10}
    assert sorted(sum(each.relative) for each in second)[:2] == [9, 10]
    assert all(0 <= rating <= 10 for each in (*first, *second) for rating in each.full)
    assert len(list(eq_bench.records(folder))) == 171


def test_the_published_runs_are_as_published(data_root):
    folder = locate(eq_bench.PUBLISHED)
    verify(eq_bench.PUBLISHED, folder)
    runs = {run.model: run for run in eq_bench.published(folder)}
    assert runs["gpt-4-1106-preview"].score == 86.05
    assert len(runs["gpt-4-1106-preview"].answers) == 171
    assert len(list(eq_bench.published(folder))) == 86
    assert len(list(eq_bench.raw_outputs(folder))) == 1684
