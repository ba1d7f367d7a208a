"""The proof of a companion: what its replies are worth, what it hears, and what it forgot."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from overtone import chat_likelihood, companion_system, eq_exam
from overtone.chat_likelihood import BASE
from overtone.companion_prompt import LABELS
from overtone.companion_recipe import CompanionRecipe
from overtone.companion_system import CompanionSystem
from overtone.data.chat import Turn
from overtone.data.conversations import Conversations
from overtone.data.records import Record
from overtone.data.red_team import read_openers
from overtone.data.replies import known, replies
from overtone.evaluation import baselines, companion_report
from overtone.evaluation.baselines import Setting
from overtone.evaluation.benchmarks.replies import Measured, Replied, measured
from overtone.evaluation.companion_report import CompanionReport, SideBySide
from overtone.evaluation.compare import System, save_predictions, standings
from overtone.evaluation.findings import Evidence, Licence, Origin, Training
from overtone.progress import step
from overtone.run import Run, write_json
from overtone.scores import Predictions, summary
from overtone.training.tasks import Reading, encode_targets, scores_of

SAID = "replies.json"
"""What each system replied to some of the test turns, under ``evaluation``."""

RECENT = 3
"""Turns that a baseline reads of what was said."""

SHOWN = ("accuracy", "macro_f1")


def prove(recipe: CompanionRecipe, prepared: Conversations, run: Run) -> None:
    """Measure replies, heads and what was forgotten on the test, beside the base and the baselines.

    Raises:
        RunError: a file of the run is missing or damaged.
        MissingExtraError: what measures replies is not installed.
    """
    system = companion_system.load(run, recipe)
    test = drawn(recipe, prepared.splits.test)
    sources = sorted({row.source for row in test})
    settings = {"seed": recipe.seed, "resamples": recipe.exam.resamples}
    likely = {
        found.text: chat_likelihood.keep(run, found, **settings)
        for found in (
            *(
                chat_likelihood.of_answers(system, source, [row for row in test if row.source == source])
                for source in sources
            ),
            *chat_likelihood.forgotten(system, recipe.exam),
        )
    }
    examined = [_heard(recipe, name, prepared, system) for name in recipe.objective.heard]
    spoken = _replied(recipe, system, test)
    opened = _opened(recipe, system)
    exam = recipe.exam.eq_bench
    rated = None if exam is None else eq_exam.of_run(run, system.body, exam)
    facts = run.facts()
    companion_report.write(
        CompanionReport(
            origin=Origin(recipe.description, facts["command"], recipe.seed, facts),
            model=run.name,
            base=BASE,
            likely=likely,
            heard=[each for each in examined if each is not None],
            replies=spoken,
            opened=opened,
            eq_bench=rated,
            training=Training.of(facts, run.history(), recipe.train.early_stopping.metric),
            licence=Licence(**facts["licence"]),
            data=prepared.report,
            mask=facts["mask"]["train"],
            sizes=[["tokens a second", f"{facts['tokens']['per_second']:,.0f}"]],
            objectives=list(recipe.objective.weights()),
            sources=sources,
        ),
        run.folder,
    )


def drawn(recipe: CompanionRecipe, rows: Sequence[Record]) -> list[Record]:
    """The test conversations that are asked about: some of each data set, drawn by the seed of the rows."""
    most, found = recipe.exam.conversations, list[Record]()
    for source in sorted({row.source for row in rows}):
        there = [row for row in rows if row.source == source]
        if most is not None and len(there) > most:
            there = sorted(there, key=lambda row: random.Random(f"{recipe.rows_seed}/{row.id}").random())[
                :most
            ]
        found += there
    return found


def moments(rows: Sequence[Record], name: str) -> list[tuple[Record, list[Turn]]]:
    """The moments at which a head is examined: a row for each, with its label, and what was said before.

    Of an emotion, the first reply of each conversation, after one turn of the speaker alone; of a strategy,
    every reply. A row's text is the last turn, and its ``context`` what came before, for the baselines.
    """
    found = []
    for row in rows:
        pairs = zip(replies(row), known(row, name), strict=True)
        for reply, label in list(pairs)[: 1 if name == "emotion" else None]:
            if label is None:
                continue
            recent = [turn.text for turn in reply.context[-RECENT:]]
            moment = Record(
                f"{row.id}-{reply.number}",
                recent[-1],
                {name: label},
                row.source,
                context="\n".join(recent[:-1]) or None,
                group=row.group,
            )
            found.append((moment, list(reply.context)))
    return found


def _heard(
    recipe: CompanionRecipe, name: str, prepared: Conversations, system: CompanionSystem
) -> Evidence | None:
    """How a head stands among the baselines on the test; None where no test conversation has such a label."""
    test = moments(drawn(recipe, prepared.splits.test), name)
    if not test:
        return None
    labels, run = LABELS[name], system.run
    with step(f"hearing the {name} of {len(test):,} turns"):
        shares = system.hear([context for _, context in test])[name]
    rows = [moment for moment, _ in test]
    targets = encode_targets(rows, name, labels, "classification")
    outputs = np.log(np.maximum(shares, 1e-12))
    model = System(run.name, scores_of(Reading("classification", labels), rows, targets, outputs))
    train, choose = (
        [moment for moment, _ in moments(part, name)]
        for part in (prepared.splits.train, prepared.splits.validation)
    )
    setting = Setting("classification", labels, name, "accuracy")
    with step(f"fitting the baselines of {name}"):
        fitted = [baselines.fit(each, train, choose, setting) for each in ("majority", "tfidf")]
    others = [System(each.name, each.predict(rows)) for each in fitted]
    for each in (System("test", model.predictions), *others):
        assert isinstance(each.predictions, Predictions)
        save_predictions(run.evaluation / name / f"{each.name}.jsonl", each.predictions)
        write_json(run.evaluation / name / f"{each.name}.summary.json", summary(each.predictions))
    stand = standings(model, others, list(SHOWN), seed=recipe.seed, resamples=recipe.exam.resamples)
    write_json(run.evaluation / name / "standings.json", [asdict(each) for each in stand])
    return Evidence(
        task=name,
        metric="accuracy",
        model=model,
        baselines=others,
        standings=stand,
        data=prepared.report,
        resamples=recipe.exam.resamples,
    )


def _opened(recipe: CompanionRecipe, system: CompanionSystem) -> list[SideBySide]:
    """What the run, with its reflection, and the base reply to some openers."""
    chance, settings = random.Random(f"{recipe.rows_seed}/openers"), recipe.exam.sampling.model_dump()
    openers = read_openers()
    found = []
    with step(f"side by side, {recipe.exam.openers:,} openers"):
        for opener in chance.sample(openers, min(recipe.exam.openers, len(openers))):
            turns = [Turn("user", opener.text)]
            reply = system.respond(turns, **settings)
            (base,) = system.speak([turns], tuned=False, **settings)
            found.append(SideBySide(opener.text, reply.text, reply.reflection.text, base))
    return found


def _replied(recipe: CompanionRecipe, system: CompanionSystem, test: Sequence[Record]) -> list[Measured]:
    """What the run and the base reply to some turns of the test, measured; nothing where none are asked."""
    turns = [(row.id, reply) for row in test for reply in replies(row)]
    chance = random.Random(f"{recipe.rows_seed}/replies")
    asked = chance.sample(turns, min(recipe.exam.replies, len(turns)))
    if not asked:
        return []
    contexts, settings = [reply.context for _, reply in asked], recipe.exam.sampling.model_dump()
    said: dict[str, list[str]] = {}
    found: list[Measured] = []
    for name, tuned in ((system.run.name, True), (BASE, False)):
        with step(f"{name} replies to {len(asked):,} turns"):
            said[name] = system.speak(contexts, tuned=tuned, **settings)
        replied = Replied(
            name,
            tuple(row for row, _ in asked),
            tuple(said[name]),
            tuple(reply.text for _, reply in asked),
        )
        found.append(measured(replied, seed=recipe.seed, resamples=recipe.exam.resamples))
    write_json(
        system.run.evaluation / SAID,
        {
            "measured": [asdict(each) for each in found],
            "replies": [
                {"conversation": row, "number": reply.number, **{name: said[name][place] for name in said}}
                for place, (row, reply) in enumerate(asked)
            ],
        },
    )
    return found
