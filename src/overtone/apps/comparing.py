"""Two runs, or two files of per-example scores, side by side: which files belong together."""

from __future__ import annotations

from pathlib import Path

from overtone.apps.screen import Comparison
from overtone.breakdown import metric_named
from overtone.errors import UsageError, did_you_mean
from overtone.evaluation.compare import flips, load_predictions, mcnemar, paired

DEFAULT = {"classification": "accuracy", "multilabel": "macro_f1", "regression": "pearson"}
"""What is compared where no metric is named, by the kind of task."""


def pairs(a: Path, b: Path, task: str | None) -> dict[str, tuple[Path, Path]]:
    """Task → the two files to compare: of every task that both have, or of the named one.

    A file of per-example scores names no task, so it is compared with the task whose folder it lies in, or
    with the only one that there is.

    Raises:
        UsageError: no task in common, or none of that name.
    """
    first, second = _scores(a), _scores(b)
    common = [name for name in first if name in second]
    if not common and 1 in (len(first), len(second)) and (a.is_file() or b.is_file()):
        if len(first) == len(second) == 1:
            (one,), (other,) = first.values(), second.values()
            return {next(iter(first)): (one, other)}
        raise UsageError(
            f"{a} and {b} have no task in common", hint="name two files of per-example scores, test.jsonl"
        )
    if not common:
        raise UsageError(
            f"{a} and {b} have no task in common",
            hint=f"{a} has {', '.join(first) or 'none'}; {b} has {', '.join(second) or 'none'}",
        )
    if task is not None and task not in common:
        raise UsageError(f"no task '{task}' in both", hint=did_you_mean(task, common))
    return {name: (first[name], second[name]) for name in common if task in (None, name)}


def _scores(path: Path) -> dict[str, Path]:
    """Task → its file of per-example scores; a file lies in the folder of its task."""
    if not path.is_dir():
        return {path.parent.name: path}
    return {file.parent.name: file for file in sorted((path / "evaluation").glob("*/test.jsonl"))}


def compared(names: tuple[str, str], files: tuple[Path, Path], metric: str | None, seed: int) -> Comparison:
    """The comparison of two files of per-example scores.

    Args:
        names: of the two, as they were typed.
        files: theirs.
        metric: a name or a path such as ``valence.pearson``; None for the one that fits the kind of task.
        seed: of the resamples.

    Raises:
        DataError: a file is damaged, the rows are not the same, or the metric does not apply to them.
    """
    first, second = (load_predictions(file) for file in files)
    chosen = metric_named(metric or DEFAULT[first.kind], first)
    return Comparison(
        chosen.name,
        names,
        (chosen.function(first), chosen.function(second)),
        paired(chosen, first, second, seed=seed),
        mcnemar(first, second),
        flips(first, second),
    )
