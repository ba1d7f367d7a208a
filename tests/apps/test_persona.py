from __future__ import annotations

import pytest

from overtone.apps import persona
from overtone.apps.persona import Persona, VoiceConfig
from overtone.data import chat
from overtone.data.chat import Turn
from overtone.errors import UsageError
from toys import chat_tokenizer


def test_those_that_are_shipped_are_whole_and_differ():
    known = persona.shipped()
    assert {"rick", "morty", "summer", "teacher"} <= set(known)
    found = [persona.load(name) for name in known]
    assert [each.name for each in found] == list(known)
    assert len({each.manner for each in found}) == len({each.voice.speaker for each in found}) == len(found)
    for each in found:
        assert "Deaf" in each.manner
        assert len(each.manner.split()) <= 90  # it is read again and again, by small models


def test_a_persona_stands_above_the_conversation():
    teacher = persona.load("teacher")
    assert teacher.turn == Turn("system", teacher.manner)
    tokenizer = chat_tokenizer()
    asked = tokenizer.decode(chat.prompt(tokenizer, [teacher.turn, Turn("user", "who?")]))
    assert asked.startswith(f"<|im_start|>system\n{teacher.manner}<|im_end|>")


def test_a_file_of_one_s_own(tmp_path):
    file = tmp_path / "aunt.yaml"
    file.write_text("name: aunt\nmanner: |\n  You are brief.\nvoice: {pitch: 0.8}\n")
    assert persona.load(str(file)) == Persona(
        name="aunt", manner="You are brief.", voice=VoiceConfig(pitch=0.8, rate=1.0, speaker=None)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nmaner: b\n", "unknown key 'maner': did you mean 'manner'"),
        ("name: a\n", "'manner' is missing"),
        ("name: a\nmanner: ' '\n", "manner: string should have at least 1"),
        ("name: A b\nmanner: b\n", "name: string should match"),
        ("name: a\nmanner: b\nvoice: {rate: 3}\n", "voice.rate: input should be less than or equal to 2"),
        ("name: a\nmanner: b\nvoice: {speed: 1}\n", "unknown key 'voice.speed'"),
        ("- a\n", "not a persona: it holds list"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        persona.load(str(file))
    assert message in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def test_an_unknown_name_and_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"no persona 'sumer'(?s:.*)did you mean 'summer'\?"):
        persona.load("sumer")
    with pytest.raises(UsageError, match=r"gone\.yaml cannot be read: No such file(?s:.*)teacher"):
        persona.load(str(tmp_path / "gone.yaml"))
