"""An index of a million vectors of 384 dimensions: how long it takes, how much memory, how much it misses.

The vectors are synthetic. They lie around centres, 250 to each, as passages lie around topics: uniform ones
would have no neighbours worth finding. Questions are drawn in the same way. Recall is the share of the ten
nearest of all vectors that are among the ten that the index finds.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from overtone.evaluation.results import Figure, write_results
from overtone.inference.vectors import CHUNK, Approximate, ApproximateConfig, Found, Vectors, exact

RESULTS = Path(__file__).parent / "results" / "search_scale.json"
TOPIC = 250
SPREAD = 1.0
TOP = 10
SEED = 7


def drawn(centres: Vectors, count: int, generator: np.random.Generator) -> Vectors:
    """Vectors of length 1 around centres chosen at random, (count, D)."""
    width = centres.shape[1]
    noise = generator.standard_normal((count, width), dtype=np.float32) * np.float32(SPREAD / width**0.5)
    vectors: Vectors = centres[generator.integers(len(centres), size=count)] + noise
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def written(path: Path, centres: Vectors, count: int, generator: np.random.Generator) -> Vectors:
    """As many vectors in a file, mapped as an index maps its own."""
    shape = (count, centres.shape[1])
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, count, CHUNK):
        vectors[start : start + CHUNK] = drawn(centres, min(CHUNK, count - start), generator)
    vectors.flush()
    return np.load(path, mmap_mode="r", allow_pickle=False)


def percentiles(name: str, seconds: list[float]) -> list[Figure]:
    """The median and the 95th percentile, in milliseconds."""
    return [
        Figure(f"{name}.p{share}_ms", 1e3 * float(np.percentile(seconds, share)), n=len(seconds), unit="ms")
        for share in (50, 95)
    ]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--probes", type=int, default=ApproximateConfig().probes)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    generator = np.random.default_rng(SEED)
    count, width = options.vectors, options.dimensions
    centres = generator.standard_normal((max(1, count // TOPIC), width), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    config = ApproximateConfig(probes=options.probes)
    with tempfile.TemporaryDirectory() as place:
        vectors = written(Path(place) / "vectors.npy", centres, count, generator)
        questions = drawn(centres, options.questions, generator)
        begun = time.perf_counter()
        index = Approximate.build(vectors)
        built = time.perf_counter() - begun
        index.save(Path(place) / "cells.faiss")
        size = (Path(place) / "cells.faiss").stat().st_size
        found: dict[str, list[Found]] = {"approximate": [], "exact": []}
        seconds: dict[str, list[float]] = {"approximate": [], "exact": []}
        for question in questions:
            for name in found:
                begun = time.perf_counter()
                if name == "approximate":
                    found[name].append(index.search(vectors, question, TOP, config))
                else:
                    found[name].append(exact(vectors, question, TOP))
                seconds[name].append(time.perf_counter() - begun)
    shares = np.array(
        [
            len(np.intersect1d(near.rows, all_.rows)) / TOP
            for near, all_ in zip(found["approximate"], found["exact"], strict=True)
        ]
    )
    means = generator.choice(shares, (2000, len(shares))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = [
        Figure("search.scale.vectors", count, unit="count"),
        Figure("search.scale.cells", index.index.nlist, unit="count"),
        Figure("search.scale.build_seconds", built, n=count, unit="s"),
        Figure("search.scale.index_bytes", size / 2**30, n=count, unit="GiB", against="beside the vectors"),
        Figure("search.scale.peak_memory", peak / 2**30, unit="GiB", against="the machine's 24 GB"),
        Figure("search.scale.recall_10", float(shares.mean()), float(low), float(high), len(shares)),
        *percentiles("search.scale.approximate", seconds["approximate"]),
        *percentiles("search.scale.exact", seconds["exact"]),
    ]
    write_results(options.output, "python benchmarks/search_scale.py", SEED, figures)
    for figure in figures:
        print(f"{figure.name} {figure.value:.4g} {figure.unit}")
    print(f"threads {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
