"""A run's folder: recipe, manifest, metrics, checkpoints, model, evaluation, plots, report."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from overtone.errors import RunError


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file whole or not at all: a temporary neighbour, flushed to disk, then renamed.

    Raises:
        RunError: the disk is full or the folder cannot be written; an older file stays as it was.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise RunError(
            f"could not write {path}: {error.strerror or error}",
            hint="free some space or choose another folder with --runs, then run the same command again",
        ) from error


def finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """The same JSON value with NaN and infinities as null, so that every reader can parse it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write a value as indented JSON, atomically."""
    write_atomic(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Read a JSON file.

    Raises:
        RunError: the file is missing, cut short or not UTF-8 JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path} is missing", hint="the run is not complete: start it again") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunError(f"{path} is damaged: {error}", hint="delete it and run again") from error


PARTS = (
    "recipe.yaml",
    "metrics.jsonl",
    "checkpoints",
    "model",
    "evaluation",
    "plots",
    "tensorboard",
    "report.md",
    "report.html",
)
"""What a run's folder holds beside its manifest."""


def writes() -> bool:
    """Whether this process writes to the run's folder: of those that torchrun starts, the first alone."""
    return int(os.environ.get("RANK", "0")) == 0


class Run:
    """One run's folder.

    Args:
        folder: where the run lives; its name is the run's name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = folder / "recipe.yaml"
        self.manifest = folder / "manifest.json"
        self.metrics = folder / "metrics.jsonl"
        self.checkpoints = folder / "checkpoints"
        self.model = folder / "model"
        self.evaluation = folder / "evaluation"
        self.plots = folder / "plots"

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process and those that torchrun started with it.

        Raises:
            RunError: another process works in it.
        """
        if not writes():
            yield
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"could not make {self.folder}: {error.strerror}") from error
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise RunError(
                f"another process works in {self.folder}",
                hint="wait for it to end, or give this run another name with --name",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def note(self, **facts: Any) -> None:  # noqa: ANN401 - any JSON values
        """Add facts to the manifest; a fact that stood there before is replaced."""
        manifest = read_json(self.manifest) if self.manifest.exists() else {}
        write_json(self.manifest, {**manifest, **facts})

    def facts(self) -> dict[str, Any]:
        """The manifest."""
        manifest: dict[str, Any] = read_json(self.manifest)
        return manifest

    def log(self, row: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finite(row)) + "\n")
        except OSError as error:
            raise RunError(f"could not write {self.metrics}: {error.strerror}") from error

    def history(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl``; a last line that was cut short by a kill is left out."""
        if not self.metrics.exists():
            return []
        rows: list[dict[str, Any]] = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows

    def rewind(self, step: int) -> None:
        """Forget the metrics after a step, so that a resumed run does not log them twice."""
        rows = [row for row in self.history() if row.get("step", 0) <= step]
        write_atomic(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))

    def clear(self) -> None:
        """Remove what an earlier run is made of, and nothing else that stands in the folder.

        Raises:
            RunError: the folder holds something, and no manifest of a run; or a file cannot be removed.
        """
        if not any(path.name != ".lock" for path in self.folder.iterdir()):
            return
        if not self._is_a_run():
            raise RunError(
                f"{self.folder} holds files, and they are not a run's: nothing was deleted",
                hint="choose another folder with --runs or --name, or empty this one yourself",
            )
        try:
            # The manifest goes last: what is left of a removal that was stopped is still known as a run's.
            for name in (*PARTS, self.manifest.name):
                path = self.folder / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"could not remove {error.filename}: {error.strerror}") from error

    def _is_a_run(self) -> bool:
        """Whether the manifest is one that ``note`` wrote."""
        try:
            facts = read_json(self.manifest)
        except RunError:
            return False
        return isinstance(facts, dict) and "recipe" in facts
