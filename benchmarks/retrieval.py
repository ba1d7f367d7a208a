"""BM25, MiniLM and the two fused on Natural Questions over 7,247 passages, as `overtone search` asks them.

Every test question is asked by itself, one after the other; its time holds all of it, encoding included. The
figures of ``nq-100`` are those of the first hundred questions, for papers that stop there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from overtone.data.corpus import Query, load
from overtone.data.fetch import locate, verify
from overtone.data.sources.nq7247 import CARD
from overtone.evaluation.benchmarks.retrieval import Retrieved, interval, paired, score
from overtone.evaluation.results import Figure, write_results
from overtone.inference.embed import EmbedderConfig
from overtone.inference.indexing import IndexConfig
from overtone.inference.search import Index, Mode

RESULTS = Path(__file__).parent / "results" / "retrieval.json"
SYSTEMS: dict[str, Mode] = {"bm25": "bm25", "minilm": "dense", "fused": "hybrid"}
DEPTH = 100
SHORT = 100
SEED = 7
MEASURES = ("recall_1", "recall_10", "recall_100", "precision_10", "mrr_10", "ndcg_10")
HEADLINE = ("recall_10", "mrr_10")
AGAINST = {
    "bm25.nq.recall_10": "reference BM25 0.884",
    "bm25.nq.mrr_10": "reference BM25 0.643",
    "minilm.nq.recall_10": "reference MiniLM 0.984",
    "minilm.nq.mrr_10": "reference MiniLM 0.814",
}


def asked(index: Index, queries: tuple[Query, ...], mode: Mode) -> tuple[dict[str, list[str]], list[float]]:
    """What each question found, best first, and how long it took, in seconds."""
    for query in queries[:5]:  # what is loaded when it is first used is not a question's time
        index.query(query.text, DEPTH, mode)
    rankings, seconds = {}, []
    for query in queries:
        begun = time.perf_counter()
        hits = index.query(query.text, DEPTH, mode)
        seconds.append(time.perf_counter() - begun)
        rankings[query.id] = [hit.passage.id for hit in hits]
    return rankings, seconds


def quality(part: str, scored: Mapping[str, Retrieved], measures: tuple[str, ...]) -> list[Figure]:
    """Every system's measures, and what the fused one gains over either."""
    figures = []
    for system, retrieved in scored.items():
        for measure in measures:
            found, name = interval(retrieved, measure, seed=SEED), f"{system}.{part}.{measure}"
            n, beside = len(retrieved.ids), AGAINST.get(name)
            figures.append(Figure(name, found.value, found.low, found.high, n, against=beside))
    for name, a, b in (
        ("fused", "bm25", "fused"),
        ("fused-minilm", "minilm", "fused"),
        ("minilm", "bm25", "minilm"),
    ):
        for measure in HEADLINE:
            gain = paired(scored[a], scored[b], measure, seed=SEED)
            figures.append(
                Figure(
                    f"{name}.{part}.{measure}.difference",
                    gain.value,
                    gain.low,
                    gain.high,
                    len(scored[a].ids),
                    against=f"{b} − {a}, the same questions",
                )
            )
    return figures


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-length", type=int, default=192)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    folder = locate(CARD)
    verify(CARD, folder)
    collection = load(folder)
    queries = collection.asked("test")
    judged = collection.judgements["test"]
    config = IndexConfig(embedder=EmbedderConfig(max_length=options.max_length))
    with tempfile.TemporaryDirectory() as place:
        begun = time.perf_counter()
        index, what = Index.build(folder, Path(place) / "index", config)
        rate = what.encoded / (time.perf_counter() - begun)
        answers = {system: asked(index, queries, mode) for system, mode in SYSTEMS.items()}
    figures = []
    for part, ids in (
        ("nq", {each.id for each in queries}),
        (f"nq-{SHORT}", {each.id for each in queries[:SHORT]}),
    ):
        scored = {
            system: score({id_: ranking for id_, ranking in rankings.items() if id_ in ids}, judged)
            for system, (rankings, _) in answers.items()
        }
        figures += quality(part, scored, MEASURES if part == "nq" else HEADLINE)
    for system, (_, seconds) in answers.items():
        for share in (50, 95):
            value = 1e3 * float(np.percentile(seconds, share))
            figures.append(Figure(f"{system}.query.p{share}_ms", value, n=len(seconds), unit="ms"))
    figures.append(Figure("minilm.index.rate", rate, n=what.encoded, unit="texts/s"))
    write_results(options.output, "python benchmarks/retrieval.py", SEED, figures)
    for figure in figures:
        print(f"{figure.name} {figure.value:.4g} {figure.unit}")
    print(f"threads {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
