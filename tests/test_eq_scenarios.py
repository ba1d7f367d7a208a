"""Scenarios played and judged over real HTTP, with a system and a judge that say what they are told to."""

from __future__ import annotations

import json

import pytest

from endpoints import completion, serving
from overtone import eq_scenarios
from overtone.data.fetch import locate
from overtone.data.sources import eq_bench3
from overtone.data.sources.eq_bench3 import Form, Scenario
from overtone.eq_scenarios import (
    HIGHEST,
    QUALITY,
    Played,
    ScenariosConfig,
    Scored,
    play,
    rubric,
    scores_in,
    sections,
    sit,
    standing,
)
from overtone.errors import DataError, RunError, UsageError
from overtone.inference.endpoint import EndpointConfig, EndpointError

MASTER = "{scenario_prompt}\n\n# I'm thinking\n\n<...>\n\n# My response\n\n<...>"
RUBRIC = "<{transcript}|{debrief}>\n{output_format}"
FORMS = {
    "role-play": Form(MASTER, "And now?", RUBRIC, (*QUALITY, "warmth")),
    "analysis": Form("[{scenario_prompt}]", None, "<{transcript}> {output_format}", ("correctness", "depth")),
}
BOAT = Scenario("1", "Friend", "Boat", "role-play", ("The boat is gone.", "It is {debrief} back."), "")
TEXT = Scenario("401", "Analysis", "Boat", "analysis", ("Read it.",), "")
SAID = "Hm.\n# I’m Thinking\nOh no.\n\n# My response\nLet me help. #1\n--\nThat is all."
SHOWN = "# I'm thinking\nOh no.\n\n# My response\nLet me help. #1\n\n--"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


class Says:
    """A system that says one thing."""

    forgotten = 0

    def __init__(self, text=SAID):
        self.text = text
        self.heard = []

    def answers(self, conversations, **settings):
        self.heard += [(list(turns), settings) for turns in conversations]
        return [self.text for _ in conversations]


def judged(**scores):
    return json.dumps({"chain_of_thought_reasoning": "warmth: much.", **scores})


def test_the_turns_follow_each_other_and_the_debrief_comes_last():
    says = Says()
    played = play(says, BOAT, FORMS["role-play"], ScenariosConfig(max_tokens=90, seed=3))
    first, second, last = says.heard
    assert [turn.role for turn in last[0]] == ["user", "assistant"] * 2 + ["user"]
    assert first[0][0].text == MASTER.replace("{scenario_prompt}", "The boat is gone.")
    assert second[0][:1] == first[0]
    assert second[0][1].text == SAID
    assert last[0][-1].text == "And now?"
    assert [settings["temperature"] for _, settings in says.heard] == [0.7, 0.7, 0.5]
    assert {settings["max_tokens"] for _, settings in says.heard} == {90}
    assert played.asked[1] == MASTER.replace("{scenario_prompt}", "It is {debrief} back.")
    assert (played.said, played.debrief) == ((SAID, SAID), SAID)
    alone = play(Says(), TEXT, FORMS["analysis"], ScenariosConfig())
    assert alone == Played("401", ("[Read it.]",), (SAID,), None)


def test_what_does_not_fit_is_refused():
    says = Says()
    says.forgotten = 1
    with pytest.raises(UsageError, match="scenario 401 is longer"):
        play(says, TEXT, FORMS["analysis"], ScenariosConfig())


def test_the_judge_reads_the_sections_that_were_asked_for():
    played = Played("1", ("One?", "Two {debrief}?"), (SAID, "nothing"), "So it was.")
    empty = "# I'm thinking\n\n\n# My response\n\n\n--"
    numbers = ",\n".join(f'  "{name}": 0-20' for name in (*QUALITY, "warmth"))
    assert rubric(BOAT, played, FORMS["role-play"]) == (
        f"<User:\nOne?\n---\nAssistant:\n{SHOWN}\n---\nUser:\nTwo {{debrief}}?\n---\nAssistant:\n{empty}\n"
        '|So it was.>\n{\n  "chain_of_thought_reasoning": "what the scores rest on",\n'
        f"{numbers}\n}}"
    )
    told = rubric(TEXT, Played("401", ("Read it.",), (SAID,), None), FORMS["analysis"])
    assert f"Assistant:\n{SAID}\n>" in told


