"""A tuned decoder, loaded: it answers, as it was tuned or as it was before, and from what it can look up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import AutoConfig, AutoTokenizer

from overtone.chat_prompt import UNKNOWN, follows, framed
from overtone.chat_recipe import ChatRecipe, DecoderRecipe
from overtone.data.chat import Turn, Turns
from overtone.errors import RunError, UsageError
from overtone.inference import export_chat, lookup
from overtone.inference.converse import Speaker
from overtone.inference.llama import LlamaSpeaker
from overtone.inference.lookup import Fact, Lookup
from overtone.models import adapters, causal
from overtone.models.causal import CausalBody
from overtone.run import Run, read_json

CONTEXT = 4096
"""Tokens of a conversation with llama.cpp at most: memory for them is taken at once."""

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


class Speaks(Protocol):
    """What answers the last turn of a conversation: PyTorch's ``Speaker``, or llama.cpp's."""

    forgotten: int

    def reply(self, turns: Turns, **settings: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
        """Answer a conversation, a piece at a time."""

    def answers(self, conversations: Sequence[Turns], **settings: Any) -> list[str]:  # noqa: ANN401
        """Answer N conversations, (N,)."""


class Tutor:
    """What answers as a run does, and looks up what it looks up.

    Args:
        run: the folder it came from.
        recipe: what it was made by.
        speakers: who answers as it was tuned (True), and as it was before (False) where that is at hand.
        facts: what it can look up; None where it looks nothing up.
    """

    def __init__(
        self, run: Run, recipe: DecoderRecipe, speakers: Mapping[bool, Speaks], facts: Lookup | None
    ) -> None:
        self.run = run
        self.recipe = recipe
        self.lookup = facts
        self.forgotten = 0
        """Turns of which the last ``reply`` did not read all, as they were too many."""
        self.source: str | None = None
        """Where the fact of the last ``reply`` is from; None where none was looked up, or nobody says."""
        self._speakers = speakers

    @property
    def beside(self) -> dict[str, Any]:
        """What stands beside the last ``reply``: its ``source``, where there is one."""
        return {"source": self.source}

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
        self.forgotten, self.source = 0, None
        ((fact, prompt),) = self._prompts([turns], self._looks_up(grounded, tuned))
        self.source = None if fact is None else fact.source or None
        if prompt is None:
            yield UNKNOWN
            return
        speaker = self._speaker(tuned)
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
        answers = iter(self._speaker(tuned).answers(asked, **settings))
        return [
            Said(UNKNOWN) if prompt is None else Said(next(answers).strip(), fact) for fact, prompt in found
        ]

    def _speaker(self, tuned: bool) -> Speaks:
        if tuned not in self._speakers:
            raise UsageError(
                "an exported form has its adapter merged: the decoder before it is not there",
                hint="leave --engine out to hear both",
            )
        return self._speakers[tuned]

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
        unclear = [row for row, hit in enumerate(hits) if hit.fact is None and follows(conversations[row])]
        again = self.lookup.find([follows(conversations[row]) for row in unclear])
        facts = [hit.fact for hit in hits]
        for row, hit in zip(unclear, again, strict=True):
            facts[row] = hit.fact
        return [
            (fact, None if fact is None else framed(turns, system, fact.answer))
            for turns, fact in zip(conversations, facts, strict=True)
        ]


class ChatSystem(Tutor):
    """A decoder with its adapter, and what it can look up.

    Args:
        run: the folder it came from.
        recipe: what it was made by.
        body: in evaluation mode, with its adapter.
        facts: what it can look up; None where it looks nothing up.
    """

    def __init__(self, run: Run, recipe: DecoderRecipe, body: CausalBody, facts: Lookup | None) -> None:
        super().__init__(run, recipe, {tuned: Speaker(body, tuned=tuned) for tuned in (True, False)}, facts)
        self.body = body
        self.device = str(next(body.parameters()).device)
        self.end: int = read_json(run.model / FACTS)["end_of_turn"]


def load(run: Run, recipe: DecoderRecipe) -> ChatSystem:
    """Load a trained run.

    Raises:
        RunError: a file is missing, damaged, or not of this run.
        WeightsError: the decoder's weights, or those that look facts up, are not at hand.
    """
    return ChatSystem(run, recipe, adapted(run, recipe), _facts(run, recipe))


def adapted(run: Run, recipe: DecoderRecipe) -> CausalBody:
    """The decoder with the adapter of a trained run, in evaluation mode.

    Raises:
        RunError, WeightsError: see ``load``.
    """
    body = causal.build(recipe.body, recipe.adapter).body
    adapters.restore(body, run.model)
    body.requires_grad_(False).eval().to("cuda" if torch.cuda.is_available() else "cpu")
    causal.pack_four_bits(body, allowed=True)
    return body


def load_exported(run: Run, recipe: DecoderRecipe) -> Tutor:
    """What ``overtone export`` wrote of a run, spoken by llama.cpp.

    Raises:
        UsageError: it has no GGUF file.
        MissingExtraError: the extra ``llama`` is not installed.
        RunError: a file is damaged, or llama.cpp cannot read it.
        WeightsError: the weights that look facts up are not at hand.
    """
    merged = run.model / export_chat.FOLDER
    file = merged / export_chat.GGUF
    if not file.exists():
        raise UsageError(
            f"{run.folder} has no GGUF file", hint=f"write one with: overtone export {run.folder}"
        )
    facts = _facts(run, recipe)
    try:
        tokenizer = AutoTokenizer.from_pretrained(merged)
        config: Any = AutoConfig.from_pretrained(merged)
    except (OSError, ValueError) as error:
        raise RunError(f"{merged} is damaged: {error}", hint=f"overtone export {run.folder}") from error
    speaker = LlamaSpeaker(file, tokenizer, min(CONTEXT, config.max_position_embeddings))
    return Tutor(run, recipe, {True: speaker}, facts)


def _facts(run: Run, recipe: DecoderRecipe) -> Lookup | None:
    looks_up = isinstance(recipe, ChatRecipe) and recipe.grounding is not None
    return lookup.load(run.model) if looks_up else None
