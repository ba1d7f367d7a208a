"""How good the emotion recipes are: each run's test figures, its baselines, and the differences between them.

A run that is not in the folder of runs is trained first, which takes long on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from overtone import pipeline
from overtone.evaluation.compare import interval, load_predictions, paired
from overtone.evaluation.results import Figure, write_results
from overtone.recipe import Recipe
from overtone.recipe import load as load_recipe
from overtone.run import Run
from overtone.scores import METRICS, Scored, select

RESULTS = Path(__file__).parent / "results" / "emotion.json"
AGAINST = {
    "emotion-6.test.accuracy": "published best 0.930",
    "goemotions-28.test.macro_f1": "BERT-base 0.46 (Demszky et al. 2020)",
}
RECIPES = ("emotion-6", "goemotions-28", "emotion", "emotion-full", "emotion-frozen", "emotion-open")
SEED = 7


def finished(name: str, runs: Path) -> tuple[Recipe, Run]:
    """The recipe and its run, trained and evaluated if it is not yet."""
    recipe = load_recipe(name)
    run = Run(runs / name)
    if not (run.folder / "report.md").exists():
        pipeline.run(recipe, run)
    return recipe, run


def figure(name: str, metric: str, predictions: Scored) -> Figure:
    """A metric with its interval."""
    found = interval(METRICS[metric], predictions, seed=SEED)
    return Figure(name, found.value, found.low, found.high, len(predictions.ids), against=AGAINST.get(name))


def difference(name: str, metric: str, a: Scored, b: Scored) -> Figure:
    """What b gains over a on the same rows."""
    found = paired(METRICS[metric], a, b, seed=SEED)
    return Figure(name, found.value, found.low, found.high, len(a.ids))


def of_recipe(name: str, runs: Path) -> tuple[list[Figure], Scored]:
    """The figures of one recipe, and its predictions."""
    recipe, run = finished(name, runs)
    metric = recipe.tasks["emotion"].metric
    scores = run.evaluation / "emotion"
    model = load_predictions(scores / "test.jsonl")
    figures = [
        figure(f"{name}.test.{each}", each, model) for each in dict.fromkeys((metric, "accuracy", "macro_f1"))
    ]
    sources = np.array(model.sources)
    if len(set(model.sources)) > 1:
        figures += [
            figure(f"{name}.{source}.{metric}", metric, select(model, sources == source))
            for source in sorted(set(model.sources))
        ]
    for baseline in recipe.evaluate.baselines:
        theirs = load_predictions(scores / f"{baseline}.jsonl")
        figures.append(figure(f"{name}.{baseline}.{metric}", metric, theirs))
        figures.append(difference(f"{name}.{baseline}.difference", metric, theirs, model))
    facts = run.facts()
    figures.append(Figure(f"{name}.training.seconds", facts["fit"]["seconds"], unit="s"))
    share = facts["model"]["trainable"] / facts["model"]["parameters"]
    figures.append(Figure(f"{name}.training.trainable", share, unit="share"))
    return figures, model


def main() -> None:
    """Train what is missing, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    options = parser.parse_args()

    figures: list[Figure] = []
    models: dict[str, Scored] = {}
    for name in options.recipes:
        found, models[name] = of_recipe(name, options.runs)
        figures += found
    for variant in ("emotion-full", "emotion-frozen"):
        if variant in models and "emotion" in models:
            name = f"{variant}.over_emotion.difference"
            figures.append(difference(name, "accuracy", models["emotion"], models[variant]))
    write_results(options.output, "python benchmarks/emotion.py", SEED, figures)
    for each in figures:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
