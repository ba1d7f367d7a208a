"""What the cascade decided and why; a log of outcomes that holds no text; statistics since the start."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from overtone.errors import RunError
from overtone.inference.readout import VERSION
from overtone.scores import Floats

Origin = Literal["primary", "emoji", "sarcasm", "backup", "ask", "noise"]
"""Which step a decision comes from; "ask" and "noise" are not answers."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the cascade made of a text.

    Args:
        name: the step.
        label: the best label after it.
        confidence: that label's probability, 0..1.
        note: why the step ran or what it saw, for a person.
    """

    name: Origin
    label: str | None
    confidence: float
    note: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The cascade's decision on one text.

    Args:
        label: the label; the best guess where the source is "ask"; nothing where it is "noise".
        confidence: its probability, 0..1.
        scores: label → probability, most probable first; sums to 1, empty for noise.
        source: the step that settled it.
        steps: the trace, in order.
        offers: the two or three labels to put to the person where the source is "ask", likeliest first.
        labels: of a multi-label model, every label past its threshold, likeliest first.
    """

    label: str | None
    confidence: float
    scores: dict[str, float]
    source: Origin
    steps: tuple[Step, ...]
    offers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether this counts as an answer."""
        return self.source not in ("ask", "noise")

    def as_dict(self) -> dict[str, Any]:
        """The decision as JSON values: the version of their shape, then the fields."""
        return {"version": VERSION, **asdict(self)}

    def as_log(self) -> dict[str, Any]:
        """What a log keeps of it: no scores, no notes."""
        return {
            "label": self.label,
            "confidence": round(self.confidence, 4),
            "source": self.source,
            "steps": [[step.name, step.label, round(step.confidence, 4)] for step in self.steps],
        }


class Outcome(Protocol):
    """What came of one text: a decision, or what every head made of it."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON values, with the version of their shape."""
        ...

    def as_log(self) -> dict[str, Any]:
        """What a log keeps of it; nothing of the text."""
        ...


class Classify(Protocol):
    """Anything that decides on texts as the cascade does."""

    def classify(
        self,
        texts: Sequence[str],
        *,
        backup: bool | None = None,
        sarcasm: bool | None = None,
        emoji: bool | None = None,
        ask: bool | None = None,
    ) -> list[Decision]:
        """Decide on N texts; False leaves a step out."""
        ...


class DecisionLog:
    """A JSONL file with one line a text, appended; it holds no text unless asked to.

    Args:
        path: the file; its folder is made.
        with_text: whether the texts are written too.
    """

    def __init__(self, path: Path, *, with_text: bool = False) -> None:
        self.path = path
        self.with_text = with_text

    def add(self, texts: Sequence[str], outcomes: Sequence[Outcome]) -> None:
        """Append what came of N texts: time (UTC), what its ``as_log`` says, length in characters.

        Raises:
            RunError: the file cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        rows = []
        for text, outcome in zip(texts, outcomes, strict=True):
            row = {"time": now, **outcome.as_log(), "length": len(text)}
            if self.with_text:
                row["text"] = text
            rows.append(json.dumps(row) + "\n")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(rows))
        except OSError as error:
            raise RunError(
                f"could not write the decision log {self.path}: {error.strerror}", hint="name another file"
            ) from error


@dataclass
class Statistics:
    """Counts over the decisions since the start.

    Args:
        sources: how many decisions came from each step.
        labels: how many of each label, best guesses included.
        confidences: the confidence of every decision in order, noise left out.
    """

    sources: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    confidences: list[float] = field(default_factory=list)

    def add(self, decisions: Iterable[Decision]) -> None:
        """Count some decisions."""
        for decision in decisions:
            self.sources[decision.source] += 1
            if decision.label is not None:
                self.labels[decision.label] += 1
                self.confidences.append(decision.confidence)

    @property
    def n(self) -> int:
        """How many decisions were counted."""
        return self.sources.total()

    @property
    def fallback_share(self) -> float:
        """The share that needed a step after the primary (sarcasm, backup, ask), 0..1; 0 before the first."""
        later = sum(self.sources[name] for name in ("sarcasm", "backup", "ask"))
        return later / self.n if self.n else 0.0

    @property
    def mean_confidence(self) -> Floats:
        """The mean confidence of the first k decisions, for k = 1..N, (N,)."""
        so_far = np.asarray(self.confidences, dtype=np.float64)
        return so_far.cumsum() / np.arange(1, len(so_far) + 1)
