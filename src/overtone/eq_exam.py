"""Having a decoder sit EQ-Bench: by the published protocol, and with the form of the answer constrained.

The protocol is that of the reference implementation, github.com/EQ-bench/EQ-Bench at d28c60c
(``lib/eq_bench_utils.py``): the question alone, nearly without chance; an answer that is not whole is asked
for again, each time with more chance. What a constrained decoder scores is another figure, since all of its
answers can be parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from overtone.data.chat import Turn, Turns
from overtone.data.fetch import locate, verify
from overtone.data.sources import eq_bench as source
from overtone.data.sources.eq_bench import Question
from overtone.errors import DataError, RunError, UsageError
from overtone.evaluation import eq_bench_report
from overtone.evaluation.benchmarks import eq_bench
from overtone.evaluation.benchmarks.eq_bench import STRONGEST, Answer, EqAnswers, EqExamConfig
from overtone.evaluation.eq_bench_report import Sat
from overtone.inference.choose import Chooser
from overtone.inference.converse import Speaker
from overtone.models.causal import CausalBody
from overtone.progress import step
from overtone.run import Run, write_atomic

FOLDER = "eq_bench"
"""Where a run keeps what was answered, under ``evaluation``."""

TABLE = "eq_bench.md"
"""The table of the exam, beside the answers."""

BASE = "base"
"""A run's decoder as it was before it was tuned."""

COLDEST = 0.01
"""The temperature of the first try."""

WARMER = 0.15
"""What each further try adds to it."""

TOKENS = {False: 60, True: 1000}
"""Tokens of an answer at most: of one pass, and of two."""

TOGETHER = 8
"""Questions that are asked, and whose answers are written, at once."""

_CRITIQUE, _ENDS = "Critique: <", "[End of answer]"
_ASKS_TWICE = re.compile(r" Then critique [^\n]*")


class Answers(Protocol):
    """What answers conversations: a ``Speaker``, or llama.cpp's."""

    forgotten: int

    def answers(self, conversations: Sequence[Turns], **settings: Any) -> list[str]:  # noqa: ANN401
        """Answer N conversations, (N,); ``forgotten`` then says of how many not all was read."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a system said to one question.

    Args:
        id: of the question.
        text: the answer.
        counts: whether it is scored; without, no try gave an answer that can be.
    """

    id: str
    text: str
    counts: bool


def questions(config: EqExamConfig) -> tuple[Question, ...]:
    """The questions of the version, from files whose hashes were checked.

    Raises:
        DataError: they are not at hand, or not those of the card.
    """
    folder = locate(source.CARD)
    verify(source.CARD, folder)
    return source.questions(folder, config.version)


def prompt(question: Question, config: EqExamConfig) -> str:
    """What is asked: the published text, or without a second pass what the reference leaves of it.

    Raises:
        DataError: the text has no second pass that could be left out.
    """
    text = question.prompt
    if config.two_passes:
        return text
    text = _ASKS_TWICE.sub("", text, count=1).replace("First pass scores:\n", "")
    before, critique, after = text.partition(_CRITIQUE)
    _, ends, rest = after.partition(_ENDS)
    if not critique or not ends:
        raise DataError(
            f"question {question.id} has no second pass that could be left out", hint="set revise: true"
        )
    return f"{before}\n{_ENDS}{rest}\nYour answer:\n"


def of_run(run: Run, body: CausalBody, config: EqExamConfig) -> list[list[str]]:
    """Have a run sit the exam, as it was tuned and as it was before, and write the table beside its answers.

    One that was interrupted goes on with the question at which it was.

    Args:
        run: of the decoder.
        body: the decoder, with its adapter, in evaluation mode.
        config: how.

    Returns:
        The cells of ``eq_bench_report.HEADER``.

    Raises:
        DataError, UsageError, RunError: see ``questions`` and ``sit``.
    """
    asked, folder = questions(config), run.evaluation / FOLDER
    systems = sit(body, asked, folder, config, systems={run.name: True, BASE: False})
    cells = table(systems, asked, config, base=BASE)
    fits = [
        f"## {name}, {len(asked)} questions\n\n"
        + eq_bench_report.markdown(
            eq_bench_report.FIT_HEADER,
            eq_bench_report.emotion_rows(asked, sat.constrained or sat.standard),
        )
        for name, sat in systems.items()
    ]
    page = [f"# EQ-Bench {config.version}", eq_bench_report.markdown(eq_bench_report.HEADER, cells), *fits]
    write_atomic(folder / TABLE, "\n\n".join(page) + "\n")
    return cells


