"""The proof of a trained run: its predictions, its baselines, its cascade, its report."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from overtone import lineage
from overtone.data.fetch import fingerprint, locate, verify
from overtone.data.partition import carve
from overtone.data.records import Card, Record
from overtone.data.sources import overtone_emotions, sarcasm_headlines
from overtone.data.split import Prepared, allowed, most_restrictive
from overtone.errors import DataError
from overtone.evaluation import baselines, findings, report
from overtone.evaluation.baselines import Setting
from overtone.evaluation.compare import System, mcnemar_of, save_predictions, standings
from overtone.evaluation.findings import EdgeCases, Evidence, Licence, Origin, Report, Training
from overtone.evaluation.plots import Curve
from overtone.inference import cascade_scores
from overtone.inference.backup import Backup, PrototypeBackup, TfidfBackup
from overtone.inference.calibrate import softmax
from overtone.inference.cascade import Cascade
from overtone.inference.cascade_fit import FitReport, Rows, TooFewRowsError, fit_cascade
from overtone.inference.classify import Classifier, FrozenEncoder, Reader
from overtone.inference.ensemble import Ensemble
from overtone.inference.sarcasm import SarcasmDetector, SarcasmScores
from overtone.models import weights
from overtone.models.tfidf import TfidfClassifier
from overtone.recipe import Recipe
from overtone.run import Run, write_json
from overtone.scores import Ints, Scored, summary
from overtone.system import load_reader
from overtone.training import tasks

METRICS_SHOWN: dict[str, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1"),
    "multilabel": ("accuracy", "macro_f1"),
    "regression": ("pearson", "ccc", "mae"),
}
"""What stands beside a task's own metric in the comparison with its baselines."""

BACKUP_SHARE = 0.1
"""Share of the training rows that chooses the strength of the TF-IDF backup."""


def prove(recipe: Recipe, prepared: Prepared, run: Run) -> None:
    """Evaluate a trained run on its test rows, beside its baselines, and write scores, plots and report."""
    reader = load_reader(recipe, run)
    encoder = FrozenEncoder(recipe.body, remember=True)
    found = score(recipe, prepared, run, reader)
    evidence = [_evidence(recipe, name, prepared, run, (found[name], encoder)) for name in recipe.tasks]
    cascade, edges = None, None
    if recipe.cascade is not None:
        classifier = Classifier(reader)
        try:
            healed, fitted, heard = heal(recipe, prepared, (classifier, encoder), run)
        except TooFewRowsError as error:
            run.note(cascade={"left_out": str(error)})
        else:
            records = prepared.splits[recipe.only[0]].test
            cascade = _cascade_section(recipe, healed, (fitted, heard), records)
            edges = _edge_section(classifier, healed)
    facts = run.facts()
    report.write(
        Report(
            origin=Origin(recipe.description, facts["command"], recipe.seed, facts),
            tasks=evidence,
            training=Training.of(facts, run.history(), recipe.train.early_stopping.metric),
            licence=Licence(**facts["licence"]),
            cascade=cascade,
            edges=edges,
        ),
        run.folder,
    )


def score(recipe: Recipe, prepared: Prepared, run: Run, reader: Reader | None = None) -> dict[str, Scored]:
    """What a trained run makes of its test rows, by task, written as per-example scores and summaries."""
    reader = reader or load_reader(recipe, run)
    found = {}
    for name in recipe.tasks:
        found[name] = predict(recipe, name, reader, prepared.splits[name].test)
        keep(run, name, System("test", found[name]))
    return found


def predict(recipe: Recipe, task: str, reader: Reader | Ensemble, records: Sequence[Record]) -> Scored:
    """A task's predictions on rows, as people get them: the served form is what is evaluated."""
    data, reading = recipe.tasks[task].data, reader.readings[task]
    targets = tasks.encode_targets(records, data.target, reading.labels, reading.kind)
    contexts = [record.context for record in records]
    outputs = reader.outputs([record.text for record in records], contexts, [task])[task]
    return tasks.scores_of(reading, records, targets, outputs)


def keep(run: Run, task: str, system: System) -> None:
    """Write what a system made of a task's test rows."""
    folder = run.evaluation / task
    save_predictions(folder / f"{system.name}.jsonl", system.predictions)
    write_json(folder / f"{system.name}.summary.json", summary(system.predictions))


