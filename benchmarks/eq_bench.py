"""EQ-Bench: the scorer beside published scores, trivial baselines, and decoders that sit the exam.

Without names, what needs no model: how far the scorer is from any published score, how many raw answers the
parser reads as the reference does, and what constant and random ratings come to. A run that is named sits it
as tuned, and the first of them as it was before; weights sit it as they are. Intervals are from a bootstrap
over questions. A score is of the standard protocol, or, where under 83.33% of that was parsed, of constrained
decoding, and then says so. Answers are kept as they come, so an exam that was stopped goes on: those of a run
in its folder, those of weights in `--answers`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from overtone import chat_system, eq_exam, kinds
from overtone.chat_recipe import DecoderRecipe
from overtone.data.fetch import locate, verify
from overtone.data.sources import eq_bench as source
from overtone.data.sources.eq_bench import Question
from overtone.eq_exam import BASE
from overtone.errors import UsageError
from overtone.evaluation import eq_bench_report
from overtone.evaluation.benchmarks import eq_bench
from overtone.evaluation.benchmarks.eq_bench import Answer, EqAnswers, EqExamConfig
from overtone.evaluation.compare import Difference, Interval
from overtone.evaluation.eq_bench_report import Sat
from overtone.evaluation.results import Figure, write_results
from overtone.models import causal
from overtone.models.causal import CausalBody, DecoderConfig
from overtone.run import Run

RESULTS = Path(__file__).parent / "results" / "eq_bench.json"

TO_BEAT = "always 3"
NAMES = {"v2": "eq_bench", "v1": "eq_bench-v1"}
"""Version → what its figures begin with."""


def published() -> list[Figure]:
    """How far the scorer and the parser are from the reference's own, whatever version is sat."""
    folder = locate(source.PUBLISHED)
    verify(source.PUBLISHED, folder)
    asked = eq_exam.questions(EqExamConfig())
    nothing: tuple[dict[str, float], dict[str, float]] = ({}, {})
    errors = []
    for run in source.published(folder):
        answers = [Answer(*run.answers.get(each.id, nothing)) for each in asked]
        errors.append(abs(eq_bench.outcome(eq_bench.grade(asked, answers, "v2")).score - run.score))
    same = [
        eq_bench.parse(each.text, revise=each.revise) == Answer(each.first, each.revised)
        for each in source.raw_outputs(folder)
    ]
    return [
        Figure(
            "eq_bench.published.max_error", max(errors), n=len(errors), unit="points", against="at most 0.05"
        ),
        Figure("eq_bench.parser.agreement", sum(same) / len(same), n=len(same)),
    ]


def loaded(name: str) -> CausalBody:
    """The decoder of a run with its adapter, or weights as they are.

    Raises:
        UsageError: a run, and not of a tuned decoder.
        RunError, WeightsError: it cannot be read.
    """
    run = Run(Path(name))
    if not run.recipe.exists():
        body = causal.load(DecoderConfig(weights=name))
        return body.to("cuda" if torch.cuda.is_available() else "cpu")
    recipe = kinds.read(str(run.recipe))
    if not isinstance(recipe, DecoderRecipe):
        raise UsageError(
            f"{name} is no tuned decoder", hint="name one, or weights from: overtone weights list"
        )
    return chat_system.load(run, recipe).body


def exam(
    names: Sequence[str], asked: Sequence[Question], config: EqExamConfig, answers: Path
) -> dict[str, Sat]:
    """What each decoder that is named answers; the first run's also as it was before."""
    found: dict[str, Sat] = {}
    for name in names:
        run = Run(Path(name))
        folder = run.evaluation / eq_exam.FOLDER if run.recipe.exists() else answers
        body, short = loaded(name), re.sub(r"[^a-z0-9_-]+", "-", Path(name).name.lower()).strip("-")
        systems = {short: body.adapted}
        if body.adapted and BASE not in found:
            systems = {BASE: False, **systems}
        found |= eq_exam.sit(body, asked, folder, config, systems=systems)
    return found


