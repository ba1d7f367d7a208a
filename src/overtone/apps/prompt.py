"""The interactive classifier: bars of the distribution, questions back, statistics since the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from overtone.apps.stream import Row
from overtone.evaluation import plots
from overtone.inference.decisions import Decision, DecisionLog, Statistics

COLOURS = {
    "joy": "yellow",
    "sadness": "blue",
    "anger": "red",
    "fear": "magenta",
    "love": "bright_magenta",
    "surprise": "cyan",
    "neutral": "white",
    "disgust": "green",
    "calm": "bright_cyan",
    "excitement": "bright_yellow",
    "confusion": "bright_blue",
}
WIDTH = 32
"""Characters of a full bar."""
SHOWN = 8
"""Labels with a bar."""
Command = tuple[str, Callable[[], None]]
"""What a command is for, and what it does."""


def quoted(text: str) -> Text:
    """A text as it stands above what was made of it, cut at 200 characters."""
    return Text(text if len(text) <= 200 else text[:197] + "…", style="italic")


def show(console: Console, decision: Decision, text: str | None = None) -> None:
    """One decision: the text, if it is not on the screen yet, the label, the bars, and the steps to it."""
    if text is not None:
        console.print(quoted(text))
    if decision.label is None:
        console.print("  nothing to read here: no words and no emoji\n", style="dim")
        return
    found = ", ".join(decision.labels) or decision.label
    said = "unsure, best guess" if decision.source == "ask" else f"by {decision.source}"
    console.print(
        Text(
            f"  {found}  {decision.confidence:.0%}  {said}",
            style=f"bold {COLOURS.get(decision.label, 'white')}",
        )
    )
    bars = Table.grid(padding=(0, 1))
    for label, share in list(decision.scores.items())[:SHOWN]:
        bar = "█" * round(share * WIDTH) or "▏"
        bars.add_row(
            Text(f"  {label:<14}"), Text(f"{share:6.1%}"), Text(bar, style=COLOURS.get(label, "white"))
        )
    console.print(bars)
    for step in decision.steps:
        note = f": {step.note}" if step.note else ""
        console.print(Text(f"    {step.name} → {step.label} {step.confidence:.0%}{note}", style="dim"))
    console.print()


def talk(
    console: Console, opening: str, commands: Mapping[str, Command], respond: Callable[[str], None]
) -> None:
    """Read texts until the end of input, Ctrl-C or ``:quit``.

    Args:
        console: where to.
        opening: said first; it may hold console markup.
        commands: what is not read as a text, beside ``:help`` and ``:quit``; a face such as ``:(`` is one.
        respond: takes a text.
    """
    meanings = {name: meaning for name, (meaning, _) in commands.items()}
    meanings |= {":help": "this list", ":quit": "the end (also :q)"}
    console.print(f"{opening} {', '.join(f'[bold]{name}[/]' for name in meanings)}.\n", emoji=False)
    while True:
        try:
            text = console.input("[bold]› [/]")
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        word = text.strip()
        if word in (":quit", ":q"):
            return
        if word == ":help":
            for name, meaning in meanings.items():
                console.print(Text.assemble((f"  {name:<8}", "bold"), meaning))
            console.print()
        elif word in commands:
            commands[word][1]()
        else:
            respond(text)


def converse(
    decide: Callable[[list[Row]], list[Decision]],
    console: Console,
    journal: DecisionLog | None,
    picture: Path,
) -> Statistics:
    """Decide on each text that is typed; where unsure, ask which of the likeliest labels it is.

    Args:
        decide: rows → decisions.
        console: where to.
        journal: a log of decisions, if one is wanted.
        picture: where ``:stats`` saves its plot.
    """
    statistics = Statistics()

    def respond(text: str) -> None:
        (decision,) = decide([(text, None)])
        statistics.add([decision])
        if journal:
            journal.add([text], [decision])
        show(console, decision)
        if decision.offers:
            _ask(console, decision.offers)

    commands = {":stats": ("statistics since the start", lambda: _statistics(console, statistics, picture))}
    talk(console, "Type a text, and Enter.", commands, respond)
    return statistics


def _ask(console: Console, offers: Sequence[str]) -> None:
    """Put the likeliest labels to the person; the answer is theirs and is not kept."""
    question = Text("  I am not sure. Which is it?  ")
    for i, label in enumerate(offers, start=1):
        question.append(str(i), style="bold").append(f" {label}  ")
    question.append("(Enter: neither) ")
    try:
        answer = console.input(question).strip()
    except (EOFError, KeyboardInterrupt):
        answer = ""
    answer = {str(i): label for i, label in enumerate(offers, start=1)}.get(answer, answer)
    console.print(Text(f"  {answer}, then. Thank you.\n" if answer in offers else "  Left open.\n"))


def _statistics(console: Console, statistics: Statistics, picture: Path) -> None:
    """Counts since the start, and the same as a picture."""
    if not statistics.n:
        console.print("nothing was classified yet\n")
        return
    console.print(f"{statistics.n} texts, {statistics.fallback_share:.0%} needed a later step")
    table = Table("label", "times", "")
    for label, count in statistics.labels.most_common():
        bar = Text("█" * max(1, round(count / statistics.n * WIDTH)), style=COLOURS.get(label, "white"))
        table.add_row(Text(label), str(count), bar)
    console.print(table)
    if statistics.confidences:
        console.print(f"mean confidence {statistics.mean_confidence[-1]:.0%}")
    plots.save(plots.decision_statistics(statistics), picture)
    console.print(Text(f"saved {picture}\n"))
