"""The replies of a conversation: what was said before each, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from overtone.data.chat import Turn
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


def classes(record: Record, labels: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """The class of each reply of a conversation, as ``chat.encode`` takes them; ``MISSING`` where unknown.

    Args:
        record: a conversation.
        labels: target → its labels.

    Raises:
        DataError: see ``known``; or a label is not among its target's.
    """
    return {
        target: [_class(record, target, label, names) for label in known(record, target)]
        for target, names in labels.items()
    }


def _class(record: Record, target: str, label: str | None, names: Sequence[str]) -> int:
    if label is None:
        return MISSING
    if label not in names:
        raise DataError(
            f"'{record.id}': '{label}' is not among the labels of '{target}'", hint=did_you_mean(label, names)
        )
    return names.index(label)
