"""The affect recipe: every head on its test rows beside TF-IDF and, where asked, beside itself alone.

A run that is not in the folder of runs is trained first, which takes hours on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from overtone import pipeline
from overtone.breakdown import metric_named
from overtone.evaluation.compare import interval, load_predictions, paired
from overtone.evaluation.results import Figure, write_results
from overtone.recipe import load as load_recipe
from overtone.run import Run
from overtone.scores import Scored

RESULTS = Path(__file__).parent / "results" / "affect.json"
SEED = 7
SHOWN = {
    "emotion": ("macro_f1", "micro_f1"),
    "vad": tuple(
        f"{name}.{metric}" for metric in ("pearson", "ccc") for name in ("valence", "arousal", "dominance")
    ),
    "safety": ("macro_f1", "accuracy", "hate.f1"),
    "style": ("pearson", "spearman"),
    "intent": ("accuracy", "macro_f1"),
}
"""The figures of each head; the first is compared with its baselines."""
AGAINST = {
    "affect.vad.valence.pearson": "RoBERTa-large 0.83",
    "affect.vad.arousal.pearson": "RoBERTa-large 0.57",
    "affect.vad.dominance.pearson": "RoBERTa-large 0.51",
}


def scores(name: str, alone: str | None, runs: Path) -> dict[str, Path]:
    """Task → the folder of its per-example scores, of affect or of one of its heads trained alone."""
    overrides = []
    if alone is not None:
        overrides = [f"tasks.{task}=null" for task in load_recipe("affect").tasks if task != alone]
    recipe = load_recipe("affect", [*overrides, f"name={name}"])
    run = Run(runs / name)
    if not (run.folder / "report.md").exists():
        pipeline.run(recipe, run)
    return {task: run.evaluation / task for task in recipe.tasks}


def figure(name: str, metric: str, scored: Scored) -> Figure:
    """A metric with its interval."""
    found = interval(metric_named(metric, scored), scored, seed=SEED)
    return Figure(name, found.value, found.low, found.high, len(scored.ids), against=AGAINST.get(name))


def difference(name: str, metric: str, a: Scored, b: Scored) -> Figure:
    """What b gains over a on the same rows."""
    found = paired(metric_named(metric, a), a, b, seed=SEED)
    return Figure(name, found.value, found.low, found.high, len(a.ids))


def main() -> None:
    """Train what is missing, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--alone", nargs="*", default=[], help="Heads that are also trained alone.")
    options = parser.parse_args()

    figures: list[Figure] = []
    together = scores("affect", None, options.runs)
    for task, metrics in SHOWN.items():
        model = load_predictions(together[task] / "test.jsonl")
        figures += [figure(f"affect.{task}.{metric}", metric, model) for metric in metrics]
        others = {"tfidf": load_predictions(together[task] / "tfidf.jsonl")}
        if task in options.alone:
            name = f"affect-{task}-alone"
            others["alone"] = load_predictions(scores(name, task, options.runs)[task] / "test.jsonl")
        compared = metrics[:3] if task == "vad" else metrics[:1]
        for other, theirs in others.items():
            for metric in compared:
                figures.append(figure(f"affect.{task}.{other}.{metric}", metric, theirs))
                figures.append(
                    difference(f"affect.{task}.{other}.{metric}.difference", metric, theirs, model)
                )
    facts = Run(options.runs / "affect").facts()
    figures.append(Figure("affect.model.parameters", facts["model"]["parameters"] / 1e6, unit="million"))
    figures.append(Figure("affect.training.seconds", facts["fit"]["seconds"], unit="s"))
    alone = ["--alone", *options.alone] if options.alone else []
    command = " ".join(["python benchmarks/affect.py", *alone])
    write_results(options.output, command, SEED, figures)
    for each in figures:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
