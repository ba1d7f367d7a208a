"""The replies of a conversation: what was said before each, what is known of it, and where a head reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from overtone.data.chat import Chat, Ids, Turn, prompt
from overtone.data.conversations import turns
from overtone.data.records import MISSING, Record
from overtone.errors import DataError, did_you_mean


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn of the assistant, in its place.

    Args:
        context: all that was said before, the user's turn last.
        text: the reply.
        number: which of the conversation's replies it is, from 0.
    """

    context: tuple[Turn, ...]
    text: str
    number: int


@dataclass(frozen=True, slots=True)
class Places:
    """Where heads read one conversation in tokens, R places.

    Args:
        at: the token after which each reply begins, (R,); what it sees holds nothing of the reply.
        targets: target → its class there, (R,); ``MISSING`` where it is not known.
    """

    at: Ids
    targets: Mapping[str, Ids]


def replies(record: Record) -> list[Reply]:
    """Every reply of a conversation, in order; none of one without turns.

    Raises:
        DataError: the record is not a conversation.
    """
    said = turns(record)
    spoken = [place for place, turn in enumerate(said) if turn.role == "assistant"]
    return [Reply(tuple(said[:place]), said[place].text, n) for n, place in enumerate(spoken)]


def known(record: Record, target: str) -> list[str | None]:
    """What is known of each reply of a conversation, in their order; None where nothing is.

    A target that is one label is that of every reply; one of several has a label a turn, "" where none.

    Args:
        record: a conversation.
        target: the target's name.

    Raises:
        DataError: the record is not a conversation, or the target has not one label a turn.
    """
    said, value = turns(record), record.targets.get(target)
    spoken = [place for place, turn in enumerate(said) if turn.role == "assistant"]
    if value is None or isinstance(value, str):
        return [value or None] * len(spoken)
    if len(value) != len(said) or not all(isinstance(label, str) for label in value):
        raise DataError(
            f"'{record.id}' has {len(value)} values under '{target}' and {len(said)} turns",
            hint='give one label a turn, "" where there is none, or one of the whole conversation',
        )
    return [str(value[place]) or None for place in spoken]


def opening(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that stands right before every reply: the last of what the template opens it with.

    Raises:
        DataError: see ``chat.prompt``.
    """
    return prompt(tokenizer, (Turn("user", "a"),))[-1]


def places(chat: Chat, record: Record, labels: Mapping[str, Sequence[str]], opens: int) -> Places:
    """Where heads read a conversation, so that all of its replies train in one pass.

    A place is the last token before a reply that is trained. There the decoder has read the user's turn to
    its end and what opens the reply, as it has when it is asked; being causal, it has read no more. Replies
    that were cut away have no place, and neither has one whose first sign became one token with what opens
    it.

    Args:
        chat: the conversation as ``chat.encode`` gives it, with every answer trained or the last.
        record: where it came from; a turn of the system may have been put above it.
        labels: target → its labels; any number of targets.
        opens: the id before every reply, from ``opening``.

    Raises:
        DataError: see ``known``; or a label is not among its target's, or more replies are trained than there
            are.
    """
    trained = chat.trained
    begins = [place for place in range(len(trained) - 1) if trained[place + 1] and not trained[place]]
    whole = [number for number, place in enumerate(begins) if chat.ids[place] == opens]
    found: dict[str, Ids] = {}
    for target, names in labels.items():
        every = known(record, target)
        if len(begins) > len(every):
            raise DataError(
                f"'{record.id}' has {len(every)} replies, and {len(begins)} are trained",
                hint="give the conversation that was made into these tokens",
            )
        first = len(every) - len(begins)  # what is cut, or not trained, comes first
        found[target] = np.array(
            [_class(record, target, every[first + number], names) for number in whole], dtype=np.int64
        )
    return Places(np.array([begins[number] for number in whole], dtype=np.int64), found)


def _class(record: Record, target: str, label: str | None, names: Sequence[str]) -> int:
    if label is None:
        return MISSING
    if label not in names:
        raise DataError(
            f"'{record.id}': '{label}' is not among the labels of '{target}'", hint=did_you_mean(label, names)
        )
    return names.index(label)
