"""An embedder's way from questions to trained weights, on one screen."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from overtone import claim as claims
from overtone import language_system, lineage, mining
from overtone.data import questions as asked
from overtone.data import vocabulary as vocabularies
from overtone.data.batches import Encoded
from overtone.data.pairs import Pairs
from overtone.data.questions import Questions
from overtone.data.records import Record
from overtone.data.split import most_restrictive
from overtone.data.vocabulary import Vocabulary
from overtone.embedder_recipe import METRICS, EmbedderRecipe
from overtone.errors import RunError
from overtone.inference import lexical, own
from overtone.inference.own import Cutter
from overtone.inference.vectors import Vectors
from overtone.models import embedder as embedders
from overtone.models.embedder import HEAD
from overtone.models.model import Model
from overtone.progress import step
from overtone.run import Run
from overtone.training.contrastive import ContrastiveLoss
from overtone.training.loop import Fit, Loop, TrainingData
from overtone.training.tasks import Task


def begin(recipe: EmbedderRecipe, run: Run, *, overwrite: bool) -> None:
    """Claim the run's folder and write the resolved recipe.

    Raises:
        RunError: another recipe's run, or a finished one, stands there; or there is no language model to
            start from.
        MissingExtraError: what it is judged beside at the end is not installed.
    """
    lexical.package()
    if recipe.start is not None and not (recipe.start / "model" / language_system.FACTS).exists():
        raise RunError(
            f"start: {recipe.start} is not the run of a language model",
            hint="train one with: overtone run language",
        )
    claims.folder(recipe, run, overwrite=overwrite)


def finished(run: Run) -> bool:
    """Whether the run's model is trained and written."""
    return (run.model / own.FILE).exists()


def divide(recipe: EmbedderRecipe) -> Questions:
    """Questions and passages, checked; the same where only other settings differ.

    Raises:
        DataError: see ``questions.prepare``.
    """
    with step("reading questions, looking for leaks"):
        return asked.prepare(recipe.data, recipe.leakage, recipe.rows_seed)


def prepare(recipe: EmbedderRecipe, run: Run) -> Questions:
    """Read and check the questions, and note it in the manifest.

    Raises:
        DataError: see ``questions.prepare``.
        RunError: something is trained already, and on other data.
    """
    begun = time.perf_counter()
    prepared = divide(recipe)
    claims.refuse_other_data(prepared.fingerprints, run)
    began, cards = "", [*prepared.cards]
    if recipe.start is not None:  # what binds the language model binds what is made of it
        began = f" as {recipe.start}"
        cards += lineage.cards(Run(recipe.start).facts())
    teacher = "" if recipe.teacher is None else f", taught by {recipe.teacher.weights}"
    data, commercial = most_restrictive(cards)
    licence = {
        "data": data,
        "weights": f"trained from scratch{began}{teacher}",
        "commercial": commercial,
    }
    claims.note_data(run, asked.LABEL, prepared.report, prepared.fingerprints, licence, begun)
    return prepared


@dataclass(frozen=True)
class Validation:
    """The questions that choose the best step, over all passages of the collection.

    Args:
        passages: of the collection, cut, in its order.
        questions: Q of them, cut.
        answers: (question, passage), each by its number: those that are right.
    """

    passages: Encoded
    questions: Encoded
    answers: Sequence[tuple[int, int]]

    def __call__(self, model: Model) -> dict[str, float]:
        """``METRICS``, of the best of each question's right passages; equals are placed behind the others."""
        passages, questions = (own.read(model, texts) for texts in (self.passages, self.questions))
        scores = questions @ passages.T  # (Q, P)
        best = np.full(len(questions), len(passages), dtype=np.int64)
        for question, passage in self.answers:
            row = scores[question]
            best[question] = min(best[question], int((row >= row[passage]).sum()))
        found = best <= 10
        return {"recall_10": float(found.mean()), "mrr_10": float((found / best).mean())}


