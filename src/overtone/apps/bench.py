"""`overtone bench inference` and `overtone export` on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from overtone.apps import screen

if TYPE_CHECKING:
    from overtone.evaluation.parity import Judged
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


def forms(console: Console, judged: Sequence[Judged]) -> None:
    """Every form of an export, fastest first, and why those that were refused were."""
    screen.table(
        console,
        ["form", "texts/s", "gate", "least the same", "largest change"],
        [
            (
                each.name,
                f"{each.per_second:,.0f}",
                "passed" if each.passed else "refused",
                f"{min((parity.same for parity in each.tasks), default=1.0):.2%}",
                f"{max((abs(parity.change) for parity in each.tasks), default=0.0):.4f}",
            )
            for each in judged
        ],
        title="forms of the model",
        styles=["" if each.passed else "red" for each in judged],
    )
    for each in judged:
        for parity in each.tasks:
            if not parity.passed:
                console.print(f"{each.name}: {parity.sentence}", markup=False)
