"""A trained language model, loaded: it continues texts and says how likely they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overtone import likelihood
from overtone.data import stream as streams
from overtone.data import vocabulary as vocabularies
from overtone.data.vocabulary import Vocabulary
from overtone.errors import RunError
from overtone.evaluation.language import nats
from overtone.inference import generate
from overtone.inference.generate import SamplingConfig, Steps
from overtone.language_recipe import LanguageRecipe
from overtone.models import language
from overtone.run import Run, read_json
from overtone.schema import check

FACTS = "language.json"
"""The file in a run's ``model`` that is written last, and so says that the model is whole."""

_BROKEN = "\ufffd"


@dataclass(frozen=True, slots=True)
class TextLikelihood:
    """How likely a text is by itself, from its first token to its end.

    Args:
        nats: the negative log-likelihood.
        tokens: that were predicted, the end among them.
        characters: code points of the text.
        bytes: of it in UTF-8.
    """

    nats: float
    tokens: int
    characters: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """A token's; 1 and above."""
        return likelihood.perplexity(self.nats, self.tokens)

    @property
    def bits_per_character(self) -> float:
        """0 and above; NaN of an empty text."""
        return likelihood.bits_per_character(self.nats, self.characters) if self.characters else math.nan

    @property
    def bits_per_byte(self) -> float:
        """0 and above; NaN of an empty text."""
        return likelihood.bits_per_byte(self.nats, self.bytes) if self.bytes else math.nan


class LanguageSystem:
    """A trained language model with its vocabulary.

    Args:
        run: the folder it came from.
        recipe: what it was made by.
        reader: the model, in evaluation mode.
        vocabulary: how texts are cut.
    """

    def __init__(
        self, run: Run, recipe: LanguageRecipe, reader: language.Reader, vocabulary: Vocabulary
    ) -> None:
        self.run = run
        self.recipe = recipe
        self.reader = reader
        self.vocabulary = vocabulary
        self.device = str(next(reader.parameters()).device)

    @property
    def licence(self) -> dict[str, Any]:
        """What it may be used for: ``data``, ``weights``, ``commercial`` (None: not known)."""
        found: dict[str, Any] = self.run.facts()["licence"]
        return found

    def stream(self, prompt: str = "", **settings: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
        """Continue a text, a piece at a time.

        Args:
            prompt: what it begins with; empty for a text from nothing.
            settings: of ``SamplingConfig``: ``max_tokens``, ``temperature``, ``top_k``, ``top_p``, ``seed``.

        Yields:
            What follows the prompt, whole characters at a time.

        Raises:
            UsageError: a setting is unknown or does not fit, or the text would be too long for the model.
        """
        config = check(SamplingConfig, settings, "sampling", hint="overtone generate --help")
        before = self.vocabulary.encode([prompt]).flat.tolist()
        told = self.vocabulary.decode(before)
        begun, made = len(told), list(before)
        prompts, end = [[self.vocabulary.end_id, *before]], self.vocabulary.end_id
        steps: Steps[Any] = self.reader
        for (token,) in generate.stream(steps, prompts, config, end, self.device):
            if token is None:
                continue
            made.append(token)
            text = self.vocabulary.decode(made)
            if not text.endswith(_BROKEN) and len(text) > begun:  # else a character is not whole yet
                yield text[begun:]
                begun = len(text)
        rest = self.vocabulary.decode(made)[begun:]
        if rest:
            yield rest

    def generate(self, prompt: str = "", **settings: Any) -> str:  # noqa: ANN401 - any JSON value
        """Continue a text: what follows the prompt. The arguments and errors are those of ``stream``."""
        return "".join(self.stream(prompt, **settings))

    def score(self, texts: Sequence[str]) -> list[TextLikelihood]:
        """How likely each of N texts is, by itself."""
        window, stride = self.recipe.window, self.recipe.evaluate.stride
        end, found = self.vocabulary.end_id, []
        encoded = self.vocabulary.encode(list(texts))
        for place, text in enumerate(texts):
            own = encoded.flat[encoded.offsets[place] : encoded.offsets[place + 1]]
            ids: streams.Ids = np.concatenate([[end], own, [end]])
            total = nats(self.reader, ids, window, stride, device=self.device)
            found.append(TextLikelihood(total, len(ids) - 1, len(text), len(text.encode())))
        return found


def load(run: Run, recipe: LanguageRecipe) -> LanguageSystem:
    """Load a trained run.

    Raises:
        RunError: a file is missing, damaged, or not of this run.
        DataError: the vocabulary is missing or damaged.
    """
    facts = read_json(run.model / FACTS)
    vocabulary = vocabularies.load(run.model)
    if facts.get("vocabulary") != len(vocabulary):
        raise RunError(
            f"{run.model / vocabularies.FILE} has {len(vocabulary):,} pieces, and the model was trained with "
            f"{facts.get('vocabulary')}",
            hint="put the run's own tokenizer back, or train it again with --overwrite",
        )
    return LanguageSystem(run, recipe, language.load(run.model, recipe.body, len(vocabulary)), vocabulary)
