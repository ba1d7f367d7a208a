"""A conversation in the terminal, or a line in and a line out; nothing that is said is kept unless saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from overtone.apps import persona as personas
from overtone.apps.persona import Persona
from overtone.data.chat import Turn, Turns
from overtone.errors import DataError, OvertoneError, RunError, UsageError, did_you_mean
from overtone.run import write_atomic

COMMANDS = {
    "/persona NAME": "who answers: a name or a file; none: nobody in particular; without NAME: who there is",
    "/history": "what was said so far",
    "/reset": "begin anew, with the same persona",
    "/save FILE": "write what was said, as JSON",
    "/help": "this list",
    "/quit": "the end, as Ctrl-D; Ctrl-C stops an answer",
}
"""What begins with a slash, and what it is for."""

NOBODY = "none"
"""The name that takes the persona away."""

_CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))
"""What a terminal would obey instead of showing it."""

Show = Callable[[str, Iterator[str]], str]
"""Takes ``base`` or ``tuned`` and the pieces of an answer; gives what was said of it."""


class Converses(Protocol):
    """Whom one can talk to."""

    @property
    def licence(self) -> Mapping[str, Any]:
        """What it may be used for: ``data``, ``weights``, ``commercial`` (None: not known)."""

    @property
    def forgotten(self) -> int:
        """Turns of which the last ``reply`` did not read all, as they were too many; 0 and above."""

    @property
    def beside(self) -> Mapping[str, Any]:
        """What stands beside the last ``reply``, as JSON values, such as its ``source``."""

    def reply(self, turns: Turns, *, tuned: bool = True, **settings: Any) -> Iterator[str]:  # noqa: ANN401
        """Answer a conversation whose last turn is the user's, whole characters at a time."""


def licence_line(licence: Mapping[str, Any]) -> str | None:
    """What is said of a licence before anything else; None where commercial use is allowed."""
    if licence["commercial"] is True:
        return None
    allowed = "not" if licence["commercial"] is False else "not known to be"
    return f"{allowed} for commercial use (data: {licence['data']}; weights: {licence['weights']})"


