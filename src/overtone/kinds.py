"""The kinds of recipe: which class reads a file, by the ``kind`` at its top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from overtone import recipe as recipes
from overtone.chat_recipe import ChatRecipe
from overtone.companion_recipe import CompanionRecipe
from overtone.embedder_recipe import EmbedderRecipe
from overtone.errors import UsageError, did_you_mean
from overtone.language_recipe import LanguageRecipe
from overtone.preference_recipe import PreferenceRecipe
from overtone.recipe import BaseRecipe, Recipe
from overtone.schema import check
from overtone.seq2seq_recipe import Seq2SeqRecipe

AnyRecipe = (
    Recipe | LanguageRecipe | EmbedderRecipe | ChatRecipe | CompanionRecipe | PreferenceRecipe | Seq2SeqRecipe
)
"""A recipe of any kind."""

READER = "reader"
"""The kind of a recipe that names none: one with tasks, whose model reads texts."""

KINDS: dict[str, type[BaseRecipe]] = {
    READER: Recipe,
    "language": LanguageRecipe,
    "embedder": EmbedderRecipe,
    "chat": ChatRecipe,
    "companion": CompanionRecipe,
    "preference": PreferenceRecipe,
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
    kind = values.get("kind", READER)
    if kind == READER:
        return recipes.parse({key: value for key, value in values.items() if key != "kind"}, origin)
    if kind not in KINDS:
        raise UsageError(f"{origin}: no kind of recipe '{kind}'", hint=did_you_mean(str(kind), KINDS))
    return cast(
        "AnyRecipe", check(KINDS[kind], values, origin, hint=f"the schema: overtone data schema {kind}")
    )
