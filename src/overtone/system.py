"""A finished run, loaded: what `overtone.load` gives and every app talks to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, overload

from overtone import chat_system, companion_system, kinds, language_system, lineage, seq2seq_system
from overtone import recipe as recipes
from overtone.chat_recipe import ChatRecipe, DecoderRecipe
from overtone.chat_system import ChatSystem, Tutor
from overtone.companion_recipe import CompanionRecipe
from overtone.embedder_recipe import EmbedderRecipe
from overtone.errors import MissingExtraError, RunError, UsageError
from overtone.evaluation import parity
from overtone.inference import classify, own
from overtone.inference.cascade import Cascade
from overtone.inference.classify import Classifier, Reader
from overtone.inference.decisions import Decision, Step
from overtone.inference.ensemble import Ensemble
from overtone.inference.forms import OnnxForm
from overtone.inference.own import TrainedEmbedder
from overtone.inference.readout import Answer, Readout, answer
from overtone.language_recipe import LanguageRecipe
from overtone.language_system import LanguageSystem
from overtone.preference_recipe import PreferenceRecipe
from overtone.recipe import Recipe
from overtone.run import Run, read_json
from overtone.seq2seq_recipe import Seq2SeqRecipe
from overtone.seq2seq_system import Seq2SeqSystem
from overtone.training.tasks import Reading

FORMS = "onnx"
"""The folder of the exported forms in a run's ``model``."""

_CHAT = "train one with: overtone run tutor-knowledge"


def shipped() -> Path:
    """The folder of the classifier that ships with the package."""
    return Path(str(resources.files("overtone") / "pretrained" / "emotion-open"))


def load(
    run: str | Path | Sequence[str | Path] | None = None,
) -> System | LanguageSystem | TrainedEmbedder | ChatSystem | Seq2SeqSystem:
    """Load a trained run, an ensemble of several readers, or the classifier that ships with the package.

    Args:
        run: the run's folder; a list of folders for their ensemble, which has no cascade; None for the
            shipped classifier.

    Raises:
        RunError: not a trained run, or a file is damaged.
        UsageError: an ensemble of no runs, of one run twice, or of runs with other tasks or labels.
        WeightsError: the base weights are not at hand.
    """
    if run is None and not _is_trained(shipped()):
        raise RunError(
            "the classifier that ships with the package is not here",
            hint='install overtone again, or name a run of your own: overtone classify runs/emotion-mini "…"',
        )
    if run is not None and not isinstance(run, str | Path):
        return _load_ensemble([Path(each) for each in run])
    found = trained(shipped() if run is None else Path(run))
    recipe = kinds.read(str(found.recipe))
    if isinstance(recipe, LanguageRecipe):
        return language_system.load(found, recipe)
    if isinstance(recipe, EmbedderRecipe):
        return own.load(found.model)
    if isinstance(recipe, ChatRecipe | PreferenceRecipe):
        return chat_system.load(found, recipe)
    if isinstance(recipe, CompanionRecipe):
        return companion_system.load(found, recipe)
    if isinstance(recipe, Seq2SeqRecipe):
        return seq2seq_system.load(found, recipe)
    reader = load_reader(recipe, found)
    cascade = None
    if (found.model / "cascade" / "cascade.json").exists():
        encoder = classify.FrozenEncoder(recipe.body)
        cascade = Cascade.load(found.model / "cascade", Classifier(reader), encoder)
    else:  # what a cascade promises was certified on the form that it was fitted with
        reader.form = _exported(found)
    return System(found, recipe, reader, cascade)


def load_language(folder: Path) -> LanguageSystem:
    """Load a trained language model.

    Raises:
        RunError: not a trained run, or a file is damaged.
        UsageError: a run of another kind.
    """
    loaded = load(folder)
    if not isinstance(loaded, LanguageSystem):
        raise UsageError(f"{folder} is no language model", hint="train one with: overtone run language")
    return loaded


def load_chat(folder: Path) -> ChatSystem:
    """Load a tuned decoder.

    Raises:
        RunError: not a trained run, or a file is damaged.
        UsageError: a run of another kind.
    """
    loaded = load(folder)
    if not isinstance(loaded, ChatSystem):
        raise UsageError(f"{folder} is no tuned decoder", hint=_CHAT)
    return loaded


def load_exported_chat(folder: Path) -> Tutor:
    """Load what ``overtone export`` wrote of a tuned decoder, spoken by llama.cpp.

    Raises:
        RunError: not a trained run, or a file is damaged.
        UsageError: a run of another kind, or one without a GGUF file.
        MissingExtraError: the extra ``llama`` is not installed.
    """
    run = trained(folder)
    recipe = kinds.read(str(run.recipe))
    if not isinstance(recipe, DecoderRecipe):
        raise UsageError(f"{folder} is no tuned decoder", hint=_CHAT)
    return chat_system.load_exported(run, recipe)


def _exported(run: Run) -> OnnxForm | None:
    """The fastest form of a run that passed the parity gate; None where that is PyTorch.

    Raises:
        RunError: a file of the export is damaged.
    """
    folder = run.model / FORMS
    if not (folder / parity.FILE).exists():
        return None
    try:
        return parity.load(folder, parity.fastest(folder))
    except MissingExtraError:  # PyTorch is what the forms were compared with, so it always passes
        return None