def _evidence(
    recipe: Recipe, name: str, prepared: Prepared, run: Run, found: tuple[Scored, FrozenEncoder]
) -> Evidence:
    """How a task's head stands among its baselines, fitted on the rows that it was fitted on."""
    task, splits = recipe.tasks[name], prepared.splits[name]
    model, encoder = System(run.name, found[0]), found[1]
    choose, _ = recipe.held_out(splits.validation)
    setting = Setting(task.kind, task.data.labels, task.data.target, task.metric, encoder)
    fitted = [baselines.fit(each, splits.train, choose, setting) for each in recipe.evaluate.baselines]
    others = [System(each.name, each.predict(splits.test)) for each in fitted]
    for other in others:
        keep(run, name, other)
    evidence = Evidence(
        task=name,
        metric=task.metric,
        model=model,
        baselines=others,
        standings=standings(
            model,
            others,
            list(dict.fromkeys((task.metric, *METRICS_SHOWN[task.kind]))),
            seed=recipe.seed,
            resamples=recipe.evaluate.resamples,
        ),
        data=prepared.reports[name],
        texts={record.id: record.text for record in splits.test},
        resamples=recipe.evaluate.resamples,
    )
    write_json(run.evaluation / name / "standings.json", [asdict(each) for each in evidence.standings])
    return evidence


def classes(recipe: Recipe, records: Sequence[Record]) -> Ints:
    """Class indices of rows of a recipe's only task, (N,)."""
    data = recipe.only[1].data
    targets = tasks.encode_targets(records, data.target, data.labels, "classification")
    return targets.numpy().astype(np.int64)


def licence(recipe: Recipe, cards: Sequence[Card], teachers: lineage.Teachers) -> dict[str, Any]:
    """What a model of this recipe, these data sets and teachers may be used for, as the manifest has it."""
    behind = [facts for runs in teachers.values() for facts in runs]
    above = [card for facts in behind for card in lineage.cards(facts)]
    data, commercial = most_restrictive([*cards, *above])
    own = weights.licence(recipe.body.weights)  # no encoder of the catalogue forbids commercial use
    theirs = [facts["licence"]["commercial"] for facts in behind]
    return {
        "data": data,
        "weights": own,
        "commercial": allowed([commercial, None if own == "unknown" else True, *theirs]),
    }


def heal(
    recipe: Recipe, prepared: Prepared, models: tuple[Classifier, FrozenEncoder], run: Run
) -> tuple[Cascade, FitReport, Sarcasm | None]:
    """Fit the cascade around a trained classifier, write it, and note what it found and its licence.

    Args:
        recipe: with a cascade.
        prepared: its data.
        models: the trained classifier, and the encoder that it started from.
        run: where the cascade is written.

    Returns:
        The cascade, what its fit found, and the sarcasm detector that it could choose, if it was to have one.

    Raises:
        TooFewRowsError: the validation rows are too few.
        DataError: the headlines are not what their card says.
    """
    classifier, encoder = models
    assert recipe.cascade is not None
    splits = prepared.splits[recipe.only[0]]
    choose, certify = recipe.held_out(splits.validation)
    heard = _sarcasm(recipe)
    cascade, found = fit_cascade(
        classifier,
        candidates(recipe, splits.train, encoder),
        None if heard is None else heard.detector,
        Rows([row.text for row in choose], classes(recipe, choose)),
        Rows([row.text for row in certify], classes(recipe, certify)),
        recipe.cascade,
    )
    shutil.rmtree(run.model / "cascade", ignore_errors=True)  # an earlier fit may have kept other steps
    cascade.save(run.model / "cascade")
    kept = [] if cascade.sarcasm is None else [sarcasm_headlines.CARD]
    run.note(
        cascade=asdict(found),
        sarcasm=None if heard is None else heard.told,
        licence=licence(recipe, [*prepared.cards, *kept], run.facts().get("teachers", {})),
        fingerprints={**prepared.fingerprints, **{card.name: fingerprint(card) for card in kept}},
    )
    return cascade, found, heard


