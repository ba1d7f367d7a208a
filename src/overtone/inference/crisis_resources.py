"""Where people in a crisis find help, by country: a data file, each entry with its source and a date."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from overtone.config import Config
from overtone.data.crisis import FOLDER, Need
from overtone.errors import RunError, UsageError
from overtone.run import read_json

FILE = FOLDER / "resources.json"

DEFAULT = "default"
"""The entry for countries that have none of their own."""

_LOCALE = re.compile(r"(?:[A-Za-z]{2,3}[-_])?([A-Za-z]{2})(?:\.[\w-]+)?")


class Line(Config):
    """A service that can be reached now, in one way at least."""

    name: str = Field(min_length=1, description="what it is called, and whom it is for if not for all")
    needs: tuple[Need, ...] = Field(min_length=1, description="what it helps with")
    call: str | None = Field(None, description="the number to call")
    text: str | None = Field(None, description="what to text, and where to")
    chat: str | None = Field(None, description="the address of its chat or page, without https://")
    videophone: str | None = Field(None, description="how Deaf people reach it in sign language")
    source: str = Field(pattern=r"^https://", description="where this is from")
    as_of: date = Field(description="when it was last known to be right")

    @model_validator(mode="after")
    def _can_be_reached(self) -> Line:
        if not any((self.call, self.text, self.chat, self.videophone)):
            raise ValueError("a line has a call, a text, a chat or a videophone")
        return self

    def __str__(self) -> str:
        """One line of text: the name, and the ways to reach it."""
        ways = {"call": self.call, "text": self.text, "online": self.chat, "videophone": self.videophone}
        return f"{self.name}: " + "; ".join(f"{way} {value}" for way, value in ways.items() if value)


class Place(Config):
    """What there is in one country."""

    emergency: str = Field(min_length=1, description="the emergency number")
    lines: tuple[Line, ...] = Field(min_length=1, description="services, those for most people first")

    def of(self, need: Need) -> tuple[Line, ...]:
        """The services for a need; where there is none for it, all those that listen.

        None of those helps against poison: there the emergency number stands alone.
        """
        found = tuple(line for line in self.lines if need in line.needs)
        if found or need == "poison":
            return found
        return tuple(line for line in self.lines if "suicide" in line.needs)


@cache
def read(path: Path = FILE) -> dict[str, Place]:
    """Country → what there is.

    Raises:
        RunError: the file is missing, damaged or without a default.
    """
    try:
        places = TypeAdapter(dict[str, Place]).validate_python(read_json(path))
    except ValidationError as error:
        raise RunError(f"{path} is damaged: {error}", hint="install overtone again") from error
    if DEFAULT not in places:
        raise RunError(f"{path} has no entry '{DEFAULT}'", hint="install overtone again")
    return places


def country(locale: str) -> str:
    """The country of a locale: ``US``, ``en-US`` and ``en_US.UTF-8`` are all ``US``.

    Raises:
        UsageError: it is not a locale.
    """
    found = _LOCALE.fullmatch(locale.strip())
    if found is None:
        raise UsageError(f"'{locale}' is not a locale", hint="give a country's two letters: US, GB or en-IE")
    return found[1].upper()


def place(locale: str) -> Place:
    """What there is in a locale's country; what there is anywhere, where the country is not known.

    Raises:
        UsageError: it is not a locale.
        RunError: the data file is missing or damaged.
    """
    places = read()
    return places.get(country(locale), places[DEFAULT])
