from __future__ import annotations

import builtins
import io

import pytest
from rich.console import Console

from overtone.apps import prompt
from overtone.inference.decisions import Decision, DecisionLog, Step

SURE = Decision(
    "joy",
    0.9,
    {"joy": 0.9, "[red]": 0.1},
    "primary",
    (Step("primary", "joy", 0.9, "[bold]note[/] :smile:"),),
)
UNSURE = Decision(
    "joy",
    0.4,
    {"joy": 0.4, "fear": 0.35, "[b]odd": 0.25},
    "ask",
    (Step("ask", "joy", 0.4, "below the bar"),),
    offers=("joy", "fear", "[b]odd"),
)
NOISE = Decision(None, 0.0, {}, "noise", (Step("noise", None, 0.0, "no words"),))


@pytest.fixture
def talk(monkeypatch, tmp_path):
    """A conversation of typed lines: what was classified, what the screen held, and the statistics."""

    def run(*typed, decision=SURE, journal=None):
        waiting, asked = iter(typed), []

        def type_next(*_):
            line = next(waiting, EOFError)
            if not isinstance(line, str):
                raise line
            return line

        def decide(rows):
            assert all(before is None for _, before in rows)
            asked.extend(text for text, _ in rows)
            return [decision] * len(rows)

        monkeypatch.setattr(builtins, "input", type_next)
        console = Console(file=io.StringIO(), width=100)
        counted = prompt.converse(decide, console, journal, tmp_path / "stats.png")
        return asked, console.file.getvalue(), counted

    return run


@pytest.mark.parametrize(
    "face", [":(", ":) so glad", ":D", ":smile:", ":stat", ": stats", ":", "[bold]", "/q"]
)
def test_a_face_is_a_text(talk, face):
    asked, _, counted = talk(face)
    assert asked == [face]
    assert counted.n == 1


@pytest.mark.parametrize("command", [":quit", ":q", " :quit "])
def test_quit_ends_it(talk, command):
    assert talk("one", command, "two")[0] == ["one"]


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_the_end_of_input_and_ctrl_c_end_it(talk, end):
    asked, _, counted = talk("one", "two", end)
    assert asked == ["one", "two"]
    assert counted.labels == {"joy": 2}


def test_help_names_the_commands(talk):
    asked, screen, _ = talk(":help")
    assert asked == []
    assert all(command in screen for command in (":stats", ":quit", ":q", ":help"))


def test_labels_and_notes_are_no_markup(talk):
    _, screen, _ = talk("hello")
    assert "joy  90%  by primary" in screen
    assert "[red]" in screen
    assert "[bold]note[/] :smile:" in screen


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("2", "fear, then."),
        ("fear", "fear, then."),
        ("3", "[b]odd, then."),
        ("", "Left open."),
        ("0", "Left open."),
        ("4", "Left open."),
        ("²", "Left open."),
        ("9" * 5000, "Left open."),
        (EOFError, "Left open."),
        (KeyboardInterrupt, "Left open."),
    ],
)
def test_asking_back(talk, answer, reply):
    asked, screen, counted = talk("hmm", answer, decision=UNSURE)
    assert asked == ["hmm"]
    assert "unsure, best guess" in screen
    assert "1 joy  2 fear  3 [b]odd" in screen
    assert reply in screen
    assert counted.fallback_share == 1


def test_noise_is_said_to_be_noise(talk):
    _, screen, counted = talk("", decision=NOISE)
    assert "nothing to read here" in screen
    assert counted.n == 1
    assert not counted.labels


def test_statistics_are_shown_and_saved(talk, tmp_path):
    _, screen, _ = talk(":stats", "one", "two", ":stats")
    assert "nothing was classified yet" in screen
    assert "2 texts, 0% needed a later step" in screen
    assert "mean confidence 90%" in screen
    assert "saved " in screen
    assert (tmp_path / "stats.png").read_bytes().startswith(b"\x89PNG")


def test_the_log_is_kept_without_texts(talk, tmp_path):
    talk("a secret", journal=DecisionLog(tmp_path / "log.jsonl"))
    line = (tmp_path / "log.jsonl").read_text()
    assert '"joy"' in line
    assert "secret" not in line


def test_a_shown_text_is_cut_and_is_no_markup():
    console = Console(file=io.StringIO(), width=300)
    prompt.show(console, SURE, "[red]" + "x" * 300)
    first = console.file.getvalue().splitlines()[0]
    assert first.startswith("[red]xxx")
    assert first.endswith("…")
    assert len(first) <= 200
