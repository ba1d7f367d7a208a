"""Which of the words on a command line is a run, and which are texts."""

from __future__ import annotations

import re
from pathlib import Path

from overtone.errors import UsageError


def is_run(name: str) -> bool:
    """Whether it names a run's folder; a long text is no name that a system takes."""
    try:
        return all((Path(name) / part).is_file() for part in ("recipe.yaml", "manifest.json"))
    except (OSError, ValueError):
        return False


def run_and_texts(words: list[str]) -> tuple[Path | None, list[str]]:
    """The run, if the first word is one, and the texts.

    Raises:
        UsageError: the first word is a folder or a path, but no run; it was hardly meant as a text.
    """
    if not words or not words[0].strip():
        return None, words
    first = words[0]
    if is_run(first):
        return Path(first), words[1:]
    try:
        folder = Path(first).is_dir()
    except (OSError, ValueError):  # longer than a name can be
        folder = False
    if folder or ("/" in first and not re.search(r"\s", first)):
        raise UsageError(
            f"{first} is not a run's folder",
            hint="`overtone run` makes one; if it is a text, give it by standard input",
        )
    return None, words
