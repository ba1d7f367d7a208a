from __future__ import annotations

import pytest

from overtone import dispatch, kinds, recipe
from overtone.errors import UsageError
from overtone.language_recipe import LanguageRecipe


def test_a_recipe_that_names_no_kind_reads_texts():
    assert kinds.read("emotion-mini", ["seed=3"]) == recipe.load("emotion-mini", ["seed=3"])
    assert kinds.kind_of("emotion-mini") == "reader"
    values = recipe.load("emotion-mini").model_dump(mode="json")
    assert kinds.parse({"kind": "reader", **values}, "test") == recipe.load("emotion-mini")


def test_the_kind_picks_the_class_and_the_steps():
    loaded = kinds.read("language", ["window=96"])
    assert isinstance(loaded, LanguageRecipe)
    assert loaded.window == 96
    assert dispatch.of(loaded) is dispatch.LANGUAGE
    assert dispatch.of(kinds.read("embedder")) is dispatch.EMBEDDER
    assert dispatch.of(kinds.read("emotion-mini")) is dispatch.READER


def test_an_unknown_kind_is_named():
    with pytest.raises(UsageError, match="no kind of recipe 'langauge'") as caught:
        kinds.parse({"kind": "langauge", "name": "mine"}, "mine.yaml")
    assert caught.value.hint == "did you mean 'language'?"


def test_every_kind_has_a_shipped_recipe():
    assert {kinds.kind_of(name) for name in recipe.shipped()} == set(kinds.KINDS)
