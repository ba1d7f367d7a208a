"""The proof of a run on preferences: held-out pairs, how likely people's replies are, what was forgotten."""

from __future__ import annotations

import json

from overtone import chat_likelihood, chat_system, preference_pairs
from overtone.chat_likelihood import BASE
from overtone.data.conversations import Conversations
from overtone.evaluation import preference_report
from overtone.evaluation.benchmarks.preferences import Preferred
from overtone.evaluation.findings import Licence, Origin, Training
from overtone.evaluation.preference_report import PreferenceReport
from overtone.models.causal import ChatModel
from overtone.preference_recipe import PreferenceRecipe
from overtone.progress import step
from overtone.run import Run, write_atomic

PAIRS = "pairs.jsonl"
"""What the run and the base give both answers of each held-out pair, under ``evaluation``."""


def prove(recipe: PreferenceRecipe, prepared: Conversations, run: Run) -> None:
    """Measure held-out pairs, people's replies and what was forgotten, beside the base.

    Raises:
        RunError: a file of the run is missing or damaged.
        DataError: see ``preference_pairs.pairs``.
    """
    system = chat_system.load(run, recipe)
    model, asked = ChatModel(system.body), preference_pairs.pairs(recipe, prepared).test
    rows = preference_pairs.encoded(recipe, model, asked)
    with step(f"which of two answers is likelier, {len(asked):,} times"):
        tuned = preference_pairs.likely(model, rows)
        with system.body.without_adapter():
            base = preference_pairs.likely(model, rows)
    found = Preferred(
        tuple(each.id for each in asked),
        {run.name: tuned.double().numpy(), BASE: base.double().numpy()},
        rows.counts_of(range(len(rows))).view(2, -1).T.double().numpy(),
    )
    lines = [
        {"id": name, **{system: each[place].tolist() for system, each in found.nats.items()}}
        for place, name in enumerate(found.ids)
    ]
    write_atomic(run.evaluation / PAIRS, "".join(json.dumps(line) + "\n" for line in lines))
    settings = {"seed": recipe.seed, "resamples": recipe.exam.resamples}
    likely = {
        each.text: chat_likelihood.keep(run, each, **settings)
        for each in chat_likelihood.measured(system, prepared, recipe.exam)
    }
    facts = run.facts()
    preference_report.write(
        PreferenceReport(
            origin=Origin(recipe.description, facts["command"], recipe.seed, facts),
            model=run.name,
            base=BASE,
            pairs=found,
            likely=likely,
            training=Training.of(facts, run.history(), recipe.train.early_stopping.metric),
            licence=Licence(**facts["licence"]),
            data=prepared.report,
            mask=facts["mask"]["train"],
            sizes=[["tokens a second", f"{facts['tokens']['per_second']:,.0f}"]],
            resamples=recipe.exam.resamples,
        ),
        run.folder,
    )
