"""The self-healing cascade: a primary model, honest confidence, and steps that only unsure texts pay for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from overtone.config import Config
from overtone.errors import RunError
from overtone.inference import backup as backups
from overtone.inference import emojis
from overtone.inference.backup import Backup, BackupKind, Embed
from overtone.inference.calibrate import RiskRule, TextModel
from overtone.inference.decisions import Decision, Step
from overtone.inference.normalise import draw_faces, is_noise, normalise, reveal
from overtone.inference.sarcasm import SarcasmDetector
from overtone.inference.trace import Ask, Evidence, Fitted, Stage, Trace, Use, follow
from overtone.run import read_json, write_json


class CascadeConfig(Config):
    """What the cascade promises and which steps it may take."""

    risk: float = Field(0.10, gt=0, lt=1, description="Largest share of wrong answers among those answered.")
    level: float = Field(0.95, gt=0, lt=1, description="Probability with which the risk must be kept.")
    horizon: int | None = Field(
        1000, ge=1, description="Answers to come among which the share of wrong ones is kept too; null: any."
    )
    calibration_share: float = Field(
        0.5, gt=0, lt=1, description="Share of the validation rows that only certify the risk; the rest fit."
    )
    backup: Literal["auto", "none", "tfidf", "prototypes"] = Field(
        "auto", description="Second model: the best of those that help, none, or only this one if it helps."
    )
    sarcasm: bool = Field(True, description="Look for sarcasm where the primary is unsure, if that helps.")
    emoji: bool = Field(True, description="Read emoji from the table.")
    ask: bool = Field(True, description="Ask the person where the risk could not be kept.")
    emoji_words: bool = Field(
        False, description="Write emoji out as words for the models; right only where they were trained so."
    )


class Cascade:
    """A fitted cascade over a primary model; ``cascade_fit.fit_cascade`` makes one.

    Args:
        primary: the model that reads every text.
        config: what was asked for.
        fitted: what was found.
        rules: the risk rule of each combination of optional steps, all certified on the same rows, so that a
            caller who switches a step off keeps the promise.
        backup: the second model that was kept, if any.
        sarcasm: the detector that was kept, if any.
    """

    def __init__(
        self,
        primary: TextModel,
        config: CascadeConfig,
        fitted: Fitted,
        rules: Mapping[Use, RiskRule],
        backup: Backup | None = None,
        sarcasm: SarcasmDetector | None = None,
    ) -> None:
        self.primary = primary
        self.labels = primary.labels
        self.config = config
        self.fitted = fitted
        self.rules = dict(rules)
        self.backup = backup
        self.sarcasm = sarcasm

    def use(
        self, *, backup: bool | None = None, sarcasm: bool | None = None, emoji: bool | None = None
    ) -> Use:
        """The steps that run: those that were kept and that the caller does not switch off.

        Args:
            backup: False leaves the backup out; None and True take it where there is one.
            sarcasm: the same of the sarcasm check.
            emoji: the same of the emoji table.
        """
        return Use(
            backup=self.backup is not None and backup is not False,
            sarcasm=self.sarcasm is not None and sarcasm is not False,
            emoji=self.config.emoji and emoji is not False,
        )

    def prepare(self, texts: Sequence[str]) -> list[str]:
        """N texts as the models read them."""
        return normalise(texts, emoji_words=self.config.emoji_words)

    def evidence(self, texts: Sequence[str], use: Use) -> Evidence:
        """Ask the primary about N texts, in one call, and leave the rest to be asked when needed."""
        prepared = self.prepare(texts)
        noise = np.array([is_noise(text) for text in texts], dtype=bool)
        reading = emojis.read([draw_faces(reveal(text)) for text in texts], self.labels)
        needed = ~noise & ~reading.emoji_only if use.emoji else ~noise
        logits = np.zeros((len(texts), len(self.labels)))
        if needed.any():
            logits[needed] = self.primary.logits([prepared[row] for row in np.flatnonzero(needed)])

        def asker(model: Backup | SarcasmDetector | None) -> Ask | None:
            return (
                None if model is None else lambda rows: model.probabilities([prepared[row] for row in rows])
            )

        return Evidence(self.labels, logits, noise, reading, asker(self.sarcasm), asker(self.backup))

    def trace(self, texts: Sequence[str], use: Use | None = None) -> Trace:
        """Take N texts through the steps; the risk rule is not applied yet."""
        use = use or self.use()
        return follow(self.evidence(texts, use), self.fitted, use)

    def classify(
        self,
        texts: Sequence[str],
        *,
        backup: bool | None = None,
        sarcasm: bool | None = None,
        emoji: bool | None = None,
        ask: bool | None = None,
    ) -> list[Decision]:
        """Decide on N texts, vectorised over the batch.

        Emoji-only texts are settled by the emoji table. They and everything else are covered by the risk
        rule as far as the calibration rows were like them.

        Args:
            texts: N texts, any of them may be empty.
            backup: False leaves the backup out for this call.
            sarcasm: False leaves the sarcasm check out.
            emoji: False leaves the emoji table out.
            ask: False gives the best guess instead of asking, and the risk is not kept; None: as configured.
        """
        use = self.use(backup=backup, sarcasm=sarcasm, emoji=emoji)
        asking = self.config.ask if ask is None else ask
        trace = self.trace(texts, use)
        return [self._decision(trace, row, self.rules[use].threshold, asking) for row in range(len(texts))]

    def _decision(self, trace: Trace, row: int, threshold: float, asking: bool) -> Decision:
        if trace.noise[row]:
            note = "no letter and no emoji to read"
            return Decision(None, 0.0, {}, "noise", (Step("noise", None, 0.0, note),))
        steps = [self._step(stage, row) for stage in trace.stages if stage.rows[row]]
        shares = trace.distribution[row]
        order = np.argsort(-shares, kind="stable")
        scores = {self.labels[column]: float(shares[column]) for column in order}
        label, confidence = next(iter(scores.items()))
        source = trace.source[row]
        offers: tuple[str, ...] = ()
        if asking and trace.confidence[row] < threshold:
            source = "ask"
            three = len(scores) > 2 and shares[order[:2]].sum() < 0.8
            offers = tuple(scores)[: 3 if three else 2]
            bar = f"below {threshold:.2f}" if math.isfinite(threshold) else "no threshold keeps the risk"
            steps.append(Step("ask", label, confidence, f"{bar}: {' or '.join(offers)}?"))
        return Decision(label, confidence, scores, source, tuple(steps), offers)

    def _step(self, stage: Stage, row: int) -> Step:
        shares = stage.distribution[row]
        best = int(shares.argmax())
        note = ""
        if stage.name == "primary" and shares[best] < self.fitted.gate:
            note = f"below {self.fitted.gate:.2f}: unsure" if math.isfinite(self.fitted.gate) else "unsure"
        elif stage.name == "sarcasm" and stage.heard is not None:
            note = f"sarcastic with probability {stage.heard[row]:.2f}"
        elif stage.name == "backup" and stage.heard is not None and self.backup is not None:
            other = int(stage.heard[row].argmax())
            note = f"{self.backup.kind} says {self.labels[other]} ({stage.heard[row][other]:.2f})"
        return Step(stage.name, self.labels[best], float(shares[best]), note)

    def save(self, folder: Path) -> None:
        """Write the cascade without its primary: ``cascade.json``, ``backup/``, ``sarcasm/``.

        Raises:
            RunError: the folder could not be written.
        """
        if self.backup is not None:
            self.backup.save(folder / "backup")
        if self.sarcasm is not None:
            self.sarcasm.save(folder / "sarcasm")
        rules = [{**asdict(use), "rule": asdict(rule)} for use, rule in self.rules.items()]
        write_json(
            folder / "cascade.json",
            {
                "labels": list(self.labels),
                "config": self.config.model_dump(),
                "fitted": asdict(self.fitted),
                "rules": rules,
                "backup": None if self.backup is None else self.backup.kind,
                "sarcasm": self.sarcasm is not None,
            },
        )

    @classmethod
    def load(cls, folder: Path, primary: TextModel, embed: Embed) -> Cascade:
        """Read what ``save`` wrote; it decides the same.

        Args:
            folder: the cascade's folder.
            primary: the model it was fitted for.
            embed: the encoder of the prototypes; not called where another backup was kept.

        Raises:
            RunError: a file is missing, cut short, or was fitted for other labels.
        """
        path = folder / "cascade.json"
        facts = read_json(path)
        try:
            labels, kind = tuple(facts["labels"]), facts["backup"]
            config = CascadeConfig(**facts["config"])
            fitted = _fitted(facts["fitted"])
            rules = {
                Use(row["backup"], row["sarcasm"], row["emoji"]): _rule(row["rule"]) for row in facts["rules"]
            }
            has_sarcasm = bool(facts["sarcasm"])
            if kind is not None and kind not in ("tfidf", "prototypes"):
                raise ValueError(f"no backup is called {kind}")
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}", hint="fit the cascade again") from error
        if labels != tuple(primary.labels):
            raise RunError(f"{path} was fitted for the labels {', '.join(labels)}", hint="load its own run")
        second: Backup | None = None
        if kind is not None:
            name: BackupKind = kind
            second = backups.load(name, folder / "backup", embed)
        detector = SarcasmDetector.load(folder / "sarcasm") if has_sarcasm else None
        cascade = cls(primary, config, fitted, rules, second, detector)
        if cascade.use() not in cascade.rules:
            raise RunError(f"{path} has no risk rule for its own steps", hint="fit the cascade again")
        return cascade


def _finite(value: float | None) -> float:
    """JSON has no infinity; it stands there as null."""
    return math.inf if value is None else float(value)


def _rule(facts: dict[str, Any]) -> RiskRule:
    rule = RiskRule(**facts)
    return replace(rule, threshold=_finite(rule.threshold))


def _fitted(facts: dict[str, Any]) -> Fitted:
    fitted = Fitted(**facts)
    first, second = fitted.exponents
    return replace(fitted, gate=_finite(fitted.gate), exponents=(first, second), grid=tuple(fitted.grid))
