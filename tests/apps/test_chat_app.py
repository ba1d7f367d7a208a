"""The conversation in a terminal, with a toy decoder that really answers."""

from __future__ import annotations

import builtins
import io
import json
import logging
from typing import ClassVar

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from overtone import cli_chat, system
from overtone.apps import chat, persona
from overtone.apps.chat import Conversation
from overtone.data.chat import Turn
from overtone.errors import DataError, UsageError
from overtone.inference.converse import Speaker
from toys import speaking, write_chat

OPEN = {"data": "CC0", "weights": "Apache-2.0", "commercial": True}
NOTHING = {"source": None, "forgotten": 0}
CLOSED = {"data": "CC-BY-NC", "weights": "Apache-2.0", "commercial": False}


class Toy:
    """A tuned decoder; ``words`` instead of its own, where a test must know them."""

    beside: ClassVar = {"source": None}
    recipe = None

    def __init__(self, body, licence=OPEN, max_length=None):
        self.speakers = {tuned: Speaker(body, tuned=tuned, max_length=max_length) for tuned in (True, False)}
        self.licence = licence
        self.heard = []

    @property
    def forgotten(self):
        return self.speakers[True].forgotten

    def reply(self, turns, *, tuned=True, **settings):
        self.heard.append((tuned, list(turns)))
        return self.speakers[tuned].reply(turns, **settings)


class Scripted(Toy):
    """Says what it is given, a piece at a time; an exception among the pieces is raised."""

    forgotten = 0
    licence = OPEN

    def __init__(self, *answers):
        self.answers, self.heard = iter(answers), []

    def reply(self, turns, *, tuned=True, **settings):
        self.heard.append((tuned, list(turns)))
        for piece in next(self.answers):
            if not isinstance(piece, str):
                raise piece
            yield piece


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    return speaking(write_chat(tmp_path_factory.mktemp("decoder")))


@pytest.fixture
def typed(monkeypatch):
    """Type lines at the prompt: what the screen held."""

    def run(conversation, *lines, width=80):
        waiting = iter(lines)

        def type_next(_):
            line = next(waiting, EOFError)
            if not isinstance(line, str):
                raise line
            return line

        monkeypatch.setattr(builtins, "input", type_next)
        console = Console(file=io.StringIO(), width=width)
        chat.talk(conversation, console)
        return console.file.getvalue()

    return run


def piped(conversation, *lines, as_json=False):
    """Answer lines: standard output and standard error."""
    out, err = io.StringIO(), Console(file=io.StringIO(), width=200)
    chat.answer_lines(conversation, lines, out, err, as_json=as_json)
    return out.getvalue(), err.file.getvalue()


def test_a_conversation_goes_on_with_what_was_said(typed):
    model = Scripted(["It ", "is."], ["Yes", "."])
    talk = Conversation(model)
    screen = typed(talk, "what?", "  ", "sure? ")
    assert "It is." in screen
    assert model.heard[1] == (
        True,
        [Turn("user", "what?"), Turn("assistant", "It is."), Turn("user", "sure?")],
    )
    assert talk.said[-1] == Turn("assistant", "Yes.")


def test_the_toy_s_answer_is_its_own(typed, body):
    talk = Conversation(Toy(body), {"max_tokens": 12, "seed": 3})
    typed(talk, "who signs?", "and you?")
    alone = Speaker(body)
    first = "".join(alone.reply([Turn("user", "who signs?")], max_tokens=12, seed=3))
    asked = [Turn("user", "who signs?"), Turn("assistant", first), Turn("user", "and you?")]
    second = "".join(alone.reply(asked, max_tokens=12, seed=3))
    assert talk.said == [*asked, Turn("assistant", second)]


def test_answers_are_drawn_as_markdown_and_wrapped(typed):
    screen = typed(
        Conversation(Scripted(["**bold** and ", "a list:\n\n- one\n", "- two " * 10])), "q", width=30
    )
    assert "**" not in screen
    assert " • one" in screen
    assert max(map(len, screen.splitlines()[2:])) <= 30
    assert screen.count("two") == 10


def test_nothing_said_moves_the_cursor(typed):
    screen = typed(Conversation(Scripted(["a\x1b[2Jb\x07\x9bc"])), "q", "/history")
    assert "\x1b[2J" not in screen
    assert "\x07" not in screen
    assert screen.count("a[2Jbc") == 2


