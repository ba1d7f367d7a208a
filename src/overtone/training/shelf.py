"""Tensors on disk that any later process may take up again, within a limit; never needed, never trusted."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import zlib
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

LIMIT = 8 * 2**30
"""Bytes that the folder may hold; what was used longest ago is removed for what is new."""


def read(path: Path, like: Tensor) -> Tensor | None:
    """A tensor that was kept there, mapped into memory; None where there is none, or a damaged one.

    Args:
        path: of the file.
        like: of the same shape and type, without values (on the device ``meta``).
    """
    try:
        found, checksum = _map(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        _say(f"{path} is damaged ({error}), and computed again")
        return None
    if (found.shape, found.dtype) != (like.shape, like.dtype) or checksum != _checksum(found):
        _say(f"{path} is damaged, and computed again")
        return None
    with contextlib.suppress(OSError):
        path.touch()  # used just now
    return found


def keep(path: Path, states: Tensor) -> Tensor:
    """Write a tensor whole or not at all; a disk that is full costs the next process time, and no error.

    Returns:
        The same values, mapped from the file, whose memory the system can take back; or ``states`` itself.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent, LIMIT - states.nbytes)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        os.close(handle)
        safetensors.torch.save_file({"states": states}, temporary, {"crc32": _checksum(states)})
        temporary.replace(path)
        return _map(path)[0]
    except (OSError, safetensors.SafetensorError) as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        _say(f"what is frozen could not be kept in {path.parent} ({error}): the next run computes it again")
        return states


def _map(path: Path) -> tuple[Tensor, str | None]:
    """The tensor of a file, and its checksum as it was written."""
    with safetensors.safe_open(path, "pt") as file:
        return file.get_tensor("states"), (file.metadata() or {}).get("crc32")


def _make_room(folder: Path, left: int) -> None:
    """Remove the files that were used longest ago until the others have at most ``left`` bytes."""
    files = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process makes room too
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= left:
            break
        path.unlink(missing_ok=True)
        total -= size


def _checksum(states: Tensor) -> str:
    """Of the values, to find what a disk or a kill has damaged."""
    return f"{zlib.crc32(states.contiguous().view(-1).view(torch.uint8).numpy().data):08x}"


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