def train(recipe: EmbedderRecipe, prepared: Questions, run: Run) -> Fit:
    """Make or take the vocabulary, ask the teacher, mine negatives, fit, and write the best step.

    Raises:
        DataError: the vocabulary's texts are too few.
        RunError: the language model to start from is missing or another.
        WeightsError: the teacher's weights are not at hand.
        TrainingError: see ``Loop.fit``.
    """
    cutter = Cutter(_vocabulary(recipe, prepared), recipe.max_length, folded=recipe.folded)
    with step("cutting texts into tokens"):
        passages, questions = cutter(prepared.passages), cutter(prepared.asked)
    taught = _taught(recipe, prepared)
    pairs = np.array(prepared.pairs, dtype=np.int64)
    wrong = mining.negatives(recipe.negatives, prepared, taught, recipe.seed)
    rows = Pairs(questions, passages, pairs[:, 0], np.concatenate([pairs[:, 1:], wrong], axis=1))
    torch.manual_seed(recipe.seed)
    model = embedders.build(recipe.body, recipe.pooling, _idf(passages, len(cutter.vocabulary)))
    if recipe.start is not None:
        embedders.start(model, Run(recipe.start).model)
    vectors = () if taught is None else tuple(torch.from_numpy(each) for each in taught)
    loss = ContrastiveLoss(
        recipe.objective, torch.from_numpy(rows.asked), torch.from_numpy(rows.answers), *vectors
    )
    loop = Loop(
        model=model,
        tasks=[Task(HEAD, "regression", loss, 1.0)],
        data=TrainingData(rows, {HEAD: torch.arange(len(pairs))}),
        validate=_validation(prepared, cutter),
        config=recipe.train,
        run=run,
        seed=recipe.seed,
        directions=dict.fromkeys(METRICS, 1),
    )
    fit = loop.fit()
    if loop.accelerator.is_main_process:
        run.note(
            fit=asdict(fit),
            model=model.sizes(),
            pieces=len(cutter.vocabulary),
            cut={"questions": questions.cut, "passages": passages.cut},
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )
        own.save(run.model, model, cutter, recipe.body, recipe.pooling)
    loop.accelerator.wait_for_everyone()
    return fit


def _vocabulary(recipe: EmbedderRecipe, prepared: Questions) -> Vocabulary:
    """The vocabulary of the language model to start from, or one made of what is learnt from."""
    if recipe.vocabulary is None:
        assert recipe.start is not None  # the recipe was checked
        return vocabularies.load(Run(recipe.start).model)
    texts = (*prepared.passages, *prepared.asked)
    with step("making the vocabulary"):
        return recipe.vocabulary.build(own.as_read(texts, folded=recipe.folded))


def _taught(recipe: EmbedderRecipe, prepared: Questions) -> tuple[Vectors, Vectors] | None:
    """The teacher's vectors of passages and questions."""
    if recipe.teacher is None:
        return None
    teacher = recipe.teacher.build()
    return (
        mining.vectors(teacher, prepared.passages, "passages", query=False),
        mining.vectors(teacher, prepared.asked, "questions", query=True),
    )


def _idf(passages: Encoded, size: int) -> torch.Tensor:
    """ln((P + 1) / (passages with the piece + 1)) + 0.1 of every piece, (V,)."""
    owner = np.repeat(np.arange(len(passages)), passages.lengths)
    with_it = np.unique(np.stack([owner, passages.flat]), axis=1)[1]
    counts = np.bincount(with_it, minlength=size)
    return torch.from_numpy(np.log((len(passages) + 1) / (counts + 1)) + 0.1)


def _validation(prepared: Questions, cutter: Cutter) -> Validation:
    """The questions of dev, over the collection."""
    collection, rows = prepared.collection, prepared.splits.validation
    place = {each.id: number for number, each in enumerate(collection.passages)}
    answers = [(n, place[str(each)]) for n, row in enumerate(rows) for each in _passages(row)]
    return Validation(
        cutter([each.content for each in collection.passages]), cutter([row.text for row in rows]), answers
    )


def _passages(row: Record) -> tuple[object, ...]:
    found = row.targets["passages"]
    assert isinstance(found, tuple)
    return found
