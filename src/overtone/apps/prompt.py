"""The interactive classifier: bars of the distribution, questions back, statistics since the start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from overtone.apps.stream import Classify
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
}
WIDTH = 32
"""Characters of a full bar."""
SHOWN = 8
"""Labels with a bar."""
COMMANDS = {":stats": "statistics since the start", ":help": "this list", ":quit": "the end (also :q)"}
"""What is not read as a text; a face such as ``:(`` is one."""


def show(console: Console, decision: Decision, text: str | None = None) -> None:
    """One decision: the text, if it is not on the screen yet, the label, the bars, and the steps to it."""
    if text is not None:
        console.print(Text(text if len(text) <= 200 else text[:197] + "…", style="italic"))
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


def converse(classify: Classify, console: Console, journal: DecisionLog | None, picture: Path) -> Statistics:
    """Read texts until the end of input; where unsure, ask which of the likeliest labels it is.

    Args:
        classify: texts → decisions.
        console: where to.
        journal: a log of decisions, if one is wanted.
        picture: where ``:stats`` saves its plot.
    """
    statistics = Statistics()
    console.print(
        "Type a text, and Enter. [bold]:stats[/] for statistics, [bold]:help[/], [bold]:quit[/] to end.\n",
        emoji=False,
    )
    while True:
        try:
            text = console.input("[bold]› [/]")
        except (EOFError, KeyboardInterrupt):
            console.print()
            return statistics
        match text.strip():
            case ":quit" | ":q":
                return statistics
            case ":stats":
                _statistics(console, statistics, picture)
                continue
            case ":help":
                for command, meaning in COMMANDS.items():
                    console.print(Text.assemble((f"  {command:<8}", "bold"), meaning))
                console.print()
                continue
        (decision,) = classify([text])
        statistics.add([decision])
        if journal:
            journal.add([text], [decision])
        show(console, decision)
        if decision.offers:
            _ask(console, decision.offers)


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
