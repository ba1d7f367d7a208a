"""Several trained runs as one reader."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from overtone.errors import UsageError
from overtone.inference.classify import Reader
from overtone.scores import Floats
from overtone.training.tasks import Reading


class Ensemble:
    """The mean of what several models make of a text: of probabilities, or of numbers in the data's unit.

    Every model reads as it does alone. A label of a multi-label task holds from the mean of the models'
    thresholds, taken in log-odds: it needs no rows, and of equal thresholds it is the same one.

    Args:
        readers: where each is from → it; one at least, all of the same tasks, kinds and labels.
        tasks: those that are asked, which all have; all without, and then they have no others.

    Raises:
        UsageError: they differ.
    """

    def __init__(self, readers: Mapping[str, Reader], tasks: Collection[str] | None = None) -> None:
        self.readers = dict(readers)
        asked = {
            name: {task: each for task, each in reader.readings.items() if tasks is None or task in tasks}
            for name, reader in self.readers.items()
        }
        (first, one), *others = asked.items()
        for name, other in others:
            _check_alike((first, one), (name, other))
        self.readings = {task: _together([each[task] for each in asked.values()]) for task in one}

    def outputs(
        self,
        texts: Sequence[str],
        contexts: Sequence[str | None] | None = None,
        tasks: Collection[str] | None = None,
    ) -> dict[str, Floats]:
        """Task → outputs for N texts, (N, L), which its reading reads as ``values``."""
        means = self.values(texts, contexts, tasks)
        return {name: self.readings[name].outputs(values) for name, values in means.items()}

    def values(
        self,
        texts: Sequence[str],
        contexts: Sequence[str | None] | None = None,
        tasks: Collection[str] | None = None,
    ) -> dict[str, Floats]:
        """Task → the mean probabilities or numbers for N texts, (N, L); see ``Reader.values``."""
        asked = self.readings if tasks is None else tasks
        made = [reader.values(texts, contexts, asked) for reader in self.readers.values()]
        return {name: np.mean([each[name] for each in made], axis=0) for name in made[0]}


def _check_alike(one: tuple[str, Mapping[str, Reading]], other: tuple[str, Mapping[str, Reading]]) -> None:
    """Refuse two models that do not answer the same questions; each with where it is from."""
    (first, readings), (name, others) = one, other
    if readings.keys() != others.keys():
        raise UsageError(
            f"{first} has the heads {', '.join(readings)}, and {name} {', '.join(others)}",
            hint="an ensemble is of runs of the same tasks",
        )
    for task, reading in readings.items():
        if (reading.kind, reading.labels) != (others[task].kind, others[task].labels):
            raise UsageError(
                f"'{task}' of {first} is a {reading.kind} of {', '.join(reading.labels)}; "
                f"of {name}, a {others[task].kind} of {', '.join(others[task].labels)}",
                hint="an ensemble is of runs with the same labels, in the same order",
            )


def _together(readings: Sequence[Reading]) -> Reading:
    """How the mean of what these readings give is read."""
    log_odds = [each.outputs(each.thresholds) for each in readings if each.thresholds is not None]
    means = [each.mean for each in readings if each.mean is not None]
    scales = [each.scale for each in readings if each.scale is not None]
    return replace(
        readings[0],
        thresholds=readings[0].values(np.mean(log_odds, axis=0)) if log_odds else None,
        mean=np.mean(means, axis=0) if means else None,
        scale=np.mean(scales, axis=0) if scales else None,
        context=any(each.context for each in readings),
    )
