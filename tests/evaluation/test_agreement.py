"""Agreement with grades by hand: by hand, as scikit-learn has it, and what is said of an unfit judge."""

from __future__ import annotations

import json
import math
import random
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from overtone.errors import DataError
from overtone.evaluation.agreement import Examined, GradedAnswer, examine, kappa, read_graded, shown
from overtone.evaluation.compare import Interval
from overtone.evaluation.judge import Verdict

GRADES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)
ROW = {"id": "a", "question": "Who?", "gold": "They.", "answer": "", "system": "base", "grade": 2}


def theirs(hand, judged):
    with warnings.catch_warnings():  # where it is undefined
        warnings.simplefilter("ignore")
        return cohen_kappa_score(hand, judged, labels=[0, 1, 2], weights="quadratic")


@given(GRADES)
def test_kappa_is_that_of_scikit_learn(pairs):
    hand, judged = zip(*pairs, strict=True)
    assert kappa(hand, judged) == pytest.approx(theirs(hand, judged), abs=1e-12, nan_ok=True)


@given(GRADES)
def test_kappa_has_no_sides_no_order_and_no_direction(pairs):
    hand, judged = zip(*pairs, strict=True)
    found = kappa(hand, judged)
    assert kappa(judged, hand) == pytest.approx(found, nan_ok=True)
    assert kappa(hand[::-1], judged[::-1]) == pytest.approx(found, nan_ok=True)
    assert kappa([2 - h for h in hand], [2 - j for j in judged]) == pytest.approx(found, nan_ok=True)
    assert math.isnan(found) or -1 <= found <= 1


@pytest.mark.parametrize(
    ("hand", "judged", "expected"),
    [
        ([0, 1, 2], [0, 1, 2], 1),
        ([0, 2], [2, 0], -1),
        # Squares off: 1 over 3 answers; of each grade by hand beside each of the judge, 2 + 1 + 6 over 9.
        ([0, 1, 2], [0, 1, 1], 1 - (1 / 3) / (9 / 9)),
        ([0, 2, 0, 2], [1, 1, 1, 1], 0),
        ([1, 1], [0, 2], 0),
    ],
)
def test_kappa_by_hand(hand, judged, expected):
    assert kappa(hand, judged) == pytest.approx(expected)


def test_one_grade_for_all_is_no_agreement():
    assert math.isnan(kappa([1, 1, 1], [1, 1, 1]))
    with pytest.raises(DataError, match="2 grades by hand and 1 of the judge"):
        kappa([1, 2], [1])
    with pytest.raises(DataError, match="0 grades by hand"):
        kappa([], [])


def graded(grades, questions=None):
    questions = questions or [f"Q{number}?" for number in range(len(grades))]
    return [
        GradedAnswer(f"a{number}", question, "gold", "said", "base", value)
        for number, (value, question) in enumerate(zip(grades, questions, strict=True))
    ]


def verdicts(labels):
    return [
        Verdict(f"a{number}", tuple(float(label == each) for each in range(3)), "judge", False, False)
        for number, label in enumerate(labels)
    ]


@pytest.fixture(scope="module")
def two():
    """Sixty grades by hand, and those of a judge that is right in most cases."""
    chance = random.Random(1)
    hand = [chance.randint(0, 2) for _ in range(60)]
    return hand, [grade if chance.random() < 0.7 else chance.randint(0, 2) for grade in hand]


def test_the_interval_is_that_of_drawing_answers(two):
    hand, judged = (np.array(each) for each in two)
    found = examine(graded(two[0]), verdicts(two[1]), seed=0, resamples=4000)
    generator = np.random.default_rng(5)  # other draws: alike within what chance leaves of 600
    drawn = [theirs(hand[rows], judged[rows]) for rows in generator.integers(60, size=(600, 60))]
    assert found.kappa == pytest.approx(theirs(hand, judged))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.04)
    assert found.low < found.kappa < found.high
    assert (found.n, found.fit) == (60, True)
    assert examine(graded(two[0]), verdicts(two[1]), seed=0, resamples=4000) == found


