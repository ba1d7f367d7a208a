"""The chapters of a report that any tuned decoder has: how likely texts are to it, and what was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overtone.evaluation.chapter import gained, with_interval
from overtone.evaluation.compare import Difference, Standing
from overtone.evaluation.findings import gain_over, told
from overtone.evaluation.markdown import escape, table

BESIDE = "A text that has nothing to do with the training: what rises here was forgotten."
"""What a general text is."""


def compared(gain: Difference, above: str, below: str) -> str:
    """What a difference comes to: the one, the other, or neither is shown."""
    return above if gain.low > 0 else below if gain.high < 0 else "is not shown to differ from"


def likelier(text: str, model: Standing, base: Standing) -> str:
    """One sentence on how a run and its base find a text."""
    gain = gain_over(base)
    said = compared(gain, "is worse than", "is better than")
    ours, theirs = (each.figures["bits_per_byte"].value for each in (model, base))
    return (
        f"On {text}, {model.name} {said} {base.name}: {ours:.3f} against {theirs:.3f} bits a byte, "
        f"{told(gain)}."
    )


def likely(name: str, standings: Sequence[Standing], about: str) -> str:
    """How likely a text is to the run and the base.

    Args:
        name: of the text.
        standings: the run's, then the base's.
        about: a sentence on what the text is.
    """
    rows = [
        [
            escape(each.name),
            *(with_interval(each.figures[measure]) for measure in ("perplexity", "bits_per_byte")),
            "" if each.gain is None else gained(each),
        ]
        for each in standings
    ]
    header = ["system", "perplexity", "bits a byte", "run − base"]
    return f"### {escape(name)}\n\n{table(header, rows)}\n\n{about} Lower is better."


def masked(mask: Mapping[str, Any]) -> str:
    """What was trained, so that nobody has to trust it; ``mask`` is from ``chat.proof``."""
    examples = "\n\n".join(f"```\n{each}\n```" for each in mask["examples"])
    return (
        f"## What was trained\n\n{mask['trained']:,} of {mask['tokens']:,} tokens ({mask['share']:.1%}) in "
        f"{mask['conversations']:,} conversations; {mask['ended']:.1%} of them end with a trained "
        f"`{mask['end_of_turn']}`; {mask['cut']:,} were cut. Between ⟦ and ⟧ stands what is learnt:\n\n"
        f"{examples}"
    )
