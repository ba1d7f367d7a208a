"""Per-example scores as JSON: a first line that says of what, then a line for every row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from overtone.scores import Estimates, Predictions, Scored

DIGITS = 6
"""Decimals of a probability."""

FIGURES = 7
"""Significant figures of a number: what single precision holds."""

KINDS = ("classification", "multilabel", "regression")
"""What a first line may say."""


def written(scored: Scored) -> Iterator[dict[str, Any]]:
    """The first line and then each row's."""
    yield {"kind": scored.kind, "labels": scored.labels}
    rows = _estimates(scored) if isinstance(scored, Estimates) else _predictions(scored)
    for name, source, row in zip(scored.ids, scored.sources, rows, strict=True):
        yield {"id": name, "source": source, **row}


def _predictions(scored: Predictions) -> Iterator[dict[str, Any]]:
    rounded = scored.probabilities.round(DIGITS).tolist()
    confidence, correct = scored.confidence.round(DIGITS).tolist(), scored.correct.tolist()
    for row, shares in enumerate(rounded):
        yield {
            "gold": names(scored.gold[row], scored.labels),
            "decided": names(scored.decided[row], scored.labels),
            "confidence": confidence[row],
            "correct": correct[row],
            "scores": dict(zip(scored.labels, shares, strict=True)),
        }


def _estimates(scored: Estimates) -> Iterator[dict[str, Any]]:
    for gold, decided in zip(scored.gold, scored.decided, strict=True):
        yield {
            key: {label: float(f"{x:.{FIGURES}g}") for label, x in zip(scored.labels, values, strict=True)}
            for key, values in (("gold", gold), ("decided", decided))
        }


def names(row: Any, labels: tuple[str, ...]) -> str | list[str]:  # noqa: ANN401 - one row of classes
    """A row's label, or the list of its labels."""
    if np.ndim(row) == 0:
        return labels[int(row)]
    return [label for label, holds in zip(labels, row, strict=True) if holds]


class Layout:
    """What the first line says, and so how the others are read.

    Args:
        first: the first line.

    Raises:
        KeyError: it lacks a part.
        ValueError: its kind is unknown.
    """

    def __init__(self, first: Mapping[str, Any]) -> None:
        self.labels = tuple(str(label) for label in first["labels"])
        self.kind = first["kind"]
        if self.kind not in KINDS:
            raise ValueError(f"the kind '{self.kind}' is none of {', '.join(KINDS)}")
        self._place = {label: i for i, label in enumerate(self.labels)}

    def row(self, value: Mapping[str, Any]) -> tuple[str, str, Any, Any, list[float]]:
        """One row: id, source, gold, decided, probabilities (empty for numbers).

        Raises:
            KeyError: a part is missing.
            ValueError: a part is of another form.
        """
        gold, decided, shares = value["gold"], value["decided"], []
        if self.kind == "regression":
            gold, decided = self._numbers(gold), self._numbers(decided)
        else:
            gold, decided = self._classes(gold), self._classes(decided)
            shares = self._numbers(value["scores"])
            if not all(0 <= p <= 1 for p in shares):
                raise ValueError("a score is not in 0..1")
        return str(value["id"]), str(value["source"]), gold, decided, shares

    def scored(self, rows: Sequence[tuple[str, str, Any, Any, list[float]]]) -> Scored:
        """All the rows as one value."""
        n, width = len(rows), len(self.labels)
        ids, sources = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
        golds, choices, shares = ([row[i] for row in rows] for i in (2, 3, 4))
        if self.kind == "regression":
            gold, decided = (np.array(each, dtype=np.float64).reshape(n, width) for each in (golds, choices))
            return Estimates(ids, self.labels, gold, decided, sources)
        shape = (n, width) if self.kind == "multilabel" else (n,)
        classes, chosen = (np.array(each, dtype=np.int64).reshape(shape) for each in (golds, choices))
        p = np.array(shares, dtype=np.float64).reshape(n, width)
        return Predictions(ids, self.labels, classes, chosen, p, sources)

    def _numbers(self, found: Mapping[str, Any]) -> list[float]:
        """One finite number a label, in the labels' order."""
        if found.keys() != self._place.keys():
            raise ValueError(f"{len(found)} labels that are not the {len(self.labels)} of the first line")
        values = [float(found[label]) for label in self.labels]
        if not np.isfinite(values).all():
            raise ValueError("a number is not finite")
        return values

    def _classes(self, found: Any) -> Any:  # noqa: ANN401 - JSON
        """A class index, or 0/1 indicators."""
        several = self.kind == "multilabel"
        if several != isinstance(found, list):
            raise ValueError(f"{found!r} is not what a {'multi' if several else 'single'}-label row holds")
        if not several:
            return self._place[found]
        held = {self._place[name] for name in found}
        return [int(i in held) for i in range(len(self.labels))]
