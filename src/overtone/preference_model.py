"""From pairs of answers to an adapter that prefers the better ones, on one screen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from overtone import chat_model
from overtone.chat_model import started
from overtone.data.conversations import Conversations
from overtone.data.paired import PairedChats
from overtone.models.answers import HEAD
from overtone.models.model import Model
from overtone.preference_pairs import cut, encoded, likely, pairs
from overtone.preference_recipe import PreferenceRecipe
from overtone.progress import step
from overtone.run import Run
from overtone.training.loop import Fit, Loop, TrainingData
from overtone.training.precision import Precision
from overtone.training.preference import PreferenceLoss
from overtone.training.tasks import Task


@dataclass(frozen=True)
class Validation:
    """The pairs that choose the best step.

    Args:
        rows: of the validation part.
        objective: with their likelihoods as the fit began.
        precision: of the matrix products.
    """

    rows: PairedChats
    objective: PreferenceLoss
    precision: Precision

    def __call__(self, model: Model) -> dict[str, float]:
        """The mean loss, and the share of pairs whose better answer gained more than the worse."""
        gained = likely(model, self.rows, self.precision) - self.objective.reference
        margins = self.objective.beta * (gained[:, 0] - gained[:, 1])
        return {
            "loss": float(self.objective.of_margins(margins)) / len(margins),
            "accuracy": float((margins > 0).float().mean()),
        }


def train(recipe: PreferenceRecipe, prepared: Conversations, run: Run) -> Fit:
    """Fit the adapter on pairs, and write its best step.

    What the answers were worth as the fit began is computed once: the adapter as it started, which without a
    run to start from is the base.

    Raises:
        DataError: see ``preference_pairs``.
        RunError: the adapter to start from is damaged or of another shape.
        WeightsError: the decoder's weights are not at hand.
        TrainingError: see ``Loop.fit``.
    """
    model = started(recipe)
    divided = pairs(recipe, prepared)
    rows = {name: encoded(recipe, model, getattr(divided, name)) for name in ("train", "validation")}
    settings = {"beta": recipe.objective.beta, "smoothing": recipe.objective.smoothing}
    with step("how likely the answers are before the fit"):
        objectives = {
            name: PreferenceLoss(each, likely(model.eval(), each, recipe.train.precision), **settings)
            for name, each in rows.items()
        }
    loop = Loop(
        model=model,
        tasks=[Task(HEAD, "classification", objectives["train"], 1.0)],
        data=TrainingData(rows["train"], {HEAD: torch.arange(len(rows["train"]))}),
        validate=Validation(rows["validation"], objectives["validation"], recipe.train.precision),
        config=recipe.train,
        run=run,
        seed=recipe.seed,
        directions={"accuracy": 1},
    )
    fit = loop.fit()
    if loop.accelerator.is_main_process:
        run.note(pairs={name: len(getattr(divided, name)) for name in ("train", "validation", "test")})
        chats = {
            name: [
                cut(recipe, model, each, answer)
                for each in getattr(divided, name)
                for answer in (each.chosen, each.rejected)
            ]
            for name in ("train", "validation")
        }
        chat_model.write(recipe, model, run, chats, replace(fit, rows_per_second=2 * fit.rows_per_second))
    loop.accelerator.wait_for_everyone()
    return fit
