"""What the int8 export of a trained run gains and loses beside PyTorch in fp32.

Both read the same texts of 10 to 30 words of the test rows in batches of even length, in turn, in one
process; a ratio is the median over the rounds, with the smallest and the largest. Sessions and threads of
int8 are chosen in rounds of their own. Tokenising is the same for both and not counted. The differences are
on the test rows; the range of the activations is measured on training rows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from overtone import pipeline
from overtone.data.batches import Encoded
from overtone.data.records import Record
from overtone.data.tokenize import encode
from overtone.errors import DataError
from overtone.evaluation.compare import paired
from overtone.evaluation.parity import Check, Parity, compare
from overtone.evaluation.results import Figure, write_results
from overtone.evaluation.speed import seconds
from overtone.inference.export import export
from overtone.inference.forms import Form, OnnxForm, TorchForm, onnx_settings
from overtone.models.model import Model
from overtone.recipe import load as load_recipe
from overtone.run import Run
from overtone.scores import METRICS
from overtone.system import load_reader
from overtone.training import tasks
from overtone.training.tasks import Reading, scores_of

RESULTS = Path(__file__).parent / "results" / "export.json"
WORDS = range(10, 31)
CALIBRATED = 256
"""Training texts that the range of the activations is measured on."""


def rows_of(model: Model, records: Sequence[Record], *, context: bool) -> Encoded:
    """Rows as tokens, with what was said before where the head reads it."""
    before = [record.context for record in records] if context else None
    return encode(model.body.tokenizer, [row.text for row in records], model.body.max_length, before)


def ratio(name: str, above: Sequence[float], below: Sequence[float]) -> Figure:
    """Seconds over seconds, round by round."""
    found = [a / b for a, b in zip(above, below, strict=True)]
    return Figure(name, statistics.median(found), min(found), max(found), len(found), "ratio")


def of_heads(model: Model, sample: Encoded, setting: tuple[int, int], rounds: int) -> list[Figure]:
    """What all heads cost beside the first alone, in int8 and in PyTorch in fp32; nothing of one head."""
    if len(model.heads) < 2:
        return []
    first = next(iter(model.heads))
    alone = Model(model.body, {first: model.heads[first]}).eval()
    with tempfile.TemporaryDirectory() as folder:
        forms: dict[str, Form] = {}
        for name, each in (("all", model), ("one", alone)):
            path = export(each, Path(folder) / name, sample.take(range(min(len(sample), CALIBRATED))))["int8"]
            forms[f"int8-{name}"] = OnnxForm(path, *setting)
            forms[f"torch-{name}"] = TorchForm(each, "fp32")
        spent = seconds(forms, sample, rounds)
    return [
        ratio("classify.heads.ratio", spent["int8-all"], spent["int8-one"]),
        ratio("classify.heads.torch.ratio", spent["torch-all"], spent["torch-one"]),
    ]


def of_task(name: str, check: Check, forms: Mapping[str, Form]) -> tuple[Parity, Figure]:
    """How a head's int8 answers stand to fp32's on the test rows, and how its metric changes."""
    reference, found = (forms[form](check.encoded)[name] for form in ("torch", "int8"))
    before, after = (
        scores_of(check.reading, check.records, check.targets, each.double().numpy())
        for each in (reference, found)
    )
    metric = "macro_f1" if check.reading.kind != "regression" else "pearson"
    change = paired(METRICS[metric], before, after, seed=7)
    figure = Figure(
        f"classify.int8.{name}.{metric}.difference", change.value, change.low, change.high, len(check.records)
    )
    return compare(name, check, reference, found), figure


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/affect"))
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    recipe = load_recipe(str(options.run / "recipe.yaml"))
    reader = load_reader(recipe, Run(options.run))
    model, splits = reader.model, pipeline.divide(recipe).splits
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    turn = np.random.default_rng(recipe.seed)
    train = [row for name in recipe.tasks for row in splits[name].train]
    calibration = rows_of(model, [train[i] for i in turn.permutation(len(train))[:CALIBRATED]], context=True)
    test = [row for name in recipe.tasks for row in splits[name].test if len(row.text.split()) in WORDS]
    if not test:
        raise DataError(f"{options.run} has no test texts of 10 to 30 words", hint="name another run")
    chosen = [test[i] for i in turn.permutation(len(test))[: options.texts]]
    sample = rows_of(model, chosen, context=False)

    with tempfile.TemporaryDirectory() as folder:
        path = export(model, Path(folder), calibration)["int8"]
        megabytes = path.stat().st_size / 1e6
        settings = {f"int8-{n}x{threads}": (n, threads) for n, threads in onnx_settings(cores)}
        tried = {name: OnnxForm(path, *setting) for name, setting in settings.items()}
        trial = seconds(tried, sample)
        best = min(settings, key=lambda name: statistics.median(trial[name]))
        pair: dict[str, Form] = {"torch": TorchForm(model, "fp32"), "int8": tried[best]}
        spent = seconds({**pair, "bf16": TorchForm(model, "bf16")}, sample, options.rounds)
        judged = {}
        for name in recipe.tasks:
            reading: Reading = reader.readings[name]
            rows = splits[name].test
            data = recipe.tasks[name].data
            targets = tasks.encode_targets(rows, data.target, reading.labels, reading.kind)
            encoded = rows_of(model, rows, context=reading.context)
            check = Check(reading, recipe.tasks[name].metric, rows, targets, encoded)
            judged[name] = of_task(name, check, pair)
    figures = [
        ratio("classify.int8.ratio", spent["torch"], spent["int8"]),
        ratio("classify.bf16.ratio", spent["torch"], spent["bf16"]),
        Figure("classify.int8.megabytes", megabytes, unit="MB"),
        *of_heads(model, sample, settings[best], options.rounds),
    ]
    first = next((name for name in judged if reader.readings[name].kind != "regression"), None)
    for name, (parity, change) in judged.items():
        if name == first:  # the figure that the bar is about
            bar = "classify.int8.macro_f1.difference"
            figures.append(Figure(bar, change.value, change.low, change.high, change.n))
        figures.append(change)
        figures.append(Figure(f"classify.int8.{name}.same", parity.same, n=parity.rows))
    for name, times in spent.items():
        rate = len(sample) / statistics.median(times)
        figures.append(Figure(f"classify.{name}.throughput", rate, n=len(sample), unit="texts/s"))
    write_results(options.output, f"python benchmarks/export.py {options.run}", recipe.seed, figures)
    for figure in figures:
        print(f"{figure.name} {figure.value:.4g} {figure.unit}")
    print(f"best setting {best}")


if __name__ == "__main__":
    main()
