"""How a conversation is looked at for signs of a crisis: the last message, with what was said before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from overtone.data.chat import Turn

USUAL = 160
"""Characters of a message that is only looked at as a whole: as long as most that were learnt from."""

SAYING = 120
"""Of a longer one, characters of the sentences that are looked at together: as much as somebody mostly says,
so that nothing is hidden by what stands around it."""

WINDOW, STEP = 400, 300
"""Characters of a longer one that are looked at together as well, and how far the next window starts."""

BEFORE = 500
"""Characters of what was said before, the latest."""

SAID = 100
"""Characters of a listener's turn that are looked at: a long one must not push out what the person said."""

LIMIT = 60
"""Windows of one size at most, half of them the first and half the last: nobody can make the policy wait."""


_END = re.compile(r"(?<=[.!?…])\s+|\s*\n\s*")


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
    """A text as a whole, or where it is long by sentences that stand together, and then in larger windows."""
    whole = " ".join(text.split())
    if len(whole) <= USUAL:
        return [whole]
    return _both_ends(_sayings(text)) + _both_ends(_cut(whole, WINDOW, STEP))


def _sayings(text: str) -> list[str]:
    """Sentences in their order, as many together as fit; each run begins a sentence later and ends later."""
    sentences = [" ".join(part.split()) for part in _END.split(text)]
    parts = [piece for sentence in sentences if sentence for piece in _cut(sentence, SAYING, SAYING * 2 // 3)]
    made, reached = list[str](), 0
    for first in range(len(parts)):
        last = max(first + 1, reached)
        while last < len(parts) and len(" ".join(parts[first : last + 1])) <= SAYING:
            last += 1
        if last > reached:
            made.append(" ".join(parts[first:last]))
            reached = last
    return made


def _cut(text: str, size: int, step: int) -> list[str]:
    """Overlapping pieces, cut at spaces where there are any."""
    if len(text) <= size:
        return [text]
    made = []
    for start in range(0, len(text) - size + step, step):
        piece = text[start : start + size]
        made.append(piece.partition(" ")[2] or piece if start else piece)
    return made


def _both_ends(found: list[str]) -> list[str]:
    return found if len(found) <= LIMIT else found[: LIMIT // 2] + found[-LIMIT // 2 :]