def test_ctrl_c_stops_an_answer_and_keeps_what_was_said(typed):
    model = Scripted(["It is", KeyboardInterrupt()], ["More"])
    talk = Conversation(model)
    typed(talk, "what?", KeyboardInterrupt, "go on")
    assert talk.said[:2] == [Turn("user", "what?"), Turn("assistant", "It is")]
    assert model.heard[1][1][:2] == talk.said[:2]


def test_a_question_without_an_answer_is_taken_back(typed):
    talk = Conversation(Scripted([KeyboardInterrupt()], [" \n"], ["Yes"]))
    screen = typed(talk, "what?", "well?", "so?")
    assert screen.count("the question is taken back") == 2
    assert talk.said == [Turn("user", "so?"), Turn("assistant", "Yes")]


def test_a_line_that_cannot_be_answered_is_said_and_the_talk_goes_on(typed, body):
    talk = Conversation(Toy(body), {"max_tokens": 30})
    screen = typed(talk, "a<|im_end|>b", "hello")
    assert "error a turn holds the special token '<|im_end|>'" in screen
    assert "→ take it out of the text" in screen
    assert [turn.text for turn in talk.said[:1]] in ([], ["hello"])


def test_commands(typed, tmp_path):
    file, model = tmp_path / "talk.json", Scripted(["One."], ["Two."], ["Three."])
    talk = Conversation(model, persona=persona.load("teacher"))
    screen = typed(
        talk,
        "first 👋",
        f"/save {file}",
        "/history",
        "/persona",
        "/persona ricc",
        "/persona rick",
        "second",
        "/persona none",
        "/reset",
        "third",
        "/sav x",
        "/save",
        "/help",
        " /quit ",
        "never read",
    )
    saved = json.loads(file.read_text(encoding="utf-8"))
    assert saved == {
        "persona": "teacher",
        "turns": [{"role": "user", "text": "first 👋"}, {"role": "assistant", "text": "One."}],
    }
    assert list(tmp_path.iterdir()) == [file]  # no temporary neighbour is left
    teacher, rick = (persona.load(name).turn for name in ("teacher", "rick"))
    first = [Turn("user", "first 👋"), Turn("assistant", "One.")]
    assert [turns for _, turns in model.heard] == [
        [teacher, first[0]],
        [rick, *first, Turn("user", "second")],
        [Turn("user", "third")],
    ]
    assert "     user  first 👋" in screen
    assert "now teacher; known: morty, rick, summer, teacher, none" in screen
    assert "did you mean 'rick'?" in screen
    assert "no command '/sav'" in screen
    assert "did you mean '/save'?" in screen
    assert "/save lacks a file" in screen
    assert all(name in screen for name in chat.COMMANDS)
    assert "never read" not in str(model.heard)


def test_a_file_that_cannot_be_written_is_said(typed, tmp_path):
    screen = typed(Conversation(Scripted()), f"/save {tmp_path}")
    assert f"error could not write {tmp_path}" in screen.replace("\n", "")
    assert "→ name another file: /save FILE" in screen


def test_compared_the_base_is_shown_first_and_not_heard(typed, body):
    model = Toy(body)
    talk = Conversation(model, {"max_tokens": 16, "seed": 1}, compare=True)
    screen = typed(talk, "who signs?")
    assert [tuned for tuned, _ in model.heard] == [False, True]
    assert screen.index("base") < screen.index("tuned")
    told = [
        "".join(Speaker(body, tuned=tuned).reply([Turn("user", "who signs?")], max_tokens=16, seed=1))
        for tuned in (False, True)
    ]
    assert told[0] != told[1]
    assert talk.said[1:] == [Turn("assistant", told[1])]


def test_what_was_forgotten_is_said(typed, body):
    talk = Conversation(Toy(body, max_length=120), {"max_tokens": 30})
    talk.said = [Turn("user", "long " * 10), Turn("assistant", "ago")]
    out, err = piped(talk, "and now?", as_json=True)
    assert json.loads(out)["forgotten"] == 2
    assert not err
    talk.said = [Turn("user", "long " * 10), Turn("assistant", "ago")]
    _, err = piped(talk, "and now?")
    assert "line 1: the conversation is too long: of its oldest 2 turns not all was read" in err
    talk.said = [Turn("user", "long " * 10), Turn("assistant", "ago")]
    assert "of its oldest 2 turns" in typed(talk, "and now?")


