"""A companion: what it hears, how likely people's replies are to it, and what it forgot.

Heads are set beside TF-IDF on the same rows, likelihoods beside the base in the same four bits.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from overtone.companion_recipe import HEARD
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


def main() -> None:
    """Compare and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="The companion, such as runs/companion.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    run = Run(options.run)
    made = [*heard(run), *likely(run), *replied(run)]
    write_results(options.output, f"python benchmarks/companion.py {options.run}", SEED, made)
    for each in made:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
