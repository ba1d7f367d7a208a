"""The affect recipe: every head on its test rows beside TF-IDF, its student and, where asked, itself alone.

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


DUO = {
    "affect-duo-1": ["seed=1"],
    "affect-duo-2": ["seed=2", "train.optim.lr=0.0001"],
}
"""The teachers that only teach, and how they differ from their recipe."""


def finished(recipe: str, overrides: list[str], name: str, runs: Path) -> Run:
    """A run with its report; trained first if it is not there."""
    run = Run(runs / name)
    if not (run.folder / "report.md").exists():
        pipeline.run(load_recipe(recipe, [*overrides, f"name={name}"]), run)
    return run


def alone(task: str, runs: Path) -> Run:
    """The run of one head by itself, on the rows that it has in affect."""
    others = [name for name in load_recipe("affect").tasks if name != task]
    overrides = ["beside=affect", *(f"tasks.{name}=null" for name in others)]
    return finished("affect", overrides, f"affect-{task}-alone", runs)


def taught(runs: Path) -> Run:
    """The student of affect and of the duos."""
    for name, overrides in DUO.items():
        if not pipeline.finished(Run(runs / name)):  # a teacher needs no report
            finished("affect-duo", overrides, name, runs)
    teachers = ", ".join(str(runs / name) for name in ("affect", *DUO))
    overrides = [f"tasks.{task}.teacher.runs=[{teachers}]" for task in ("vad", "intent")]
    return finished("affect-taught", overrides, "affect-taught", runs)


def predictions(run: Run, task: str, system: str = "test") -> Scored:
    """What a run, or a baseline of it, said about a task's test rows."""
    return load_predictions(run.evaluation / task / f"{system}.jsonl")


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
    plain = finished("affect", [], "affect", options.runs)
    student = taught(options.runs)
    for task, metrics in SHOWN.items():
        model = predictions(plain, task)
        figures += [figure(f"affect.{task}.{metric}", metric, model) for metric in metrics]
        compared = metrics[:3] if task == "vad" else metrics[:1]
        others = {"tfidf": predictions(plain, task, "tfidf")}
        if task in options.alone:
            others["alone"] = predictions(alone(task, options.runs), task)
        for other, theirs in others.items():
            for metric in compared:
                name = f"affect.{task}.{other}.{metric}"
                figures += [
                    figure(name, metric, theirs),
                    difference(f"{name}.difference", metric, theirs, model),
                ]
        learnt = predictions(student, task)
        for metric in compared:
            name = f"affect-taught.{task}.{metric}"
            figures += [figure(name, metric, learnt), difference(f"{name}.difference", metric, model, learnt)]
    for run in (plain, student):
        facts = run.facts()
        name = run.folder.name
        figures.append(Figure(f"{name}.model.parameters", facts["model"]["parameters"] / 1e6, unit="million"))
        figures.append(Figure(f"{name}.training.seconds", facts["fit"]["seconds"], unit="s"))
    alone_too = ["--alone", *options.alone] if options.alone else []
    command = " ".join(["python benchmarks/affect.py", *alone_too])
    write_results(options.output, command, SEED, figures)
    for each in figures:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