@dataclass(slots=True)
class Conversation:
    """What was said, and who answers.

    Args:
        model: what answers.
        settings: of its answers, such as ``max_tokens``.
        persona: who it is; None: nobody in particular.
        compare: whether the model without its adapter answers too, and first. What it says is shown and not
            heard: the conversation goes on with the tuned answer.
        said: the turns so far, each question answered.
    """

    model: Converses
    settings: Mapping[str, Any] = field(default_factory=dict)
    persona: Persona | None = None
    compare: bool = False
    said: list[Turn] = field(default_factory=list)

    def answer(self, text: str, show: Show) -> dict[str, str]:
        """Ask something; what is answered is a part of the conversation, a question without answer is not.

        Returns:
            What ``tuned`` said, and before it ``base`` where both are asked.

        Raises:
            UsageError: a setting does not fit.
            DataError: the text holds a special token.
        """
        above = [] if self.persona is None else [self.persona.turn]
        asked = [*self.said, Turn("user", text)]
        told: dict[str, str] = {}
        for name in ("base", "tuned") if self.compare else ("tuned",):
            pieces = self.model.reply([*above, *asked], tuned=name == "tuned", **self.settings)
            told[name] = show(name, pieces)
        if told["tuned"].strip():
            self.said = [*asked, Turn("assistant", told["tuned"])]
        return told

    def remark(self, told: Mapping[str, str]) -> str | None:
        """What should be known of the last answer; None where there is nothing."""
        if not told["tuned"].strip():
            return "nothing was answered: the question is taken back"
        if self.model.forgotten:
            return (
                f"the conversation is too long: of its oldest {self.model.forgotten} turns not all was read"
            )
        return None

    def asides(self) -> list[str]:
        """The texts that stand beside the last answer, a line each."""
        found = self.model.beside.items()
        return [f"{name}: {text}" for name, text in found if isinstance(text, str) and text]

    def save(self, path: Path) -> None:
        """Write what was said, whole or not at all: ``persona``, and ``turns`` of ``role`` and ``text``.

        Raises:
            RunError: it cannot be written; an older file stays as it was.
        """
        turns = [{"role": turn.role, "text": turn.text} for turn in self.said]
        values = {"persona": None if self.persona is None else self.persona.name, "turns": turns}
        try:
            write_atomic(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
        except RunError as error:
            raise RunError(error.what, hint="name another file: /save FILE") from error


def obey(conversation: Conversation, line: str, console: Console) -> bool:
    """Do what a line that begins with a slash says.

    Args:
        conversation: what it is about.
        line: the command, and what belongs to it.
        console: where it is answered.

    Returns:
        Whether the conversation goes on.

    Raises:
        UsageError: there is no such command or persona, or a file's name is missing.
        RunError: a file cannot be written.
    """
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    match command:
        case "/quit":
            return False
        case "/help":
            for name, meaning in COMMANDS.items():
                console.print(Text.assemble((f"  {name:<14}", "bold"), meaning))
        case "/history":
            for turn in conversation.said:
                console.print(Text.assemble((f"{turn.role:>9}  ", "bold"), _visible(turn.text)))
        case "/reset":
            conversation.said = []
            console.print("forgotten; what is asked next is the beginning")
        case "/save" if rest:
            conversation.save(Path(rest).expanduser())
            console.print(Text(f"wrote {rest}"))
        case "/save":
            raise UsageError("/save lacks a file", hint="/save talk.json")
        case "/persona" if rest:
            conversation.persona = None if rest == NOBODY else personas.load(rest)
            console.print(Text(f"{rest} answers" if conversation.persona else "nobody in particular answers"))
        case "/persona":
            now = NOBODY if conversation.persona is None else conversation.persona.name
            console.print(Text(f"now {now}; known: {', '.join([*personas.shipped(), NOBODY])}"))
        case _:
            known = [name.partition(" ")[0] for name in COMMANDS]
            raise UsageError(f"no command '{command}'", hint=did_you_mean(command, known))
    return True


def talk(conversation: Conversation, console: Console) -> None:
    """Converse until ``/quit`` or Ctrl-D.

    Answers are drawn as Markdown while they are made. Ctrl-C stops one and keeps what was said of it; what is
    wrong with a line is said, and the conversation goes on.
    """
    with suppress(
        ImportError
    ):  # not everywhere; it gives the line its arrow keys, and keeps it in memory alone
        import readline  # noqa: F401
    who = "" if conversation.persona is None else f"{conversation.persona.name} answers. "
    console.print(Text(f"{who}Ask something, and Enter. /help names what else can be typed.\n"))
    while True:
        try:
            line = input("› ").strip()
        except EOFError:
            console.print()
            return
        except KeyboardInterrupt:
            console.print(Text("\n/quit or Ctrl-D leaves", style="dim"))
            continue
        if not line:
            continue
        try:
            if not line.startswith("/"):
                told = conversation.answer(
                    line, lambda name, pieces: _draw(console, conversation, name, pieces)
                )
                for aside in conversation.asides():
                    console.print(Text(aside, style="dim"))
                if remark := conversation.remark(told):
                    console.print(Text(remark, style="yellow"))
                console.print()
            elif not obey(conversation, line, console):
                return
        except OvertoneError as error:
            console.print(Text.assemble(("error ", "bold red"), error.what))
            if error.hint:
                console.print(Text(f"  → {error.hint}", style="cyan"))


def _draw(console: Console, conversation: Conversation, name: str, pieces: Iterator[str]) -> str:
    """Show an answer as it grows, up to its end or Ctrl-C."""
    said: list[str] = []
    if conversation.compare:
        console.print(Text(name, style="bold"))
    drawing = Live(
        get_renderable=lambda: Markdown(_visible("".join(said))), console=console, refresh_per_second=8
    )
    with suppress(KeyboardInterrupt), drawing:
        for piece in pieces:
            said.append(piece)  # one by one: it is drawn meanwhile
    return "".join(said)


def _visible(text: str) -> str:
    return text.translate(_CONTROL)


def answer_lines(
    conversation: Conversation, lines: Iterable[str], out: IO[str], err: Console, *, as_json: bool = False
) -> None:
    """Answer line by line, in one conversation; blank lines are nothing, and commands are obeyed.

    Args:
        conversation: that goes on.
        lines: a question each, or a command.
        out: where the answers go: as they are made, or one JSON object a line with ``user``, ``tuned``,
            ``base`` where both are asked, what stands ``beside`` the answer, and ``forgotten``.
        err: where the rest goes.
        as_json: the latter.

    Raises:
        UsageError, DataError, RunError: a line cannot be answered or obeyed; it names its number.
    """

    def show(name: str, pieces: Iterator[str]) -> str:
        said: list[str] = []
        if not as_json and conversation.compare:
            out.write(f"{name}: ")
        for piece in pieces:
            said.append(piece)
            if not as_json:
                out.write(piece)
                out.flush()
        if not as_json:
            out.write("\n")
        return "".join(said)

    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        try:
            if text.startswith("/"):
                if not obey(conversation, text, err):
                    return
                continue
            told = conversation.answer(text, show)
        except (DataError, RunError, UsageError) as error:
            raise type(error)(f"line {number}: {error.what}", hint=error.hint) from error
        if as_json:
            model = conversation.model
            row = {"user": text, **told, **model.beside, "forgotten": model.forgotten}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
        else:
            for aside in conversation.asides():
                err.print(Text(aside, style="dim"))
            if remark := conversation.remark(told):
                err.print(Text(f"line {number}: {remark}", style="yellow"))
        out.flush()
