"""How a cascade does on labelled rows, and whether its promise holds when the rows are drawn again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from overtone.inference.calibrate import fit_threshold, softmax
from overtone.inference.cascade import Cascade
from overtone.inference.trace import Trace, Use
from overtone.scores import Bools, Floats, Ints, aurc, risk_coverage


@dataclass(frozen=True, slots=True)
class StepEffect:
    """What one step did to the labels.

    Args:
        rows: rows that it worked on.
        fixed: wrong labels that it made right.
        broken: right labels that it made wrong.
    """

    rows: int
    fixed: int
    broken: int


@dataclass(frozen=True, slots=True)
class CascadeScores:
    """A cascade on N labelled rows.

    Args:
        label: best label's index, put to the person or not, (N,); -1 for noise.
        confidence: what the risk rule looks at, (N,), 0..1.
        correct: whether the best label is right, (N,).
        answered: whether it was answered rather than asked, (N,).
        coverage: share answered, 0..1.
        risk: share of wrong answers among those answered, 0..1; NaN where nothing is.
        accuracy: share of right best labels with nothing asked, 0..1.
        primary_accuracy: of the primary alone, 0..1.
        aurc: area under the cascade's risk-coverage curve, 0..1; lower is better.
        primary_aurc: the same of the primary alone, not calibrated.
        curve: coverage and risk at every coverage, each (N,).
        primary_curve: the same of the primary alone, not calibrated.
        effects: step → what it did, for "emoji", "sarcasm" and "backup" where they ran.
        shares: source → share of the rows, 0..1; sums to 1.
    """

    label: Ints
    confidence: Floats
    correct: Bools
    answered: Bools
    coverage: float
    risk: float
    accuracy: float
    primary_accuracy: float
    aurc: float
    primary_aurc: float
    curve: tuple[Floats, Floats]
    primary_curve: tuple[Floats, Floats]
    effects: dict[str, StepEffect]
    shares: dict[str, float]


def evaluate(cascade: Cascade, texts: Sequence[str], gold: Ints, use: Use | None = None) -> CascadeScores:
    """Score a cascade, and its primary alone on the same texts, on labelled rows.

    The primary alone reads every text as it stands, noise and emoji too.

    Args:
        cascade: a fitted cascade.
        texts: N texts.
        gold: class indices, (N,).
        use: the steps that run; all that the cascade has, unless given.
    """
    use = use or cascade.use()
    trace = cascade.trace(texts, use)
    raw = softmax(cascade.primary.logits(texts)) if len(texts) else np.zeros((0, len(cascade.labels)))
    primary_right = raw.argmax(axis=1) == gold
    correct, confidence = trace.label == gold, trace.confidence
    answered = confidence >= cascade.rules[use].threshold
    source = np.where(answered | trace.noise, np.array(trace.source, dtype=object), "ask")
    return CascadeScores(
        label=trace.label,
        confidence=confidence,
        correct=correct,
        answered=answered,
        coverage=_mean(answered),
        risk=_mean(~correct[answered]),
        accuracy=_mean(correct),
        primary_accuracy=_mean(primary_right),
        aurc=aurc(confidence, correct),
        primary_aurc=aurc(raw.max(axis=1), primary_right),
        curve=risk_coverage(confidence, correct),
        primary_curve=risk_coverage(raw.max(axis=1), primary_right),
        effects=_effects(trace, gold),
        shares={name: count / len(gold) for name, count in Counter(source.tolist()).items()},
    )


def _mean(values: Bools) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _effects(trace: Trace, gold: Ints) -> dict[str, StepEffect]:
    effects: dict[str, StepEffect] = {}
    for before, stage in zip(trace.stages, trace.stages[1:], strict=False):
        was = before.distribution.argmax(axis=1) == gold
        now = stage.distribution.argmax(axis=1) == gold
        # A text of emoji only has no label before the table gives it one: nothing to fix or break.
        rows = stage.rows & trace.stages[0].rows
        effects[stage.name] = StepEffect(
            rows=int(stage.rows.sum()),
            fixed=int((rows & ~was & now).sum()),
            broken=int((rows & was & ~now).sum()),
        )
    return effects


@dataclass(frozen=True, slots=True)
class Resamples:
    """The promise, tried again and again on new parts of one pool.

    Args:
        risks: share of wrong answers among those answered on the rows that did not certify, (times,).
        coverages: share of these rows that was answered, (times,), 0..1.
        risk: the risk that was to be kept.
    """

    risks: Floats
    coverages: Floats
    risk: float

    @property
    def kept(self) -> int:
        """In how many resamples the risk was kept; answering nothing keeps it."""
        return int((np.nan_to_num(self.risks) <= self.risk).sum())

    @property
    def coverage(self) -> float:
        """The mean coverage, 0..1."""
        return float(self.coverages.mean())


def resample_check(
    confidence: Floats,
    correct: Bools,
    grid: Floats,
    *,
    risk: float = 0.10,
    level: float = 0.95,
    horizon: int | None = None,
    times: int = 20,
    share: float = 0.4,
    seed: int = 0,
) -> Resamples:
    """Certify the threshold on a random part of a pool and measure it on the rest, many times.

    Works on what the cascade said once about the pool, so no model runs again. The measured share of errors
    scatters with the size of the rest too, while the guarantee is about its expectation: without a horizon,
    thresholds certified at their limit exceed the risk more often here than 1 - ``level``.

    Args:
        confidence: what the cascade says about the pool's rows, (N,), 0..1.
        correct: whether its labels are right, (N,).
        grid: the thresholds to test, decreasing; stated without the pool.
        risk: the risk to keep, 0..1.
        level: the probability with which to keep it, 0..1.
        horizon: answers to come over which the share of errors is kept too.
        times: how many resamples.
        share: the part that certifies, 0..1.
        seed: of the resamples.
    """
    rng = np.random.default_rng(seed)
    risks, coverages = np.full(times, np.nan), np.zeros(times)
    for turn in range(times):
        order = rng.permutation(len(correct))
        cut = round(len(order) * share)
        certify, rest = order[:cut], order[cut:]
        rule = fit_threshold(
            confidence[certify], correct[certify], grid, risk=risk, level=level, horizon=horizon
        )
        answered = rest[confidence[rest] >= rule.threshold]
        coverages[turn] = len(answered) / len(rest)
        if len(answered):
            risks[turn] = float((~correct[answered]).mean())
    return Resamples(risks, coverages, risk)
