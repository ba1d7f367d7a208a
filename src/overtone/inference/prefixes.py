"""Prompts of which one begins another, such as those of one conversation, are read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shared:
    """A prompt with those that begin it.

    Args:
        tokens: of the longest, T of them.
        ends: place of a last token, ascending → the prompts that end there.
    """

    tokens: Sequence[int]
    ends: dict[int, list[int]]


def together(prompts: Sequence[Sequence[int]]) -> list[Shared]:
    """N prompts, with the longest that they begin: in order, a prompt stands right before all of these."""
    found: list[Shared] = []
    for place in sorted(range(len(prompts)), key=lambda place: list(prompts[place])):
        prompt = prompts[place]
        ends = {len(prompt) - 1: [place]}
        if found and list(prompt[: len(found[-1].tokens)]) == list(found[-1].tokens):
            begun = found.pop().ends
            ends = {**begun, len(prompt) - 1: [*begun.get(len(prompt) - 1, []), place]}
        found.append(Shared(prompt, ends))
    return found
