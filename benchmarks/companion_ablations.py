"""What each term of a companion's objective earns: trained with and without it, on one cut, three seeds each.

The cut is the recipe `companion-cut`: the same conversations, splits and test for every run. Runs that are
there are not trained again, and one that was stopped goes on. A figure is the mean over the seeds, its bounds
are the extremes; a difference is from the full objective with the same seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from overtone import dispatch, kinds
from overtone.companion_recipe import HEARD
from overtone.evaluation.results import Figure, write_results
from overtone.run import Run, read_json
from overtone.training.stopping import InterruptedFitError

RESULTS = Path(__file__).parent / "results" / "companion-ablations.json"
RECIPE = "companion-cut"
FULL = "full"
ARMS = {
    FULL: [],
    "no-emotion": ["objective.emotion=0"],
    "no-strategy": ["objective.strategy=0"],
    "safety": ["objective.safety=0.1"],
}
SEEDS = (7, 11, 13)
MEASURES = ("accuracy", "macro_f1")
BITS = "bits_per_byte"

Measured = Mapping[str, float]
"""Measure → value."""


def trained(arm: str, seed: int, folder: Path) -> Run:
    """The finished run of an arm with a seed; trained now, as far as it is not.

    Raises:
        SystemExit: somebody stopped it.
    """
    run = Run(folder / f"{arm}-{seed}")
    if not (run.folder / "report.md").exists():
        changes = [*ARMS[arm], f"seed={seed}", f"name={run.name}"]
        try:
            dispatch.run(kinds.read(RECIPE, changes), run)
        except InterruptedFitError as error:
            sys.exit(f"{error.what}\n  → the same command goes on")
    return run


def measured(run: Run) -> dict[str, float]:
    """What arms are compared in: accuracy and macro-F1 of the heads, and bits a byte of each data set."""
    found = {}
    for path in sorted(run.evaluation.glob("*/standings.json")):
        model, *_ = read_json(path)
        for measure in MEASURES if path.parent.name in HEARD else (BITS,):
            found[f"{path.parent.name}.{measure}"] = model["figures"][measure]["value"]
    return found


def compared(runs: Mapping[str, Mapping[int, Measured]]) -> Iterator[Figure]:
    """Of each arm the mean over its seeds, and its difference from the full objective with the same seeds.

    Args:
        runs: arm → seed → what was measured.
    """
    for arm, seeds in runs.items():
        for measure in next(iter(seeds.values())):
            unit = "bits" if measure.endswith(BITS) else "share"
            name = f"companion-ablations.{arm}.{measure}"
            values = np.array([each[measure] for each in seeds.values()])
            yield extremes(name, values, unit, "extremes over the seeds")
            if arm != FULL and measure in runs[FULL][SEEDS[0]]:
                full = np.array([runs[FULL][seed][measure] for seed in seeds])
                yield extremes(f"{name}.difference", values - full, unit, "full, the same seeds; extremes")


def extremes(name: str, values: np.ndarray, unit: str, against: str) -> Figure:
    """A mean with the least and the most."""
    return Figure(
        name, float(values.mean()), float(values.min()), float(values.max()), len(values), unit, against
    )


def main() -> None:
    """Train, compare and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/companion-ablations"), help="Where they are.")
    parser.add_argument(
        "--arms", nargs="*", choices=ARMS, default=[], help="Train these, and compare nothing."
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    found: dict[str, dict[int, Measured]] = {arm: {} for arm in options.arms or ARMS}
    for seed in SEEDS:
        for arm in found:
            found[arm][seed] = measured(trained(arm, seed, options.runs))
    if options.arms:
        return
    made = list(compared(found))
    write_results(options.output, "python benchmarks/companion_ablations.py", SEEDS[0], made)
    for each in made:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
