"""`overtone bench inference` on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from overtone.apps import screen

if TYPE_CHECKING:
    from overtone.evaluation.speed import Timing


def inference(console: Console, rows: Sequence[Timing], texts: int) -> None:
    """Every setting that was tried, fastest first."""
    screen.table(
        console,
        ["backend", "precision", "sessions\n× threads", "tokens\na batch", "texts/s", "from – to"],
        [
            (
                row.backend,
                row.precision,
                f"{row.sessions} × {row.threads}",
                row.batch,
                f"{row.per_second:,.0f}",
                f"{row.slowest:,.0f} – {row.quickest:,.0f}",
            )
            for row in rows
        ],
        title=f"{texts:,} texts, the settings in turn, medians",
    )