def test_answers_to_one_question_are_drawn_together(two):
    """Every answer twice is no more evidence than once."""
    hand, judged = two
    once = examine(graded(hand), verdicts(judged), seed=0)
    questions = [f"Q{number:02}?" for number in range(60)]
    twice = examine(graded(hand * 2, questions * 2), verdicts(judged * 2), seed=0)
    assert twice.kappa == pytest.approx(once.kappa)
    assert twice.n == 120
    assert twice.high - twice.low == pytest.approx(once.high - once.low, rel=0.1)
    alone = examine(graded(hand * 2), verdicts(judged * 2), seed=0)
    assert alone.high - alone.low < 0.8 * (once.high - once.low)


def test_only_verdicts_on_the_same_answers_examine():
    with pytest.raises(DataError, match="2 verdicts are not on the 3 answers graded by hand"):
        examine(graded([0, 1, 2]), verdicts([0, 1]), seed=0)
    with pytest.raises(DataError, match="are not on the"):
        examine(graded([0, 1]), verdicts([0, 1])[::-1], seed=0)
    with pytest.raises(DataError, match="do not compare"):
        examine([], [], seed=0)


def test_a_judge_is_fit_from_the_bar_on():
    assert Examined(0.4, 0.2, 0.6, 9).fit
    assert not Examined(0.3999, 0.2, 0.6, 9).fit
    assert not Examined(math.nan, math.nan, math.nan, 9).fit
    same = examine(graded([1] * 5), verdicts([1] * 5), seed=0, resamples=50)
    assert math.isnan(same.kappa)
    assert not same.fit
    assert not examine(graded([0, 1, 2, 0]), verdicts([2] * 4), seed=0, resamples=50).fit


def test_a_figure_is_shown_with_what_its_judge_is_worth():
    figure = Interval(1.318, 1.25, 1.394)
    assert shown(figure, Examined(0.552, 0.4, 0.7, 120)) == (
        "1.32 of 2 (1.25 to 1.39), κ 0.55 with 120 answers graded by hand"
    )
    assert shown(figure, Examined(0.21, 0.1, 0.3, 1120)) == (
        "1.32 of 2 (1.25 to 1.39), unfit: κ 0.21 with 1,120 answers graded by hand, below 0.4"
    )
    assert shown(figure, Examined(math.nan, math.nan, math.nan, 5)) == (
        "1.32 of 2 (1.25 to 1.39), unfit: κ undefined, "
        "all 5 answers graded by hand have one grade, which the judge gives to all"
    )


def write(path, *rows):
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def test_graded_answers_are_read_as_they_stand(tmp_path):
    rows = [ROW, {**ROW, "system": "tuned", "answer": "They — 手話.", "grade": 0}, {**ROW, "id": "b"}]
    found = read_graded(write(tmp_path / "graded.jsonl", *rows))
    assert found == tuple(GradedAnswer(**row) for row in rows)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ({key: ROW[key] for key in ROW if key != "gold"}, "'gold' is missing.*id, question, gold, answer"),
        ({**ROW, "grades": 1}, "no key is called 'grades'.*did you mean 'grade'"),
        ({**ROW, "grade": 3}, "the grade is 3.*write 0"),
        ({**ROW, "grade": "2"}, "the grade is '2'.*unquoted"),
        ({**ROW, "grade": True}, "the grade is True"),
        ({**ROW, "grade": 1.0}, r"the grade is 1\.0"),
        ({**ROW, "grade": None}, "the grade is None"),
        ({**ROW, "question": " "}, "'question' holds no text"),
        ({**ROW, "answer": None}, "'answer' holds no text"),
        ({**ROW, "id": 7}, "'id' holds no text"),
        ({**ROW, "grade": 0}, "answer 'a' of 'base' stands twice"),
    ],
)
def test_what_is_wrong_with_a_graded_answer_is_said(tmp_path, row, message):
    path = write(tmp_path / "graded.jsonl", ROW, row)
    with pytest.raises(DataError, match=rf"(?s)graded\.jsonl, line 2: .*{message}"):
        read_graded(path)


def test_a_file_without_graded_answers(tmp_path):
    with pytest.raises(DataError, match=r"(?s)holds no graded answer.*question, gold"):
        read_graded(write(tmp_path / "graded.jsonl"))
    with pytest.raises(DataError, match="cannot be read"):
        read_graded(tmp_path / "none.jsonl")
