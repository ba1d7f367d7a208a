"""The one family of errors; every message says what is wrong and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OvertoneError(Exception):
    """Anything that Overtone reports to a person instead of a traceback.

    Args:
        what: what is wrong and where (file, line, key).
        hint: what to type or change next.
    """

    def __init__(self, what: str, *, hint: str | None = None) -> None:
        self.what = what
        self.hint = hint
        super().__init__(what if hint is None else f"{what}\n  → {hint}")


class UsageError(OvertoneError):
    """A wrong command line or recipe; the program ends with exit code 2."""


class DataError(OvertoneError):
    """A data set that is missing, unreadable or not what its card or recipe says."""


class WeightsError(OvertoneError):
    """Weights that are not at hand or do not fit the model."""


class RunError(OvertoneError):
    """A run's folder that is in use, unreadable, incomplete or could not be written."""


class TrainingError(OvertoneError):
    """A fit that cannot go on (loss not finite, nothing to train)."""


class MissingExtraError(OvertoneError):
    """An optional dependency that is not installed.

    Args:
        extra: the name of the extra in ``pyproject.toml``.
        purpose: what needs it.
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the extra '{extra}'", hint=f"pip install 'overtone[{extra}]'")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Say which of the known words was probably meant, or list them all."""
    choices = sorted(known)
    folded = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return f"did you mean '{folded[close[0]]}'?" if close else f"known: {', '.join(choices)}"
