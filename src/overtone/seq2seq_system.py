"""A trained encoder and decoder, loaded: it answers, and shows where it looked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from overtone.data import vocabulary as vocabularies
from overtone.data.vocabulary import Vocabulary
from overtone.inference import answer as answering
from overtone.inference.answer import Answer
from overtone.models import seq2seq
from overtone.models.seq2seq import Seq2SeqBody
from overtone.run import Run
from overtone.seq2seq_recipe import Seq2SeqRecipe

FACTS = "seq2seq.json"
"""The file in a run's ``model`` that is written last, and so says that the model is whole."""


class Seq2SeqSystem:
    """An encoder and decoder with their vocabulary.

    Args:
        run: the folder it came from.
        recipe: what it was made by.
        body: in evaluation mode.
        vocabulary: how texts are cut.
    """

    def __init__(self, run: Run, recipe: Seq2SeqRecipe, body: Seq2SeqBody, vocabulary: Vocabulary) -> None:
        self.run = run
        self.recipe = recipe
        self.body = body
        self.vocabulary = vocabulary

    @property
    def licence(self) -> dict[str, Any]:
        """What it may be used for: ``data``, ``weights``, ``commercial`` (None: not known)."""
        found: dict[str, Any] = self.run.facts()["licence"]
        return found

    def answer(self, questions: Sequence[str]) -> list[Answer]:
        """Answer N questions, each by itself, by the beam of the recipe's exam."""
        recipe = self.recipe
        return answering.answer(self.body, self.vocabulary, questions, recipe.max_tokens, recipe.exam.beam)


def load(run: Run, recipe: Seq2SeqRecipe) -> Seq2SeqSystem:
    """Load a trained run.

    Raises:
        RunError: a file is missing, damaged, or not of this run.
        DataError: the vocabulary is missing or damaged.
    """
    vocabulary = vocabularies.load(run.model)
    return Seq2SeqSystem(run, recipe, seq2seq.load(run.model, recipe.body, len(vocabulary)), vocabulary)
