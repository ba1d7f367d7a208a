"""A companion, loaded: it hears, thinks and replies, and says beside the reply what it heard and thought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overtone import chat_system
from overtone.chat_prompt import framed
from overtone.chat_system import ChatSystem
from overtone.companion_prompt import LABELS, style, styled
from overtone.companion_recipe import CompanionRecipe
from overtone.data.batches import by_length
from overtone.data.chat import OPENS, Turn, Turns
from overtone.inference import reflect
from overtone.inference.converse import fitting
from overtone.inference.prefixes import together
from overtone.inference.reflect import Guess, Reflection
from overtone.models import store
from overtone.models.causal import CausalBody
from overtone.models.turns import TurnHead
from overtone.run import Run

TOKENS = 8192
"""Tokens of a batch that is heard."""

NEED_TOKENS = 24
"""Tokens of what the model says is needed, at most."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a companion says, and what stands beside it.

    Args:
        text: the reply.
        reflection: what was thought before.
    """

    text: str
    reflection: Reflection


class CompanionSystem(ChatSystem):
    """A decoder with its adapter and the heads that hear.

    Args:
        run: the folder it came from.
        recipe: what it was made by.
        body: in evaluation mode, with its adapter.
        heads: of what is heard, in evaluation mode.
    """

    recipe: CompanionRecipe

    def __init__(
        self, run: Run, recipe: CompanionRecipe, body: CausalBody, heads: dict[str, TurnHead]
    ) -> None:
        super().__init__(run, recipe, body, None)
        self.heads = heads

    @torch.inference_mode()
    def hear(self, conversations: Sequence[Turns]) -> dict[str, NDArray[np.float64]]:
        """What the heads read at the end of N conversations, before any reply.

        What several begin with, as do the turns of one conversation, is read once.

        Args:
            conversations: each ends with the user's turn; one that is too long loses its oldest exchanges.

        Returns:
            Head → probabilities of its labels, (N, L).

        Raises:
            DataError: see ``fitting``.
        """
        room = self.recipe.body.max_length
        prompts = [
            fitting(self.body.tokenizer, framed(turns, self.recipe.system), room)[0]
            for turns in conversations
        ]
        found = {name: np.zeros((len(prompts), len(LABELS[name]))) for name in self.heads}
        read = together(prompts)
        for rows in by_length(np.array([len(each.tokens) for each in read]), TOKENS):
            batch = [read[row] for row in rows]
            width = max(len(each.tokens) for each in batch)
            ids, marks = (
                torch.zeros(len(rows), width, dtype=torch.long),
                torch.zeros(len(rows), width, 2, dtype=torch.long),
            )
            for place, each in enumerate(batch):
                ids[place, : len(each.tokens)] = torch.tensor(each.tokens)
                marks[place, : len(each.tokens), 0] = 1
                marks[place, list(each.ends), 1] = OPENS
            states = self.body(ids.to(self.device), marks.to(self.device))
            ended = [prompts for each in batch for prompts in each.ends.values()]
            seen = [state for state, prompts in enumerate(ended) for _ in prompts]
            asked = [prompt for prompts in ended for prompt in prompts]
            for name, head in self.heads.items():
                found[name][asked] = head(states).float().softmax(-1).cpu().numpy()[seen]
        return found

    def speak(self, conversations: Sequence[Turns], *, tuned: bool = True, **settings: Any) -> list[str]:  # noqa: ANN401 - any JSON value
        """Reply to N conversations at once, without a reflection; arguments and errors as of ``reply``."""
        prompts = [framed(turns, self.recipe.system) for turns in conversations]
        return [text.strip() for text in self._speaker(tuned).answers(prompts, **settings)]

    def respond(self, turns: Turns, **settings: Any) -> Reply:  # noqa: ANN401 - any JSON value
        """Reflect, then reply with the style told.

        Args:
            turns: the last of them the user's.
            settings: see ``ChatSystem.reply``.

        Raises:
            UsageError, DataError: see ``ChatSystem.reply``.
        """
        reflection = self.reflect(turns)
        told = style(
            None if reflection.emotion is None else reflection.emotion.label,
            None if reflection.strategy is None else reflection.strategy.label,
        )
        spoken = sum(turn.role == "assistant" for turn in turns)
        text = "".join(self.reply(styled(turns, [*[""] * spoken, told]), **settings))
        return Reply(text.strip(), reflection)

    def reflect(self, turns: Turns) -> Reflection:
        """What is felt, what is needed, and how to help, before a word is said.

        Raises:
            DataError: the conversation does not end with the user.
        """
        heard = self.hear([turns])
        guesses = {
            name: Guess(LABELS[name][int(shares[0].argmax())], float(shares[0].max()))
            for name, shares in heard.items()
        }
        asked = [*turns[:-1], Turn("user", f"{turns[-1].text}\n\n{reflect.QUESTION}")]
        said = "".join(self.reply(asked, tuned=False, temperature=0, max_tokens=NEED_TOKENS))
        return reflect.reflect(guesses.get("emotion"), guesses.get("strategy"), said)


def load(run: Run, recipe: CompanionRecipe) -> CompanionSystem:
    """Load a trained run.

    Raises:
        RunError: a file is missing, damaged, or not of this run.
        WeightsError: the decoder's weights are not at hand.
    """
    body = chat_system.adapted(run, recipe)
    heads: dict[str, TurnHead] = {
        name: TurnHead(recipe.objective.head, body.hidden_size, len(LABELS[name]))
        for name in recipe.objective.heard
    }
    modules = torch.nn.ModuleDict(heads)
    store.load_heads(modules, run.model)
    modules.requires_grad_(False).eval().to(next(body.parameters()).device)
    return CompanionSystem(run, recipe, body, heads)
