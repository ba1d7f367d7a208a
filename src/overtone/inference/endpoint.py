"""A model behind an OpenAI-compatible endpoint: its reply, and what the first token of it might have been.

vLLM, llama.cpp's server, Ollama and the paid services all take ``POST <url>/chat/completions``. The key comes
from an environment variable, goes into one header, and stands in no message, no log and no file.
"""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import Field

from overtone.config import Config
from overtone.data.chat import Turns
from overtone.errors import OvertoneError, UsageError

LONGEST_WAIT = 60.0
"""Seconds between two tries at most, whatever the endpoint asks for."""

SHOWN = 200
"""Characters of an endpoint's own words in a message."""

_BUSY = 429
_FAILING = 500  # and above
_LAST_PORT = 65535


class EndpointError(OvertoneError):
    """A model behind an endpoint that is out of reach, refuses, or answers in a form that is not known."""


class EndpointConfig(Config):
    """Which model, where, and how patiently it is asked."""

    url: str = Field(description="up to the version, as in http://localhost:8000/v1")
    model: str = Field(min_length=1, description="what the endpoint calls it")
    key_variable: str | None = Field(
        None, min_length=1, description="environment variable that holds the key; none is sent where null"
    )
    timeout: float = Field(60.0, gt=0, description="seconds of silence after which a try is given up")
    retries: int = Field(
        4, ge=0, le=20, description="further tries where the endpoint is busy, failing or out of reach"
    )
    backoff: float = Field(
        1.0, ge=0, description="seconds before the first of them; each later one waits twice as long"
    )
    top_logprobs: int = Field(
        20,
        ge=0,
        le=20,
        description="first tokens whose probability is asked for; 0 where that is not offered",
    )


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said.

    Args:
        text: all of it.
        first: the likeliest first tokens → their probability, 0..1; empty where the endpoint tells none.
    """

    text: str
    first: Mapping[str, float]


class Endpoint:
    """A model that is asked over HTTP, without chance: temperature 0.

    Args:
        config: which, where and how.

    Raises:
        UsageError: the url is not a plain one, or the key's variable is not set or holds no key.
    """

    def __init__(self, config: EndpointConfig) -> None:
        self.config = config
        self._address = _address(config.url)
        self._key = None if config.key_variable is None else _key(config.key_variable)

    @property
    def host(self) -> str:
        """Where it is asked, without the path."""
        return self._address.netloc.decode("ascii")

    def ask(self, conversations: Sequence[Turns], max_tokens: int) -> Iterator[Reply]:
        """Ask for the next turn of each conversation, one after the other over one connection.

        Args:
            conversations: each ends with the user's turn.
            max_tokens: of a reply at most.

        Yields:
            A reply as soon as it is there, in the order of the conversations.

        Raises:
            EndpointError: one was refused, was not answered after all tries, or not by a chat completion.
        """
        headers = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
        # A redirect is not followed: it might carry the key elsewhere.
        with httpx2.Client(headers=headers, timeout=self.config.timeout, follow_redirects=False) as client:
            for turns in conversations:
                yield _reply(self._post(client, self._body(turns, max_tokens)))

    def _body(self, turns: Turns, max_tokens: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.config.model,
            "messages": [{"role": turn.role, "content": turn.text} for turn in turns],
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        if self.config.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": self.config.top_logprobs}
        return body

    def _post(self, client: httpx2.Client, body: Mapping[str, Any]) -> httpx2.Response:
        """The answer to one request, tried again where that may help."""
        tries = self.config.retries + 1
        for number in range(tries):
            wait = self.config.backoff * 2**number
            try:
                response = client.post(self._address, json=body)
            except httpx2.TransportError as error:
                failure = EndpointError(
                    f"{self._address} does not answer after {tries} tries: "
                    f"{str(error) or type(error).__name__}",
                    hint=f"is it running, and is the url right? It was given {self.config.timeout:g} seconds "
                    "each time (timeout)",
                )
            except httpx2.DecodingError as error:
                raise EndpointError(f"{self._address} sends what cannot be unpacked: {error}") from error
            else:
                if response.status_code != _BUSY and response.status_code < _FAILING:
                    return self._accepted(response)
                failure = EndpointError(
                    f"{self._address} still says {self._words(response)} after {tries} tries",
                    hint="wait a while, or raise retries and backoff",
                )
                wait = max(wait, _asked_to_wait(response))
            if number < self.config.retries:
                time.sleep(min(wait, LONGEST_WAIT))
        raise failure

    def _accepted(self, response: httpx2.Response) -> httpx2.Response:
        """The response, where it is one of success."""
        if response.status_code == httpx2.codes.OK:
            return response
        match response.status_code:
            case 401 | 403:
                hint = "set key_variable to the environment variable that holds a key for it"
                if self.config.key_variable is not None:
                    hint = f"is the key in {self.config.key_variable} the right one?"
            case 404:
                hint = f"does the url end as in /v1, and is the model called '{self.config.model}' there?"
            case 400 | 422:
                hint = "where it does not offer so many probabilities, set top_logprobs lower, or to 0"
            case _:
                hint = "is the url that of an OpenAI-compatible endpoint?"
        raise EndpointError(f"{self._address} refuses: {self._words(response)}", hint=hint)

    def _words(self, response: httpx2.Response) -> str:
        """The status and what the endpoint says about it, on one line, without the key."""
        try:
            said: Any = response.json()
        except ValueError:
            said = response.text
        if isinstance(said, dict):
            said = said.get("error", said)
        if isinstance(said, dict):
            said = said.get("message", said)
        words = " ".join(str(said).split())
        if self._key is not None:
            words = words.replace(self._key, "[key]")
        return f"{response.status_code} {response.reason_phrase} ({words[:SHOWN]})"


def _address(url: str) -> httpx2.URL:
    """Where requests go.

    Raises:
        UsageError: it is not http, or holds a secret that messages would show.
    """
    hint = "write it up to the version, as in http://localhost:8000/v1"
    try:
        found = httpx2.URL(url.strip().rstrip("/") + "/chat/completions")
    except httpx2.InvalidURL:
        found = httpx2.URL()  # what is wrong with it is not told: it may hold a password
    if found.scheme not in ("http", "https") or not found.host or (found.port or 0) > _LAST_PORT:
        raise UsageError("the url of the endpoint is not one of http", hint=hint)
    if found.userinfo or found.query or found.fragment:
        raise UsageError(
            "the url of the endpoint holds a user, a password, a query or a fragment",
            hint="put the key into an environment variable, and its name into key_variable",
        )
    return found


def _key(variable: str) -> str:
    """The key in an environment variable.

    Raises:
        UsageError: there is none, or it cannot stand in a header; it is never shown.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(
            f"the environment variable {variable} holds no key", hint=f"type: export {variable}=…"
        )
    # The client's own message about such a header would show it.
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(
            f"the key in the environment variable {variable} holds a blank, a line break or a letter that "
            "keys do not have",
            hint="copy it again",
        )
    return key


def _asked_to_wait(response: httpx2.Response) -> float:
    """Seconds that the endpoint asks to be left alone, 0 where it does not say; a date is not read."""
    try:
        seconds = float(response.headers.get("Retry-After", "0"))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def _reply(response: httpx2.Response) -> Reply:
    """A chat completion as it was sent.

    Raises:
        EndpointError: it is none.
    """
    try:
        choice = response.json()["choices"][0]
        text = choice["message"]["content"] or ""
        told = (choice.get("logprobs") or {}).get("content") or []
        first: dict[str, float] = defaultdict(float)
        for each in told[0].get("top_logprobs") or [] if told else []:
            # Two tokens may be written alike; rounding may give a little more than a probability of 1.
            first[str(each["token"])] += math.exp(min(0.0, float(each["logprob"])))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise EndpointError(
            f"{response.url} answers something else than a chat completion ({type(error).__name__})",
            hint="is the url that of an OpenAI-compatible endpoint?",
        ) from error
    return Reply(str(text), dict(first))
