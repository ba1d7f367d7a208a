"""Conversations as a decoder learns from them: rendered by its own template, and which tokens are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from overtone.errors import DataError

Role = Literal["system", "user", "assistant"]
"""Who speaks; the assistant is what is trained."""

Answers = Literal["every", "last"]
"""Which of the assistant's turns are trained."""

Ids = NDArray[np.int64]

NO_LABELS: Mapping[str, Sequence[int]] = {}
"""Of a conversation that is only to be spoken."""

SHOWN = 3
"""Rendered examples in a proof."""

LEARNT, OPENS, COMPARED = 1, 2, 4
"""Flags of a place: its next token is learnt, begins an answer, is compared with the base."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one says.

    Args:
        role: who.
        text: what, without the template's signs.
    """

    role: Role
    text: str


Turns = Sequence[Turn]
"""A conversation: perhaps a system's turn, then a user's, then by turns."""


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation in tokens.

    Args:
        ids: of the whole of it, (T,).
        trained: which of them are learnt to be said, (T,).
        cut: whether it was longer than the limit.
        ended: whether the last token that is trained ends the assistant's turn.
        labels: target → class of each answer that is trained, ``MISSING`` where unknown.
    """

    ids: list[int]
    trained: list[bool]
    cut: bool
    ended: bool
    labels: Mapping[str, Sequence[int]] = field(default_factory=dict)


def render(tokenizer: PreTrainedTokenizerBase, turns: Turns, *, ask: bool = False) -> str:
    """A conversation as the tokenizer's own template writes it.

    Args:
        tokenizer: one with a chat template.
        turns: the conversation.
        ask: whether what opens an answer stands at the end.

    Raises:
        DataError: there is no template, or it does not take such a conversation.
    """
    if not tokenizer.chat_template:
        raise DataError(
            "the tokenizer has no chat template",
            hint="take weights that were tuned to converse, an -Instruct",
        )
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask))
    except Exception as error:  # a template raises what it likes
        roles = ", ".join(turn.role for turn in turns)
        raise DataError(f"the chat template does not take turns of {roles}: {error}") from error


def prompt(tokenizer: PreTrainedTokenizerBase, turns: Turns) -> list[int]:
    """The ids after which the assistant answers.

    Raises:
        DataError: see ``render``, and where a turn holds a special token.
    """
    _refuse_special(tokenizer, turns)
    return list(tokenizer(render(tokenizer, turns, ask=True), add_special_tokens=False)["input_ids"])


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that ends an assistant's turn, found by rendering one.

    Raises:
        DataError: the template ends it with no special token, so that an answer would never stop.
    """
    chat = _whole(tokenizer, (Turn("user", "a"), Turn("assistant", "b")), "last")
    return chat.ids[max(place for place, trained in enumerate(chat.trained) if trained)]