def figures(systems: Mapping[str, Sat], asked: Sequence[Question], config: EqExamConfig) -> Iterator[Figure]:
    """Of each system its score, what it stands on, and what is gained over the base and over always 3."""
    settings = {"seed": config.seed, "resamples": config.resamples}
    begin, trivial = NAMES[config.version], eq_bench.baselines(asked, config.version, config.seed)
    for name, found in trivial.items():
        score = eq_bench.interval(found, **settings)
        yield _points(f"{begin}.{name.replace(' ', '-')}.score", score, len(asked), "trivial baseline")
    for name, sat in systems.items():
        told, prefix = eq_bench_report.named(sat, **settings), f"{begin}.{name}"
        standard = told.standard
        said = f"standard protocol, {standard.parsed} of {standard.asked} parsed"
        if told.constrained:
            said = f"constrained decoding, since the standard protocol FAILS: {standard.rate:.1%} parsed"
        if told.score is not None:
            n = standard.asked if told.constrained else standard.parsed
            yield _points(f"{prefix}.score", told.score, n, said)
        verdict = "FAIL, under 83.33%" if standard.failed else "83.33% or more"
        yield Figure(f"{prefix}.parse_rate", standard.rate, n=standard.asked, against=verdict)
        if standard.parsed:
            parsed = "over the parsed questions alone"
            yield _points(f"{prefix}.parsed_score", told.over_parsed, standard.parsed, parsed)
        used = sat.constrained if told.constrained and sat.constrained else sat.standard
        if sat.constrained is not None:
            forced = eq_bench.interval(sat.constrained, **settings)
            yield _points(f"{prefix}.constrained_score", forced, len(asked), "constrained decoding")
        yield from _fit(prefix, asked, used)
        yield from _gains(prefix, systems, trivial, name, used, settings)


def _gains(
    prefix: str,
    systems: Mapping[str, Sat],
    trivial: Mapping[str, EqAnswers],
    name: str,
    used: EqAnswers,
    settings: Mapping[str, int],
) -> Iterator[Figure]:
    """What a system gains over always 3, and over the base, decoded alike."""
    over = eq_bench.paired(trivial[TO_BEAT], used, **settings)
    yield _points(f"{prefix}.over-always-3.difference", over, len(used.ids), f"{TO_BEAT}, the same questions")
    if name != BASE and BASE in systems:
        gain = eq_bench_report.gain(systems[BASE], systems[name], **settings)
        if gain is not None:
            value, constrained = gain
            said = "base, the same questions" + (", both constrained" if constrained else "")
            yield _points(f"{prefix}.score.difference", value, len(used.ids), said)


def _fit(prefix: str, asked: Sequence[Question], found: EqAnswers) -> Iterator[Figure]:
    """Error and correlation of all ratings in the decoding that the score is of."""
    fits = eq_bench.by_emotion(asked, found)
    if fits:
        yield Figure(f"{prefix}.ratings.mae", fits[0].mae, n=fits[0].n, unit="points of 10")
        if fits[0].pearson == fits[0].pearson:  # it is NaN where the reference does not vary
            yield Figure(f"{prefix}.ratings.pearson", fits[0].pearson, n=fits[0].n, unit="correlation")


def _points(name: str, found: Interval | Difference, n: int, against: str) -> Figure:
    return Figure(name, found.value, found.low, found.high, n, "points", against)


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("systems", nargs="*", help="Runs of tuned decoders, or weights.")
    parser.add_argument("--version", choices=("v1", "v2"), default="v2")
    parser.add_argument("--revise", action="store_true", help="Ask for a second pass.")
    parser.add_argument("--constrained", choices=("failed", "always", "never"), default="failed")
    parser.add_argument("--reading", choices=("mode", "expected"), default="mode")
    parser.add_argument("--answers", type=Path, default=Path("runs/eq_bench"), help="Where answers are kept.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    config = EqExamConfig(
        version=options.version,
        revise=options.revise,
        constrained=options.constrained,
        reading=options.reading,
    )
    asked = eq_exam.questions(config)
    systems = exam(options.systems, asked, config, options.answers)
    made = [*published(), *figures(systems, asked, config)]
    flags = [
        f"--{key} {value}"
        for key, value in (
            ("version", config.version),
            ("constrained", config.constrained),
            ("reading", config.reading),
        )
        if value != EqExamConfig.model_fields[key].default
    ]
    words = [*options.systems, *flags, *(["--revise"] if config.revise else [])]
    write_results(options.output, " ".join(["python benchmarks/eq_bench.py", *words]), config.seed, made)
    for each in made:
        print(f"{each.name} {each.value:.4f} {each.unit} {each.against or ''}")
    base = BASE if BASE in systems else None
    cells = eq_exam.table(systems, asked, config, base=base)
    print(eq_bench_report.markdown(eq_bench_report.HEADER, cells))
    for name, sat in systems.items():
        used = sat.constrained if sat.constrained and eq_bench.outcome(sat.standard).failed else sat.standard
        print(f"\n{name}\n")
        print(eq_bench_report.markdown(eq_bench_report.FIT_HEADER, eq_bench_report.emotion_rows(asked, used)))


if __name__ == "__main__":
    main()
