"""A decoder in conversation: answers streamed in whole characters, many at once, nothing read twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from overtone.data import chat
from overtone.data.batches import by_length
from overtone.data.chat import Turns
from overtone.errors import DataError, UsageError
from overtone.inference import generate
from overtone.inference.generate import Begins, SamplingConfig
from overtone.models.causal import CausalBody, Past
from overtone.schema import check

BATCH_TOKENS = 4096
"""Places of a batch of answers at most, prompts, padding and answers together."""

_BROKEN = "\ufffd"


class ReplyConfig(SamplingConfig):
    """How an answer is made: how its tokens are drawn, and what ends it beside the end of the turn."""

    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="texts that end an answer; they are not given out, nor is what follows"
    )


class Speaker:
    """A decoder that answers the last turn of a conversation.

    It remembers what it read for the last ``reply``: where the next conversation begins alike, as one that
    goes on does, only the rest is read.

    Args:
        body: in evaluation mode; its weights stay as they are.
        tuned: False takes the adapter off, while this one speaks and no longer.
        max_length: tokens of a conversation with its answer; as many as the body has positions without.

    Raises:
        UsageError: the adapter is to be taken off and there is none, or ``max_length`` is beyond the body's.
        DataError: the tokenizer's template ends a turn with no special token, or there is none.
    """

    def __init__(self, body: CausalBody, *, tuned: bool = True, max_length: int | None = None) -> None:
        if not tuned and not body.adapted:
            raise UsageError(
                "this model has no adapter that could be taken off", hint="leave tuned=False out"
            )
        self.max_length = body.max_length if max_length is None else max_length
        if not 2 <= self.max_length <= body.max_length:
            raise UsageError(
                f"conversations of {self.max_length:,} tokens are not for this model",
                hint=f"set max_length to 2..{body.max_length}",
            )
        self.tokenizer = body.tokenizer
        self.forgotten = 0
        """Turns of which the last ``reply``, or all ``answers`` together, did not read all."""
        self._body = body
        self._tuned = tuned
        self._device = str(next(body.parameters()).device)
        self._cache = PrefixCache(body if tuned else Unadapted(body), self._device)
        self._end = chat.end_of_turn(body.tokenizer)

    def reply(self, turns: Turns, **settings: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
        """Answer a conversation, a piece at a time.

        One that is too long loses its oldest exchanges first; if the last turn alone is too long, of it and
        what stands above the beginning is cut. The answer takes half of ``max_length`` at most.

        Args:
            turns: the last of them the user's.
            settings: of ``ReplyConfig``: ``max_tokens``, ``temperature``, ``top_k``, ``top_p``, ``seed``,
                ``stop``.

        Returns:
            The answer, whole characters at a time; one that is begun before another has ended takes its
            place, and the other cannot be read on.

        Raises:
            UsageError: a setting is unknown or does not fit.
            DataError: the conversation does not end with the user, holds a special token, or is not one that
                the template takes.
        """
        config = checked(settings, self.max_length)
        ids, self.forgotten = self._prompt(turns, config)
        return self._tell(ids, config)

    def answers(self, conversations: Sequence[Turns], **settings: Any) -> list[str]:  # noqa: ANN401
        """Answer N conversations, those of about one length at once.

        Conversation n draws by ``seed + n``, so its answer does not depend on the others, but for rounding,
        which weights in bf16 make felt. Arguments and errors are those of ``reply``.

        Returns:
            The answers in the order of the conversations, (N,).
        """
        config = checked(settings, self.max_length)
        prompts = [self._prompt(turns, config) for turns in conversations]
        self.forgotten = sum(forgotten for _, forgotten in prompts)
        lengths = np.array([len(ids) + config.max_tokens for ids, _ in prompts], dtype=np.int64)
        found = [""] * len(prompts)
        for rows in by_length(lengths, BATCH_TOKENS):
            seeds = [config.seed + row for row in rows]
            told = self._tell_all([prompts[row][0] for row in rows], config, seeds)
            for row, text in zip(rows, told, strict=True):
                found[row] = text
        return found

    def _prompt(self, turns: Turns, config: ReplyConfig) -> tuple[list[int], int]:
        return fitting(self.tokenizer, turns, self.max_length - config.max_tokens)

    def _tell(self, ids: list[int], config: ReplyConfig) -> Iterator[str]:
        writer = Writer(self.tokenizer, config.stop)
        for (token,) in generate.stream(self._cache, [ids], config, self._end, self._device):
            if token is not None and (piece := writer.add(token)):
                yield piece
            if writer.ended:
                break
        if rest := writer.close():
            yield rest

    def _tell_all(self, prompts: list[list[int]], config: ReplyConfig, seeds: list[int]) -> list[str]:
        writers = [Writer(self.tokenizer, config.stop) for _ in prompts]
        texts = [""] * len(prompts)
        stream = generate.stream(self._body, prompts, config, self._end, self._device, seeds=seeds)
        with nullcontext() if self._tuned else self._body.without_adapter():
            for told in stream:
                for row, token in enumerate(told):
                    if token is None:  # all prompts were read at once, so this row has ended
                        writers[row].ended = True
                    elif not writers[row].ended:
                        texts[row] += writers[row].add(token)
                if all(writer.ended for writer in writers):
                    break
        return [text + writer.close() for text, writer in zip(texts, writers, strict=True)]


def checked(settings: dict[str, Any], max_length: int) -> ReplyConfig:
    """The settings of an answer, which takes half of ``max_length`` at most.

    Raises:
        UsageError: a setting is unknown or does not fit.
    """
    config = check(ReplyConfig, settings, "sampling", hint="overtone chat --help")
    return config.model_copy(update={"max_tokens": min(config.max_tokens, max_length // 2)})


def fitting(tokenizer: PreTrainedTokenizerBase, turns: Turns, room: int) -> tuple[list[int], int]:
    """The ids after which the assistant answers, without the oldest exchanges where they are too many.

    Args:
        tokenizer: one with a chat template.
        turns: the last of them the user's.
        room: ids at most, 1 and more.

    Returns:
        The ids, and of how many turns they do not hold all.

    Raises:
        DataError: see ``Speaker.reply``.
    """
    if not turns or turns[-1].role != "user":
        raise DataError("a conversation that is to be answered ends with a user's turn")
    kept = list(turns)
    ids = chat.prompt(tokenizer, kept)
    while len(ids) > room and (shorter := chat.without_oldest(kept)) is not None:
        kept = shorter
        ids = chat.prompt(tokenizer, kept)
    return ids[-room:], len(turns) - len(kept) + (len(ids) > room)


class Writer:
    """The tokens of one answer as text: whole characters, and nothing of a text that ends it.

    A special token ends it too, as a token and written out: no turn may hold one.

    Args:
        tokenizer: of the tokens.
        stop: the texts that end it, none of them empty; the one that is whole first does, of several the
            longest.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str]) -> None:
        self.ended = False
        """Whether what is added now would not be given out."""
        self._tokenizer = tokenizer
        self._special = set(tokenizer.all_special_ids)
        self._stop = (*stop, *tokenizer.all_special_tokens)
        self._ids: list[int] = []
        self._window = self._told = 0  # from where it is decoded, and up to where it was told
        self._held = ""  # what may be the beginning of a stop

    def add(self, token: int) -> str:
        """The text that is certain once this token is there, perhaps none."""
        if token in self._special:
            self.ended = True
            return ""
        self._ids.append(token)
        new = self._decoded()
        if not new or new.endswith(_BROKEN):  # a character is not whole yet
            return ""
        self._window, self._told = self._told, len(self._ids)
        return self._without_stop(new)

    def close(self) -> str:
        """The rest, once there are no more tokens; half a character is left out."""
        told = self._without_stop(self._decoded().rstrip(_BROKEN)) + self._held
        self.ended, self._ids, self._held = True, [], ""
        return told

    def _decoded(self) -> str:
        """What the tokens that were not told yet add.

        They are decoded after those before them, since many tokenizers write a token at the beginning without
        the space before it.
        """
        before, both = (
            str(self._tokenizer.decode(ids, clean_up_tokenization_spaces=False))
            for ids in (self._ids[self._window : self._told], self._ids[self._window :])
        )
        return both[len(before) :]

    def _without_stop(self, text: str) -> str:
        """What was held and this, but for an end that may become a stop.

        A character at a time, so that it does not matter where the tokens' borders are.
        """
        told = ""
        for character in text:
            self._held += character
            whole = [len(stop) for stop in self._stop if self._held.endswith(stop)]
            if whole:
                told += self._held[: -max(whole)]
                self.ended, self._ids, self._held = True, [], ""
                return told
            while self._held and not any(stop.startswith(self._held) for stop in self._stop):
                told, self._held = told + self._held[0], self._held[1:]
        return told


