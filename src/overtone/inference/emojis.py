"""Which feeling the emoji of a text show, read from a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import emoji
import numpy as np

from overtone.errors import DataError
from overtone.scores import Bools, Floats

LABELS = ("joy", "sadness", "anger", "fear", "love", "surprise", "neutral", "disgust")
"""The labels that the table speaks of."""

_THING = 0.05
_NAMED = 0.7

# For emoji that the table does not list: words of their Unicode name, first match wins.
_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (label, re.compile(rf"(?:^|_|-)(?:{words})(?:_|-|$)"))
    for label, words in (
        ("disgust", "nauseated|vomiting|poo|cockroach|disgust\\w*"),
        ("anger", "angry|anger|enraged|pouting|furious|middle_finger"),
        ("fear", "fear\\w*|scream\\w*|anxious|ghost|spider|skull|zombie|vampire|alarm|danger"),
        ("sadness", "sad|cry\\w*|disappointed|pensive|broken_heart|weary|frowning"),
        ("surprise", "astonished|surprise\\w*|exploding|hushed"),
        ("love", "hearts?|heart-eyes|kiss\\w*|love\\w*|hugging"),
        ("joy", "smil\\w*|grin\\w*|joy|laugh\\w*|party|partying|celebrat\\w*|congratulations|dancing"),
    )
)

# What does not change the feeling: variation selectors and skin tones.
_SHADES = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
SKIN_TONES = re.compile("[\U0001f3fb-\U0001f3ff]")
"""The five skin tones."""


@dataclass(frozen=True, slots=True)
class EmojiReading:
    """What the emoji of N texts show.

    Args:
        distribution: (N, L) shares of the labels, rows sum to 1; uniform where nothing was read.
        has_emoji: whether the text has an emoji whose feeling is among the labels, (N,).
        emoji_only: whether such a text has nothing else but white space and punctuation, (N,).
    """

    distribution: Floats
    has_emoji: Bools
    emoji_only: Bools


@cache
def table() -> dict[str, tuple[float, Floats]]:
    """The shipped table: emoji without shades → (strength 0..1, weights over ``LABELS``, (8,), sum 1).

    Raises:
        DataError: a line is not "emoji, tab, strength, tab, label weight pairs" or names an emoji twice.
    """
    found: dict[str, tuple[float, Floats]] = {}
    text = files("overtone.inference").joinpath("tables/emoji.tsv").read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("#"):
            continue
        try:
            symbols, strength, pairs = line.split("\t")
            words = pairs.split()
            weights = np.zeros(len(LABELS))
            for label, weight in zip(words[::2], words[1::2], strict=True):
                weights[LABELS.index(label)] = float(weight)
            reading = (float(strength), weights / weights.sum())
        except ValueError as error:
            raise DataError(f"emoji.tsv, line {number}: {error}") from error
        for symbol in symbols.split():
            if symbol in found:
                raise DataError(f"emoji.tsv, line {number}: {symbol} stands in the table twice")
            found[symbol] = reading
    return found


def is_sign(symbol: str) -> bool:
    """Whether this is a typographic sign (as in "Apple™") that is an emoji only with a variation selector."""
    return symbol in ("©", "®", "™")


def symbols(text: str) -> Iterator[str]:
    """The emoji of a text in order, each with its skin tone, variation selector and joined parts."""
    if text.isascii():
        return
    for token in emoji.analyze(text):
        if not is_sign(token.chars):
            yield token.chars


@cache
def feeling(symbol: str) -> tuple[float, Floats]:
    """The strength (0..1) of one emoji and its weights over ``LABELS``, (8,), which sum to 1.

    Looked up without its shades; then without what a joiner adds (gender, direction, profession); then by
    the words of its Unicode name; else it is a thing, neutral and weak.
    """
    known = table()
    plain = _SHADES.sub("", symbol)
    for candidate in (plain, plain.split("\u200d")[0]):
        if candidate in known:
            return known[candidate]
    name = emoji.demojize(symbol, delimiters=("", "")).lower()
    weights = np.zeros(len(LABELS))
    for label, pattern in _NAMES:
        if pattern.search(name):
            weights[LABELS.index(label)] = 1.0
            return _NAMED, weights
    weights[LABELS.index("neutral")] = 1.0
    return _THING, weights


def read(texts: Sequence[str], labels: Sequence[str]) -> EmojiReading:
    """Read the emoji of N texts as shares of L labels.

    The emoji of a text are averaged by strength, so that a face decides and a thing beside it hardly counts.
    Labels that a model does not have drop out; an emoji that shows only such labels is not read at all.

    Args:
        texts: N texts in which typed faces are emoji already (``normalise.draw_faces``).
        labels: the model's label names, (L,), in any order.
    """
    columns = [LABELS.index(label) if label in LABELS else -1 for label in labels]
    shares = np.full((len(texts), len(labels)), 1.0 / len(labels))
    has_emoji = np.zeros(len(texts), dtype=bool)
    emoji_only = np.zeros(len(texts), dtype=bool)
    for row, text in enumerate(texts):
        found = list(symbols(text))
        if not found:
            continue
        total = sum((strength * weights for strength, weights in map(feeling, found)), np.zeros(len(LABELS)))
        kept = np.array([total[column] if column >= 0 else 0.0 for column in columns])
        if kept.sum() <= 0:
            continue
        shares[row] = kept / kept.sum()
        has_emoji[row] = True
        emoji_only[row] = not any(character.isalnum() for character in emoji.replace_emoji(text, ""))
    return EmojiReading(shares, has_emoji, emoji_only)