def sit(
    body: CausalBody,
    asked: Sequence[Question],
    folder: Path,
    config: EqExamConfig,
    *,
    systems: Mapping[str, bool],
) -> dict[str, Sat]:
    """Have a decoder sit the exam, as it was tuned, as it was before, or both.

    One that was interrupted goes on with the question at which it was.

    Args:
        body: in evaluation mode.
        asked: the questions.
        folder: where what is said is written, such as ``evaluation/eq_bench`` of a run.
        config: how.
        systems: name → whether the adapter is on; a decoder without one is asked as it is.

    Returns:
        System → what it answered. Where one failed, all of them were constrained, so that they compare.

    Raises:
        UsageError: a question is longer than the decoder reads.
        DataError: the decoder cannot be asked, see ``Speaker`` and ``Chooser``.
        RunError: the folder holds answers by another protocol, or cannot be written.
    """
    free = {
        name: answered(Speaker(body, tuned=tuned or not body.adapted), asked, folder / name, config)
        for name, tuned in systems.items()
    }
    failed = any(eq_bench.outcome(each).failed for each in free.values())
    if config.constrained == "never" or (config.constrained == "failed" and not failed):
        return {name: Sat(each) for name, each in free.items()}
    return {
        name: Sat(
            free[name],
            chosen(Chooser(body, tuned=tuned or not body.adapted), asked, folder / name, config),
        )
        for name, tuned in systems.items()
    }


def answered(by: Answers, asked: Sequence[Question], folder: Path, config: EqExamConfig) -> EqAnswers:
    """What a system says by the published protocol, scored; ``v2-standard.jsonl`` in the folder keeps it.

    Raises:
        UsageError: a question is longer than the system reads.
        DataError: see ``Speaker``.
        RunError: see ``sit``.
    """

    def answers(batch: Sequence[Question], first: int) -> list[Written]:
        return _asked(by, batch, first, config)

    facts = {"decoding": "standard", "attempts": config.attempts, "seed": config.seed}
    written = _kept(_file(folder, config, "standard"), asked, config, facts, (TOGETHER, answers))
    return _graded(written, asked, config, revise=config.two_passes)


def chosen(by: Chooser, asked: Sequence[Question], folder: Path, config: EqExamConfig) -> EqAnswers:
    """What a system says where only the numbers are its own, scored; ``v2-constrained.jsonl`` keeps it.

    The text is that of a first pass. A number's likelihood is that of it and the end of its line. The last
    one is not 0 where all others are: a question asks for one that is not.

    Raises:
        DataError: see ``Chooser``.
        RunError: see ``sit``.
    """

    def answers(batch: Sequence[Question], _: int) -> list[Written]:
        return [Written(each.id, _chosen(by, each, config), counts=True) for each in batch]

    facts = {"decoding": "constrained", "reading": config.reading}
    written = _kept(_file(folder, config, "constrained"), asked, config, facts, (1, answers))
    return _graded(written, asked, config, revise=False)


def table(
    systems: Mapping[str, Sat], asked: Sequence[Question], config: EqExamConfig, *, base: str | None
) -> list[list[str]]:
    """The cells of ``eq_bench_report.HEADER``: the systems, then what any of them has to beat.

    Args:
        systems: name → what it answered.
        asked: the questions.
        config: how the exam was sat.
        base: the system that the others are set against; None where there is none.
    """
    trivial = eq_bench.baselines(asked, config.version, config.seed)
    return eq_bench_report.rows(systems, trivial, base=base, seed=config.seed, resamples=config.resamples)


def _file(folder: Path, config: EqExamConfig, decoding: str) -> Path:
    """Where the answers are kept: the form of the questions is a part of the name."""
    form = f"{config.version}-revise" if config.revise and config.version == "v2" else config.version
    return folder / f"{form}-{decoding}.jsonl"


