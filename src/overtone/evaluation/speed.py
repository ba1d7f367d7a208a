"""How many texts a second each form of a model reads on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from overtone.data.batches import Encoded
from overtone.errors import DataError
from overtone.evaluation.results import environment
from overtone.inference.forms import Form, OnnxForm, TorchForm, onnx_settings
from overtone.models.model import EncoderModel
from overtone.run import write_json

ROUNDS = 3
BUDGETS = (256, 512, 2048)
"""Padded tokens of a batch that are tried."""

WARM = 32
"""Texts that each form reads before the clock runs."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One setting on the user's texts.

    Args:
        backend: ``torch`` or ``onnx``.
        precision: of its products.
        sessions: batches at once.
        threads: of each.
        batch: padded tokens of a batch.
        per_second: texts a second, the median of the rounds; tokenising is not counted.
        slowest: of the rounds.
        quickest: of the rounds.
    """

    backend: Literal["torch", "onnx"]
    precision: str
    sessions: int
    threads: int
    batch: int
    per_second: float
    slowest: float
    quickest: float


def seconds(forms: Mapping[str, Form], encoded: Encoded, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds that each form takes for all texts, by round; the forms in turn, another one first each round.

    Raises:
        DataError: there are no texts.
    """
    if not len(encoded):
        raise DataError("there are no texts to measure with", hint="give a file with one text a line")
    names = list(forms)
    found: dict[str, list[float]] = {name: [] for name in names}
    for form in forms.values():
        form(encoded.take(range(min(WARM, len(encoded)))))
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            begun = time.perf_counter()
            forms[name](encoded)
            found[name].append(time.perf_counter() - begun)
    return found


def rates(forms: Mapping[str, Form], encoded: Encoded, rounds: int = ROUNDS) -> dict[str, float]:
    """Texts a second of each form, the median of the rounds."""
    spent = seconds(forms, encoded, rounds)
    return {name: len(encoded) / statistics.median(times) for name, times in spent.items()}


def bench_inference(
    model: EncoderModel, texts: Sequence[str], graphs: Mapping[str, Path], cores: int, rounds: int = ROUNDS
) -> list[Timing]:
    """Backend × precision × threads × batch on one's own texts, fastest first.

    Args:
        model: in evaluation mode.
        texts: what is read.
        graphs: ``float`` and ``int8`` → the file, those that are there.
        cores: how many may be used.
        rounds: of which the median counts.

    Raises:
        DataError: there are no texts.
        MissingExtraError: there are graphs, and ONNX Runtime is not installed.
    """
    encoded = model.body.encode(texts)
    forms: dict[str, Form] = {}
    facts: dict[str, tuple[Literal["torch", "onnx"], str, int, int, int]] = {}

    def add(form: Form, *setting: Literal["torch", "onnx"] | str | int) -> None:
        key = "/".join(map(str, setting))
        forms[key], facts[key] = form, setting  # type: ignore[assignment]

    precisions: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
    for budget in BUDGETS:
        for precision in precisions:
            for threads in sorted({1, cores}):
                form = TorchForm(model, precision, threads, budget)
                add(form, "torch", precision, 1, threads, budget)
        for kind, path in graphs.items():
            for sessions, threads in onnx_settings(cores):
                add(OnnxForm(path, sessions, threads, budget), "onnx", kind, sessions, threads, budget)
    found = []
    for key, times in seconds(forms, encoded, rounds).items():
        speeds = [len(encoded) / each for each in times]
        found.append(Timing(*facts[key], statistics.median(speeds), min(speeds), max(speeds)))
    return sorted(found, key=lambda row: -row.per_second)


def save(path: Path, texts: int, rows: Sequence[Timing]) -> None:
    """Write what was measured as JSON, with what it depends on.

    Raises:
        RunError: the file could not be written.
    """
    write_json(path, {**environment(), "texts": texts, "rows": [asdict(row) for row in rows]})
