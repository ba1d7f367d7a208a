"""The proof of a trained language model: its likelihoods, the n-gram's, samples, and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from overtone import language_system
from overtone.data import stream
from overtone.data.documents import Documents
from overtone.data.fetch import catalogue
from overtone.data.records import Record
from overtone.evaluation import language_report, texts
from overtone.evaluation.findings import Licence, Origin, Training
from overtone.evaluation.language import token_nats
from overtone.evaluation.language_report import Evidence, LanguageReport
from overtone.evaluation.ngram import Ngram
from overtone.language_recipe import LanguageRecipe
from overtone.language_system import LanguageSystem
from overtone.progress import step
from overtone.run import Run, write_json

SCORES = "likelihood.jsonl"
"""What each system gives each document, in the folder of a text under ``evaluation``."""


def prove(recipe: LanguageRecipe, prepared: Documents, run: Run) -> None:
    """Evaluate a trained run on its test documents and on others, beside the n-gram; write scores and report.

    Raises:
        RunError: a file of the run is missing or damaged.
    """
    system = language_system.load(run, recipe)
    with step("counting n-grams of the training text"):
        train = stream.build(system.vocabulary, [row.text for row in prepared.splits.train])
        ngram = Ngram(train.ids, len(system.vocabulary), recipe.evaluate.ngram)
    judging = {"test": prepared.splits.test, **prepared.judges}
    found = {name: _judge(recipe, system, ngram, name, rows) for name, rows in judging.items()}
    for name, (evidence, _) in found.items():
        texts.write(run.evaluation / name / SCORES, evidence.found)
        write_json(run.evaluation / name / "standings.json", [asdict(each) for each in evidence.standings])
    samples = _samples(recipe, system)
    write_json(run.evaluation / "samples.json", [{"prompt": a, "continuation": b} for a, b in samples])
    facts = run.facts()
    counted = facts["tokens"]
    language_report.write(
        LanguageReport(
            origin=Origin(recipe.description, facts["command"], recipe.seed, facts),
            texts=[evidence for evidence, _ in found.values()],
            training=Training.of(facts, run.history(), recipe.train.early_stopping.metric),
            licence=Licence(**facts["licence"]),
            data=prepared.report,
            sizes=[
                ["tokens a second", f"{counted['per_second']:,.0f}"],
                ["tokens trained on", f"{counted['trained']:,}"],
                ["tokens of the training text", f"{counted['train']['tokens']:,}"],
            ],
            unknown={name: unknown for name, (_, unknown) in found.items()},
            samples=samples,
        ),
        run.folder,
    )


def _judge(
    recipe: LanguageRecipe, system: LanguageSystem, ngram: Ngram, name: str, rows: Sequence[Record]
) -> tuple[Evidence, float]:
    """The model and the n-gram on one text, and the share of its tokens that the vocabulary lacks."""
    vocabulary = system.vocabulary
    made = stream.build(vocabulary, [row.text for row in rows])
    with step(f"scoring {name}") as tell:
        ours = token_nats(
            system.reader,
            made.ids,
            recipe.window,
            recipe.evaluate.stride,
            recipe.train.batch_size,
            system.device,
            tell,
        )
    theirs = -np.log(ngram.probabilities(made.ids))
    named = {system.run.name: ours, f"ngram-{recipe.evaluate.ngram}": theirs}
    found = texts.likelihoods(name, rows, made, vocabulary.end_id, named)
    standings = texts.standings(found, seed=recipe.seed, resamples=recipe.evaluate.resamples)
    source = catalogue().get(name)  # a text of one's own has no card
    note = "" if source is None else source.card.notes
    unknown = 0.0 if vocabulary.unknown_id is None else float((made.ids == vocabulary.unknown_id).mean())
    return Evidence(found, standings, note), unknown


def _samples(recipe: LanguageRecipe, system: LanguageSystem) -> list[tuple[str, str]]:
    """Each prompt and its continuation; the same for the same weights and seed."""
    settings = recipe.evaluate.sampling.model_dump()
    return [(prompt, system.generate(prompt, **settings)) for prompt in recipe.evaluate.prompts]
