"""LoRA beside QLoRA: what the frozen weights take, how fast they are tuned through, what it comes to.

SmolLM2-135M-Instruct on the questions of `benchmarks/decoder.py`, the same adapters, rows and steps, with the
frozen weights in fp32, bf16, int8 and NF4 with double quantisation. Every side runs in a process of its own,
in turn, so that its peak memory is its own. Weights are counted as they lie in memory, adapters included.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
from pathlib import Path

from decoder import SEED, apart, data_of, ours, recipe_of
from overtone.evaluation.results import Figure, write_results
from overtone.models import decoder, weights

RESULTS = Path(__file__).parent / "results" / "qlora.json"
STORED = ("fp32", "bf16", "int8", "nf4")


def side(stored: str, rows: int) -> dict[str, float]:
    """One kind of storage in this process."""
    recipe = recipe_of(rows, stored)
    decoder.converted(weights.resolve(recipe.body.weights))  # once, and not a part of what is timed
    found = ours(recipe, *data_of(recipe, rows))
    return {**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def figures(found: dict[str, list[dict[str, float]]]) -> list[Figure]:
    """Weights, pace, peak and loss of each side; weights and pace beside fp32, turn by turn."""
    made = []
    for stored, runs in found.items():
        n, prefix = len(runs), f"qlora.{stored}"
        pace = [each["tokens"] / each["seconds"] for each in runs]
        ratios = [
            mine["seconds"] / theirs["seconds"] for theirs, mine in zip(runs, found["fp32"], strict=True)
        ]
        size = runs[0]["weights"]
        share = size / found["fp32"][0]["weights"]
        bar = "at most 0.35" if stored == "nf4" else None
        made += [
            Figure(f"{prefix}.weights", size / 1e6, unit="MB"),
            Figure(f"{prefix}.weights.ratio", share, unit="ratio", against=bar),
            Figure(f"{prefix}.peak_memory", max(each["peak"] for each in runs) / 1e9, n=n, unit="GB"),
            Figure(f"{prefix}.tokens_per_second", statistics.median(pace), n=n, unit="tokens/s"),
            Figure(f"{prefix}.pace.ratio", statistics.median(ratios), min(ratios), max(ratios), n, "ratio"),
            Figure(f"{prefix}.loss", statistics.mean(each["loss"] for each in runs), n=n, unit="nats"),
        ]
    return made


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=48, help="Questions that are learnt.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=STORED, help="Only this one, in this process; prints JSON.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    if options.side is not None:
        print(json.dumps(side(options.side, options.rows)))
        return
    found: dict[str, list[dict[str, float]]] = {stored: [] for stored in STORED}
    for _ in range(options.repeats):
        for stored in STORED:
            found[stored].append(apart(__file__, stored, options.rows))
    made = figures(found)
    command = f"python benchmarks/qlora.py --rows {options.rows} --repeats {options.repeats}"
    write_results(options.output, command, SEED, made)
    for each in made:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
