"""The proof of a trained embedder: what it finds, beside BM25 and its teacher, and the report."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np

from overtone import mining
from overtone.data.questions import Questions
from overtone.embedder_recipe import EmbedderRecipe
from overtone.evaluation import retrieval_report
from overtone.evaluation.benchmarks import retrieval
from overtone.evaluation.benchmarks.retrieval import Ranking, Retrieved
from overtone.evaluation.findings import Licence, Origin, Training
from overtone.evaluation.retrieval_report import RetrievalReport
from overtone.inference import own
from overtone.inference.embed import Embedder
from overtone.inference.lexical import Lexical
from overtone.inference.search import fuse
from overtone.inference.vectors import Vectors, exact
from overtone.progress import step
from overtone.run import Run, write_atomic, write_json
from overtone.scores import Ints

SCORES = "retrieved.jsonl"
"""What each system scores for each test question, in the folder of the test under ``evaluation``."""

DEPTH = 100
"""Places of a ranking that are read."""

WORDS = "bm25"
"""The system that ranks by words."""

Ask = Callable[[str], Ints]
"""A question → passages by their number, best first."""


def prove(recipe: EmbedderRecipe, prepared: Questions, run: Run) -> None:
    """Ask every test question of the embedder, of BM25, of both, and of the teacher; write scores and report.

    Raises:
        RunError: a file of the run is missing or damaged.
        MissingExtraError: the extra ``search`` is not installed.
    """
    found, spent = asked(systems(recipe, prepared, run), prepared)
    rivals = {fused(run): WORDS}
    short = {name: first(each, recipe.evaluate.short) for name, each in found.items()}
    parts = {
        part: retrieval.standings(each, rivals, seed=recipe.seed, resamples=recipe.evaluate.resamples)
        for part, each in (("test", found), ("short", short))
    }
    for name, standings in parts.items():
        write_json(run.evaluation / name / "standings.json", [asdict(each) for each in standings])
    ids = next(iter(found.values())).ids
    rows = [
        {"id": id_, **{name: each.of(retrieval.JUDGED)[n].item() for name, each in found.items()}}
        for n, id_ in enumerate(ids)
    ]
    write_atomic(run.evaluation / "test" / SCORES, "".join(json.dumps(row) + "\n" for row in rows))
    facts = run.facts()
    retrieval_report.write(
        RetrievalReport(
            origin=Origin(recipe.description, facts["command"], recipe.seed, facts),
            parts=parts,
            rivals=rivals,
            sizes={"test": len(ids), "short": len(next(iter(short.values())).ids)},
            passages=len(prepared.collection.passages),
            milliseconds={name: 1e3 * statistics.median(each) for name, each in spent.items()},
            training=Training.of(facts, run.history(), recipe.train.early_stopping.metric),
            licence=Licence(**facts["licence"]),
            data=prepared.report,
        ),
        run.folder,
    )


def systems(recipe: EmbedderRecipe, prepared: Questions, run: Run) -> dict[str, Ask]:
    """What is asked: the embedder, BM25, both fused, and the teacher where there is one."""
    texts = [each.content for each in prepared.collection.passages]
    lexical = Lexical.build(texts)
    embedder = own.load(run.model)
    with step(f"{run.folder.name} reads {len(texts):,} passages"):
        dense = by_vectors(embedder, embedder.encode(texts))

    def words(question: str) -> Ints:
        return lexical.search(question, DEPTH).rows

    def both(question: str) -> Ints:
        return fuse([words(question), dense(question)]).rows[:DEPTH]

    found = {run.folder.name: dense, WORDS: words, fused(run): both}
    if recipe.teacher is not None:  # it has read the passages before the fit
        teacher = recipe.teacher.build()
        vectors = mining.vectors(teacher, prepared.passages, "passages", query=False)
        found[recipe.teacher.weights] = by_vectors(teacher, vectors[: len(texts)])
    return found


def fused(run: Run) -> str:
    """The name of the system that fuses a run's ranking with that of the words."""
    return f"{run.folder.name} + {WORDS}"


def by_vectors(embedder: Embedder, vectors: Vectors) -> Ask:
    """Ask by the cosine with every passage, whose vectors are (P, D)."""
    return lambda question: exact(vectors, embedder.encode([question], query=True)[0], DEPTH).rows


def asked(
    systems: Mapping[str, Ask], prepared: Questions
) -> tuple[dict[str, Retrieved], dict[str, list[float]]]:
    """What each system found for each test question, scored, and the seconds each took, encoding included."""
    passages = prepared.collection.passages
    queries = prepared.collection.asked("test")
    judged = prepared.collection.judgements["test"]
    found: dict[str, Retrieved] = {}
    spent: dict[str, list[float]] = {}
    for name, ask in systems.items():
        rankings: dict[str, Ranking] = {}
        spent[name] = []
        with step(f"asking {name}"):
            for query in queries:
                begun = time.perf_counter()
                rows = ask(query.text)
                spent[name].append(time.perf_counter() - begun)
                rankings[query.id] = [passages[row].id for row in rows.tolist()]
        found[name] = retrieval.score(rankings, judged)
    return found, spent


def first(retrieved: Retrieved, most: int) -> Retrieved:
    """The first so many questions, by id."""
    kept = np.arange(min(most, len(retrieved.ids)))
    return Retrieved(retrieved.ids[:most], {name: each[kept] for name, each in retrieved.scores.items()})
