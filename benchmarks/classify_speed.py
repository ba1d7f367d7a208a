"""How fast `classify` is beside the transformers pipeline with its default settings, on the same weights.

Both read the same 5,000 texts of mixed length in turn, in one process; medians over the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, pipeline
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import logging

from overtone.data import split
from overtone.data.records import Record
from overtone.evaluation.results import Figure, write_results
from overtone.models.model import Model
from overtone.recipe import load as load_recipe
from overtone.system import load

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
    splits = split.prepare(recipe.data, recipe.seed).splits
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
    logging.set_verbosity(
        logging.CRITICAL
    )  # the pipeline lists every class it knows, because ours is not one
    wrapped = ForPipeline(classifier.model, classifier.task, classifier.labels).eval()
    pipe = pipeline("text-classification", model=wrapped, tokenizer=classifier.model.body.tokenizer)
    sample = texts(options.run, options.texts)
    ours, theirs, whole, single_ours, single_theirs = [], [], [], [], []
    for _ in range(options.repeats):
        begun = time.perf_counter()
        found = classifier.logits(sample).argmax(axis=1)
        ours.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        answers = pipe(sample, truncation=True, max_length=classifier.model.body.max_length)
        theirs.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        system.classify(sample)
        whole.append(time.perf_counter() - begun)
        for text in sample[:100]:
            begun = time.perf_counter()
            classifier.logits([text])
            single_ours.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            pipe(text)
            single_theirs.append(time.perf_counter() - begun)
    labels = np.array([classifier.labels.index(answer["label"]) for answer in answers])
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    n = len(sample)
    figures = [
        Figure("classify.throughput.ratio", statistics.median(ratios), min(ratios), max(ratios), n, "ratio"),
        Figure("classify.throughput.ours", n / statistics.median(ours), n=n, unit="texts/s"),
        Figure("classify.throughput.pipeline", n / statistics.median(theirs), n=n, unit="texts/s"),
        Figure("classify.throughput.with_cascade", n / statistics.median(whole), n=n, unit="texts/s"),
        Figure("classify.throughput.same_labels", float((labels == found).mean()), n=n, unit="share"),
        Figure(
            "classify.single.ours_p50", 1e3 * statistics.median(single_ours), n=len(single_ours), unit="ms"
        ),
        Figure(
            "classify.single.pipeline_p50",
            1e3 * statistics.median(single_theirs),
            n=len(single_ours),
            unit="ms",
        ),
        Figure(
            "classify.single.ratio",
            statistics.median(single_theirs) / statistics.median(single_ours),
            n=len(single_ours),
            unit="ratio",
        ),
    ]
    command = f"python benchmarks/classify_speed.py --run {options.run}"
    write_results(options.output, command, 7, figures)
    for figure in figures:
        print(f"{figure.name} {figure.value:.4g} {figure.unit}")
    print(f"threads {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
