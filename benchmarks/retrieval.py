"""BM25, encoders and our own embedder on Natural Questions over 7,247 passages, asked as a search is.

The encoders are those of ``ENCODERS`` whose weights are at hand; of the others it is said what gets them.
MiniLM and e5-small-v2 were trained to retrieve; RoBERTa and CANINE are the mean of their states as published.

Every test question is asked by itself, one after the other; its time holds all of it, encoding included. The
figures of ``nq-100`` are those of the first hundred questions, for papers that stop there. ``plain`` is a
language model as it was trained, the mean of its states for a vector; ``--bodies`` are such models that were
then trained to retrieve. Passages a second are of the encoders and the embedder in turns, the median of the
rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from overtone import kinds
from overtone.data import vocabulary as vocabularies
from overtone.data.corpus import Query, load
from overtone.data.fetch import locate, verify
from overtone.data.sources.nq7247 import CARD
from overtone.evaluation.benchmarks.retrieval import Retrieved, interval, paired, score
from overtone.evaluation.results import Figure, write_results
from overtone.inference.embed import Embedder, EmbedderConfig
from overtone.inference.indexing import IndexConfig
from overtone.inference.own import Cutter, TrainedEmbedder
from overtone.inference.search import Index, Mode
from overtone.language_recipe import LanguageRecipe
from overtone.models import embedder as embedders
from overtone.models import weights
from overtone.run import Run

RESULTS = Path(__file__).parent / "results" / "retrieval.json"
ENCODERS = {
    "minilm": EmbedderConfig(),
    "e5-small-v2": EmbedderConfig(weights="e5-small-v2", query_prefix="query: ", passage_prefix="passage: "),
    "roberta": EmbedderConfig(weights="roberta"),
    "canine": EmbedderConfig(weights="canine", max_length=1000),  # characters: some 200 pieces
}
"""What is compared, as each was made to read; all pool the mean of their states."""
SYSTEMS: dict[str, Mode] = {"bm25": "bm25", "minilm": "dense", "fused-minilm": "hybrid"}
"""What the index of MiniLM is asked, and how; that of another encoder, its vectors alone."""
OWN: dict[str, Mode] = {"embedder": "dense", "fused": "hybrid"}
"""What the index of our own embedder is asked."""
COMPARED = (
    ("embedder", "bm25"),
    ("embedder", "minilm"),
    ("fused", "bm25"),
    ("fused", "embedder"),
    ("minilm", "bm25"),
    ("fused-minilm", "bm25"),
    ("fused-minilm", "minilm"),
)
"""The first of each pair, and what it is compared with; each further encoder, with MiniLM."""
ENCODED = 500
ROUNDS = 5
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
    further = [(name, "minilm") for name in ENCODERS if name in scored and name != "minilm"]
    return figures + [gained(part, a, b, scored, m) for b, a in (*COMPARED, *further) for m in HEADLINE]


def gained(part: str, a: str, b: str, scored: Mapping[str, Retrieved], measure: str) -> Figure:
    """What is gained when a system is replaced by another, question by question."""
    gain = paired(scored[a], scored[b], measure, seed=SEED)
    name = b if (b, a) == ("fused", "bm25") else f"{b}.over.{a}"
    return Figure(
        f"{name}.{part}.{measure}.difference",
        gain.value,
        gain.low,
        gain.high,
        len(scored[a].ids),
        against=f"{b} − {a}, the same questions",
    )


def at_hand() -> dict[str, EmbedderConfig]:
    """The encoders whose weights are here; of the others it says what gets them.

    Raises:
        WeightsError: MiniLM, which the embedder is measured beside, is not at hand.
    """
    weights.resolve(ENCODERS["minilm"].weights)
    found = {}
    for name, config in ENCODERS.items():
        if weights.find(config.weights) is None:
            print(f"{name} was not run: its weights are not here; {weights.how_to_get(config.weights)}")
        else:
            found[name] = config
    return found


def plain(folder: Path) -> TrainedEmbedder:
    """A language model's states as they are, pooled by their mean."""
    run = Run(folder)
    recipe = kinds.read(str(run.recipe))
    if not isinstance(recipe, LanguageRecipe):
        raise SystemExit(f"{folder} is not the run of a language model")
    vocabulary = vocabularies.load(run.model)
    model = embedders.build(recipe.body, "mean", torch.ones(len(vocabulary)))
    embedders.start(model, run.model)
    return TrainedEmbedder(model.eval(), Cutter(vocabulary, recipe.window, folded=False), folder.name)