def trained(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        RunError: there is none, or it is not trained.
    """
    if not _is_trained(folder):
        raise RunError(f"{folder} is not a trained run", hint="train one with: overtone run emotion-mini")
    return Run(folder)


def _is_trained(folder: Path) -> bool:
    last = ("labels.json", language_system.FACTS, own.FILE, chat_system.FACTS, seq2seq_system.FACTS)
    return any((folder / "model" / name).exists() for name in last)


def _load_ensemble(folders: Sequence[Path]) -> System:
    reader = together(folders)
    first, *others = map(Run, folders)
    return System(first, recipes.load(str(first.recipe)), reader, None, others)


def together(folders: Sequence[Path], tasks: Collection[str] | None = None) -> Ensemble:
    """The models of trained runs as one, without their cascades.

    Args:
        folders: of the runs.
        tasks: that are asked; the runs may have others. All of them without.

    Raises:
        RunError: one is not a trained run, or a file is damaged.
        UsageError: no run, one run twice, or runs with other tasks or labels.
        WeightsError: the base weights are not at hand.
    """
    if not folders or len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError(
            f"an ensemble of {', '.join(map(str, folders)) or 'no runs'}",
            hint="name one run at least, and none twice",
        )
    runs = [trained(folder) for folder in folders]
    readers = {str(run.folder): load_reader(recipes.load(str(run.recipe)), run) for run in runs}
    return Ensemble(readers, tasks)


def load_reader(recipe: Recipe, run: Run) -> Reader:
    """The model of a trained run, without its cascade.

    Raises:
        RunError: a file is missing or damaged.
        WeightsError: the base weights are not at hand.
    """
    facts = read_json(run.model / "labels.json")
    try:
        readings = {name: Reading.parse(facts[name]) for name in recipe.tasks}
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.model / 'labels.json'} does not fit the recipe: {error}", hint="train the run again"
        ) from error
    heads = {name: task.head for name, task in recipe.tasks.items()}
    return classify.load(run.model, recipe.body, heads, readings)


class System:
    """A trained model with its cascade, where it has one.

    Args:
        run: the folder it came from.
        recipe: what it was made by.
        reader: the model, with all its heads.
        cascade: the steps around it, if the recipe has them.
        others: of an ensemble, the folders of the other runs.
    """

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        reader: Reader | Ensemble,
        cascade: Cascade | None,
        others: Sequence[Run] = (),
    ) -> None:
        self.run = run
        self.recipe = recipe
        self.reader = reader
        self.cascade = cascade
        self.others = tuple(others)

    @property
    def decides(self) -> bool:
        """Whether the model has one head, and that gives labels: what ``classify`` is for."""
        kinds = [reading.kind for reading in self.reader.readings.values()]
        return len(kinds) == 1 and kinds[0] != "regression"

    @property
    def classifier(self) -> Classifier:
        """The first head by itself.

        Raises:
            UsageError: an ensemble has none.
        """
        if isinstance(self.reader, Ensemble):
            raise UsageError("an ensemble is no classifier of one model", hint="load one of its runs")
        return Classifier(self.reader)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the first head can answer, (L,)."""
        return next(iter(self.reader.readings.values())).labels

    @property
    def licence(self) -> dict[str, Any]:
        """What it may be used for: ``data``, ``weights``, ``commercial`` (None: not known)."""
        if self.others:
            return lineage.licence([self.run, *self.others])
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

        Raises:
            UsageError: the model has several heads, or one of numbers.
        """
        if not self.decides:
            raise UsageError(
                f"{self.run.folder} has the heads {', '.join(self.reader.readings)}, not one of labels",
                hint="`System.read` gives what all of them make of a text",
            )
        many = [texts] if isinstance(texts, str) else texts
        decisions = self._decide(many, {"backup": backup, "sarcasm": sarcasm, "emoji": emoji, "ask": ask})
        return decisions[0] if isinstance(texts, str) else decisions

    def _decide(self, texts: list[str] | tuple[str, ...], steps: dict[str, bool | None]) -> list[Decision]:
        if self.cascade is not None:
            return self.cascade.classify(texts, **steps)
        return [_plain(next(iter(readout.heads.values()))) for readout in self.read(texts)]

    def read(self, texts: Sequence[str], contexts: Sequence[str | None] | None = None) -> list[Readout]:
        """What all heads make of N texts, in one pass and without a cascade.

        Args:
            texts: the texts.
            contexts: what was said before each, where there is something; read by the heads that were
                trained with it.
        """
        values = self.reader.values(texts, contexts)
        readings = self.reader.readings
        return [
            Readout({name: answer(readings[name], values[name][row]) for name in readings})
            for row in range(len(texts))
        ]


def _plain(found: Answer) -> Decision:
    """The decision of a model without a cascade."""
    best, confidence = next(iter(found.scores.items()))
    held = found.labels if found.kind == "multilabel" else ()
    step = Step("primary", best, confidence, "")
    return Decision(best, confidence, dict(found.scores), "primary", (step,), labels=held)
