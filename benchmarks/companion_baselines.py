"""What a companion's heads have to beat: TF-IDF on the emotion and the next strategy, on the test files.

Emotion: which of 32 a speaker tells of, read from the first thing said. Strategy: which of eight the
supporter takes next, read from the last three turns before the reply, the last with terms of its own.
`tfidf` is the one with the best accuracy on validation rows, `tfidf-macro` the one with the best macro-F1.
Intervals are over rows; replies of one conversation are not independent, so those of the strategy are a
little too narrow.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from overtone.companion_prompt import LABELS
from overtone.companion_proof import moments
from overtone.data import conversations
from overtone.data.conversations import ConversationsConfig, ConversationSource
from overtone.data.leakage import LeakageConfig
from overtone.data.records import Splits
from overtone.data.sources.empathetic_dialogues import EmpatheticDialoguesSource
from overtone.data.sources.esconv import EsconvSource
from overtone.data.split import SPLITS
from overtone.evaluation import baselines
from overtone.evaluation.baselines import Setting
from overtone.evaluation.compare import interval, paired
from overtone.evaluation.results import Figure, write_results
from overtone.scores import METRICS, Scored

RESULTS = Path(__file__).parent / "results" / "companion_baselines.json"
SEED = 7
SYSTEMS = {
    "majority": ("majority", "accuracy"),
    "tfidf": ("tfidf", "accuracy"),
    "tfidf-macro": ("tfidf", "macro_f1"),
}
"""Name in figures → the baseline, and what its strength is chosen by."""

MEASURES = ("accuracy", "macro_f1")


TASKS: dict[str, ConversationSource] = {"emotion": EmpatheticDialoguesSource(), "strategy": EsconvSource()}


def measured(target: str, source: ConversationSource) -> list[Figure]:
    """Every baseline on the test rows, and what TF-IDF gains over the commonest label."""
    config = ConversationsConfig(sources=(source,))
    whole = conversations.prepare(config, LeakageConfig(), SEED).splits
    splits = Splits(*(tuple(row for row, _ in moments(whole[name], target)) for name in SPLITS))
    said: dict[str, Scored] = {}
    made = []
    for name, (kind, metric) in SYSTEMS.items():
        setting = Setting("classification", LABELS[target], target, metric)
        said[name] = baselines.fit(kind, splits.train, splits.validation, setting).predict(splits.test)
        for measure in MEASURES:
            found = interval(METRICS[measure], said[name], seed=SEED)
            figure = f"companion.{name}.{target}.{measure}"
            made.append(Figure(figure, found.value, found.low, found.high, len(splits.test)))
    for measure in MEASURES:
        gain = paired(METRICS[measure], said["majority"], said["tfidf"], seed=SEED)
        made.append(
            Figure(
                f"companion.tfidf.{target}.{measure}.difference",
                gain.value,
                gain.low,
                gain.high,
                len(splits.test),
                against="majority, the same rows",
            )
        )
    return made


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    figures = [figure for target, source in TASKS.items() for figure in measured(target, source)]
    write_results(options.output, "python benchmarks/companion_baselines.py", SEED, figures)
    for each in figures:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