class PrefixCache:
    """A model that reads one prompt after another: what the next begins with like the last is not read again.

    Args:
        model: what reads.
        device: where it is.
    """

    def __init__(self, model: Begins[Past], device: str) -> None:
        self.model = model
        self.device = device
        self._read: list[int] = []
        self._past: Past | None = None

    @property
    def max_length(self) -> int | None:
        """How many tokens it can read."""
        return self.model.max_length

    def begin(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Past]:
        """Read one prompt → scores (1, V), and the state."""
        (prompt,) = prompts
        # Until a step is done the state is nobody's: one that was broken off is not to be read on from.
        past, self._past = self._past, None
        alike = _alike(self._read, prompt[:-1])  # the last id is read in any case: its scores are wanted
        if past is None or not alike or not past.can_be_cropped:
            scores, past = self.model.begin([prompt])
        else:
            past.crop(alike)
            scores, past = self.model.step(
                Past(past.cache), torch.tensor([prompt[alike:]], device=self.device)
            )
        self._read, self._past = list(prompt), past
        return scores, past

    def step(self, state: Past | None, tokens: Tensor) -> tuple[Tensor, Past]:
        """Read the next token (1, 1) on from the state → scores (1, V), and the state.

        Raises:
            UsageError: another prompt was begun since.
        """
        if state is None or state is not self._past:
            raise UsageError(
                "another reply was begun before this one had ended",
                hint="read one to its end first, or take a Speaker for each",
            )
        self._past = None
        scores, past = self.model.step(state, tokens)
        self._read, self._past = [*self._read, *tokens[0].tolist()], past
        return scores, past


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


class Unadapted:
    """A body without its adapter, which is off within a step alone: between two, others may use it.

    Args:
        body: with an adapter.
    """

    def __init__(self, body: CausalBody) -> None:
        self.body = body

    @property
    def max_length(self) -> int | None:
        """How many tokens it can read."""
        return self.body.max_length

    def begin(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Past]:
        """Read B prompts → scores (B, V), and the state."""
        with self.body.without_adapter():
            return self.body.begin(prompts)

    def step(self, state: Past | None, tokens: Tensor) -> tuple[Tensor, Past]:
        """Read the next tokens (B, n) on from a state, which is changed → scores (B, V), and the state."""
        with self.body.without_adapter():
            return self.body.step(state, tokens)
