"""What a language model's likelihood comes to: a token, a character, a byte.

All take the summed negative log-likelihood in nats, so they do not depend on how the text was cut into
windows. Lower is better.
"""

from __future__ import annotations

import math

from overtone.errors import DataError

MEASURES = ("perplexity", "bits_per_character", "bits_per_byte")
"""What a likelihood is told in; lower is better."""

LARGEST = 700.0
"""Nats a token from which the perplexity is more than a number can hold."""


def perplexity(nats: float, tokens: int) -> float:
    """``exp(nats / tokens)``, 1 and above: among how many equally likely tokens the model as good as chose.

    Only figures of one tokenizer compare: longer tokens are fewer and harder.
    """
    loss = nats / _counted(tokens, "tokens")
    return math.exp(loss) if loss < LARGEST else math.inf


def bits_per_character(nats: float, characters: int) -> float:
    """``nats / ln 2`` a character (code point) of the text, 0 and above."""
    return nats / math.log(2) / _counted(characters, "characters")


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """``nats / ln 2`` a byte of the text in UTF-8, 0 and above: the one that compares across tokenizers.

    It compares where the tokens give the text back. A tokenizer with unknown pieces says less than the text,
    so its figure is too low; tell the share of unknown tokens beside it.
    """
    return nats / math.log(2) / _counted(n_bytes, "bytes")


def _counted(number: int, what: str) -> int:
    if number < 1:
        raise DataError(f"there are no {what} to judge a language model on", hint="take a longer text")
    return number


def measures(nats: float, tokens: int, characters: int, n_bytes: int) -> dict[str, float]:
    """All three, by the names of ``MEASURES``.

    Raises:
        DataError: there are no tokens, characters or bytes.
    """
    return {
        "perplexity": perplexity(nats, tokens),
        "bits_per_character": bits_per_character(nats, characters),
        "bits_per_byte": bits_per_byte(nats, n_bytes),
    }