def candidates(recipe: Recipe, train: Sequence[Record], encoder: FrozenEncoder) -> list[Backup]:
    """The backup models that may be kept, fitted on training rows alone."""
    wanted = "none" if recipe.cascade is None else recipe.cascade.backup
    data = recipe.only[1].data
    found: list[Backup] = []
    if wanted in ("auto", "tfidf"):
        choose, rest = carve(train, BACKUP_SHARE, data.target, f"{recipe.seed}/backup")
        model = TfidfClassifier.fit(
            ([row.text for row in rest], classes(recipe, rest)),
            ([row.text for row in choose], classes(recipe, choose)),
            data.labels,
        )
        found.append(TfidfBackup(model))
    if wanted in ("auto", "prototypes"):
        found.append(
            PrototypeBackup.fit(
                [row.text for row in train],
                classes(recipe, train),
                data.labels,
                encoder,
                seed=recipe.seed,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Sarcasm:
    """A sarcasm detector that a cascade may keep, or nothing where its headlines are not at hand.

    Args:
        detector: the detector.
        scores: how it does on held-out headlines.
    """

    detector: SarcasmDetector | None = None
    scores: SarcasmScores | None = None

    @property
    def told(self) -> str:
        """What the manifest and the report say of it."""
        if self.scores is None:
            return f"not tried: the data set {sarcasm_headlines.CARD.name} is not here"
        return (
            f"on {self.scores.n:,} held-out headlines accuracy {self.scores.accuracy:.3f} "
            f"(the commoner answer {self.scores.majority:.3f}), ROC AUC {self.scores.auc:.3f}"
        )


def _sarcasm(recipe: Recipe) -> Sarcasm | None:
    """The sarcasm detector, where it is wanted; empty where its headlines are not at hand."""
    card = sarcasm_headlines.CARD
    if recipe.cascade is None or not recipe.cascade.sarcasm:
        return None
    try:
        folder = locate(card)
    except DataError:
        return Sarcasm()
    verify(card, folder)
    rows = list(sarcasm_headlines.records(folder))
    marks = np.array([row.targets["sarcasm"] == "sarcastic" for row in rows])
    return Sarcasm(*SarcasmDetector.fit([row.text for row in rows], marks, seed=recipe.seed))


def _cascade_section(
    recipe: Recipe, cascade: Cascade, fitted: tuple[FitReport, Sarcasm | None], records: Sequence[Record]
) -> findings.Cascade:
    """What the cascade did on the test rows, written out."""
    found, heard = fitted
    scores = cascade_scores.evaluate(cascade, [row.text for row in records], classes(recipe, records))
    figures = {
        "accuracy with nothing asked": f"{scores.accuracy:.3f} (primary alone {scores.primary_accuracy:.3f})",
        "coverage": f"{scores.coverage:.3f}",
        "realised risk": "nothing was answered" if np.isnan(scores.risk) else f"{scores.risk:.3f}",
        "AURC": f"{scores.aurc:.4f} (primary alone, not calibrated: {scores.primary_aurc:.4f})",
        "temperature": f"{found.fitted.temperature:.2f}",
    }
    if heard is not None:
        figures["sarcasm detector"] = heard.told
    for trial in found.trials:
        verdict = "kept" if trial.kept else "switched off"
        figures[f"{trial.step}, on the rows that fit"] = (
            f"{verdict}: fixed {trial.fixed}, broke {trial.broken} of {trial.unsure} unsure rows"
        )
    for name, effect in scores.effects.items():
        figures[f"{name}, on test"] = f"fixed {effect.fixed}, broke {effect.broken} of {effect.rows} rows"
    for name, share in sorted(scores.shares.items()):
        figures[f"decided by {name}"] = f"{share:.1%}"
    raw = softmax(cascade.primary.logits([row.text for row in records]))
    curves = [
        Curve("cascade", scores.confidence, scores.correct),
        Curve("primary alone", raw.max(axis=1), raw.argmax(axis=1) == classes(recipe, records)),
    ]
    return findings.Cascade(found.rule.summary, found.rule.risk, figures, curves)


def edge_answers(
    classifier: Classifier, cascade: Cascade
) -> tuple[list[overtone_emotions.EdgeCase], Ints, Ints]:
    """The labelled edge cases, and what the primary alone and the cascade (nothing asked) make of them, (N,).

    -1 stands for no answer.
    """
    folder = locate(overtone_emotions.CARD)
    cases = [
        case
        for case in overtone_emotions.edge_cases(folder)
        if case.label is not None and case.label in classifier.labels
    ]
    texts = [case.text for case in cases]
    primary = classifier.logits(texts).argmax(axis=1)
    index = {label: i for i, label in enumerate(classifier.labels)}
    healed = [
        index[decision.label] if decision.label is not None else -1
        for decision in cascade.classify(texts, ask=False)
    ]
    return cases, primary, np.array(healed)


def _edge_section(classifier: Classifier, cascade: Cascade) -> EdgeCases | None:
    """The edge cases decided right, by kind; nothing where the labels are others."""
    cases, primary, healed = edge_answers(classifier, cascade)
    if not cases:
        return None
    gold = np.array([classifier.labels.index(str(case.label)) for case in cases])
    right = {"primary alone": primary == gold, "cascade": healed == gold}
    return EdgeCases(
        totals=Counter(case.kind for case in cases),
        right={
            name: Counter(case.kind for case, ok in zip(cases, found, strict=True) if ok)
            for name, found in right.items()
        },
        mcnemar=mcnemar_of(right["primary alone"], right["cascade"]),
    )
