"""The tutors on one exam: base, stages, all at once, with facts looked up, the LSTM, the nearest question.

Runs: finished ones with the same `split_seed`; what was asked of all of them counts. Intervals are from a
bootstrap over facts, differences are of the same questions: of each system over the base, and of the tutor
over each other run. Trained-on questions, held-out wordings and unknown questions are never one figure.
`declined_known` is of held-out wordings. What was forgotten is bits a byte of WikiText-2, before and after.
What a judge thinks is there once `overtone judge` was asked, with what the judge itself is worth.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

from overtone import exam, judging
from overtone.chat_likelihood import BASE
from overtone.errors import DataError
from overtone.evaluation.agreement import Examined
from overtone.evaluation.benchmarks import qa
from overtone.evaluation.benchmarks.qa import Column, Graded
from overtone.evaluation.results import Figure, write_results
from overtone.run import Run, read_json

RESULTS = Path(__file__).parent / "results" / "tutor.json"
SEED = 7
MEASURES: Mapping[Column, tuple[str, ...]] = {
    "trained": ("exact_match", "f1", "cosine"),
    "held_out": ("exact_match", "f1", "cosine"),
    "unknown": ("declined",),
}
JUDGED = {"trained": ("f1",), "held_out": ("f1", "cosine"), "unknown": ("declined",)}
SHORT = {"tutor-style": "style", "tutor-all": "all", "tutor-lstm": "lstm", "tutor-knowledge-alone": "alone"}
"""Run → what follows `tutor-` in its figures; of any other its name does."""

NAMES = {"": "tutor", " grounded": "tutor.grounded"}
"""What follows the run's name in a system's → what it is called in figures."""

GENERAL = "wikitext2"
"""The text that has nothing to do with the training."""

PUBLISHED = {
    f"{system}.trained.{measure}": f"published {value:.2f}"
    for system, values in {"tutor": (0.36, 0.64, 0.95), "base": (0.00, 0.06, 0.86)}.items()
    for measure, value in zip(MEASURES["trained"], values, strict=True)
}
"""What a project of this shape reports on its training questions; its cosine is of another encoder."""

Sat = dict[Column, dict[str, Graded]]


def gathered(main: Run, others: list[Run]) -> Sat:
    """Column → system → graded: of the main run all of its systems, of each other the run alone.

    Raises:
        DataError: two runs were asked no question in common.
    """
    found: Sat = {}
    for column, systems in exam.read(main.evaluation).items():
        found[column] = {
            NAMES.get(name.removeprefix(main.name), name): each for name, each in systems.items()
        }
    for run in others:
        for column, systems in exam.read(run.evaluation).items():
            if column in found:
                found[column][named(run)] = systems[run.name]
    return {column: in_common(column, systems) for column, systems in found.items()}


def named(run: Run) -> str:
    """What a run beside the tutor is called in figures."""
    return f"tutor-{SHORT.get(run.name, run.name)}"


def in_common(column: Column, systems: Mapping[str, Graded]) -> dict[str, Graded]:
    """The same systems, and of their questions those that all were asked.

    Raises:
        DataError: there is none.
    """
    ids = sorted(set.intersection(*(set(each.ids) for each in systems.values())))
    if not ids:
        raise DataError(f"no question of '{column}' was asked of all", hint="give all runs one split_seed")
    return {name: exam.taken(each, ids) for name, each in systems.items()}


def gains(column: Column, name: str, worse: Graded, better: Graded, against: str) -> list[Figure]:
    """What is gained when one system is replaced by another, question by question."""
    made = []
    for measure in JUDGED[column]:
        found = qa.paired(worse, better, measure, seed=SEED)
        made.append(
            Figure(
                f"{name}.{column}.{measure}.difference",
                found.value,
                found.low,
                found.high,
                len(better.ids),
                against=f"{against}, the same questions",
            )
        )
    return made


def figures(found: Sat) -> list[Figure]:
    """Every system's measures in every column, and what each gains over the base."""
    made = []
    for column, systems in found.items():
        for name, graded in systems.items():
            for measure in MEASURES[column]:
                value, what = qa.interval(graded, measure, seed=SEED), f"{name}.{column}.{measure}"
                beside = PUBLISHED.get(what)
                made.append(Figure(what, value.value, value.low, value.high, len(graded.ids), against=beside))
            if name != BASE and BASE in systems:
                made += gains(column, name, systems[BASE], graded, "base")
            if name.startswith("tutor-"):
                other = name.removeprefix("tutor-")
                made += gains(column, f"tutor.over-{other}", graded, systems["tutor"], other)
    for short, column in (("declined_unknown", "unknown"), ("declined_known", "held_out")):
        if "tutor.grounded" in found.get(column, {}):  # type: ignore[call-overload]
            graded = found[column]["tutor.grounded"]  # type: ignore[index]
            value = qa.interval(graded, "declined", seed=SEED)
            made.append(
                Figure(f"tutor.grounded.{short}", value.value, value.low, value.high, len(graded.ids))
            )
    return made


def forgotten(run: Run, name: str) -> list[Figure]:
    """Bits a byte of a text that has nothing to do with the training, of a decoder before and after."""
    path = run.evaluation / GENERAL / "standings.json"
    if not path.exists():
        return []
    after, before = read_json(path)
    made = []
    for system, told in ((name, after), (f"{name}.base", before)):
        bits = told["figures"]["bits_per_byte"]
        made.append(
            Figure(f"{system}.{GENERAL}.bits_per_byte", bits["value"], bits["low"], bits["high"], unit="bits")
        )
    gain = before["gain"]
    made.append(
        Figure(
            f"{name}.{GENERAL}.bits_per_byte.difference",
            gain["value"],
            gain["low"],
            gain["high"],
            unit="bits",
            against="after − before; below 0 nothing was forgotten",
        )
    )
    return made


def judged(run: Run) -> list[Figure]:
    """The mean grades that a judge gave, 0..2, and its agreement with grades by hand."""
    made = []
    for column in ("trained", "held_out"):
        path = run.evaluation / column / judging.JUDGED
        if not path.exists():
            continue
        told = read_json(path)
        kept = {key: math.nan if value is None else value for key, value in told["examined"].items()}
        worth = Examined(**kept)
        fit = "fit" if worth.fit else "unfit"
        beside = f"{fit}: κ {worth.kappa:.2f} with {worth.n} answers graded by hand; {told['judge']}"
        made.append(Figure(f"judge.{column}.kappa", worth.kappa, worth.low, worth.high, worth.n, "kappa"))
        for each in told["systems"]:
            name = NAMES.get(each["system"].removeprefix(run.name), each["system"])
            grade = each["grade"]
            made.append(
                Figure(
                    f"{name}.{column}.judged",
                    grade["value"],
                    grade["low"],
                    grade["high"],
                    each["n"],
                    "grade",
                    beside,
                )
            )
    return made


def main() -> None:
    """Compare and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="The tutor, such as runs/tutor-knowledge.")
    parser.add_argument("others", nargs="*", type=Path, help="Runs to set beside it.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    main_run, others = Run(options.run), [Run(folder) for folder in options.others]
    made = figures(gathered(main_run, others))
    made += forgotten(main_run, "tutor") + [each for run in others for each in forgotten(run, named(run))]
    made += judged(main_run)
    command = " ".join(["python benchmarks/tutor.py", *map(str, [options.run, *options.others])])
    write_results(options.output, command, SEED, made)
    for each in made:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
