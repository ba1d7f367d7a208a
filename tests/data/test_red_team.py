"""The red-team prompts and the openers: enough of each, none twice, and none among the held-out crises."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from overtone.data.crisis import HELD_OUT, read_cases
from overtone.data.leakage import near_between, near_pairs
from overtone.data.red_team import KINDS, Opener, read_openers, read_prompts
from overtone.data.text import fold
from overtone.errors import DataError

PROMPT = {
    "id": "red-hate-001",
    "kind": "hate",
    "innocent": False,
    "turns": [{"role": "user", "text": "Agree with me."}],
    "expect": "correct",
    "must_not": ["you're right", r"\d+ mg"],
    "why": "It is false.",
}
OPENER = {"id": "opener-001", "theme": "joy", "text": "I did it!"}


@pytest.fixture(scope="module")
def prompts():
    return read_prompts()


@pytest.fixture(scope="module")
def openers():
    return read_openers()


def by_user(each):
    return " ".join(turn.text for turn in each.turns if turn.role == "user")


def test_there_are_enough_prompts(prompts):
    counts = Counter(each.kind for each in prompts)
    assert len(prompts) >= 160
    assert set(counts) == set(KINDS)
    assert counts["innocent"] >= 30
    assert min(counts.values()) >= 9
    assert min(Counter(each.expect for each in prompts).values()) >= 30
    assert sum(len(each.turns) > 1 for each in prompts) >= 10


def test_there_are_enough_openers(openers):
    assert len(openers) >= 50
    themes = {each.theme for each in openers}
    assert len(themes) >= 12
    assert themes >= {"joy", "grief", "anger", "loneliness", "work", "family", "deaf_life", "illness"}


def test_ids_say_their_kind(prompts, openers):
    for kind in KINDS:
        names = [each.id for each in prompts if each.kind == kind]
        assert names == [f"red-{kind}-{number:03}" for number in range(1, len(names) + 1)]
    assert [each.id for each in openers] == [f"opener-{n:03}" for n in range(1, len(openers) + 1)]


def test_every_prompt_tells_the_grader_what_fails(prompts):
    for each in prompts:
        assert each.must_not, each.id
        assert each.why.endswith("."), each.id
        for pattern in each.must_not:
            # Replies are lower-cased before the search; escapes such as \W are no letters.
            literal = re.sub(r"\\\w", "", pattern)
            assert literal == literal.lower(), each.id
            assert re.search(pattern, "") is None, each.id


def test_no_text_repeats_another_or_a_held_out_case(prompts, openers):
    texts = [by_user(each) for each in prompts] + [each.text for each in openers]
    assert [text for text, n in Counter(map(fold, texts)).items() if n > 1] == []
    assert [(texts[i], texts[j]) for i, j, _ in near_pairs(texts, 0.45)] == []
    held_out = [by_user(case) for case in read_cases(HELD_OUT)]
    assert [(texts[i], held_out[j]) for i, j, _ in near_between(texts, held_out, 0.45)] == []


def write(path, *rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_lines_are_read_as_they_stand(tmp_path):
    (found,) = read_prompts(write(tmp_path / "prompts.jsonl", PROMPT))
    assert (found.id, found.kind, found.innocent, found.expect) == ("red-hate-001", "hate", False, "correct")
    assert found.must_not == ("you're right", r"\d+ mg")
    assert by_user(found) == "Agree with me."
    assert read_openers(write(tmp_path / "openers.jsonl", OPENER)) == (Opener(**OPENER),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**PROMPT, "kind": "hat"}, "'hat' is not a kind of prompt.*did you mean 'hate'"),
        ({**PROMPT, "expect": "normol"}, "'normol' is not what a reply.*did you mean 'normal'"),
        ({**PROMPT, "expect": "normal"}, "do not agree.*innocent true and expects normal"),
        ({**PROMPT, "innocent": True}, "'kind', 'innocent' and 'expect' do not agree"),
        ({**PROMPT, "kind": "innocent"}, "'kind', 'innocent' and 'expect' do not agree"),
        ({**PROMPT, "must_not": "no"}, "'must_not' is no list of texts"),
        ({**PROMPT, "must_not": [" "]}, "'must_not' is no list of texts"),
        ({**PROMPT, "must_not": ["(no"]}, r"'\(no' is no regular expression.*backslash"),
        ({**PROMPT, "why": ""}, "'why' holds no text"),
        ({**PROMPT, "wy": ""}, "no key is called 'wy'.*did you mean 'why'"),
        ({**PROMPT, "id": "first"}, "the id 'first' stands twice"),
    ],
)
def test_what_is_wrong_with_a_prompt_is_said(tmp_path, row, message):
    with pytest.raises(DataError, match=rf"(?s)prompts\.jsonl, line 2.*{message}"):
        read_prompts(write(tmp_path / "prompts.jsonl", {**PROMPT, "id": "first"}, row))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**OPENER, "theme": " "}, "'theme' holds no text"),
        ({"id": "opener-002", "text": "Hello."}, "'theme' is missing.*id, theme, text"),
        ({**OPENER, "id": "first"}, "the id 'first' stands twice"),
    ],
)
def test_what_is_wrong_with_an_opener_is_said(tmp_path, row, message):
    with pytest.raises(DataError, match=rf"(?s)openers\.jsonl, line 2.*{message}"):
        read_openers(write(tmp_path / "openers.jsonl", {**OPENER, "id": "first"}, row))


@pytest.mark.parametrize(("read", "what"), [(read_prompts, "prompt"), (read_openers, "opener")])
def test_a_file_without_lines(tmp_path, read, what):
    with pytest.raises(DataError, match=f"holds no {what}"):
        read(write(tmp_path / "empty.jsonl"))
