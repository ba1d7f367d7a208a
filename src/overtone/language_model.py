"""A language model's way from texts to trained weights, on one screen."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from overtone import claim as claims
from overtone.data import documents, stream
from overtone.data import vocabulary as vocabularies
from overtone.data.documents import Documents
from overtone.data.stream import Stream, Windows
from overtone.data.vocabulary import Vocabulary
from overtone.evaluation.language import nats
from overtone.language_recipe import LanguageRecipe
from overtone.language_system import FACTS
from overtone.likelihood import MEASURES, measures
from overtone.models import language
from overtone.models.language import HEAD, LanguageModel
from overtone.models.model import Model
from overtone.progress import step
from overtone.run import Run, write_json, writes
from overtone.training.loop import Fit, Loop, TrainingData
from overtone.training.next_token import NextTokenLoss
from overtone.training.tasks import Task


def begin(recipe: LanguageRecipe, run: Run, *, overwrite: bool) -> None:
    """Claim the run's folder and write the resolved recipe.

    Raises:
        RunError: another recipe's run, or a finished one, stands there.
    """
    claims.folder(recipe, run, overwrite=overwrite)


def finished(run: Run) -> bool:
    """Whether the run's model is trained and written."""
    return (run.model / FACTS).exists()


def divide(recipe: LanguageRecipe) -> Documents:
    """The documents, divided and checked; the same where only other settings differ.

    Raises:
        DataError: see ``documents.prepare``.
    """
    with step("reading documents, looking for leaks"):
        return documents.prepare(recipe.data, recipe.leakage, recipe.rows_seed, recipe.evaluate.others)


def prepare(recipe: LanguageRecipe, run: Run) -> Documents:
    """Read, divide and check the documents, and note it in the manifest.

    Raises:
        DataError: see ``documents.prepare``.
        RunError: something is trained already, and on other data.
    """
    begun = time.perf_counter()
    prepared = divide(recipe)
    claims.refuse_other_data(prepared.fingerprints, run)
    report = prepared.report
    licence = claims.from_scratch(report)
    claims.note_data(run, documents.LABEL, report, prepared.fingerprints, licence, begun)
    return prepared


@dataclass(frozen=True)
class Validation:
    """The stream that chooses the best step.

    Args:
        stream: of the validation documents.
        recipe: the length of a window, and how many are read at once.
    """

    stream: Stream
    recipe: LanguageRecipe

    def __call__(self, model: Model) -> dict[str, float]:
        """Nats a token as ``loss``, and the ``MEASURES``, from windows side by side."""
        assert isinstance(model, LanguageModel)
        found = nats(
            model.body.reader,
            self.stream.ids,
            self.recipe.window,
            batch_size=self.recipe.train.batch_size,
            device=str(model.device),
        )
        sizes = (self.stream.targets, self.stream.characters, self.stream.bytes)
        return {"loss": found / self.stream.targets, **measures(found, *sizes)}


def train(recipe: LanguageRecipe, prepared: Documents, run: Run) -> Fit:
    """Make the vocabulary of the training documents, fit the model, and write its best step.

    Raises:
        DataError: the documents are too few for a window, or the vocabulary too small.
        TrainingError: see ``Loop.fit``.
    """
    vocabulary = _vocabulary(recipe, prepared, run)
    with step("cutting texts into tokens"):
        streams = {
            name: stream.build(vocabulary, [row.text for row in prepared.splits[name]])
            for name in ("train", "validation")
        }
    windows = Windows(stream.windows(streams["train"].ids, recipe.window))
    torch.manual_seed(recipe.seed)
    model = LanguageModel(language.build(recipe.body, len(vocabulary)))
    loop = Loop(
        model=model,
        tasks=[Task(HEAD, "classification", NextTokenLoss(), 1.0)],
        data=TrainingData(windows, {HEAD: windows.targets}),
        validate=Validation(streams["validation"], recipe),
        config=recipe.train,
        run=run,
        seed=recipe.seed,
        directions=dict.fromkeys(MEASURES, -1),
    )
    fit = loop.fit()
    if loop.accelerator.is_main_process:
        language.save(model.body.reader, run.model)
        run.note(
            fit=asdict(fit),
            model=model.sizes(),
            tokens=_counted(streams, fit, recipe.window),
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )
        write_json(run.model / FACTS, {"vocabulary": len(vocabulary), "window": recipe.window})
    loop.accelerator.wait_for_everyone()
    return fit


def _vocabulary(recipe: LanguageRecipe, prepared: Documents, run: Run) -> Vocabulary:
    """The run's own vocabulary where it is written already, else one made of the training documents alone."""
    if (run.model / vocabularies.FILE).exists():
        return vocabularies.load(run.model)
    with step("making the vocabulary"):
        vocabulary = recipe.vocabulary.build([row.text for row in prepared.splits.train])
    if writes():
        vocabulary.save(run.model)
    return vocabulary


def _counted(streams: Mapping[str, Stream], fit: Fit, window: int) -> dict[str, Any]:
    """What the manifest keeps of the tokens: of each split, and how many were trained on and how fast."""
    rows = round(fit.rows_per_second * fit.seconds)
    return {
        **{
            name: {
                "documents": each.documents,
                "tokens": each.targets,
                "characters": each.characters,
                "bytes": each.bytes,
            }
            for name, each in streams.items()
        },
        "trained": rows * window,
        "per_second": round(fit.rows_per_second * window, 1),
    }
