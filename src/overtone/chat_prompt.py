"""What a decoder reads: the recipe's words, what was looked up, the conversation; and all of it in tokens."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from overtone.chat_recipe import ChatRecipe, DecoderRecipe
from overtone.data import chat, conversations
from overtone.data.chat import Chat, Turn, Turns
from overtone.data.records import Record
from overtone.data.text import words

KNOWN = "What is known: "
"""What a looked-up fact is introduced with."""

UNKNOWN = "I do not know that: nothing that I have learnt answers it."
"""What a tutor says where nothing that it can look up fits."""

_POINTS_BACK = re.compile(r"\b(it|its|he|him|his|she|her|they|them|their|that)\b")
_SHORT = 6
"""Words at most of a question that says little by itself; in a longer one "it" mostly stands for its own."""


def framed(turns: Turns, system: str, known: str | None = None) -> list[Turn]:
    """A conversation with one system turn above it; without one where there is nothing to say.

    Args:
        turns: what was said; a system turn of its own comes last in the new one.
        system: the recipe's words.
        known: the fact that was looked up for the last question.
    """
    own = [turn.text for turn in turns if turn.role == "system"]
    fact = [] if known is None else [KNOWN + known]
    above = "\n".join(part for part in (system, *own, *fact) if part)
    spoken = [turn for turn in turns if turn.role != "system"]
    return [Turn("system", above), *spoken] if above else spoken


def follows(turns: Turns) -> str:
    """The last two questions in one, where the last is short and points back: "And when was that?"; else "".

    Alone it says too little to look anything up.
    """
    asked = [turn.text for turn in turns if turn.role == "user"]
    if len(asked) < 2 or len(words(asked[-1])) > _SHORT or not _POINTS_BACK.search(asked[-1].lower()):
        return ""
    return " ".join(asked[-2:])


def encoded(
    recipe: DecoderRecipe, tokenizer: PreTrainedTokenizerBase, records: Sequence[Record]
) -> list[Chat]:
    """Conversations in tokens, below the recipe's words."""
    return [_cut(recipe, tokenizer, conversations.turns(row)) for row in records]


def grounded(recipe: ChatRecipe, tokenizer: PreTrainedTokenizerBase, records: Sequence[Record]) -> list[Chat]:
    """A share of the questions once more, each with its fact above it; none where nothing is looked up."""
    if recipe.grounding is None:
        return []
    asked = [row for row in records if "answer" in row.targets]
    chance = random.Random(f"{recipe.seed}/grounding")
    chosen = chance.sample(asked, round(recipe.grounding.share * len(asked)))
    return [_cut(recipe, tokenizer, conversations.turns(row), str(row.targets["answer"])) for row in chosen]


def _cut(
    recipe: DecoderRecipe, tokenizer: PreTrainedTokenizerBase, turns: Turns, known: str | None = None
) -> Chat:
    return chat.encode(tokenizer, framed(turns, recipe.system, known), recipe.body.max_length, recipe.answers)


def filler(tokenizer: PreTrainedTokenizerBase, end: int) -> int:
    """What fills a batch; it is never read, so any id will do where there is none for it."""
    found: Any = tokenizer.pad_token_id
    return end if found is None else int(found)