def test_sections_by_hand():
    assert sections(SAID, ["I'm thinking", "My response"]) == SHOWN
    assert sections("# Draft\nHello.", ["Draft brainstorming", "Draft"]) == (
        "# Draft brainstorming\n\n\n# Draft\nHello.\n\n--"
    )


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('```json\n{"warmth": 12, "depth": 7.5}\n```', {"warmth": 12, "depth": 7.5}),
        ('{"warmth": "15/20", "depth": "none"}', {"warmth": 15}),
        ('"warmth": 3 at first; {"warmth" : 4', {"warmth": 4}),
        (f'{{"warmth": {HIGHEST + 1}, "warmths": 3}}', {}),
        ("", {}),
    ],
)
def test_scores_in_a_reply(reply, found):
    assert scores_in(reply, ("warmth", "depth")) == found


def test_a_standing_by_hand():
    scored = [
        Scored("1", ("a", "b"), {"a": 10.0, "b": 14.0, "style": 1.0}, ""),
        Scored("2", ("a", "b"), {"a": 6.0, "b": 6.0, "style": 4.0}, ""),
        Scored("3", ("a", "b"), {"a": 20.0}, ""),
    ]
    found = standing("judge", scored, ScenariosConfig())
    assert found.quality.value == 9
    assert (found.quality.low, found.quality.high) == (6, 12)
    assert (found.scored, found.unscored) == (2, 1)
    assert found.criteria == pytest.approx({"a": 12, "b": 10, "style": 2.5})
    assert standing("judge", scored[2:], ScenariosConfig()).quality is None


def test_an_exam_that_was_stopped_goes_on(tmp_path):
    path, config = tmp_path / "scenarios.jsonl", ScenariosConfig(resamples=100)
    good = judged(**dict.fromkeys(QUALITY, 12), warmth=3)
    with serving((200, completion(good)), (401, {"error": "no"})) as (url, got):
        judge = EndpointConfig(url=url, model="judge", backoff=0.001)
        with pytest.raises(EndpointError):
            sit(Says(), judge, [BOAT, TEXT], FORMS, path, config)
        body = got[0][2]
        assert (body["temperature"], body["max_tokens"]) == (0, eq_scenarios.JUDGE_TOKENS)
        assert "logprobs" not in body
    rest = Says()
    with serving((200, completion(judged(correctness=6, depth=4)))) as (other, got):
        judge = judge.model_copy(update={"url": other})
        text = path.read_text().replace(url.split("/")[2], other.split("/")[2])
        path.write_text(text)
        found = sit(rest, judge, [BOAT, TEXT], FORMS, path, config)
        assert len(got) == 1
        assert len(rest.heard) == 1  # the other was played and judged already
        again = sit(Says(), judge, [BOAT, TEXT], FORMS, path, config)
        assert len(got) == 1
    assert found == again
    assert found.quality.value == pytest.approx((12 + 5) / 2)
    assert found.criteria["warmth"] == 3
    assert (found.scored, found.unscored) == (2, 0)
    with pytest.raises(RunError, match=r"(?s)was judged by judge at .*delete it"):
        sit(Says(), judge.model_copy(update={"model": "other"}), [BOAT], FORMS, path, config)
    path.write_text("[]\n{")
    with pytest.raises(RunError, match="is damaged"):
        sit(Says(), judge, [BOAT], FORMS, path, config)
    with pytest.raises(DataError, match="no scenarios"):
        sit(Says(), judge, [], FORMS, path, config)


def test_the_real_templates_are_filled(data_root):
    folder = locate(eq_bench3.CARD)
    forms = eq_bench3.forms(folder)
    for scenario in eq_bench3.scenarios(folder):
        form = forms[scenario.kind]
        told = rubric(scenario, play(Says("A b c."), scenario, form, ScenariosConfig()), form)
        assert all(mark not in told for mark in ("{scenario_prompt}", "{transcript}", "{output_format}"))
        assert all(f'"{criterion}": 0-20' in told for criterion in form.criteria)
        assert all(prompt in told for prompt in scenario.prompts)
        assert scenario.kind == "analysis" or set(QUALITY) < set(form.criteria)
