"""How a conversation is looked at for signs of a crisis: the last message, with what was said before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from overtone.data.chat import Turn

WINDOW, STEP = 400, 300
"""Characters of a message that are looked at together, and how far the next window starts: the end of a
paragraph must not be what a model cuts off."""

BEFORE = 500
"""Characters of what was said before, the latest."""

SAID = 100
"""Characters of a listener's turn that are looked at: a long one must not push out what the person said."""

LIMIT = 40
"""Windows of a message at most, half of them its first and half its last: nobody can make the policy wait."""


@dataclass(frozen=True, slots=True)
class View:
    """One look at a conversation.

    Args:
        text: the last message, or a window of it.
        context: what both said before, a turn a line; None where the text is looked at alone.
    """

    text: str
    context: str | None


def views(turns: Sequence[Turn]) -> list[View]:
    """The looks at a conversation, one or more; the gravest of them counts.

    A system's turns are not looked at: whoever writes one can neither raise nor lower a verdict. Without a
    message of the user there is one empty look.
    """
    said = [turn for turn in turns if turn.role != "system" and turn.text.strip()]
    while said and said[-1].role != "user":
        said.pop()
    if not said:
        return [View("", None)]
    before = [turn.text if turn.role == "user" else turn.text[:SAID] for turn in said[:-1]]
    context = "\n".join(before)[-BEFORE:] or None
    return [View(window, context) for window in windows(said[-1].text)]


def windows(text: str) -> list[str]:
    """A text in overlapping windows, cut at spaces where there are any."""
    whole = " ".join(text.split())
    if len(whole) <= WINDOW:
        return [whole]
    made = []
    for start in range(0, len(whole) - WINDOW + STEP, STEP):
        piece = whole[start : start + WINDOW]
        made.append(piece.partition(" ")[2] or piece if start else piece)
    return made if len(made) <= LIMIT else made[: LIMIT // 2] + made[-LIMIT // 2 :]
