"""What a companion reads: a conversation, told or not how the other feels and how the reply is to help."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from overtone.chat_prompt import framed
from overtone.companion_recipe import CompanionRecipe
from overtone.data import chat, replies
from overtone.data.chat import Answers, Chat, Turn, Turns
from overtone.data.conversations import turns
from overtone.data.records import MISSING, Record
from overtone.data.sources import empathetic_dialogues, esconv

LABELS: Mapping[str, tuple[str, ...]] = {"emotion": empathetic_dialogues.LABELS, "strategy": esconv.LABELS}
"""What a head tells apart."""


def style(emotion: str | None, strategy: str | None) -> str:
    """What is told below a user's turn, a line each, such as ``[they feel sad]``; "" of nothing.

    No data set knows both of a turn, so each is learnt by itself, and both may be told.
    """
    feels = "" if emotion is None else f"\n[they feel {emotion}]"
    return feels + ("" if strategy is None else f"\n[reply with: {strategy}]")


def styled(said: Turns, styles: Sequence[str]) -> list[Turn]:
    """A conversation with a style below each turn that is replied to.

    Args:
        said: the conversation.
        styles: one for each reply, in their order; the last turn's too, where it waits for one.
    """
    left, found = iter(styles), list[Turn]()
    for place, turn in enumerate(said):
        waits = turn.role == "user" and (place + 1 == len(said) or said[place + 1].role == "assistant")
        found.append(Turn(turn.role, turn.text + next(left)) if waits else turn)
    return found


def encoded(
    recipe: CompanionRecipe, tokenizer: PreTrainedTokenizerBase, records: Sequence[Record]
) -> list[Chat]:
    """Conversations in tokens, with what is known of each reply."""
    labels: dict[str, tuple[str, ...]] = {name: LABELS[name] for name in recipe.objective.heard}
    return [
        chat.encode(
            tokenizer,
            framed(turns(row), recipe.system),
            recipe.body.max_length,
            recipe.answers,
            replies.classes(row, labels),
        )
        for row in records
    ]


def told(
    recipe: CompanionRecipe, tokenizer: PreTrainedTokenizerBase, records: Sequence[Record]
) -> list[Chat]:
    """A share of the conversations once more, of which the last reply is learnt, with its style told."""
    chance, found = random.Random(f"{recipe.seed}/styled"), list[Chat]()
    for row in chance.sample(records, round(recipe.styled * len(records))):
        known = (replies.known(row, name) for name in LABELS)
        last = [style(emotion, strategy) for emotion, strategy in zip(*known, strict=True)][-1]
        said = turns(row)
        spoken = sum(turn.role == "assistant" for turn in said)
        found.append(unheard(recipe, tokenizer, styled(said, [*[""] * (spoken - 1), last]), "last"))
    return found


def unheard(
    recipe: CompanionRecipe, tokenizer: PreTrainedTokenizerBase, said: Turns, answers: Answers
) -> Chat:
    """A conversation in tokens of which nothing is known."""
    n = sum(turn.role == "assistant" for turn in said)
    nothing: dict[str, list[int]] = {name: [MISSING] * n for name in recipe.objective.heard}
    return chat.encode(tokenizer, framed(said, recipe.system), recipe.body.max_length, answers, nothing)
