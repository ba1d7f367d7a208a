"""EQ-Bench 3's files: small ones of our own in their form, and the real ones where at hand."""

from __future__ import annotations

from collections import Counter

import pytest

from overtone.data.fetch import catalogue, locate, verify
from overtone.data.sources import eq_bench3
from overtone.errors import DataError

SCENARIOS = """\
######## 1   | Friend Issue | The borrowed boat
####### Prompt1
The boat is gone.

# Not a heading of the file
What now?
####### Prompt2
It is back.

######## 208 | Work – Post | A note
####### 1
Write it.

######## 401 | Analysis | The boat again
####### Prompt1
Read it.
"""
TEMPLATES = {
    "scenario_master_prompt.txt": "{scenario_prompt}\n\n# My view\n\n<...>",
    "scenario_master_prompt_message_drafting.txt": "{scenario_prompt} Draft.",
    "scenario_master_prompt_analysis.txt": "[{scenario_prompt}]",
    "debrief_prompt.txt": "And?",
    "rubric_scoring_prompt.txt": "{transcript} {debrief} {output_format}",
    "rubric_scoring_prompt_analysis.txt": "{transcript} {output_format}",
    "rubric_scoring_criteria.txt": "warmth\ndepth\n",
    "rubric_scoring_criteria_analysis.txt": "correctness\n",
    "scenario_notes.txt": "# 1\nA boat matters.\n\nTo some.\n# 9\nNobody's.\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in {
        **TEMPLATES,
        "scenario_prompts.txt": SCENARIOS.replace("Prompt2", "Prompt2  "),
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_a_scenario_has_turns_and_notes(folder):
    boat, note, again = eq_bench3.scenarios(folder)
    assert boat == eq_bench3.Scenario(
        "1",
        "Friend Issue",
        "The borrowed boat",
        "role-play",
        ("The boat is gone.\n\n# Not a heading of the file\nWhat now?", "It is back."),
        "A boat matters.\n\nTo some.",
    )
    assert (note.kind, note.category, note.prompts) == ("drafting", "Work – Post", ("Write it.",))
    assert (again.kind, again.notes) == ("analysis", "")
    rows = list(eq_bench3.records(folder))
    assert [(row.id, row.group) for row in rows] == [
        ("eq_bench3/1-1", "1"),
        ("eq_bench3/1-2", "1"),
        ("eq_bench3/208-1", "208"),
        ("eq_bench3/401-1", "401"),
    ]


def test_each_kind_has_its_form(folder):
    found = eq_bench3.forms(folder)
    assert found["role-play"].criteria == found["drafting"].criteria == ("warmth", "depth")
    assert found["drafting"].master == "{scenario_prompt} Draft."
    assert found["drafting"].debrief == "And?"
    assert found["analysis"] == eq_bench3.Form(
        "[{scenario_prompt}]", None, "{transcript} {output_format}", ("correctness",)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line such as"),
        ("####### Prompt1\nHello.\n", "line 1: no scenario begins here"),
        ("######## 1 | a | b\n", "scenario 1 has no turn"),
        ("######## 1 | a | b\n####### Prompt1\n\n", "scenario 1 has no turn, or an empty one"),
    ],
)
def test_a_broken_file_is_named(folder, text, said):
    (folder / "scenario_prompts.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        eq_bench3.scenarios(folder)


def test_a_template_without_its_marks_is_refused(folder):
    (folder / "rubric_scoring_prompt.txt").write_text("{transcript} {output_format}", encoding="utf-8")
    with pytest.raises(DataError, match="a template for role-play lacks"):
        eq_bench3.forms(folder)


def test_the_scenarios_are_as_published(data_root):
    folder = locate(catalogue()["eq_bench3"].card)
    verify(eq_bench3.CARD, folder)
    found = eq_bench3.scenarios(folder)
    assert Counter(each.kind for each in found) == {"role-play": 25, "drafting": 1, "analysis": 20}
    assert sum(len(each.prompts) for each in found) == eq_bench3.CARD.sizes["test"]
    forms = eq_bench3.forms(folder)
    assert {kind: len(form.criteria) for kind, form in forms.items()} == {
        "role-play": 18,
        "drafting": 18,
        "analysis": 6,
    }