def rates(systems: Mapping[str, Embedder], texts: Sequence[str]) -> dict[str, float]:
    """Texts a second of each system, in turns, the median of the rounds."""
    spent: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(ROUNDS + 1):
        for name, embedder in systems.items():
            begun = time.perf_counter()
            embedder.encode(texts)
            if turn:  # the first warms up
                spent[name].append(time.perf_counter() - begun)
    return {name: len(texts) / statistics.median(each) for name, each in spent.items()}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("embedder", type=Path, help="the run of an embedder")
    parser.add_argument(
        "--bodies", type=Path, nargs="*", default=[], help="runs of embedders of other bodies"
    )
    parser.add_argument("--plain", type=Path, nargs="*", default=[], help="runs of language models")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    folder = locate(CARD)
    verify(CARD, folder)
    collection = load(folder)
    queries = collection.asked("test")
    judged = collection.judgements["test"]
    answers: dict[str, tuple[dict[str, list[str]], list[float]]] = {}
    encoders = at_hand()
    further: list[tuple[EmbedderConfig, dict[str, Mode]]] = [
        (config, SYSTEMS if name == "minilm" else {name: "dense"}) for name, config in encoders.items()
    ]
    further += [(EmbedderConfig(weights=str(run)), {run.name: "dense"}) for run in options.bodies]
    for config, systems in (*further, (EmbedderConfig(weights=str(options.embedder)), OWN)):
        with tempfile.TemporaryDirectory() as place:
            index, _ = Index.build(folder, Path(place) / "index", IndexConfig(embedder=config))
            answers |= {system: asked(index, queries, mode) for system, mode in systems.items()}
    names = []
    for run in options.plain:
        names.append(f"plain-{run.name}")
        with tempfile.TemporaryDirectory() as place:
            index, _ = Index.build(
                folder, Path(place) / "index", IndexConfig(embedder=None), embedder=plain(run)
            )
            answers[names[-1]] = asked(index, queries, "dense")
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
        figures += [
            gained(part, "embedder", run.name, scored, measure)
            for run in options.bodies
            for measure in HEADLINE
        ]
    for system, (_, seconds) in answers.items():
        for share in (50, 95):
            value = 1e3 * float(np.percentile(seconds, share))
            name = "search" if system == "embedder" else system
            figures.append(Figure(f"{name}.query.p{share}_ms", value, n=len(seconds), unit="ms"))
    own = EmbedderConfig(weights=str(options.embedder)).build()
    assert isinstance(own, TrainedEmbedder)
    texts = [each.content for each in collection.passages[:ENCODED]]
    pretrained = {name: config.build() for name, config in encoders.items()}
    found = rates({**pretrained, "embedder": own}, texts)
    figures += [
        Figure(f"{name}.encode.rate", rate, n=ENCODED, unit="texts/s") for name, rate in found.items()
    ]
    ratio = found["embedder"] / found["minilm"]
    figures.append(Figure("embedder.encode.ratio", ratio, n=ENCODED, unit="ratio"))
    parameters = own.model.sizes()["parameters"] / 1e6
    figures.append(Figure("embedder.model.parameters", parameters, unit="million"))
    others = {"--bodies": options.bodies, "--plain": options.plain}
    words = [word for option, runs in others.items() if runs for word in (option, *map(str, runs))]
    command = " ".join(["python benchmarks/retrieval.py", str(options.embedder), *words])
    write_results(options.output, command, SEED, figures)
    for figure in figures:
        print(f"{figure.name} {figure.value:.4g} {figure.unit}")
    print(f"threads {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
