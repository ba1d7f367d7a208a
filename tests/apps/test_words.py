from __future__ import annotations

from pathlib import Path

import pytest

from overtone.apps.words import is_run, run_and_texts
from overtone.errors import UsageError


@pytest.fixture
def run(tmp_path):
    for name in ("recipe.yaml", "manifest.json"):
        (tmp_path / name).write_text("")
    return str(tmp_path)


def test_a_run_has_a_recipe_and_a_manifest(run):
    assert is_run(run)
    Path(run, "manifest.json").unlink()
    assert not is_run(run)


def test_the_first_word_may_be_the_run(run):
    assert run_and_texts([run, "a text", run]) == (Path(run), ["a text", run])
    assert run_and_texts([run]) == (Path(run), [])
    assert run_and_texts([]) == (None, [])


@pytest.mark.parametrize("text", ["", " ", "happy", "yes / no", "x" * 480, "a/" * 300 + " b", "\0", "é" * 99])
def test_a_text_is_a_text(text):
    assert run_and_texts([text, "other"]) == (None, [text, "other"])


@pytest.mark.parametrize("word", ["runs/none", "/none", "a/" * 300, "."])
def test_a_folder_or_a_path_is_no_text(word):
    with pytest.raises(UsageError, match="not a run's folder"):
        run_and_texts([word, "happy"])
