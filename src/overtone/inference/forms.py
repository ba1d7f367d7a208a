"""The ways to compute a model's outputs: one interface, whatever does the sums."""

from __future__ import annotations

import contextlib
import copy
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from overtone.data.batches import Encoded, by_length
from overtone.errors import MissingExtraError, RunError
from overtone.models.model import EncoderModel

BUDGET = 2048
"""Padded tokens of a batch in PyTorch, as ``sweep`` has it."""

ONNX_BUDGET = 512
"""Padded tokens of a batch in ONNX Runtime: what a layer makes of so few stays in a core's cache."""


class Form(Protocol):
    """One way to compute a model's outputs."""

    @property
    def name(self) -> str:
        """What it is called in a table, such as ``torch-bf16``."""

    def __call__(self, encoded: Encoded) -> dict[str, Tensor]:
        """Task → raw outputs of N texts, (N, L), fp32, on the CPU, in the texts' order."""


class TorchForm:
    """A model in PyTorch, over batches of even length.

    Args:
        model: in evaluation mode; bf16 takes a copy of it.
        precision: of the weights and of every product.
        threads: of PyTorch while it reads; None: as many as it has been told.
        budget: padded tokens of a batch.
    """

    def __init__(
        self,
        model: EncoderModel,
        precision: Literal["fp32", "bf16"],
        threads: int | None = None,
        budget: int = BUDGET,
    ) -> None:
        self.name = f"torch-{precision}"
        self.model = copy.deepcopy(model).to(torch.bfloat16) if precision == "bf16" else model
        self.threads = threads
        self.budget = budget

    def __call__(self, encoded: Encoded) -> dict[str, Tensor]:
        """Task → raw outputs of N texts, (N, L), fp32, on the CPU, in the texts' order."""
        device = self.model.device

        @torch.inference_mode()
        def read(ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
            outputs = self.model(ids.to(device), mask.to(device))
            return {name: tensor.float().cpu() for name, tensor in outputs.items()}

        with _threads(self.threads):
            batches = by_length(encoded.lengths, self.budget)
            return _in_order(batches, [read(*encoded.pad(rows)) for rows in batches])


class OnnxForm:
    """An exported graph in ONNX Runtime, over batches of even length, several of them at once.

    The int8 graph measures its activations a batch at a time, so its numbers depend a little on which texts
    are read together. Batches are cut from the texts in an order of their own, so they do not depend on the
    order in which texts come.

    Args:
        path: of the graph; its outputs are named for the tasks.
        sessions: batches that are computed at the same time.
        threads: of each of them.
        budget: padded tokens of a batch.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        RunError: the file is not a graph that can be run.
    """

    def __init__(self, path: Path, sessions: int = 1, threads: int = 1, budget: int = ONNX_BUDGET) -> None:
        self.name = f"onnx-{path.stem}-{sessions}x{threads}"
        self.budget = budget
        self.sessions = [_session(path, threads) for _ in range(sessions)]
        self.tasks = [output.name for output in self.sessions[0].get_outputs()]
        self.widths = [int(output.shape[1]) for output in self.sessions[0].get_outputs()]

    def __call__(self, encoded: Encoded) -> dict[str, Tensor]:
        """Task → raw outputs of N texts, (N, L), fp32, on the CPU, in the texts' order."""
        if not len(encoded):
            return {task: torch.zeros(0, width) for task, width in zip(self.tasks, self.widths, strict=True)}
        own = _own_order(encoded)
        batches = [[own[row] for row in rows] for rows in by_length(encoded.lengths[own], self.budget)]
        free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for session in self.sessions:
            free.put(session)

        def read(rows: list[int]) -> dict[str, Tensor]:
            ids, mask = encoded.pad(rows)
            session = free.get()
            try:
                found = session.run(self.tasks, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
            finally:
                free.put(session)
            return {task: torch.from_numpy(values) for task, values in zip(self.tasks, found, strict=True)}

        with ThreadPoolExecutor(len(self.sessions)) as pool:
            return _in_order(batches, list(pool.map(read, batches)))


def onnx_settings(cores: int) -> list[tuple[int, int]]:
    """The sessions and threads that are worth a try on so many cores."""
    tried = [(cores, 1), (max(cores // 2, 1), 2 if cores > 1 else 1), (1, cores)]
    return list(dict.fromkeys(tried))


def _in_order(batches: list[list[int]], found: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The outputs of batches of rows, in the order of the rows."""
    if not found:
        return {}
    order = torch.tensor([row for rows in batches for row in rows])
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    return {name: torch.cat([part[name] for part in found])[back] for name in found[0]}


def _own_order(encoded: Encoded) -> list[int]:
    """The rows in an order that only their tokens decide."""
    ends = encoded.offsets
    return sorted(range(len(encoded)), key=lambda row: encoded.flat[ends[row] : ends[row + 1]].tobytes())


def _session(path: Path, threads: int) -> Any:  # noqa: ANN401 - the package has no types
    """A graph that is ready to be run on the CPU."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnx", "an exported model") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        # Its fused "add, then normalise" is slower on a CPU than the two by themselves.
        return onnxruntime.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=["SkipLayerNormFusion"],
        )
    except Exception as error:  # it raises a class of its own for each way to fail
        raise RunError(f"{path} cannot be run: {error}", hint="export the run again") from error


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """PyTorch with so many threads, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
