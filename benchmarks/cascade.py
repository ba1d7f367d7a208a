"""What the cascade is worth: the promise over twenty resamples, the risk-coverage curve, and the edge cases.

It needs the run `emotion`; `python benchmarks/emotion.py` makes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from overtone import pipeline, proof
from overtone.evaluation.compare import mcnemar_of, paired_statistic
from overtone.evaluation.results import Figure, write_results
from overtone.inference import cascade_scores
from overtone.inference.calibrate import softmax
from overtone.recipe import load as load_recipe
from overtone.scores import Bools, Floats, Ints, aurc
from overtone.system import System, load

RESULTS = Path(__file__).parent / "results" / "cascade.json"
SEED = 7
TIMES = 20


def on_test(system: System, texts: list[str], gold: Ints) -> list[Figure]:
    """Coverage, risk and AURC on the test rows, with the steps' effects."""
    cascade = system.cascade
    scores = cascade_scores.evaluate(cascade, texts, gold)
    raw = softmax(cascade.primary.logits(texts))
    primary, right = raw.max(axis=1), raw.argmax(axis=1) == gold

    def gain(rows: Ints) -> float:
        healed = aurc(scores.confidence[rows], scores.correct[rows])
        return healed - aurc(primary[rows], right[rows])

    found = paired_statistic(gain, len(gold), seed=SEED)
    more = paired_statistic(
        lambda rows: float(scores.correct[rows].mean() - right[rows].mean()), len(gold), seed=SEED
    )
    n = len(gold)
    figures = [
        Figure("emotion.cascade.aurc", scores.aurc, n=n, unit="area"),
        Figure("emotion.primary.aurc", scores.primary_aurc, n=n, unit="area"),
        Figure("emotion.cascade.aurc.difference", found.value, found.low, found.high, n, "area"),
        Figure("emotion.cascade.accuracy", scores.accuracy, n=n),
        Figure("emotion.cascade.accuracy.difference", more.value, more.low, more.high, n),
        Figure("emotion.cascade.test_coverage", scores.coverage, n=n),
        Figure("emotion.cascade.test_risk", scores.risk, n=n),
    ]
    for name, effect in scores.effects.items():
        figures.append(Figure(f"emotion.{name}.fixed", effect.fixed, n=effect.rows, unit="rows"))
        figures.append(Figure(f"emotion.{name}.broken", effect.broken, n=effect.rows, unit="rows"))
    return figures


def promise(system: System, texts: list[str], gold: Ints) -> list[Figure]:
    """The stated risk over resamples of rows that neither trained nor fitted anything."""
    cascade = system.cascade
    trace = cascade.trace(texts)

    def tried(share: float) -> cascade_scores.Resamples:
        return cascade_scores.resample_check(
            trace.confidence,
            trace.label == gold,
            np.array(cascade.fitted.grid),
            risk=cascade.config.risk,
            level=cascade.config.level,
            horizon=cascade.config.horizon,
            times=TIMES,
            share=share,
            seed=SEED,
        )

    found, halves = tried(0.4), tried(0.5)
    return [
        Figure("emotion.cascade-halves.risk_kept", halves.kept, n=TIMES, unit="resamples"),
        Figure("emotion.cascade-halves.coverage", halves.coverage, n=TIMES, unit="share"),
        Figure("emotion.cascade.risk_kept", found.kept, n=TIMES, unit="resamples", against="18 of 20"),
        Figure("emotion.cascade.coverage", found.coverage, n=TIMES, unit="share", against="0.50"),
        Figure("emotion.cascade.mean_risk", float(np.nanmean(found.risks)), n=TIMES, unit="share"),
        Figure("emotion.cascade.largest_risk", float(np.nanmax(found.risks)), n=TIMES, unit="share"),
    ]


def on_edges(system: System) -> list[Figure]:
    """The edge cases: the primary alone and the cascade, by kind."""
    cases, primary, healed = proof.edge_answers(system.classifier, system.cascade)
    gold = np.array([system.labels.index(str(case.label)) for case in cases])
    kinds = np.array([case.kind for case in cases])
    alone, together = primary == gold, healed == gold
    test = mcnemar_of(alone, together)
    figures = [
        _share("emotion.emoji.accuracy", together[kinds == "emoji-only"]),
        _share("emotion.edges.accuracy", together),
        _share("emotion.edges.primary_accuracy", alone),
        Figure("emotion.edges.cascade_alone_right", test.only_b, n=len(cases), unit="cases"),
        Figure("emotion.edges.primary_alone_right", test.only_a, n=len(cases), unit="cases"),
        Figure("emotion.edges.mcnemar_p", test.p, n=len(cases), unit="p"),
    ]
    words = kinds != "emoji-only"
    rest = mcnemar_of(alone[words], together[words])
    figures += [
        Figure("emotion.edges-with-words.cascade_alone_right", rest.only_b, n=int(words.sum()), unit="cases"),
        Figure("emotion.edges-with-words.primary_alone_right", rest.only_a, n=int(words.sum()), unit="cases"),
        Figure("emotion.edges-with-words.mcnemar_p", rest.p, n=int(words.sum()), unit="p"),
    ]
    for kind in dict.fromkeys(kinds.tolist()):
        figures.append(_share(f"emotion.{kind}.cascade_accuracy", together[kinds == kind]))
        figures.append(_share(f"emotion.{kind}.primary_accuracy", alone[kinds == kind]))
    return figures


def _share(name: str, right: Bools) -> Figure:
    """A share with its bootstrap interval."""
    values: Floats = right.astype(np.float64)
    found = paired_statistic(lambda rows: float(values[rows].mean()), len(values), seed=SEED)
    return Figure(name, found.value, found.low, found.high, len(values))


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/emotion"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    system = load(options.run)
    recipe = load_recipe(str(options.run / "recipe.yaml"))
    splits = pipeline.divide(recipe).splits["emotion"]
    _, certify = recipe.held_out(splits.validation)
    test = list(splits.test)
    pool = [*certify, *test]
    figures = [
        *promise(system, [row.text for row in pool], proof.classes(recipe, pool)),
        *on_test(system, [row.text for row in test], proof.classes(recipe, test)),
        *on_edges(system),
    ]
    write_results(options.output, f"python benchmarks/cascade.py --run {options.run}", SEED, figures)
    for each in figures:
        print(f"{each.name} {each.value:.4g} {each.unit}")


if __name__ == "__main__":
    main()
