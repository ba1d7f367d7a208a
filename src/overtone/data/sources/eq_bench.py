"""EQ-Bench, versions 1 and 2: dialogues, and how strongly somebody feels each of four emotions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from overtone.data.files import lines, need
from overtone.data.records import Card, Record, Source, Target
from overtone.data.rows import as_number, json_rows
from overtone.errors import DataError

Version = Literal["v1", "v2"]
"""The 60 questions whose ratings are made to sum to 10, or the 171 whose ratings stand as they are."""

Ratings = Mapping[str, float]
"""Emotion → how strong it is, from 0; 10 is the strongest that a question asks for."""

EMOTIONS = 4
"""The emotions that a question asks about."""

_FILES: dict[Version, str] = {"v1": "eq_bench_v1_questions_60.json", "v2": "eq_bench_v2_questions_171.json"}
_PUBLISHED, _RAW_OUTPUTS = "published_runs.jsonl", "raw_outputs_10_models.jsonl"
_COMMIT = "d28c60c514fe6667dc5818114ed10088f91f09f3"
_RAW = f"https://raw.githubusercontent.com/EQ-bench/EQ-Bench/{_COMMIT}/data"
_FETCH = "`overtone data fetch eq_bench` gets the file again"

CARD = Card(
    name="eq_bench",
    title="EQ-Bench: how strongly a character of a dialogue feels each of four emotions",
    licence="MIT",
    commercial=True,
    url="https://github.com/EQ-bench/EQ-Bench",
    citation="Paech, EQ-Bench: An Emotional Intelligence Benchmark for Large Language Models, arXiv "
    "2312.06281, 2023",
    files={
        _FILES["v1"]: "9c52ae21deab827bfc77ac7dacb3b1b7e506b83752441c85aec9903671eac9de",
        _FILES["v2"]: "b4e9bf11df7e88bc12381efab18565f8b0ff0d4743fe8708c4482df91c4e617a",
    },
    downloads={file: f"{_RAW}/{file}" for file in _FILES.values()},
    sizes={"test": 171},
    notes="It judges, so train nothing on it. The rows are those of version 2; version 1 has 60 questions "
    "with references of its own. The dialogues were generated, and a reference is somebody's judgement: "
    "there is no truth that it was measured against.",
)

PUBLISHED = Card(
    name="eq_bench_published",
    title="EQ-Bench: the answers behind the published scores of 86 models, and raw answers of ten",
    licence=CARD.licence,
    commercial=CARD.commercial,
    url=f"{CARD.url}/tree/{_COMMIT}/results/eq-bench",
    citation=CARD.citation,
    files={
        _PUBLISHED: "07f02772ca5f6958cd2f7d4faedbc933c02c1d43f0b98e463f0d66a756c87a84",
        _RAW_OUTPUTS: "4f4eb34858c0c2409499ea8adca942d97b75a0aff34b5cffc3645f26495d5e4b",
    },
    notes="Only the scorer and the parser are examined on it, so it is not in the catalogue.",
    folder=CARD.name,
)


@dataclass(frozen=True, slots=True)
class Question:
    """One dialogue, and what it asks.

    Args:
        id: as it was published, ``1`` to ``60`` or ``171``.
        prompt: all that is asked, with the two-pass form of an answer.
        emotions: the four, in the order in which they are asked for.
        relative: the reference of version 1, whose ratings sum to 10 (of one question of version 2, to 9).
        full: the reference of version 2, each rating in 0..10 by itself.
    """

    id: str
    prompt: str
    emotions: tuple[str, ...]
    relative: tuple[float, ...]
    full: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """The answers of a model whose score was published, as the reference's parser read them.

    Args:
        model: its name.
        score: what was published, rounded to two decimals.
        parsed: how many questions counted.
        answers: question id → the first pass and the revised one; a pass that was not read is empty.
    """

    model: str
    score: float
    parsed: int
    answers: Mapping[str, tuple[Ratings, Ratings]]


@dataclass(frozen=True, slots=True)
class RawOutput:
    """What a model wrote, and what the reference's parser read.

    Args:
        model: its name.
        question: the id of what it answered.
        revise: whether it was asked for two passes.
        text: what it wrote.
        first: the ratings that were read of its first pass.
        revised: the same of its second.
    """

    model: str
    question: str
    revise: bool
    text: str
    first: Ratings
    revised: Ratings


def questions(folder: Path, version: Version = "v2") -> tuple[Question, ...]:
    """The questions of a version, in the order of the file.

    Args:
        folder: with the files of the card.
        version: which.

    Raises:
        DataError: the file is missing, is not JSON or not of this form.
    """
    path = need(folder, _FILES[version])
    try:
        found = json.loads("\n".join(line for _, line in lines(path)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error})", hint=_FETCH) from error
    if not isinstance(found, dict) or not found:
        raise DataError(f"{path}: not an object of questions by their id", hint=_FETCH)
    return tuple(_question(name, value, f"{path}, question {name}") for name, value in found.items())


def _question(name: str, value: Any, place: str) -> Question:  # noqa: ANN401 - any JSON value
    try:
        prompt, relative, full = (
            value[key] for key in ("prompt", "reference_answer", "reference_answer_fullscale")
        )
        emotions = tuple(str(relative[f"emotion{n}"]) for n in range(1, EMOTIONS + 1))
        if emotions != tuple(full[f"emotion{n}"] for n in range(1, EMOTIONS + 1)):
            raise DataError(f"{place}: its two references are not of the same emotions", hint=_FETCH)
        ratings = [
            tuple(as_number(each[f"emotion{n}_score"], place, f"emotion{n}_score") for n in (1, 2, 3, 4))
            for each in (relative, full)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{place}: not a prompt with two references ({error!r})", hint=_FETCH) from error
    if not isinstance(prompt, str) or len(set(emotions)) != EMOTIONS:
        raise DataError(f"{place}: not a text that asks about {EMOTIONS} emotions", hint=_FETCH)
    return Question(name, prompt, emotions, *ratings)


def records(folder: Path, *, version: Version = "v2") -> Iterator[Record]:
    """The questions as rows; targets ``emotions``, ``relative`` and ``full``, see ``Question``.

    Ids are ``eq_bench/v2-1``.

    Args:
        folder: with the files of the card.
        version: which.

    Raises:
        DataError: see ``questions``.
    """
    for each in questions(folder, version):
        targets: dict[str, Target] = {"emotions": each.emotions, "relative": each.relative, "full": each.full}
        yield Record(f"eq_bench/{version}-{each.id}", each.prompt, targets, source="eq_bench", split="test")


def published(folder: Path) -> Iterator[PublishedRun]:
    """The answers behind published scores of version 2.

    Args:
        folder: with the files of ``PUBLISHED``.

    Raises:
        DataError: the file is missing, or a line is not a run.
    """
    for place, row in json_rows(need(folder, _PUBLISHED)):
        try:
            answers = {
                str(name): (_ratings(each["first_pass"], place), _ratings(each["revised"], place))
                for name, each in row["answers"].items()
            }
            score = as_number(row["benchmark_score"], place, "benchmark_score")
            yield PublishedRun(str(row["model"]), score, int(row["n_questions_parseable"]), answers)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{place}: not a run with its answers ({error!r})") from error


def raw_outputs(folder: Path) -> Iterator[RawOutput]:
    """What ten models wrote, beside what the reference's parser read.

    Args:
        folder: with the files of ``PUBLISHED``.

    Raises:
        DataError: the file is missing, or a line is not an answer.
    """
    for place, row in json_rows(need(folder, _RAW_OUTPUTS)):
        try:
            yield RawOutput(
                str(row["model"]),
                str(row["question_id"]),
                bool(row["revise"]),
                str(row["text"]),
                _ratings(row["first_pass"], place),
                _ratings(row["revised"], place),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{place}: not an answer with its ratings ({error!r})") from error


def _ratings(found: Any, place: str) -> Ratings:  # noqa: ANN401 - any JSON value
    return {str(name): as_number(value, place, str(name)) for name, value in (found or {}).items()}


SOURCE = Source(CARD, records)
