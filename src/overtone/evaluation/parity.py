"""The gate for exported forms: what was evaluated is what is served, or the form is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from overtone.breakdown import figure
from overtone.data.batches import Encoded
from overtone.data.records import Record
from overtone.errors import DataError, RunError
from overtone.evaluation.results import environment
from overtone.evaluation.speed import rates
from overtone.inference.export import export
from overtone.inference.forms import Form, OnnxForm, TorchForm, onnx_settings
from overtone.models.model import EncoderModel
from overtone.run import read_json, write_json
from overtone.training.tasks import Kind, Reading, scores_of

SAME: dict[Kind, float] = {"classification": 0.97, "multilabel": 0.95, "regression": 0.97}
"""The least share of rows that must be answered as before. On held-out comments int8 answered about 99 rows
of a hundred as fp32 did; of a task with several labels, each label is one more chance to be near a tie."""

NEAR = 0.15
"""How far a number may move, in deviations of the training rows, and still be the same answer."""

CHANGE = 0.005
"""The most that a task's metric may move, in either direction."""

FILE = "parity.json"
TIMED = 500
"""Validation texts that speeds are measured on, at most."""


@dataclass(frozen=True, slots=True)
class Check:
    """The validation rows of one task.

    Args:
        reading: how the head's outputs are read.
        metric: the task's own.
        records: N rows that carry the target.
        targets: theirs, from ``tasks.encode_targets``.
        encoded: their tokens, with what was said before where the head reads it.
    """

    reading: Reading
    metric: str
    records: Sequence[Record]
    targets: Tensor
    encoded: Encoded


@dataclass(frozen=True, slots=True)
class Parity:
    """How a form's answers stand to those of the reference.

    Args:
        task: whose head it is.
        kind: of the task.
        metric: the task's own.
        rows: how many were compared.
        same: share of rows with the same label, the same labels, or numbers that are near, 0..1.
        furthest: the largest difference of a probability, or of a number in the data's unit.
        change: the form's metric minus the reference's.
    """

    task: str
    kind: Kind
    metric: str
    rows: int
    same: float
    furthest: float
    change: float

    @property
    def passed(self) -> bool:
        """Whether the form may stand in; a figure that is not finite never passes."""
        return self.same >= SAME[self.kind] and abs(self.change) <= CHANGE

    @property
    def sentence(self) -> str:
        """What was found, and by how much it fails."""
        found = (
            f"{self.task}: {self.same:.2%} of {self.rows:,} rows as before, "
            f"{self.metric} {self.change:+.4f}, furthest {self.furthest:.3f}"
        )
        if self.passed:
            return found
        return f"{found}; needs {SAME[self.kind]:.0%} and {self.metric} within {CHANGE}"


def compare(task: str, check: Check, reference: Tensor, found: Tensor) -> Parity:
    """A form's outputs (N, L) of one head beside the reference's.

    Raises:
        DataError: there are no rows, or the outputs are of another shape.
    """
    if not check.records or reference.shape != found.shape:
        raise DataError(
            f"'{task}' has {len(check.records)} validation rows, outputs {tuple(reference.shape)} "
            f"and {tuple(found.shape)}",
            hint="give the task validation rows",
        )
    outputs = [tensor.double().numpy() for tensor in (reference, found)]
    before, after = (scores_of(check.reading, check.records, check.targets, each) for each in outputs)
    values = [check.reading.values(each) for each in outputs]
    if check.reading.scale is not None:
        near = np.abs(values[0] - values[1]) <= NEAR * check.reading.scale
        same = near.all(axis=1)
    else:
        equal = before.decided == after.decided
        same = equal.all(axis=1) if equal.ndim == 2 else equal
    return Parity(
        task=task,
        kind=check.reading.kind,
        metric=check.metric,
        rows=len(check.records),
        same=float(np.mean(same)),
        furthest=float(np.abs(values[0] - values[1]).max()),
        change=figure(after, check.metric) - figure(before, check.metric),
    )


@dataclass(frozen=True, slots=True)
class Judged:
    """One form after the gate.

    Args:
        name: of the form.
        file: its file beside ``parity.json``; None of PyTorch.
        sessions: batches at once; ONNX alone.
        threads: of each.
        per_second: samples a second on this machine.
        tasks: how each head stands; the reference has none.
    """

    name: str
    file: str | None
    sessions: int
    threads: int
    per_second: float
    tasks: tuple[Parity, ...]

    @property
    def passed(self) -> bool:
        """Whether every head passed."""
        return all(parity.passed for parity in self.tasks)

    def as_dict(self) -> dict[str, Any]:
        """The form as JSON values."""
        found = [{**asdict(p), "passed": p.passed, "sentence": p.sentence} for p in self.tasks]
        return {**asdict(self), "passed": self.passed, "tasks": found}


