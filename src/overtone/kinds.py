"""The kinds of recipe: which class reads a file, by the ``kind`` at its top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overtone import recipe as recipes
from overtone.chat_recipe import ChatRecipe
from overtone.companion_recipe import CompanionRecipe
from overtone.embedder_recipe import EmbedderRecipe
from overtone.errors import UsageError, did_you_mean
from overtone.language_recipe import LanguageRecipe
from overtone.recipe import BaseRecipe, Recipe
from overtone.schema import check
from overtone.seq2seq_recipe import Seq2SeqRecipe

AnyRecipe = Recipe | LanguageRecipe | EmbedderRecipe | ChatRecipe | CompanionRecipe | Seq2SeqRecipe
"""A recipe of any kind."""

READER = "reader"
"""The kind of a recipe that names none: one with tasks, whose model reads texts."""

KINDS: dict[str, type[BaseRecipe]] = {
    READER: Recipe,
    "language": LanguageRecipe,
    "embedder": EmbedderRecipe,
    "chat": ChatRecipe,
    "companion": CompanionRecipe,
    "seq2seq": Seq2SeqRecipe,
}
"""Kind → its recipe."""


def read(name: str, overrides: Sequence[str] = ()) -> AnyRecipe:
    """Read a recipe of any kind by its shipped name or from a file, with ``a.b=c`` overrides.

    Raises:
        UsageError: no such recipe or kind, broken YAML, an unknown key or a value that does not fit.
    """
    return recipes.resolve(name, overrides, parse)


def kind_of(name: str) -> str:
    """The kind of a recipe, by its shipped name or from a file.

    Raises:
        UsageError: see ``read``.
    """
    return str(getattr(read(name), "kind", READER))


def parse(values: Mapping[str, Any], origin: str) -> AnyRecipe:
    """Check plain values against the schema of their kind.

    Args:
        values: as YAML has them.
        origin: where they are from, for the message.

    Raises:
        UsageError: see ``read``.
    """
    match values.get("kind", READER):
        case "reader":
            return recipes.parse({key: value for key, value in values.items() if key != "kind"}, origin)
        case "language":
            return check(LanguageRecipe, values, origin, hint="the schema: overtone data schema language")
        case "embedder":
            return check(EmbedderRecipe, values, origin, hint="the schema: overtone data schema embedder")
        case "chat":
            return check(ChatRecipe, values, origin, hint="the schema: overtone data schema chat")
        case "companion":
            return check(CompanionRecipe, values, origin, hint="the schema: overtone data schema companion")
        case "seq2seq":
            return check(Seq2SeqRecipe, values, origin, hint="the schema: overtone data schema seq2seq")
        case kind:
            raise UsageError(f"{origin}: no kind of recipe '{kind}'", hint=did_you_mean(str(kind), KINDS))
