"""Fold texts so that two spellings of one text compare equal, and take them apart into words."""

from __future__ import annotations

import unicodedata


class _Folding(dict[int, str | None]):
    """A table for ``str.translate`` that is filled as characters are met."""

    def __missing__(self, code: int) -> str | None:
        category = unicodedata.category(chr(code))
        folded: str | None = chr(code)
        if category[0] in "PZ" or category == "Cc":
            folded = " "
        elif category == "Cf" or 0xFE00 <= code <= 0xFE0F:  # joiners and variation selectors cannot be seen
            folded = None
        self[code] = folded
        return folded


_FOLDING = _Folding()


def fold(text: str) -> str:
    """The text without what does not change it: width, case, spacing and punctuation.

    NFKC, casefold, then each run of white space and punctuation is one space; symbols such as emoji stay.
    A text of punctuation alone keeps it ("?!" is not "...").
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(plain.translate(_FOLDING).split()) or " ".join(plain.split())


def words(text: str) -> list[str]:
    """The words of the folded text, in order."""
    return fold(text).split()