def gate(
    model: EncoderModel, folder: Path, checks: Mapping[str, Check], calibration: Encoded, cores: int
) -> list[Judged]:
    """Export a model, compare every form with PyTorch in fp32, measure the speeds, and write ``parity.json``.

    A graph that is refused is deleted.

    Args:
        model: in evaluation mode.
        folder: such as ``model/onnx`` of a run.
        checks: task → its validation rows, every task of the model.
        calibration: texts for the export; see ``export``.
        cores: how many may be used.

    Returns:
        The forms, fastest first, those that were refused among them.

    Raises:
        MissingExtraError: the packages for it are not installed.
        DataError: a task has no rows.
        RunError: a file could not be written.
    """
    (folder / FILE).unlink(missing_ok=True)  # what it says of older files is no longer true
    paths = export(model, folder, calibration)
    exact = TorchForm(model, "fp32")
    reference = {task: exact(check.encoded)[task] for task, check in checks.items()}
    forms: dict[str, Form] = {exact.name: exact}
    settings: dict[str, tuple[str | None, int, int]] = {exact.name: (None, 0, 0)}
    found: dict[str, tuple[Parity, ...]] = {exact.name: ()}

    def judge(form: Form) -> tuple[Parity, ...]:
        return tuple(
            compare(task, check, reference[task], form(check.encoded)[task]) for task, check in checks.items()
        )

    half = TorchForm(model, "bf16")
    forms[half.name], settings[half.name], found[half.name] = half, (None, 0, 0), judge(half)
    for path in paths.values():
        tried = [OnnxForm(path, *setting) for setting in onnx_settings(cores)]
        verdict = judge(tried[0])  # sessions and threads change no answer
        for form, setting in zip(tried, onnx_settings(cores), strict=True):
            forms[form.name], settings[form.name], found[form.name] = form, (path.name, *setting), verdict
        if not all(parity.passed for parity in verdict):
            path.unlink()
    sample = max((check.encoded for check in checks.values()), key=len)
    sample = sample.take(range(min(len(sample), TIMED)))
    speeds = rates(forms, sample)
    judged = [Judged(name, *settings[name], speeds[name], found[name]) for name in forms]
    judged.sort(key=lambda each: -each.per_second)
    kept = {path.name: _hash(path) for path in paths.values() if path.exists()}
    facts = {"version": 1, **environment(), "texts": len(sample), "sha256": kept}
    write_json(folder / FILE, {**facts, "forms": [each.as_dict() for each in judged]})
    return judged


def fastest(folder: Path) -> str:
    """The name of the fastest form that passed, as it was measured where it was exported.

    Raises:
        RunError: nothing was exported, or ``parity.json`` is damaged.
    """
    passed = [each for each in _forms(folder) if each["passed"]]
    return str(max(passed, key=lambda each: each["per_second"])["name"])


def load(folder: Path, name: str) -> OnnxForm | None:
    """A form that passed; None for those of PyTorch, which need no file.

    Raises:
        RunError: it was refused, or its file is not the one that passed.
        MissingExtraError: ONNX Runtime is not installed.
    """
    known = {each["name"]: each for each in _forms(folder)}
    if name not in known or not known[name]["passed"]:
        why = "was never exported" if name not in known else "was refused by the parity gate"
        passed = ", ".join(each for each, facts in known.items() if facts["passed"])
        raise RunError(f"the form '{name}' in {folder} {why}", hint=f"use one that passed: {passed}")
    form = known[name]
    if form["file"] is None:
        return None
    path = folder / str(form["file"])
    if not path.is_file() or _hash(path) != read_json(folder / FILE)["sha256"].get(path.name):
        raise RunError(f"{path} is not the file that passed the gate", hint="export the run again")
    return OnnxForm(path, form["sessions"], form["threads"])


def _forms(folder: Path) -> list[dict[str, Any]]:
    """The forms of ``parity.json``.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        found: list[dict[str, Any]] = read_json(folder / FILE)["forms"]
        return [{**each, "passed": bool(each["passed"]), "name": str(each["name"])} for each in found]
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder / FILE} is damaged: {error}", hint="export the run again") from error


def _hash(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
