"""Which score an EQ-Bench exam is named with, and what its table says of it."""

from __future__ import annotations

import pytest

from eq_questions import NAMES, question
from overtone.evaluation.benchmarks.eq_bench import Answer, constant, grade, outcome
from overtone.evaluation.eq_bench_report import (
    FIT_HEADER,
    HEADER,
    Sat,
    emotion_rows,
    gain,
    markdown,
    named,
    rows,
)

SETTINGS = {"seed": 7, "resamples": 200}
ASKED = [question(f"{n}") for n in range(10)]
PERFECT = dict(zip(NAMES, (0.0, 8.0, 2.0, 5.0), strict=True))
WORSE = {**PERFECT, "Calm": 11.0}  # 6 off


def answers(right, wrong, unread=0):
    return grade(
        ASKED,
        [
            *[Answer(PERFECT, {})] * right,
            *[Answer(WORSE, {})] * wrong,
            *[Answer({"Glad": 1.0}, {})] * unread,
        ],
        "v2",
    )


def test_the_standard_protocol_names_the_score_where_it_passes():
    told = named(Sat(answers(9, 0, 1), answers(0, 10)), **SETTINGS)
    assert (told.constrained, told.standard.rate) == (False, 0.9)
    assert told.score == told.over_parsed
    assert told.score.value == 100


def test_a_failed_run_is_named_by_constrained_decoding_and_says_so():
    sat = Sat(answers(8, 0, 2), answers(0, 10))
    told = named(sat, **SETTINGS)
    assert told.constrained
    assert told.score.value == pytest.approx(100 - 7.477 * 6)
    assert told.over_parsed.value == 100
    (row, *_) = rows({"a": sat}, {}, base=None, **SETTINGS)
    assert dict(zip(HEADER, row, strict=True)) == {
        "system": "a",
        "score (95% interval)": "55.1 (55.1 to 55.1)",
        "decoding": "constrained",
        "parsed": "8 of 10 (80.0%)",
        "standard protocol": "FAIL; 100.0 (100.0 to 100.0) over the parsed",
        "over base": "",
    }


def test_a_failed_run_that_was_not_constrained_has_no_score():
    assert named(Sat(answers(8, 0, 2)), **SETTINGS).score is None
    assert rows({"a": Sat(answers(8, 0, 2))}, {}, base=None, **SETTINGS)[0][1] == "none"


def test_that_nothing_was_parsed_is_no_score_of_0():
    told = rows({"a": Sat(answers(0, 0, 10), answers(10, 0))}, {}, base=None, **SETTINGS)
    assert told[0][3:5] == ["0 of 10 (0.0%)", "FAIL; nothing was parsed"]


def test_systems_are_set_against_each_other_decoded_alike():
    passed, failed = Sat(answers(0, 10), answers(5, 5)), Sat(answers(8, 0, 2), answers(10, 0))
    value, constrained = gain(passed, Sat(answers(10, 0)), **SETTINGS)
    assert (value.value, constrained) == (pytest.approx(7.477 * 6), False)
    value, constrained = gain(passed, failed, **SETTINGS)
    assert (value.value, constrained) == (pytest.approx(7.477 * 3), True)
    assert gain(Sat(answers(0, 10)), failed, **SETTINGS) is None
    told = rows({"base": passed, "tuned": failed}, {}, base="base", **SETTINGS)
    assert told[0][-1] == ""
    assert told[1][-1].startswith("+22.4 (")
    assert told[1][-1].endswith(", both constrained")
    unnamed = rows({"base": Sat(answers(0, 10)), "tuned": failed}, {}, base="base", **SETTINGS)
    assert unnamed[1][-1] == ""


def test_the_second_pass_is_told():
    both = grade(ASKED, [Answer(WORSE, PERFECT)] * 10, "v2")
    assert rows({"a": Sat(both)}, {}, base=None, **SETTINGS)[0][4] == "pass, second pass"


def test_trivial_baselines_stand_below():
    three = constant(ASKED, 3, "v2")
    told = rows({"a": Sat(answers(10, 0))}, {"always 3": three}, base=None, **SETTINGS)
    assert told[1][0] == "always 3"
    assert told[1][1].startswith(f"{outcome(three).score:.1f} (")
    page = markdown(HEADER, told)
    assert page.count("\n") == 3
    assert "| always 3 |" in page


def test_the_ratings_by_emotion():
    told = emotion_rows(ASKED, answers(5, 5), most=2)
    # Of the four emotions one is 6 off half of the time.
    assert [row[:3] for row in told] == [
        ["all", "40", "0.75"],
        ["Calm", "10", "3.00"],
        ["Envious", "10", "0.00"],
    ]
    assert told[1][3] == "–"  # its reference does not vary
    assert markdown(FIT_HEADER, told)
