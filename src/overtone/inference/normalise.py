"""Bring informal text nearer to what an encoder was trained on, and leave ordinary text as it is."""

from __future__ import annotations

import html
import itertools
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import emoji

from overtone.errors import DataError
from overtone.inference.emojis import SKIN_TONES, is_sign, symbols

USER, LINK = "@user", "http"
"""What a handle and an address become."""

# Full and half width forms, letterlike symbols, mathematical alphabets and Latin ligatures: the same letters
# in fancy dress. The rest of NFKC (fractions, ellipses, superscripts) would change ordinary text.
_FANCY = re.compile("[\uff01-\uffef\u2100-\u2121\u2123-\u2138\ufb00-\ufb06\U0001d400-\U0001d7ff\u3000]+")
_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]"
)
# A joiner between Latin letters is noise; in Persian, Hindi or an emoji it is spelling.
_STRAY_JOINER = re.compile("(?<=[A-Za-z0-9])[\u200c\u200d]+(?=[A-Za-z0-9])")
_ENTITY = re.compile(r"&(?:#\d{1,7};?|#[xX][0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{1,31};)")
_LINK = re.compile(r"\b(?:https?://|www\.)\S*[\w/]", re.IGNORECASE)
_HANDLE = re.compile(r"(?<![\w@.])@\w{1,30}\b(?!\.\w)")
_LONG_WORD = re.compile(r"(?<![^\W_])[^\W\d_]*([^\W\d_])\1{2,}[^\W\d_]*(?![^\W_])")
_RUN = re.compile(r"([^\W\d_])\1{2,}", re.IGNORECASE)
_ROMAN = re.compile(r"[MDCLXVI]+")
_SPACE = re.compile(r"[^\S\n]{2,}")
# One step may uncover work for another (a full-width "&amp;"); most texts settle at once.
_ROUNDS = 8
_PLACEHOLDERS = re.compile(rf"{USER}\b|\b{LINK}\b")


@cache
def _pairs(name: str) -> tuple[tuple[str, str], ...]:
    text = files("overtone.inference").joinpath(f"tables/{name}").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    if any(len(row) != 2 for row in rows) or len({row[0] for row in rows}) < len(rows):
        raise DataError(f"{name} must hold two columns, and no first column twice")
    return tuple((row[0], row[1]) for row in rows)


@cache
def _emoticons() -> tuple[re.Pattern[str], dict[str, str]]:
    meaning = {face: symbol for symbol, faces in _pairs("emoticons.tsv") for face in faces.split(" ")}
    longest_first = sorted(meaning, key=len, reverse=True)
    # A mouth may be drawn out: ":)))" is ":)".
    faces = "|".join(
        re.escape(face) + (f"(?:{re.escape(face[-1])})*" if face[-1] in ")(D" else "")
        for face in longest_first
    )
    return re.compile(rf"(?:(?<=[\s.,!?])|^)({faces})(?=[\s.,!?]|$)"), meaning


@cache
def _slang() -> tuple[re.Pattern[str], dict[str, str]]:
    meaning = dict(_pairs("slang.tsv"))
    words = "|".join(re.escape(word) for word in sorted(meaning, key=len, reverse=True))
    return re.compile(rf"(?<![\w.'’@#/&-])(?:{words})(?![\w'’/&-]|\.\w)", re.IGNORECASE), meaning


def _expand(match: re.Match[str]) -> str:
    word = match[0]
    if len(word) <= 2 and not word.islower():
        return word
    return _slang()[1][word.lower()]


@cache
def _doubled() -> frozenset[str]:
    text = files("overtone.inference").joinpath("tables/doubled.txt").read_text(encoding="utf-8")
    return frozenset(text.partition("\n")[2].split())


def _shorten(match: re.Match[str]) -> str:
    word = match[0]
    if _ROMAN.fullmatch(word) or (len(set(word)) == 1 and (word.isupper() or word == "www")):
        return word  # XIII, KKK, YYYY
    runs = len(_RUN.findall(word))
    # One letter of each run unless a known word has two there; beyond four runs nobody meant a word.
    for counts in itertools.product((1, 2), repeat=runs) if runs <= 4 else ():
        left = iter(counts)
        short = _RUN.sub(lambda run: run[0][: next(left)], word)  # noqa: B023 - used up in this turn
        if short.lower() in _doubled():
            return short
    return _RUN.sub(r"\1", word)


def _words(symbol: str, _: dict[str, str]) -> str:
    name = emoji.demojize(SKIN_TONES.sub("", symbol), delimiters=("", ""))
    return symbol if is_sign(symbol) else f" {name.replace('_', ' ')} "


def reveal(text: str) -> str:
    """Undo what hides the text: entities, fancy letters, invisible characters."""
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = _FANCY.sub(lambda fancy: unicodedata.normalize("NFKC", fancy[0]), text)
    return _STRAY_JOINER.sub("", _INVISIBLE.sub("", text))


def draw_faces(text: str) -> str:
    """Typed faces such as ":)" as the emoji they stand for."""
    pattern, meaning = _emoticons()

    def symbol(match: re.Match[str]) -> str:
        face = match[1]
        while face not in meaning:  # a mouth that was drawn out
            face = face[:-1]
        return meaning[face]

    return pattern.sub(symbol, text)


def _once(text: str, emoji_words: bool) -> str:
    text = reveal(text)
    text = _HANDLE.sub(USER, _LINK.sub(LINK, text))
    text = _LONG_WORD.sub(_shorten, text)
    text = _slang()[0].sub(_expand, text)
    if emoji_words:
        text = emoji.replace_emoji(draw_faces(text), _words)
    return _SPACE.sub(" ", text).strip()


def normalise(texts: Sequence[str], *, emoji_words: bool = False) -> list[str]:
    """N texts as the models read them; ordinary sentences come back unchanged.

    Entities, fancy letters and invisible characters are undone, addresses and handles become placeholders,
    drawn-out letters are cut, and chat abbreviations are written out. Doing it twice is doing it once.

    Args:
        texts: N texts.
        emoji_words: also write emoji and typed faces as the words of their Unicode names. It helps a model
            that was trained on such text, and hurts one that was not (docs/LOG.md).
    """
    done = []
    for text in texts:
        for _ in range(_ROUNDS):
            before, text = text, _once(text, emoji_words)
            if text == before:
                break
        done.append(text)
    return done


def is_noise(text: str) -> bool:
    """Whether there is nothing to read: no letter of any script (placeholders aside), emoji or typed face."""
    text = draw_faces(reveal(text))
    words = _PLACEHOLDERS.sub("", _HANDLE.sub("", _LINK.sub("", text)))
    return not any(character.isalpha() for character in words) and next(symbols(text), None) is None
