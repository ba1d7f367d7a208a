"""llama.cpp as what speaks: an exported GGUF file answers conversations as the run itself would.

What it reads is made by the run's own tokenizer and template, so that both read the same tokens; drawing
them is llama.cpp's, with our settings in our order. What it has read it keeps, and reads a conversation that
goes on from there. The package is xllamacpp, which brings llama.cpp built; the extra is ``llama``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from types import ModuleType
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from overtone.data.chat import Turns
from overtone.errors import MissingExtraError, RunError
from overtone.inference.converse import ReplyConfig, checked, fitting

AT_ONCE = 2
"""Conversations that are answered at the same time."""


def package() -> ModuleType:
    """The package that brings llama.cpp.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingExtraError("llama", "llama.cpp") from error
    found: ModuleType = xllamacpp
    return found


class LlamaSpeaker:
    """An exported decoder that answers the last turn of a conversation.

    Args:
        file: a GGUF file.
        tokenizer: of the run, with its template.
        max_length: tokens of a conversation with its answer.

    Raises:
        MissingExtraError: the extra ``llama`` is not installed.
        RunError: the file is missing, or llama.cpp cannot read it.
    """

    def __init__(self, file: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
        self.max_length = max_length
        self.forgotten = 0
        """Turns of which the last ``reply``, or all ``answers`` together, did not read all."""
        self._tokenizer = tokenizer
        self._server = _started(package(), file, max_length)

    def reply(self, turns: Turns, **settings: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
        """Answer a conversation, a piece at a time; arguments and errors are those of ``Speaker.reply``."""
        config = checked(settings, self.max_length)
        ids, self.forgotten = fitting(self._tokenizer, turns, self.max_length - config.max_tokens)
        return self._streamed(self._request(ids, config, config.seed))

    def answers(self, conversations: Sequence[Turns], **settings: Any) -> list[str]:  # noqa: ANN401
        """Answer N conversations; arguments and errors are those of ``Speaker.answers``."""
        config = checked(settings, self.max_length)
        prompts = [
            fitting(self._tokenizer, turns, self.max_length - config.max_tokens) for turns in conversations
        ]
        self.forgotten = sum(forgotten for _, forgotten in prompts)
        requests = [self._request(ids, config, config.seed + row) for row, (ids, _) in enumerate(prompts)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._whole, requests))

    def _request(self, ids: list[int], config: ReplyConfig, seed: int) -> dict[str, Any]:
        return {
            "prompt": ids,
            "n_predict": config.max_tokens,
            "samplers": ["temperature", "top_k", "top_p"],
            "temperature": config.temperature,
            "top_k": config.top_k or 0,
            "top_p": config.top_p,
            "seed": seed,
            "stop": [*config.stop, *self._tokenizer.all_special_tokens],
            "cache_prompt": True,
        }

    def _whole(self, request: dict[str, Any]) -> str:
        try:
            return _text(self._server.handle_completions(request))
        except RuntimeError as error:
            raise _failed(error) from error

    def _streamed(self, request: dict[str, Any]) -> Iterator[str]:
        pieces: SimpleQueue[Any] = SimpleQueue()
        left = Event()

        def take(piece: dict[str, Any]) -> bool:
            pieces.put(piece)
            return left.is_set()  # True ends it

        def ask() -> None:
            try:
                self._server.handle_completions({**request, "stream": True}, take)
            except RuntimeError as error:
                pieces.put(error)
            finally:
                pieces.put(None)

        asking = Thread(target=ask, daemon=True)
        asking.start()
        try:
            while (piece := pieces.get()) is not None:
                if isinstance(piece, RuntimeError):
                    raise _failed(piece) from piece
                if text := _text(piece):
                    yield text
        finally:
            left.set()
            asking.join()


def _started(llama: Any, file: Path, max_length: int) -> Any:  # noqa: ANN401 - no types are shipped
    """llama.cpp with the file read."""
    settings = llama.CommonParams()
    settings.model.path = str(file)
    settings.n_ctx = max_length * AT_ONCE
    settings.n_parallel = AT_ONCE
    settings.cpuparams.n_threads = torch.get_num_threads()
    settings.cache_ram_mib = 0  # up to 8 GiB of prompts read before, beside the slots' own
    settings.special = True  # or special tokens are written as nothing, and end no answer
    # It listens on loopback too; nobody else is to talk to it.
    settings.api_keys = [secrets.token_hex()]
    settings.verbosity = 0  # it would write of each conversation to stderr
    try:
        return llama.Server(settings)
    except RuntimeError as error:
        raise RunError(f"llama.cpp cannot read {file}: {error}", hint="export the run again") from error


def _text(said: dict[str, Any]) -> str:
    if "choices" not in said:
        raise _failed(said.get("error", said).get("message", said))
    return str(said["choices"][0]["text"])


def _failed(why: object) -> RunError:
    return RunError(f"llama.cpp gave no answer: {why}", hint="leave --engine out, or export the run again")
