"""What each encoder of the catalogue costs here: weights, memory, samples a second beside MiniLM-L6 in turn.

An encoder whose weights are not at hand is measured in its real configuration with random weights, which is
as fast. With --full, those at hand are also trained on the shipped sentences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console

from overtone import backbones
from overtone.apps.bench_backbones import progress
from overtone.backbones import Backbone
from overtone.evaluation.results import Figure, write_results

RESULTS = Path(__file__).parent / "results" / "backbones.json"
SEED = 7


def figures(row: Backbone, first: Backbone) -> list[Figure]:
    """The figures of one encoder; ratios stand beside the first one's speed."""
    kind = "its own weights" if row.at_hand else "random weights"
    shape = f"{row.batch} × {row.length} tokens, {kind}"
    part = f"backbones.{row.name}"
    found = [
        Figure(f"{part}.weights.parameters", row.parameters, unit="count"),
        Figure(f"{part}.weights.megabytes", row.weights_mb, unit="MB"),
    ]
    for name, peak in (("reading", row.reading_mb), ("training", row.training_mb)):
        if peak is not None:
            found.append(Figure(f"{part}.{name}.megabytes", peak, unit="MB", against=shape))
    for mode, rate in row.rates.items():
        found.append(Figure(f"{part}.{mode}.per_second", rate.per_second, unit="samples/s", against=shape))
        if row is not first:
            ratio = (rate.ratio, rate.low, rate.high)
            found.append(
                Figure(f"{part}.{mode}.ratio", *ratio, backbones.ROUNDS, "ratio", f"1: {first.name}")
            )
    if row.accuracy is not None:
        interval = (row.accuracy.value, row.accuracy.low, row.accuracy.high)
        found.append(Figure(f"{part}.{backbones.RECIPE}.accuracy", *interval))
    return found


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    torch.manual_seed(SEED)
    names = backbones.chosen([])
    with progress(Console(stderr=True), backbones.steps(names)) as step:
        rows = list(backbones.measure(names, step))
    if options.full:
        rows = [backbones.with_accuracy(row) for row in rows]
    found = [figure for row in rows for figure in figures(row, rows[0])]
    command = "python benchmarks/backbones.py" + " --full" * options.full
    write_results(options.output, command, SEED, found)
    for figure in found:
        print(f"{figure.name} {figure.value:.4g} {figure.unit}")


if __name__ == "__main__":
    main()
