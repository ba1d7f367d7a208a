"""A companion: what it hears, how likely people's replies are to it, what it forgot, what each term earns.

Runs: the companion first, then runs with a term left out or added, a seed or several of each, all with the
same data and `split_seed`. Heads are set beside TF-IDF on the same rows, likelihoods beside the base in the
same four bits. A variant is named by what its objective lacks or adds; its figures are means over its seeds,
their bounds the extremes, and its difference is from the full companions of the same seeds.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from overtone import kinds
from overtone.companion_recipe import HEARD, CompanionRecipe
from overtone.errors import DataError
from overtone.evaluation.results import Figure, write_results
from overtone.run import Run, read_json

RESULTS = Path(__file__).parent / "results" / "companion.json"
SEED = 7
MEASURES = ("accuracy", "macro_f1")
BITS = "bits_per_byte"


def standings(run: Run, part: str) -> dict[str, Mapping[str, Any]]:
    """System → how it stands in a part of the proof, the run as ``model``; nothing where there is none."""
    path = run.evaluation / part / "standings.json"
    if not path.exists():
        return {}
    model, *others = read_json(path)
    return {"model": model, **{each["name"]: each for each in others}}


def parts(run: Run) -> list[str]:
    """The texts whose likelihood was measured."""
    return sorted(path.parent.name for path in run.evaluation.glob("*/likelihood.jsonl"))


def heard(run: Run) -> Iterator[Figure]:
    """What each head hears, and what it gains over TF-IDF in accuracy."""
    for name in HEARD:
        found = standings(run, name)
        if not found:
            continue
        for measure in MEASURES:
            for system, told in (("companion", found["model"]), ("companion.tfidf", found["tfidf"])):
                yield bounded(f"{system}.{name}.{measure}", told["figures"][measure])
        gain = found["tfidf"]["gain"]
        yield bounded(f"companion.{name}.accuracy.difference", gain, against="tfidf, the same rows")


def likely(run: Run) -> Iterator[Figure]:
    """Bits a byte of each text, of the run and of the base, and what was gained or forgotten."""
    for text in parts(run):
        found = standings(run, text)
        for system, told in (("companion", found["model"]), ("companion.base", found["base"])):
            yield bounded(f"{system}.{text}.{BITS}", told["figures"][BITS], unit="bits")
        yield bounded(
            f"companion.{text}.{BITS}.difference",
            found["base"]["gain"],
            unit="bits",
            against="companion − base; below 0 is better",
        )


def replied(run: Run) -> Iterator[Figure]:
    """The measures of the run's replies, and of the base's."""
    for system, told in zip(
        ("companion", "companion.base"), read_json(run.evaluation / "replies.json")["measured"], strict=True
    ):
        for name, unit in (("bleu", "points"), ("distinct_1", "share"), ("distinct_2", "share")):
            yield Figure(f"{system}.replies.{name}", told[name], unit=unit)
        yield bounded(f"{system}.replies.rouge_l", told["rouge_l"])
        beside = "collapsed in length" if told["collapsed"] else None
        yield bounded(f"{system}.replies.words", told["words"], unit="words", against=beside)


def bounded(name: str, found: Mapping[str, float], unit: str = "share", against: str | None = None) -> Figure:
    """A figure with its interval."""
    return Figure(name, found["value"], found["low"], found["high"], unit=unit, against=against)


def measured(run: Run) -> dict[str, float]:
    """What a variant is compared in: the accuracy and macro-F1 of its heads, and bits a byte of each text."""
    made = {
        f"{name}.{measure}": told["model"]["figures"][measure]["value"]
        for name in HEARD
        if (told := standings(run, name))
        for measure in MEASURES
    }
    return made | {
        f"{text}.{BITS}": standings(run, text)["model"]["figures"][BITS]["value"] for text in parts(run)
    }


def ablations(runs: Sequence[Run]) -> Iterator[Figure]:
    """Of each variant the mean over its seeds, and its difference from the companions of the same seeds.

    Raises:
        DataError: a run is no companion.
    """
    by_name: defaultdict[str, dict[int, dict[str, float]]] = defaultdict(dict)
    for run in runs:
        recipe = kinds.read(str(run.recipe))
        if not isinstance(recipe, CompanionRecipe):
            raise DataError(f"{run.folder} is no companion", hint="name runs of companion and its variants")
        by_name[variant(recipe)][recipe.seed] = measured(run)
    full = by_name["full"]
    for name, seeds in by_name.items():
        for measure in sorted(set.intersection(*(set(each) for each in seeds.values()))):
            unit = "bits" if measure.endswith(BITS) else "share"
            values = [each[measure] for each in seeds.values()]
            yield extremes(f"companion-ablation.{name}.{measure}", values, unit, "mean over seeds, extremes")
            both = [seed for seed in seeds if measure in full.get(seed, {})]
            if name != "full" and both:
                apart = [seeds[seed][measure] - full[seed][measure] for seed in both]
                told = "full, the same seeds; extremes"
                yield extremes(f"companion-ablation.{name}.{measure}.difference", apart, unit, told)


def variant(recipe: CompanionRecipe) -> str:
    """What a recipe leaves out of the objective, or adds to it."""
    objective = recipe.objective
    told = [f"no-{name}" for name in HEARD if name not in objective.heard]
    return "-".join([*told, *(["safety"] if objective.safety else [])]) or "full"


def extremes(name: str, values: Sequence[float], unit: str, against: str) -> Figure:
    """A mean with the least and the most."""
    return Figure(name, sum(values) / len(values), min(values), max(values), len(values), unit, against)


def main() -> None:
    """Compare and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="The companion, such as runs/companion.")
    parser.add_argument("--ablations", nargs="*", type=Path, default=[], help="Runs of one cut, all seeds.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    run, others = Run(options.run), [Run(folder) for folder in options.ablations]
    made = [*heard(run), *likely(run), *replied(run)]
    made += ablations(others) if others else []
    words = ["python benchmarks/companion.py", str(options.run)]
    words += ["--ablations", *map(str, options.ablations)] if others else []
    write_results(options.output, " ".join(words), SEED, made)
    for each in made:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
