"""What makes a small embedder retrieve: each choice switched by itself, at the same number of parameters.

BM25 first, then the recipe ``embedder`` without mined negatives and trained for fewer epochs, then one change
at a time, each beside it question by question. One seed, so an interval holds for these weights; what another
seed would change is not in it. The test questions are those of Natural Questions over 7,247 passages.

``pooling-*`` are bags whose token weights are not learnt: all one, or fixed at how rare the token is.

``body-*`` are an LSTM and a causal Transformer from scratch in place of the bag: vocabulary, objective, data
and epochs of the base, a width that the parameters allow, no dropout. They need another fit, which was not
tuned: batches of 128 rows in bf16, a rate of 0.002, and 128 tokens read of a text. The bag with the same fit
is ``bag-as-bodies``. ``body-lstm-last`` pools the last state, all others the mean.

With ``--arms`` only those named and the base are trained; another is measured where its finished run stands.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from overtone import embedder_model, kinds
from overtone.embedder_proof import DEPTH, asked, by_vectors
from overtone.embedder_recipe import EmbedderRecipe
from overtone.evaluation.benchmarks.retrieval import Retrieved, interval, paired
from overtone.evaluation.results import Figure, write_results
from overtone.inference import own
from overtone.inference.lexical import Lexical
from overtone.models import weights
from overtone.run import Run

RESULTS = Path(__file__).parent / "results" / "explain-gap.json"
SEED = 7
EPOCHS = 3
BUDGET = 3_468_000
"""Parameters of every arm, at most: an embedding and a weight for each piece."""
NARROW = 128
"""Numbers of a vector where there are so few pieces that more could not tell them further apart."""
HEADLINE = ("recall_10", "mrr_10")
BODIES = ["train.batch_size=128", "train.precision=bf16", "train.optim.lr=0.002", "max_length=128"]
"""How bodies above the pieces are fit, since the steps of the base are too few and too large for them."""
LSTM = ["body.kind=lstm", "body.width=216", "body.layers=2", "body.dropout=0", *BODIES]
TRANSFORMER = [
    "body.kind=transformer",
    "body.width=184",
    "body.layers=3",
    "body.heads=4",
    "body.dropout=0",
    *BODIES,
]
BASE = [f"train.epochs={EPOCHS}", "objective.contrastive=0.05", "negatives.bm25=0"]
"""What every arm changes of the recipe: a short fit, and nothing mined."""


def sized(kind: str, pieces: int, **more: object) -> list[str]:
    """A vocabulary with vectors as wide as the budget lets them be."""
    settings = more or {"size": pieces}
    changes = [f"vocabulary.kind={kind}", *(f"vocabulary.{key}={value}" for key, value in settings.items())]
    return [*changes, f"body.width={BUDGET // pieces - 1}"]


def arms() -> dict[str, list[str]]:
    """Arm → what it changes."""
    return {
        "base": [],
        "tokenizer-word-12k": sized("word", 12_000),
        "tokenizer-word-30k": sized("word", 30_000),
        "tokenizer-bpe-2k": sized("bpe", 2_000),
        "tokenizer-bpe-6k": sized("bpe", 6_000),
        "tokenizer-bpe-24k": sized("bpe", 24_000),
        "tokenizer-wordpiece": sized("wordpiece", 30_523, folder=str(weights.resolve("minilm-l6"))),
        "case-kept": ["folded=false"],
        "objective-contrastive": ["objective.contrastive=1", "objective.distillation=0"],
        "objective-both": ["objective.contrastive=1"],
        "objective-distillation": ["objective.contrastive=0"],
        "teacher-none": ["objective.contrastive=1", "objective.distillation=0", "teacher=null"],
        "negatives-bm25": ["negatives.bm25=1", "objective.contrastive=0.5"],
        "negatives-teacher": ["negatives.teacher=1", "objective.contrastive=0.5"],
        "sentences-none": ["data.sentences=0"],
        "texts-none": ["data.texts=[]"],
        "matryoshka": ["objective.dimensions=[64, 128]"],
        "tokenizer-character": ["vocabulary.kind=character", f"body.width={NARROW}", "max_length=1024"],
        "tokenizer-byte": ["vocabulary.kind=byte", f"body.width={NARROW}", "max_length=1024"],
        "pooling-plain": ["body.weights=even"],
        "pooling-rarity": ["body.weights=rarity"],
        "bag-as-bodies": BODIES,
        "body-lstm": LSTM,
        "body-lstm-last": [*LSTM, "pooling=last"],
        "body-transformer": TRANSFORMER,
    }


def recipe_of(arm: str, changes: list[str]) -> EmbedderRecipe:
    """The recipe of an arm."""
    found = kinds.read("embedder", [*BASE, *changes, f"name={arm}"])
    assert isinstance(found, EmbedderRecipe)
    return found


def trained(recipe: EmbedderRecipe, folder: Path) -> Run:
    """The run of an arm; trained first if it is not there."""
    run = Run(folder / recipe.name)
    if not embedder_model.finished(run):
        with run.lock():
            embedder_model.begin(recipe, run, overwrite=False)
            embedder_model.train(recipe, embedder_model.prepare(recipe, run), run)
    return run


def measured(found: Mapping[str, Retrieved], sizes: Mapping[str, float]) -> list[Figure]:
    """Every system's measures, and what each arm gains over the base."""
    figures = []
    for name, each in found.items():
        for measure in HEADLINE:
            value = interval(each, measure, seed=SEED)
            figures.append(
                Figure(f"explain-gap.{name}.{measure}", value.value, value.low, value.high, len(each.ids))
            )
            if name != "base":
                gain = paired(found["base"], each, measure, seed=SEED)
                figures.append(
                    Figure(
                        f"explain-gap.{name}.{measure}.difference",
                        gain.value,
                        gain.low,
                        gain.high,
                        len(each.ids),
                        against=f"{name} − base, the same questions",
                    )
                )
        if name in sizes:
            figures.append(Figure(f"explain-gap.{name}.parameters", sizes[name], unit="million"))
    return figures


def main() -> None:
    """Train what is missing, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/explain-gap"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--arms", nargs="+", metavar="NAME", help="train only these and the base")
    options = parser.parse_args()
    every = arms()
    for name in options.arms or []:
        if name not in every:
            parser.error(f"no arm is named '{name}'; known: {', '.join(every)}")
    wanted = set(every) if options.arms is None else {"base", *options.arms}

    prepared = embedder_model.divide(recipe_of("base", []))
    texts = [each.content for each in prepared.collection.passages]
    lexical = Lexical.build(texts)
    found, _ = asked({"bm25": lambda question: lexical.search(question, DEPTH).rows}, prepared)
    sizes: dict[str, float] = {}
    for arm, changes in every.items():
        if arm not in wanted and not embedder_model.finished(Run(options.runs / arm)):
            print(f"{arm} is not trained; train it with --arms {arm}", flush=True)
            continue
        run = trained(recipe_of(arm, changes), options.runs)
        embedder = own.load(run.model)
        sizes[arm] = embedder.model.sizes()["parameters"] / 1e6
        retrieved, _ = asked({arm: by_vectors(embedder, embedder.encode(texts))}, prepared)
        found |= retrieved
        print(f"{arm} {interval(retrieved[arm], 'mrr_10', seed=SEED).value:.3f}", flush=True)
        named = [] if len(sizes) == len(every) else ["--arms", *sizes]
        command = " ".join(["python benchmarks/explain_gap.py", *named])
        write_results(options.output, command, SEED, measured(found, sizes))


if __name__ == "__main__":
    main()
