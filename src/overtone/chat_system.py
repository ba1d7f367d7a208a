"""A tuned decoder, loaded: it answers, as it was tuned or as it was before, and from what it can look up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from overtone.chat_prompt import UNKNOWN, framed
from overtone.chat_recipe import ChatRecipe
from overtone.data.chat import Turn, Turns
from overtone.errors import UsageError
from overtone.inference import lookup
from overtone.inference.converse import Speaker
from overtone.inference.lookup import Fact, Lookup
from overtone.models import adapters, causal
from overtone.models.causal import CausalBody
from overtone.run import Run, read_json

FACTS = "chat.json"
"""The file in a run's ``model`` that is written last, and so says that the model is whole."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer.

    Args:
        text: what was said.
        fact: what was looked up for it; None where nothing was, or nothing fits.
    """

    text: str
    fact: Fact | None = None


class ChatSystem:
    """A decoder with its adapter, and what it can look up.

    Args:
        run: the folder it came from.
        recipe: what it was made by.
        body: in evaluation mode, with its adapter.
        facts: what it can look up; None where it looks nothing up.
    """

    def __init__(self, run: Run, recipe: ChatRecipe, body: CausalBody, facts: Lookup | None) -> None:
        self.run = run
        self.recipe = recipe
        self.body = body
        self.lookup = facts
        self.device = str(next(body.parameters()).device)
        self.end: int = read_json(run.model / FACTS)["end_of_turn"]
        self.forgotten = 0
        """Turns of which the last ``reply`` did not read all, as they were too many."""
        self._speakers = {tuned: Speaker(body, tuned=tuned) for tuned in (True, False)}

    @property
    def licence(self) -> dict[str, Any]:
        """What it may be used for: ``data``, ``weights``, ``commercial`` (None: not known)."""
        found: dict[str, Any] = self.run.facts()["licence"]
        return found

    def reply(
        self,
        turns: Turns,
        *,
        tuned: bool = True,
        grounded: bool | None = None,
        **settings: Any,  # noqa: ANN401 - any JSON value
    ) -> Iterator[str]:
        """Answer a conversation, a piece at a time.

        Args:
            turns: the last of them the user's.
            tuned: False answers as the decoder did before it was tuned.
            grounded: whether its facts are looked up; None: where it has some, and it is tuned.
            settings: of ``ReplyConfig``, such as ``max_tokens``, ``temperature``, ``seed``, ``stop``.

        Yields:
            The answer, whole characters at a time. Where facts are looked up and none fits, ``UNKNOWN``.

        Raises:
            UsageError: a setting is unknown, or there is nothing to look up.
            DataError: the conversation does not end with the user, or holds a special token.
        """
        ((_, prompt),) = self._prompts([turns], self._looks_up(grounded, tuned))
        self.forgotten = 0
        if prompt is None:
            yield UNKNOWN
            return
        speaker = self._speakers[tuned]
        told = speaker.reply(prompt, **settings)
        self.forgotten = speaker.forgotten
        yield from told

    def answer(
        self,
        questions: Sequence[str],
        *,
        tuned: bool = True,
        grounded: bool | None = None,
        **settings: Any,  # noqa: ANN401 - any JSON value
    ) -> list[Said]:
        """Answer N questions, each by itself. The arguments and errors are those of ``reply``."""
        alone = [[Turn("user", question)] for question in questions]
        found = self._prompts(alone, self._looks_up(grounded, tuned))
        asked = [prompt for _, prompt in found if prompt is not None]
        answers = iter(self._speakers[tuned].answers(asked, **settings))
        return [
            Said(UNKNOWN) if prompt is None else Said(next(answers).strip(), fact) for fact, prompt in found
        ]

    def _looks_up(self, grounded: bool | None, tuned: bool) -> bool:
        return tuned and self.lookup is not None if grounded is None else grounded

    def _prompts(
        self, conversations: Sequence[Turns], grounded: bool
    ) -> list[tuple[Fact | None, list[Turn] | None]]:
        """The fact of each conversation's last question, and what is read; None where no fact fits."""
        system = self.recipe.system
        if not grounded:
            return [(None, framed(turns, system)) for turns in conversations]
        if self.lookup is None:
            raise UsageError(
                f"{self.run.folder} looks nothing up", hint="train with `grounding` in the recipe"
            )
        hits = self.lookup.find([turns[-1].text for turns in conversations])
        return [
            (hit.fact, None if hit.fact is None else framed(turns, system, hit.fact.answer))
            for turns, hit in zip(conversations, hits, strict=True)
        ]


def load(run: Run, recipe: ChatRecipe) -> ChatSystem:
    """Load a trained run.

    Raises:
        RunError: a file is missing, damaged, or not of this run.
        WeightsError: the decoder's weights, or those that look facts up, are not at hand.
    """
    body = causal.build(recipe.body, recipe.adapter).body
    adapters.restore(body, run.model)
    body.requires_grad_(False).eval().to("cuda" if torch.cuda.is_available() else "cpu")
    return ChatSystem(run, recipe, body, None if recipe.grounding is None else lookup.load(run.model))
