"""Fit a cascade: what each step may do on rows that fit, the promise on rows that only certify."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest

from overtone.errors import DataError
from overtone.inference.backup import Backup
from overtone.inference.calibrate import (
    RiskRule,
    TextModel,
    fit_temperature,
    fit_threshold,
    log_loss,
    softmax,
    threshold_grid,
)
from overtone.inference.cascade import Cascade, CascadeConfig
from overtone.inference.mixing import Exponents, fit_blend, fit_pool, pool
from overtone.inference.sarcasm import SarcasmDetector, shift
from overtone.inference.trace import Ask, Evidence, Fitted, Use, follow
from overtone.scores import Bools, Floats, Ints, aurc

EMOJI_WEIGHT = 0.35
"""How much emoji count beside words where too few rows have both to fit it."""

ENOUGH_EMOJI = 30
"""Rows with emoji and words from which the weight is fitted."""

ENOUGH_UNSURE = 40
"""Unsure rows from which a later step is tried."""

CHANCE = 0.1
"""The largest p-value at which fixing more than breaking is believed."""

FOLDS = 5
"""Parts that a step is fitted on in turn, so that it is judged on rows it was not fitted on."""


class TooFewRowsError(DataError):
    """Too few rows to fit a cascade on or to certify it with; the model itself is none the worse."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled texts.

    Args:
        texts: N texts as they were found.
        gold: class indices, (N,).
    """

    texts: Sequence[str]
    gold: Ints


@dataclass(frozen=True, slots=True)
class Trial:
    """What a step did to the fit rows, each judged by a fit that did not see it.

    Args:
        step: "sarcasm", or the backup's kind.
        unsure: rows on which it was tried.
        fixed: wrong answers that it made right.
        broken: right answers that it made wrong.
        log_loss_before: of the unsure rows without it, in nats.
        log_loss_after: with it.
        aurc_before: area under the risk-coverage curve of all fit rows without it, 0..1, lower is better.
        aurc_after: with it.
        kept: whether the cascade has it.
    """

    step: str
    unsure: int
    fixed: int = 0
    broken: int = 0
    log_loss_before: float = float("nan")
    log_loss_after: float = float("nan")
    aurc_before: float = float("nan")
    aurc_after: float = float("nan")
    kept: bool = False

    @property
    def helps(self) -> bool:
        """Whether, on rows it was not fitted on, it lowers the log loss and fixes more than it breaks.

        More by more than chance: an exact sign test (McNemar 1947, one-sided) at ``CHANCE``, since a few
        unsure rows say little, and a step that does nothing would be kept every other time.
        """
        if self.fixed <= self.broken or not self.log_loss_after < self.log_loss_before:
            return False
        changed = self.fixed + self.broken
        return float(binomtest(self.fixed, changed, alternative="greater").pvalue) <= CHANCE


@dataclass(frozen=True, slots=True)
class FitReport:
    """What the fit found, for the manifest.

    Args:
        fit_rows: rows that fitted.
        calibration_rows: rows that certified.
        fitted: the numbers.
        log_loss_before: of the primary on the fit rows at temperature 1, in nats.
        log_loss_after: at the fitted temperature.
        aurc_primary: of the primary on the fit rows at temperature 1, 0..1.
        aurc_cascade: of the cascade on the fit rows; it was fitted on them, so it flatters.
        emoji_rows: fit rows with both emoji and words.
        trials: what was tried.
        rule: the promise with the steps that are kept.
    """

    fit_rows: int
    calibration_rows: int
    fitted: Fitted
    log_loss_before: float
    log_loss_after: float
    aurc_primary: float
    aurc_cascade: float
    emoji_rows: int
    trials: tuple[Trial, ...]
    rule: RiskRule


def fit_cascade(
    primary: TextModel,
    backups: Sequence[Backup],
    sarcasm: SarcasmDetector | None,
    fit: Rows,
    calibration: Rows,
    config: CascadeConfig,
) -> tuple[Cascade, FitReport]:
    """Fit every number on the fit rows; only the promise looks at the calibration rows.

    A step is kept if, cross-fitted on the fit rows, it fixes more than it breaks, by more than chance, and
    lowers the log loss of the unsure rows; of the backups that do, the one with the lowest log loss. The
    thresholds to test come from the fit rows too, so the guarantee of ``calibrate.fit_threshold`` holds for
    rows like the calibration rows.

    Args:
        primary: the model that reads every text.
        backups: candidates; each trained on neither kind of row.
        sarcasm: the detector, where there is one.
        fit: rows that neither trained the models nor certify.
        calibration: rows that nothing else has seen.
        config: the promise and the steps.

    Raises:
        TooFewRowsError: there are too few fit rows, or no calibration rows.
    """
    if len(fit.gold) < 2 * FOLDS or not len(calibration.gold):
        raise TooFewRowsError(
            f"a cascade needs rows to fit ({len(fit.gold)}) and rows to certify ({len(calibration.gold)})",
            hint="give it more validation rows",
        )
    known = _ask_everything(Cascade(primary, config, _NOTHING, {}), fit, backups, sarcasm)
    first = _fit_primary(known.evidence, fit.gold, config)
    trial = _Tried(known.evidence, first, fit.gold, config)
    trials: list[Trial] = []

    strength = 0.0
    if config.sarcasm and known.sarcasm is not None:
        found, strength = trial.sarcasm(known.sarcasm, primary.labels)
        trials.append(found)
    exponents, chosen = (1.0, 0.0), None
    candidates = [
        (trial.backup(model.kind, opinion), model, opinion)
        for model, opinion in zip(backups, known.backups, strict=True)
        if config.backup in ("auto", model.kind)
    ]
    helpful = [candidate for candidate in candidates if candidate[0].helps]
    best = min(helpful, key=lambda candidate: candidate[0].log_loss_after, default=None)
    if best is not None:
        _, chosen, opinion = best
        exponents = trial.exponents(opinion)
    trials += [replace(found, kept=model is chosen) for found, model, _ in candidates]

    fitted = replace(first, sarcasm_strength=strength, exponents=exponents)
    detector = sarcasm if strength > 0 else None
    full = Cascade(primary, config, fitted, {}, chosen, detector)
    last = follow(known.given(full, backups), fitted, full.use())
    full.fitted = replace(fitted, grid=tuple(threshold_grid(last.confidence).tolist()))
    full.rules = _certify(full, calibration)
    raw, calm = softmax(known.evidence.logits), softmax(known.evidence.logits, first.temperature)
    return full, FitReport(
        fit_rows=len(fit.gold),
        calibration_rows=len(calibration.gold),
        fitted=full.fitted,
        log_loss_before=log_loss(raw, fit.gold),
        log_loss_after=log_loss(calm, fit.gold),
        aurc_primary=aurc(raw.max(axis=1), raw.argmax(axis=1) == fit.gold),
        aurc_cascade=aurc(last.confidence, last.label == fit.gold),
        emoji_rows=int(_beside(known.evidence).sum()),
        trials=tuple(trials),
        rule=full.rules[full.use()],
    )


_NOTHING = Fitted(1.0, 0.0, 0.0, 0.0, (1.0, 0.0), ())


def _worded(evidence: Evidence) -> Bools:
    """Rows that have something to read beside emoji, (N,)."""
    return ~evidence.noise & ~evidence.reading.emoji_only


def _beside(evidence: Evidence) -> Bools:
    """Rows with both emoji and words, (N,)."""
    return _worded(evidence) & evidence.reading.has_emoji


@dataclass(frozen=True, slots=True)
class _Known:
    """Every model's answer on every row, asked once.

    Args:
        evidence: the primary's, and what the emoji say.
        backups: probabilities of each backup, (N, L) each.
        sarcasm: probabilities of sarcasm, (N,).
    """

    evidence: Evidence
    backups: tuple[Floats, ...]
    sarcasm: Floats | None

    def given(self, cascade: Cascade, backups: Sequence[Backup]) -> Evidence:
        """The evidence that this cascade would have, from memory."""
        opinion: Ask | None = None
        for model, answers in zip(backups, self.backups, strict=True):
            if model is cascade.backup:
                opinion = answers.__getitem__
        heard = None if cascade.sarcasm is None or self.sarcasm is None else self.sarcasm.__getitem__
        return replace(self.evidence, sarcasm=heard, backup=opinion)


def _ask_everything(
    cascade: Cascade, rows: Rows, backups: Sequence[Backup], sarcasm: SarcasmDetector | None
) -> _Known:
    prepared = cascade.prepare(rows.texts)
    return _Known(
        cascade.evidence(rows.texts, Use(emoji=False)),
        tuple(model.probabilities(prepared) for model in backups),
        None if sarcasm is None else sarcasm.probabilities(prepared),
    )


def _fit_primary(evidence: Evidence, gold: Ints, config: CascadeConfig) -> Fitted:
    """Temperature, weight of the emoji, and the gate: where the primary could not keep the promise alone."""
    worded, beside = _worded(evidence), _beside(evidence)
    temperature = fit_temperature(evidence.logits[worded], gold[worded])
    weight = EMOJI_WEIGHT
    if beside.sum() >= ENOUGH_EMOJI:
        calm = softmax(evidence.logits[beside], temperature)
        weight = fit_blend(calm, evidence.reading.distribution[beside], gold[beside])
    fitted = replace(_NOTHING, temperature=temperature, emoji_weight=weight)
    trace = follow(evidence, fitted, Use(backup=False, sarcasm=False, emoji=config.emoji))
    grid = threshold_grid(trace.confidence)
    rule = fit_threshold(trace.confidence, trace.label == gold, grid, risk=config.risk, level=config.level)
    return replace(fitted, gate=rule.threshold)


def _certify(cascade: Cascade, rows: Rows) -> dict[Use, RiskRule]:
    """The risk rule of every combination of the steps that the cascade has, from one pass of its models."""
    backups = () if cascade.backup is None else (cascade.backup,)
    known = _ask_everything(cascade, rows, backups, cascade.sarcasm)
    evidence = known.given(cascade, backups)
    rules: dict[Use, RiskRule] = {}
    for backup, sarcasm, emoji in itertools.product((True, False), repeat=3):
        use = cascade.use(backup=backup, sarcasm=sarcasm, emoji=emoji)
        if use not in rules:
            trace = follow(evidence, cascade.fitted, use)
            rules[use] = fit_threshold(
                trace.confidence,
                trace.label == rows.gold,
                np.array(cascade.fitted.grid),
                risk=cascade.config.risk,
                level=cascade.config.level,
                horizon=cascade.config.horizon,
            )
    return rules


class _Tried:
    """The later steps on the unsure rows, each judged on folds that it was not fitted on."""

    def __init__(self, evidence: Evidence, fitted: Fitted, gold: Ints, config: CascadeConfig) -> None:
        trace = follow(evidence, fitted, Use(backup=False, sarcasm=False, emoji=config.emoji))
        self.gold = gold
        self.before = trace.distribution
        self.confidence = trace.confidence
        self.unsure = np.flatnonzero(_worded(evidence) & (self.before.max(axis=1) < fitted.gate))
        self.fold = np.random.default_rng(0).permutation(len(self.unsure)) % FOLDS

    def sarcasm(self, sarcastic: Floats, labels: Sequence[str]) -> tuple[Trial, float]:
        """The trial and the strength, 0 unless it helps; a step that helps has moved ``before``."""

        def fit(rows: Ints) -> Callable[[Ints], Floats]:
            strength = _fit_strength(self.before[rows], sarcastic[rows], self.gold[rows], labels)
            return lambda held: shift(self.before[held], sarcastic[held], strength, labels)

        trial = self._judge("sarcasm", fit)
        if not trial.helps:
            return trial, 0.0
        rows = self.unsure
        strength = _fit_strength(self.before[rows], sarcastic[rows], self.gold[rows], labels)
        self.before = self.before.copy()
        self.before[rows] = shift(self.before[rows], sarcastic[rows], strength, labels)
        return replace(trial, kept=True), strength

    def backup(self, kind: str, opinion: Floats) -> Trial:
        """The trial of a backup with these probabilities, (N, L)."""

        def fit(rows: Ints) -> Callable[[Ints], Floats]:
            exponents = fit_pool(self.before[rows], opinion[rows], self.gold[rows])
            return lambda held: pool(self.before[held], opinion[held], exponents)

        return self._judge(kind, fit)

    def exponents(self, opinion: Floats) -> Exponents:
        """The exponents fitted on all unsure rows."""
        return fit_pool(self.before[self.unsure], opinion[self.unsure], self.gold[self.unsure])

    def _judge(self, step: str, fit: Callable[[Ints], Callable[[Ints], Floats]]) -> Trial:
        rows, gold = self.unsure, self.gold
        if len(rows) < ENOUGH_UNSURE:
            return Trial(step, len(rows))
        after, confidence = self.before.copy(), self.confidence.copy()
        for number in range(FOLDS):
            held = rows[self.fold == number]
            after[held] = fit(rows[self.fold != number])(held)
        confidence[rows] = self.before[rows].max(axis=1)
        moved = confidence.copy()
        moved[rows] = after[rows].max(axis=1)
        was, now = self.before.argmax(axis=1) == gold, after.argmax(axis=1) == gold
        return Trial(
            step=step,
            unsure=len(rows),
            fixed=int((~was & now).sum()),
            broken=int((was & ~now).sum()),
            log_loss_before=log_loss(self.before[rows], gold[rows]),
            log_loss_after=log_loss(after[rows], gold[rows]),
            aurc_before=aurc(confidence, was),
            aurc_after=aurc(moved, now),
        )


def _fit_strength(before: Floats, sarcastic: Floats, gold: Ints, labels: Sequence[str]) -> float:
    found = minimize_scalar(
        lambda strength: log_loss(shift(before, sarcastic, strength, labels), gold),
        bounds=(0.0, 1.0),
        method="bounded",
    )
    return float(found.x)
