"""A finished run, loaded: what `overtone.load` gives and every app talks to."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, overload

import numpy as np

from overtone import recipe as recipes
from overtone.errors import RunError
from overtone.inference import classify
from overtone.inference.cascade import Cascade
from overtone.inference.classify import Classifier
from overtone.inference.decisions import Decision, Step
from overtone.recipe import Recipe
from overtone.run import Run, read_json
from overtone.scores import Floats


def shipped() -> Path:
    """The folder of the classifier that ships with the package."""
    return Path(str(resources.files("overtone") / "pretrained" / "emotion-open"))


def load(run: str | Path | None = None) -> System:
    """Load a trained run, or the classifier that ships with the package.

    Args:
        run: the run's folder; None for the shipped classifier.

    Raises:
        RunError: not a trained run, or a file is damaged.
        WeightsError: the base weights are not at hand.
    """
    folder = shipped() if run is None else Path(run)
    trained = (folder / "model" / "labels.json").exists()
    if run is None and not trained:
        raise RunError(
            "the classifier that ships with the package is not here",
            hint='install overtone again, or name a run of your own: overtone classify runs/emotion-mini "…"',
        )
    if not trained:
        raise RunError(f"{folder} is not a trained run", hint="train one with: overtone run emotion-mini")
    recipe = recipes.load(str(folder / "recipe.yaml"))
    classifier = load_classifier(recipe, Run(folder))
    cascade = None
    if (folder / "model" / "cascade" / "cascade.json").exists():
        encoder = classify.FrozenEncoder(recipe.body)
        cascade = Cascade.load(folder / "model" / "cascade", classifier, encoder)
    return System(Run(folder), recipe, classifier, cascade)


def load_classifier(recipe: Recipe, run: Run) -> Classifier:
    """The model of a trained run, without its cascade.

    Raises:
        RunError: a file is missing or damaged.
        WeightsError: the base weights are not at hand.
    """
    facts = read_json(run.model / "labels.json")
    task = recipe.tasks[0]
    thresholds = None if facts["thresholds"] is None else np.array(facts["thresholds"])
    return classify.load(run.model, recipe.body, (task.name, task.head), facts["labels"], thresholds)


class System:
    """A trained classifier with its cascade, where it has one.

    Args:
        run: the folder it came from.
        recipe: what it was made by.
        classifier: the model.
        cascade: the steps around it, if the recipe has them.
    """

    def __init__(self, run: Run, recipe: Recipe, classifier: Classifier, cascade: Cascade | None) -> None:
        self.run = run
        self.recipe = recipe
        self.classifier = classifier
        self.cascade = cascade

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can answer, (L,)."""
        return self.classifier.labels

    @property
    def licence(self) -> dict[str, Any]:
        """What it may be used for: ``data``, ``weights``, ``commercial`` (None: not known)."""
        found: dict[str, Any] = self.run.facts()["licence"]
        return found

    @overload
    def classify(
        self,
        texts: str,
        *,
        backup: bool | None = None,
        sarcasm: bool | None = None,
        emoji: bool | None = None,
        ask: bool | None = None,
    ) -> Decision: ...
    @overload
    def classify(
        self,
        texts: list[str] | tuple[str, ...],
        *,
        backup: bool | None = None,
        sarcasm: bool | None = None,
        emoji: bool | None = None,
        ask: bool | None = None,
    ) -> list[Decision]: ...

    def classify(
        self,
        texts: str | list[str] | tuple[str, ...],
        *,
        backup: bool | None = None,
        sarcasm: bool | None = None,
        emoji: bool | None = None,
        ask: bool | None = None,
    ) -> Decision | list[Decision]:
        """Decide on one text or many.

        A model without a cascade has none of the steps, so leaving them out changes nothing.

        Args:
            texts: a text, or N of them.
            backup: False leaves the backup out for this call.
            sarcasm: False leaves the sarcasm check out.
            emoji: False leaves the emoji table out.
            ask: False gives the best guess instead of asking; None: as the recipe says.

        Returns:
            One decision a text, with ``label``, ``confidence``, ``source``, ``scores`` and ``steps``.
        """
        many = [texts] if isinstance(texts, str) else texts
        decisions = self._decide(many, {"backup": backup, "sarcasm": sarcasm, "emoji": emoji, "ask": ask})
        return decisions[0] if isinstance(texts, str) else decisions

    def _decide(self, texts: list[str] | tuple[str, ...], steps: dict[str, bool | None]) -> list[Decision]:
        if self.cascade is not None:
            return self.cascade.classify(texts, **steps)
        shares = self.classifier.probabilities(texts)
        return [self._plain(row) for row in shares]

    def _plain(self, shares: Floats) -> Decision:
        """The decision of a model without a cascade."""
        order = np.argsort(-shares, kind="stable")
        scores = {self.labels[i]: float(shares[i]) for i in order}
        best = self.labels[order[0]]
        limits = self.classifier.thresholds
        held = () if limits is None else tuple(self.labels[i] for i in order if shares[i] >= limits[i])
        step = Step("primary", best, scores[best], "")
        return Decision(best, scores[best], scores, "primary", (step,), labels=held)
