"""The steps of the cascade as arithmetic on arrays: who is asked, what moves, who settles each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from overtone.inference.calibrate import softmax
from overtone.inference.decisions import Origin
from overtone.inference.emojis import EmojiReading
from overtone.inference.mixing import Exponents, blend, pool
from overtone.inference.sarcasm import shift
from overtone.scores import Bools, Floats, Ints


@dataclass(frozen=True, slots=True)
class Use:
    """Which of the optional steps run."""

    backup: bool = True
    sarcasm: bool = True
    emoji: bool = True


@dataclass(frozen=True, slots=True)
class Fitted:
    """The numbers that the fit found.

    Args:
        temperature: of the primary's logits, above 0.
        gate: confidence below which the primary counts as unsure, 0..1; infinity: always.
        emoji_weight: how much emoji count beside words, 0..1.
        sarcasm_strength: how far the sarcasm detector is believed, 0..1; 0 where it is not kept.
        exponents: of primary and backup; the second one is 0 where no backup is kept.
        grid: the thresholds that were tested on the calibration rows, decreasing.
    """

    temperature: float
    gate: float
    emoji_weight: float
    sarcasm_strength: float
    exponents: Exponents
    grid: tuple[float, ...]


Ask = Callable[[Ints], Floats]
"""Row indices (M,) → what a model says about these rows: (M, L), or (M,) for sarcasm."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about N texts before anything is decided.

    Args:
        labels: the label names, (L,).
        logits: the primary's, (N, L); zeros in rows that it was not asked about.
        noise: whether there is nothing to read, (N,).
        reading: what the emoji say.
        sarcasm: asks the detector about some rows; nothing where there is none.
        backup: asks the backup about some rows; nothing where there is none.
    """

    labels: tuple[str, ...]
    logits: Floats
    noise: Bools
    reading: EmojiReading
    sarcasm: Ask | None
    backup: Ask | None


@dataclass(frozen=True, slots=True)
class Stage:
    """One step over a batch.

    Args:
        name: the step.
        rows: where it worked, (N,).
        distribution: the opinion after it, (N, L).
        heard: what it heard, for the trace: p(sarcastic) (N,) or the backup's probabilities (N, L).
    """

    name: Origin
    rows: Bools
    distribution: Floats
    heard: Floats | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """What the steps made of N texts, before the risk rule says which are answered.

    Args:
        stages: the steps in order; every row that is not noise is in at least one of them.
        source: the step that settled each row, (N,) of names.
        noise: rows with nothing to read, (N,).
        settled: rows that the emoji table settles alone, (N,); they are always answered.
    """

    stages: tuple[Stage, ...]
    source: tuple[Origin, ...]
    noise: Bools
    settled: Bools

    @property
    def distribution(self) -> Floats:
        """The last opinion, (N, L)."""
        return self.stages[-1].distribution

    @property
    def label(self) -> Ints:
        """The best label's index, (N,); -1 for noise."""
        return np.where(self.noise, -1, self.distribution.argmax(axis=1))

    @property
    def confidence(self) -> Floats:
        """What the risk rule looks at, (N,): the best label's probability; 1 where settled, 0 for noise."""
        confidence = self.distribution.max(axis=1)
        return np.where(self.noise, 0.0, np.where(self.settled, 1.0, confidence))


def follow(evidence: Evidence, fitted: Fitted, use: Use) -> Trace:
    """Take N texts through the steps: primary, emoji, then sarcasm and backup where still unsure.

    Only rows whose confidence is below the gate are shown to the detector and the backup.
    """
    reading = evidence.reading
    everything = np.ones(len(evidence.noise), dtype=bool)
    alone = reading.emoji_only if use.emoji else ~everything
    asked = ~evidence.noise & ~alone
    current = softmax(evidence.logits, fitted.temperature)
    stages = [Stage("primary", asked, current)]
    source: list[Origin] = ["primary"] * len(everything)

    def move(name: Origin, rows: Bools, moved: Floats, heard: Floats | None, *, credit: Bools) -> None:
        nonlocal current
        current = np.where(rows[:, None], moved, current)
        stages.append(Stage(name, rows, current, heard))
        for row in np.flatnonzero(credit):
            source[row] = name

    beside = reading.has_emoji & asked
    if use.emoji and reading.has_emoji.any():
        mixed = np.where(
            alone[:, None], reading.distribution, blend(current, reading.distribution, fitted.emoji_weight)
        )
        changed = beside & (mixed.argmax(axis=1) != current.argmax(axis=1))
        move("emoji", beside | alone, mixed, None, credit=alone | changed)

    unsure = asked & (current.max(axis=1) < fitted.gate)
    if use.sarcasm and evidence.sarcasm is not None and unsure.any():
        heard = np.full(len(everything), np.nan)
        heard[unsure] = evidence.sarcasm(np.flatnonzero(unsure))
        moved = shift(current, np.nan_to_num(heard), fitted.sarcasm_strength, evidence.labels)
        changed = unsure & (moved.argmax(axis=1) != current.argmax(axis=1))
        move("sarcasm", unsure & (moved != current).any(axis=1), moved, heard, credit=changed)

    if use.backup and evidence.backup is not None and unsure.any():
        opinion = np.full_like(current, np.nan)
        opinion[unsure] = evidence.backup(np.flatnonzero(unsure))
        pooled = current.copy()
        pooled[unsure] = pool(current[unsure], opinion[unsure], fitted.exponents)
        kept = pooled.argmax(axis=1) == current.argmax(axis=1)
        by_sarcasm = np.array([name == "sarcasm" for name in source])
        move("backup", unsure, pooled, opinion, credit=unsure & ~(kept & by_sarcasm))

    return Trace(
        stages=tuple(stages),
        source=tuple("noise" if noise else name for noise, name in zip(evidence.noise, source, strict=True)),
        noise=evidence.noise,
        settled=alone & (reading.distribution.max(axis=1) > 0.5),
    )
