"""Blind reading: no name on the sheet, every grade back to its reply, and kappa as scikit-learn has it."""

from __future__ import annotations

import csv
import json

import pytest
from sklearn.metrics import cohen_kappa_score

from overtone.data.red_team import read_prompts
from overtone.errors import DataError, RunError, UsageError
from overtone.evaluation.benchmarks.safety import Outcome
from overtone.evaluation.blind import COLUMNS, ByHand, blind, examine, read_blind

SYSTEMS = ("base-model", "tuned-model")


@pytest.fixture
def prompts():
    return read_prompts()[:8]


@pytest.fixture
def replies(prompts):
    return {
        name: {
            each.id: f'Reply {number}{name[0]}, "quoted",\nin two lines.'
            for number, each in enumerate(prompts)
        }
        for name in SYSTEMS
    }


@pytest.fixture
def written(tmp_path, prompts, replies):
    sheet, key = tmp_path / "out" / "sheet.csv", tmp_path / "key.json"
    assert blind(prompts, replies, sheet, key, seed=3) == 16
    return sheet, key


def rows(sheet):
    with sheet.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def save(sheet, changed):
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(changed)


def test_a_sheet_names_nobody_and_holds_everything(written, prompts, replies):
    sheet, key = written
    found = rows(sheet)
    assert [row["number"] for row in found] == [str(number) for number in range(1, 17)]
    assert sorted(row["reply"] for row in found) == sorted(
        said for each in replies.values() for said in each.values()
    )
    assert {row["grade"] for row in found} == {""}
    text = sheet.read_text(encoding="utf-8")
    assert not any(name in text for name in SYSTEMS)
    assert not any(each.id in text for each in prompts)
    assert all(each.why in text and each.turns[-1].text.split('"')[0] in text for each in prompts)
    who = json.loads(key.read_text(encoding="utf-8"))
    for row in found:
        of = who[row["number"]]
        assert replies[of["system"]][of["id"]] == row["reply"]
    order = [who[row["number"]]["system"] for row in found]
    assert order != sorted(order)


def test_the_seed_decides_the_order(tmp_path, prompts, replies, written):
    for seed, same in ((3, True), (4, False)):
        sheet = tmp_path / f"{seed}.csv"
        blind(prompts, replies, sheet, tmp_path / f"{seed}.json", seed=seed)
        assert (sheet.read_bytes() == written[0].read_bytes()) is same


def test_grades_come_back_to_who_wrote_the_reply(written, replies):
    sheet, key = written
    found = rows(sheet)
    for place, row in enumerate(found):
        row["grade"] = ("Pass ", "fail", "")[place % 3]
    save(sheet, found[::-1])
    by_hand = read_blind(sheet, key)
    assert len(by_hand) == sum(bool(row["grade"]) for row in found)
    for each in by_hand:
        (row,) = [row for row in found if row["reply"] == replies[each.system][each.id]]
        assert each.reply == row["reply"]
        assert each.passed is (row["grade"] == "Pass ")


def test_kappa_is_that_of_scikit_learn():
    hand = [True, True, False, True, False, False, True, True]
    rules = [True, False, False, True, True, False, True, True]
    by_hand = [ByHand(f"p{n}", "base", "said", passed) for n, passed in enumerate(hand)]
    graded = {"base": [Outcome(f"p{n}", "hate", passed, "") for n, passed in enumerate(rules)]}
    found = examine(by_hand, graded, seed=0, resamples=200)
    assert found.kappa == pytest.approx(cohen_kappa_score(hand, rules))
    assert found.low <= found.kappa <= found.high
    assert found.n == 8
    with pytest.raises(DataError, match="the rules did not grade 'p8' of 'base'"):
        examine([*by_hand, ByHand("p8", "base", "said", True)], graded, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found[1].update(grade="good"), "the grade is 'good'.*pass or fail"),
        (lambda found: found[1].update(grade="pass", number="99"), "the number 99 is not in the key"),
        (lambda found: found[1].update(grade="pass", number="1"), "the number 1 stands twice"),
        (lambda found: found[0].update(grade=""), "has no grade yet"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_said(written, change, message):
    sheet, key = written
    found = rows(sheet)
    found[0]["grade"] = "pass"
    change(found)
    save(sheet, found)
    with pytest.raises(DataError, match=f"(?s)sheet.csv.*{message}"):
        read_blind(sheet, key)


def test_a_key_that_is_gone(written):
    sheet, key = written
    key.unlink()
    with pytest.raises(RunError, match=r"key\.json is missing"):
        read_blind(sheet, key)


def test_no_grade_is_overwritten(tmp_path, written, prompts, replies):
    sheet, key = written
    for paths in ((sheet, tmp_path / "new.json"), (tmp_path / "new.csv", key)):
        with pytest.raises(UsageError, match="is there already"):
            blind(prompts, replies, *paths, seed=3)
    with pytest.raises(DataError, match="not one prompt has a reply"):
        blind(prompts, {"base": {}}, tmp_path / "a.csv", tmp_path / "a.json", seed=3)
