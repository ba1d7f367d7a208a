"""Checkpoints that resume to the same loss: safetensors and JSON, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from overtone.errors import RunError
from overtone.run import read_json, write_atomic
from overtone.training.optim import Plateau


@dataclass
class Progress:
    """Where a fit stands.

    Args:
        step: optimiser steps done.
        epoch: epochs finished.
        in_epoch: optimiser steps done in the epoch under way.
        best: the best value of the named metric so far.
        best_step: the step that gave it.
        stale: validations without a gain.
        seconds: time spent in training, validation left out.
        rows: rows trained on.
        loss: the training loss of the last step.
        plateau: state of the plateau schedule.
    """

    step: int = 0
    epoch: int = 0
    in_epoch: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    seconds: float = 0.0
    rows: int = 0
    loss: float = math.nan
    plateau: Plateau = field(default_factory=Plateau)


@dataclass(frozen=True)
class State:
    """What a fit is beside its tensors.

    Args:
        progress: where it stands.
        weighting: what the weighting of the tasks remembers, any JSON object.
        scale: what the scale of the loss remembers, any JSON object.
    """

    progress: Progress
    weighting: Mapping[str, Any]
    scale: Mapping[str, Any]


def _trained(optimizer: torch.optim.Optimizer) -> dict[str, torch.nn.Parameter]:
    """What an optimiser ever changes, by name; frozen for a stage, it is still among them."""
    return {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }


def _weights(optimizer: torch.optim.Optimizer) -> bytes:
    """The trained tensors as a safetensors file."""
    trained = _trained(optimizer)
    return safetensors.torch.save({name: p.detach().cpu().contiguous() for name, p in trained.items()})


def _restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = _trained(optimizer)
    if tensors.keys() != parameters.keys():
        raise RunError(
            "the checkpoint is of another model",
            hint="give this run another name, or start over with --overwrite",
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            if tensor.shape != parameters[name].shape:
                raise RunError(
                    f"the checkpoint's '{name}' is {tuple(tensor.shape)}, not {tuple(parameters[name].shape)}"
                )
            parameters[name].copy_(tensor)


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, parameter in _trained(optimizer).items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}|{key}"] = torch.as_tensor(value).detach().cpu().contiguous()
    return tensors


def _random_tensors(states: Tensor) -> dict[str, Tensor]:
    """The random state of every process (P, S), and of the devices."""
    tensors = {"cpu": states.contiguous()}
    if torch.cuda.is_available():
        tensors |= {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return tensors


def _write_folder(folder: Path, files: dict[str, bytes], state: dict[str, Any]) -> None:
    """Write a folder under another name and swap it in; the older one stays until the new one is whole."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for name, data in files.items():
            write_atomic(fresh / name, data)
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        write_atomic(fresh / "state.json", json.dumps({**state, "files": hashes}, indent=2) + "\n")
    except RunError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    try:
        if folder.exists():  # else the older one is all there is
            shutil.rmtree(_older(folder), ignore_errors=True)
            folder.rename(_older(folder))
        fresh.rename(folder)
    except OSError as error:
        raise RunError(f"could not write {folder}: {error.strerror}") from error
    shutil.rmtree(_older(folder), ignore_errors=True)


def _older(folder: Path) -> Path:
    """Where the older checkpoint waits until the new one stands in its place."""
    return folder.with_name(f".{folder.name}.old")


def _read_folder(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Tensors by file, and the state; of the older checkpoint, if a kill came between the two renames."""
    folder = folder if folder.exists() else _older(folder)
    state = read_json(folder / "state.json")
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, expected in state["files"].items():
        try:
            data = (folder / name).read_bytes()
            if hashlib.sha256(data).hexdigest() != expected:
                raise RunError(f"{folder / name} is damaged or cut short", hint="start over with --overwrite")
            tensors[name] = safetensors.torch.load(data)
        except (OSError, safetensors.SafetensorError) as error:
            raise RunError(
                f"{folder / name} cannot be read: {error}", hint="start over with --overwrite"
            ) from error
    return tensors, state


def save(folder: Path, optimizer: torch.optim.Optimizer, state: State, random: Tensor) -> None:
    """Write everything that the next step depends on; ``random`` is every process's random state, (P, S).

    Raises:
        RunError: it could not be written; the older checkpoint stays.
    """
    files = {
        "model.safetensors": _weights(optimizer),
        "optimizer.safetensors": safetensors.torch.save(_optimizer_tensors(optimizer)),
        "random.safetensors": safetensors.torch.save(_random_tensors(random)),
    }
    _write_folder(folder, files, asdict(state))


def resume(folder: Path, optimizer: torch.optim.Optimizer, process: int, processes: int) -> State:
    """Read a checkpoint back into what is trained, its optimiser and the random state of this process.

    Args:
        folder: of the checkpoint.
        optimizer: over everything that is ever trained.
        process: this one's number.
        processes: how many there are.

    Raises:
        RunError: it is damaged, cut short, of another model or of another number of processes.
    """
    tensors, state = _read_folder(folder)
    _restore(optimizer, tensors["model.safetensors"])
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors["optimizer.safetensors"].items():
        name, _, kind = key.rpartition("|")
        moments.setdefault(name, {})[kind] = value
    for name, parameter in _trained(optimizer).items():
        if name in moments:  # what was frozen until now has none yet
            optimizer.state[parameter] = {
                key: _placed(value, parameter, optimizer) for key, value in moments[name].items()
            }
    states = tensors["random.safetensors"]["cpu"]
    if len(states) != processes:
        raise RunError(
            f"the checkpoint is of {len(states)} processes, and now there are {processes}",
            hint=f"start {len(states)}, or start over with --overwrite",
        )
    torch.set_rng_state(states[process].clone())  # a view into a larger tensor would crash the interpreter
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            if f"cuda.{i}" in tensors["random.safetensors"]:
                torch.cuda.set_rng_state(tensors["random.safetensors"][f"cuda.{i}"], i)
    progress = dict(state["progress"])
    told = Progress(**{**progress, "plateau": Plateau(**progress["plateau"])})
    return State(told, state["weighting"], state["scale"])


def _placed(value: Tensor, parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> Tensor | int:
    """A state of an optimiser where the optimiser has it: bitsandbytes' pages it, and counts in numbers."""
    if value.ndim == 0 and not value.is_floating_point():
        return int(value)
    buffer = getattr(optimizer, "get_state_buffer", None)
    if buffer is None:
        return value.to(parameter.device)
    placed: Tensor = buffer(parameter, dtype=value.dtype)
    return placed.copy_(value)


def exists(folder: Path) -> bool:
    """Whether there is a checkpoint to resume from."""
    return folder.exists() or _older(folder).exists()


def save_weights(folder: Path, optimizer: torch.optim.Optimizer) -> None:
    """Write the trained tensors alone, for the best step."""
    _write_folder(folder, {"model.safetensors": _weights(optimizer)}, {})


def load_weights(folder: Path, optimizer: torch.optim.Optimizer) -> None:
    """Read the trained tensors of the best step back.

    Raises:
        RunError: they are damaged, cut short, or of another model.
    """
    _restore(optimizer, _read_folder(folder)[0]["model.safetensors"])