def _asked(by: Answers, batch: Sequence[Question], first: int, config: EqExamConfig) -> list[Written]:
    """One answer to each question, asked again while it is not whole."""
    found: dict[str, Written] = {}
    partial: dict[str, str] = {}
    left = list(batch)
    for attempt in range(config.attempts):
        turns = [(Turn("user", prompt(each, config)),) for each in left]
        said = by.answers(
            turns,
            temperature=COLDEST + WARMER * attempt,
            max_tokens=TOKENS[config.two_passes],
            seed=config.seed + first + attempt * 1000,  # each question and try draws by a number of its own
        )
        if by.forgotten:
            raise UsageError(
                f"question '{left[0].id}' or one of the {len(left) - 1} after it is longer than this system "
                "reads, with its answer",
                hint="take weights that read more, or leave revise out",
            )
        for question, text in zip(left, said, strict=True):
            answer = eq_bench.parse(text, revise=config.two_passes)
            if eq_bench.complete(question, answer, revise=config.two_passes):
                found[question.id] = Written(question.id, text, counts=True)
            elif _one_pass(question, answer):
                partial.setdefault(question.id, text)
            else:
                found.setdefault(question.id, Written(question.id, text, counts=False))
        left = [each for each in left if each.id not in found or not found[each.id].counts]
        if not left:
            break
    for question in left:
        if question.id in partial:
            found[question.id] = Written(question.id, partial[question.id], counts=True)
    return [found[each.id] for each in batch]


def _one_pass(question: Question, answer: Answer) -> bool:
    return any(
        eq_bench.complete(question, Answer(each, {}), revise=False) for each in (answer.first, answer.revised)
    )


def _chosen(by: Chooser, question: Question, config: EqExamConfig) -> str:
    turns = (Turn("user", prompt(question, config)),)
    text, total = "First pass scores:\n" if config.two_passes else "", 0
    for emotion in question.emotions:
        least = int(emotion == question.emotions[-1] and total == 0)
        numbers = np.arange(least, STRONGEST + 1)
        opened = f"{text}{emotion}: "
        likely = by.log_likelihoods(turns, opened, [f"{number}\n" for number in numbers])
        rating = int(numbers[likely.argmax()])
        if config.reading == "expected":
            shares = np.exp(likely - likely.max())
            rating = max(least, round(float(shares @ numbers / shares.sum())))
        text, total = f"{opened}{rating}\n", total + rating
    return text


def _kept(
    path: Path,
    asked: Sequence[Question],
    config: EqExamConfig,
    facts: Mapping[str, Any],
    how: tuple[int, Callable[[Sequence[Question], int], list[Written]]],
) -> list[Written]:
    """The answers to all questions; those that the file lacks by ``how``: how many at once, and by what.

    Batches begin at fixed places, so that one that was interrupted asks as one that was not.
    """
    size, answers = how
    head = {"version": config.version, "revise": config.two_passes, "questions": len(asked), **facts}
    written = _read(path, head, asked)
    written = written[: len(written) // size * size] if len(written) < len(asked) else written
    told = f"{path.parent.name} answers {len(asked):,} questions of EQ-Bench, {facts['decoding']}"
    with _progress(told, len(asked)) as done:
        while len(written) < len(asked):
            first = len(written)
            written += answers(asked[first : first + size], first)
            lines = [head, *({"id": each.id, "text": each.text, "counts": each.counts} for each in written)]
            write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
            done(len(written))
    return written


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    with step(what) as told:
        yield lambda done: told(done, total)


def _read(path: Path, head: Mapping[str, Any], asked: Sequence[Question]) -> list[Written]:
    """What the file holds, which is nothing where it is not there.

    Raises:
        RunError: it is damaged, or was made by another protocol or of other questions.
    """
    if not path.exists():
        return []
    hint = "delete it, and the exam begins anew"
    try:
        first, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        written = [Written(str(row["id"]), str(row["text"]), bool(row["counts"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged: {error!r}", hint=hint) from error
    if first != dict(head) or [each.id for each in written] != [each.id for each in asked[: len(written)]]:
        raise RunError(f"{path} holds answers by another protocol or to other questions", hint=hint)
    return written


def _graded(
    written: Sequence[Written], asked: Sequence[Question], config: EqExamConfig, *, revise: bool
) -> EqAnswers:
    nothing = Answer({}, {})
    answers = [eq_bench.parse(each.text, revise=revise) if each.counts else nothing for each in written]
    return eq_bench.grade(asked, answers, config.version)