def encode(
    tokenizer: PreTrainedTokenizerBase,
    turns: Turns,
    max_length: int,
    answers: Answers = "every",
    labels: Mapping[str, Sequence[int]] = NO_LABELS,
) -> Chat:
    """A conversation in tokens, with those that are trained: what the assistant says, and what ends its turn.

    One that is too long loses its oldest exchanges first. If the last one alone is too long, its answer keeps
    at least half of the room, and of what stands before it the beginning is cut.

    Args:
        tokenizer: a fast one with a chat template.
        turns: the last of them the assistant's.
        max_length: tokens at most, 4 and more.
        answers: which of the assistant's turns are trained.
        labels: target → class of each of the assistant's turns.

    Raises:
        DataError: the assistant does not speak last or speaks first, a turn is empty or holds a special
            token, or the template is not one whose answers can be told apart.
    """
    _check(turns)
    _refuse_special(tokenizer, turns)
    chat, kept = _whole(tokenizer, turns, answers), list(turns)
    while len(chat.ids) > max_length and (shorter := without_oldest(kept)) is not None:
        kept = shorter
        chat = _whole(tokenizer, kept, answers)
    cut = len(kept) < len(turns)
    spoken = 1 if answers == "last" else sum(turn.role == "assistant" for turn in kept)
    chat = replace(chat, cut=cut, labels={name: each[-spoken:] for name, each in labels.items()})
    if len(chat.ids) <= max_length:
        return chat
    begin = chat.trained.index(True)
    end = len(chat.ids) - chat.trained[::-1].index(True)
    kept_answer = min(end - begin, max(max_length - begin, max_length // 2))
    chosen = slice(max(0, begin + kept_answer - max_length), begin + kept_answer)
    return Chat(chat.ids[chosen], chat.trained[chosen], True, kept_answer == end - begin, chat.labels)


def _check(turns: Turns) -> None:
    spoken = [turn for turn in turns if turn.role != "system"]
    if not spoken or spoken[0].role != "user" or turns[-1].role != "assistant":
        raise DataError("a conversation begins with a user's turn and ends with the assistant's")
    if any(not turn.text.strip() for turn in turns):
        raise DataError("a turn of a conversation is empty")


def _refuse_special(tokenizer: PreTrainedTokenizerBase, turns: Turns) -> None:
    """A special token inside a text would end the turn, or open another."""
    for turn in turns:
        found = next((token for token in tokenizer.all_special_tokens if token in turn.text), None)
        if found is not None:
            raise DataError(f"a turn holds the special token '{found}'", hint="take it out of the text")


def without_oldest(turns: Turns) -> list[Turn] | None:
    """The same without the user's first turn and what follows up to the next; None where there is but one."""
    asked = [place for place, turn in enumerate(turns) if turn.role == "user"]
    if len(asked) < 2:
        return None
    return [*turns[: asked[0]], *turns[asked[1] :]]


def _whole(tokenizer: PreTrainedTokenizerBase, turns: Turns, answers: Answers) -> Chat:
    """All of a conversation, however long.

    An answer is what the template adds to the conversation before it once its opening stands there; so no
    template needs to mark it, and what is trained is what is generated.
    """
    text = render(tokenizer, turns)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = list(encoded["input_ids"])
    begins = [begin for begin, _ in encoded["offset_mapping"]]
    special = set(tokenizer.all_special_ids)
    trained = [False] * len(ids)
    spoken = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    for place in spoken if answers == "every" else spoken[-1:]:
        before = render(tokenizer, turns[:place], ask=True)
        after = render(tokenizer, turns[: place + 1])
        if not (after.startswith(before) and text.startswith(after)):
            raise DataError(
                "the template writes a turn otherwise once another follows: answers cannot be told apart",
                hint="set answers: last",
            )
        for token, begin in enumerate(begins):
            if len(before) <= begin < len(after):
                trained[token] = True
                if ids[token] in special:
                    break
        else:
            raise DataError(
                "the chat template ends the assistant's turn with no special token: it would never stop"
            )
    return Chat(ids, trained, cut=False, ended=True)


@dataclass(frozen=True, slots=True)
class Chats:
    """N conversations as the rows of a fit.

    Args:
        flat: all ids, one conversation after the other, (sum of lengths,).
        trained: which of them the assistant says, likewise.
        offsets: where each conversation starts, and the end, (N + 1,).
        pad_id: the id that fills a batch.
        pack: tokens up to which short conversations share a row of a batch; 0: each has its own.
        purposes: ``LEARNT``, ``COMPARED`` or both: what the assistant's tokens of each are for, (N,).
        classes: target → the class of each answer, one conversation after the other, (A,).
        spoken: where the answers of each conversation start, and the end, (N + 1,).
    """

    flat: Ids
    trained: NDArray[np.bool_]
    offsets: Ids
    pad_id: int
    pack: int
    purposes: Ids
    classes: Mapping[str, Ids]
    spoken: Ids

    @property
    def lengths(self) -> Ids:
        """Tokens of each, (N,)."""
        return np.diff(self.offsets)

    @property
    def counts(self) -> Ids:
        """Tokens of each that are learnt, (N,)."""
        return self._said * (self.purposes & LEARNT > 0)

    @property
    def _said(self) -> Ids:
        counted: Ids = np.add.reduceat(self.trained.astype(np.int64), self.offsets[:-1])
        return counted

    def pad(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """A batch of these rows, in this order, each packed into the first row of it that has room left.

        Returns:
            Ids (B, T), and marks (B, T, 2): the number of the conversation in its row of the batch, from 1, 0
            where there is padding; and the flags of the place, see ``LEARNT``.
        """
        lengths, shelves, room = self.lengths, list[list[int]](), 0
        for row in rows:
            length = int(lengths[row])
            if length > room or not shelves:
                shelves.append([])
                room = max(self.pack, length)
            shelves[-1].append(row)
            room -= length if self.pack else room
        width = max(int(lengths[shelf].sum()) for shelf in shelves)
        ids = np.full((len(shelves), width), self.pad_id, dtype=np.int64)
        marks = np.zeros((len(shelves), width, 2), dtype=np.int64)
        for line, shelf in enumerate(shelves):
            place = 0
            for number, row in enumerate(shelf, start=1):
                begin, end = self.offsets[row], self.offsets[row + 1]
                there = slice(place, place + end - begin)
                ids[line, there] = self.flat[begin:end]
                said = self.trained[begin:end]
                marks[line, there, 0] = number
                marks[line, there, 1][:-1] = said[1:] * self.purposes[row] + (said[1:] & ~said[:-1]) * OPENS
                place = there.stop
        return torch.from_numpy(ids), torch.from_numpy(marks)

    def wanted(self, rows: Sequence[int]) -> Tensor:
        """The learnt tokens of these rows, one row after the other, (M,)."""
        places = [
            slice(self.offsets[row], self.offsets[row + 1]) for row in rows if self.purposes[row] & LEARNT
        ]
        found = [self.flat[at][self.trained[at]] for at in places]
        return torch.from_numpy(np.concatenate([*found, np.zeros(0, dtype=np.int64)]))

    def compared(self, rows: Sequence[int]) -> int:
        """Places of these rows that are compared with the base."""
        return int((self._said * (self.purposes & COMPARED > 0))[list(rows)].sum())

    def labels(self, target: str, rows: Sequence[int]) -> Tensor:
        """The class of each answer of these rows, one row after the other, (M,)."""
        found = [self.classes[target][self.spoken[row] : self.spoken[row + 1]] for row in rows]
        return torch.from_numpy(np.concatenate(found))


def collect(
    chats: Sequence[Chat], pad_id: int, pack: int = 0, purposes: Sequence[int] | None = None
) -> Chats:
    """Conversations put together.

    Args:
        chats: N of them, all with labels for the same targets.
        pad_id: the id that fills a batch.
        pack: tokens up to which short ones share a row.
        purposes: what the assistant's tokens of each are for, (N,); None: all are learnt.

    Raises:
        DataError: there are none, or not one of their tokens is trained.
    """
    if not any(any(chat.trained) for chat in chats):
        raise DataError(
            f"not one token of {len(chats):,} conversations is trained",
            hint="check the data and the template",
        )
    answers = [len(next(iter(chat.labels.values()), ())) for chat in chats]
    return Chats(
        flat=np.array([token for chat in chats for token in chat.ids], dtype=np.int64),
        trained=np.array([each for chat in chats for each in chat.trained], dtype=np.bool_),
        offsets=_places([len(chat.ids) for chat in chats]),
        pad_id=pad_id,
        pack=pack,
        purposes=np.array([LEARNT] * len(chats) if purposes is None else purposes, dtype=np.int64),
        classes={
            name: np.array([each for chat in chats for each in chat.labels[name]], dtype=np.int64)
            for name in chats[0].labels
        },
        spoken=_places(answers),
    )


def _places(lengths: Sequence[int]) -> Ids:
    """Where pieces of these lengths start, one after the other, and the end."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def proof(tokenizer: PreTrainedTokenizerBase, chats: Sequence[Chat], end: int) -> Mapping[str, Any]:
    """What a manifest keeps of the mask, so that nobody has to trust it.

    Args:
        tokenizer: what gives the text back.
        chats: at least one.
        end: the id that ends a turn.

    Returns:
        ``tokens``, ``trained`` and their ``share``; ``end_of_turn``, and the share of conversations whose
        last answer is trained with it, ``ended``; how many were ``cut``; and ``examples``, trained tokens
        between ⟦ and ⟧.
    """
    tokens, trained = (sum(len(chat.ids) for chat in chats), sum(sum(chat.trained) for chat in chats))
    return {
        "conversations": len(chats),
        "tokens": tokens,
        "trained": trained,
        "share": round(trained / tokens, 4),
        "end_of_turn": tokenizer.convert_ids_to_tokens(end),
        "ended": round(sum(chat.ended for chat in chats) / len(chats), 4),
        "cut": sum(chat.cut for chat in chats),
        "examples": [marked(tokenizer, chat) for chat in chats[:SHOWN]],
    }


def marked(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> str:
    """A conversation as text, what is trained between ⟦ and ⟧."""
    text, begin = "", 0
    for place in range(1, len(chat.ids) + 1):
        if place == len(chat.ids) or chat.trained[place] != chat.trained[begin]:
            piece = str(tokenizer.decode(chat.ids[begin:place], clean_up_tokenization_spaces=False))
            text += f"⟦{piece}⟧" if chat.trained[begin] else piece
            begin = place
    return text
