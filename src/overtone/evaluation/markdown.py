"""Small pieces of Markdown: escaped text, tables, signed numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST = 200
"""Characters of a text that a table cell shows."""

# Marks of emphasis, code, links, cells and mathematics; of HTML and entities; underscores, if not inside a
# word; and the mark of a heading, if it comes first.
SPECIAL = re.compile(r"[\\`*\[\]|>~$]|<(?=[A-Za-z/!?])|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])|^#")
NUMBER = re.compile(r"(?:[\d.,%+\-–:()< ]|\bto\b)*")


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line: no markup, no HTML, no table cell of its own."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown cells; columns of numbers stand to the right."""
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in header]
    right = [bool(rows) and all(map(NUMBER.fullmatch, column)) for column in columns]
    lines = [list(header), ["---:" if flush else "---" for flush in right], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def escaped_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts; each is escaped, and cut where it is long."""
    return table([escape(cell) for cell in header], [[escape(cut(cell)) for cell in row] for row in rows])


def cut(text: str) -> str:
    """The text, or its start and an ellipsis."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def signed(value: float) -> str:
    """A difference with its sign, three decimals."""
    return f"{value:+.3f}"


def p_value(p: float) -> str:
    """A p-value for a table: ``0.034``, ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float) -> str:
    """A p-value for a sentence: ``p = 0.034``, ``p < 0.001``."""
    return f"p {p_value(p)}" if p < 0.001 else f"p = {p_value(p)}"
