"""How fast `classify` is beside the transformers pipeline with its default settings, on the same weights.

Both read the same 5,000 texts of mixed length in turn, in one process; medians over the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, pipeline
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import logging

from overtone import pipeline as runner
from overtone.data.records import Record
from overtone.evaluation.results import Figure, write_results
from overtone.models.model import Model
from overtone.recipe import load as load_recipe
from overtone.system import System, load

RESULTS = Path(__file__).parent / "results" / "classify_speed.json"


class ForPipeline(PreTrainedModel):
    """The same body and head, in the shape that the pipeline wants."""

    _supports_sdpa = True

    def __init__(self, model: Model, task: str, labels: tuple[str, ...]) -> None:
        config = model.body.backbone.config
        config.id2label = dict(enumerate(labels))
        config.num_labels = len(labels)
        super().__init__(config)
        self.inner = model
        self.task = task

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Tensor) -> SequenceClassifierOutput:
        """Ids and mask → logits."""
        return SequenceClassifierOutput(logits=self.inner(input_ids, attention_mask)[self.task])


def texts(run: Path, count: int) -> list[str]:
    """Held-out and training texts of the run's data, all lengths, in a seeded order."""
    recipe = load_recipe(str(run / "recipe.yaml"))
    splits = runner.divide(recipe).splits["emotion"]
    rows: list[Record] = [*splits.test, *splits.validation, *splits.train]
    return [rows[i].text for i in np.random.default_rng(recipe.seed).permutation(len(rows))[:count]]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/emotion"))
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    system = load(options.run)
    classifier = system.classifier
    plain = System(system.run, system.recipe, system.reader, None)  # nothing around them
    logging.set_verbosity(
        logging.CRITICAL
    )  # the pipeline lists every class it knows, because ours is not one
    wrapped = ForPipeline(system.reader.model, classifier.task, classifier.labels).eval()
    pipe = pipeline("text-classification", model=wrapped, tokenizer=system.reader.model.body.tokenizer)
    sample = texts(options.run, options.texts)
    limit = {"truncation": True, "max_length": system.reader.model.body.max_length}
    contenders: dict[str, Callable[[list[str]], list[str]]] = {
        "plain": lambda batch: [decision.label for decision in plain.classify(batch)],
        "pipeline": lambda batch: [answer["label"] for answer in pipe(batch, **limit)],
        "cascade": lambda batch: [str(decision.label) for decision in system.classify(batch, ask=False)],
    }
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    single: dict[str, list[float]] = {name: [] for name in names}
    found: dict[str, np.ndarray] = {}
    for turn in range(options.repeats):
        for name in names[turn % 3 :] + names[: turn % 3]:  # each goes first once
            begun = time.perf_counter()
            found[name] = np.array(contenders[name](sample))
            seconds[name].append(time.perf_counter() - begun)
        for text in sample[:100]:
            for name in names:
                begun = time.perf_counter()
                contenders[name]([text])
                single[name].append(time.perf_counter() - begun)
    n = len(sample)
    figures = []
    for name in ("plain", "cascade"):
        ratios = [b / a for a, b in zip(seconds[name], seconds["pipeline"], strict=True)]
        part = "throughput" if name == "plain" else "cascade"
        figures += [
            Figure(f"classify.{part}.ratio", statistics.median(ratios), min(ratios), max(ratios), n, "ratio"),
            Figure(f"classify.{part}.same_labels", float((found[name] == found["pipeline"]).mean()), n=n),
        ]
    for name in names:
        rate, p50 = n / statistics.median(seconds[name]), 1e3 * statistics.median(single[name])
        figures += [
            Figure(f"classify.{name}.throughput", rate, n=n, unit="texts/s"),
            Figure(f"classify.{name}.single_p50", p50, n=len(single[name]), unit="ms"),
        ]
    ratio = statistics.median(single["pipeline"]) / statistics.median(single["plain"])
    figures.append(Figure("classify.single.ratio", ratio, n=len(single["plain"]), unit="ratio"))
    command = f"python benchmarks/classify_speed.py --run {options.run}"
    write_results(options.output, command, 7, figures)
    for figure in figures:
        print(f"{figure.name} {figure.value:.4g} {figure.unit}")
    print(f"threads {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