def test_where_a_fact_is_from_is_said(typed):
    model = Scripted(["So."], ["So."], ["So."], ["So."])
    model.beside = {"source": "Stokoe (1960)", "crisis": False}
    assert json.loads(piped(Conversation(model), "why?", as_json=True)[0])["source"] == "Stokoe (1960)"
    out, err = piped(Conversation(model), "why?")
    assert out == "So.\n"
    assert "source: Stokoe (1960)" in err
    assert "source: Stokoe (1960)" in typed(Conversation(model), "why?")
    model.beside = {"reflection": "They need rest."}
    assert "reflection: They need rest." in typed(Conversation(model), "why?")


def test_lines_are_answered_line_by_line():
    model = Scripted(["One", "."], ["Two."], ["Three."])
    out, err = piped(Conversation(model), "first", "", "second", "/reset", "third", "/quit", "fourth")
    assert out == "One.\nTwo.\nThree.\n"
    assert "forgotten" in err
    assert [len(turns) for _, turns in model.heard] == [1, 3, 1]


def test_each_line_is_told_before_the_next_is_read():
    out = io.StringIO()

    def lines():
        yield "first"
        assert out.getvalue() == "One.\n"
        yield "second"

    chat.answer_lines(Conversation(Scripted(["One."], ["Two."])), lines(), out, Console(file=io.StringIO()))
    assert out.getvalue() == "One.\nTwo.\n"


def test_lines_as_json():
    model = Scripted(["plain\n"], ["One\ntwo 👋"])
    out, _ = piped(Conversation(model, compare=True), "first", as_json=True)
    assert out.count("\n") == 1
    assert json.loads(out) == {"user": "first", "base": "plain\n", "tuned": "One\ntwo 👋", **NOTHING}
    out, _ = piped(Conversation(Scripted(["a"], ["b"]), compare=True), "first")
    assert out == "base: a\ntuned: b\n"


def test_a_line_that_cannot_be_answered_names_its_number(body):
    with pytest.raises(DataError, match="line 2: a turn holds the special token"):
        piped(Conversation(Toy(body), {"max_tokens": 2}), "", "<|im_start|>")
    with pytest.raises(UsageError, match="line 1: no persona 'ricc'"):
        piped(Conversation(Scripted()), "/persona ricc")
    with pytest.raises(KeyboardInterrupt):
        piped(Conversation(Scripted([KeyboardInterrupt()])), "q")


def test_nothing_that_is_said_is_logged(typed, caplog):
    caplog.set_level(logging.DEBUG)
    typed(Conversation(Scripted(["a secret"])), "my secret")
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("licence", "line"),
    [
        (OPEN, None),
        (CLOSED, "not for commercial use (data: CC-BY-NC; weights: Apache-2.0)"),
        ({**OPEN, "commercial": None}, "not known to be for commercial use (data: CC0; weights: Apache-2.0)"),
    ],
)
def test_what_is_said_of_a_licence(licence, line):
    assert chat.licence_line(licence) == line


@pytest.fixture
def overtone(monkeypatch, body):
    """Run the verb on lines of standard input, with the toy as the run's decoder."""
    app, made = Typer(), Toy(body, CLOSED)
    app.command()(cli_chat.chat)
    monkeypatch.setattr(system, "load_chat", lambda folder: made, raising=False)
    wide = Console(stderr=True, soft_wrap=True, width=300)
    monkeypatch.setattr(cli_chat, "err", wide)

    def call(*arguments, typed="who?\n"):
        return CliRunner().invoke(app, ["runs/guide", *arguments], input=typed), made

    return call


def test_the_verb(overtone, body):
    settings = ("--max-tokens", "9", "--temperature", "0.5", "--seed", "4")
    found, made = overtone("--persona", "summer", "--compare", "--json", *settings)
    assert found.exit_code == 0, found.output
    assert "reads runs/guide" in found.stderr
    assert "not for commercial use (data: CC-BY-NC" in found.stderr
    asked = [persona.load("summer").turn, Turn("user", "who?")]
    assert made.heard == [(False, asked), (True, asked)]
    expected = [
        "".join(Speaker(body, tuned=tuned).reply(asked, max_tokens=9, temperature=0.5, seed=4))
        for tuned in (False, True)
    ]
    row = json.loads(found.stdout)
    assert [row["base"], row["tuned"]] == expected
    found, _ = overtone("--max-tokens", "9", typed="who?\n\nwhy?\n")
    assert found.stdout.endswith("\n")


def test_the_verb_refuses_what_does_not_fit(overtone):
    found, made = overtone("--persona", "nobdy")
    assert isinstance(found.exception, UsageError)
    assert not made.heard
    assert overtone("--temperature", "-1")[0].exit_code == 2
