"""Tutoring dialogues of three data sets, by people and by models, brought to one form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from overtone.config import Config
from overtone.data.files import need
from overtone.data.records import Card, Record, Source
from overtone.data.rows import json_rows
from overtone.data.sources.education_dialogue import background, conversation, spoken
from overtone.data.sources.qa_file import text
from overtone.errors import DataError

Part = Literal["book2dial", "mathdial", "cima"]

PARTS: tuple[Part, ...] = ("book2dial", "mathdial", "cima")
"""The data sets that are a part of this one."""

_FILES: dict[Part, str] = {
    "book2dial": "book2dial.jsonl",
    "mathdial": "mathdial_test.jsonl",
    "cima": "cima.jsonl",
}
_LICENCES: dict[Part, str] = {"book2dial": "CC-BY-SA-4.0", "mathdial": "CC-BY-SA-4.0", "cima": "CC-BY-2.5"}
_SIZES: dict[Part, int] = {"book2dial": 889, "mathdial": 599, "cima": 1_135}

CARD = Card(
    name="tutoring",
    title="Tutoring: textbook sections (Book2Dial), wrong solutions (MathDial), Italian phrases (CIMA)",
    licence="CC-BY-SA-4.0 AND CC-BY-2.5",
    commercial=True,
    url="https://github.com/eth-lre/book2dial",
    citation="Wang et al., Book2Dial: Generating Teacher-Student Interactions from Textbooks for "
    "Cost-Effective Development of Educational Chatbots, Findings of ACL 2024; Macina et al., MathDial: A "
    "Dialogue Tutoring Dataset with Rich Pedagogical Properties Grounded in Math Reasoning Problems, "
    "Findings of EMNLP 2023 (https://github.com/eth-nlped/mathdial); Stasaski et al., CIMA: A Large Open "
    "Access Dialogue Dataset for Tutoring, BEA 2020 (https://github.com/kstats/CIMA)",
    files={
        "book2dial.jsonl": "4033d9b7d23a7c36eb3b2b81c2221732d8e3fa5a8e937bc13a05b82b65c40020",
        "mathdial_test.jsonl": "f72686fdce3b2f25e2ea087cca2e91b82f9ef631d7fbc134f44f75121ea56a81",
        "cima.jsonl": "83e51d89ffe1eadde87a42af1dd12d0f95e1a8456c86102813d716f1729a1ea5",
    },
    sizes={"all": sum(_SIZES.values())},
    notes="MathDial is its test split: do not publish a result on that for a model that read this. Book2Dial "
    "is written by models, and its teacher answers from a textbook that the conversation does not show. In "
    "MathDial a person teaches a model that plays the student. Of CIMA's replies to a context, the first is "
    "taken.",
)


def records(folder: Path, parts: tuple[Part, ...] = PARTS) -> Iterator[Record]:
    """The conversations; the teacher is the assistant.

    Book2Dial has a system's turn with the topic. In MathDial and CIMA the teacher speaks first, so the
    student is made to bring the problem, or to ask for the phrase. Ids are ``tutoring/business-0000``,
    ``tutoring/mathdial-test-0000`` and ``tutoring/cima-0``; ``group`` is the section, the problem or the
    phrase.

    Args:
        folder: with the files of the card.
        parts: which data sets.

    Raises:
        DataError: a file is missing, or a line is not a conversation of this form.
    """
    read = {"book2dial": _book2dial, "mathdial": _mathdial, "cima": _cima}
    for part in parts:
        for place, row in json_rows(need(folder, _FILES[part])):
            yield read[part](row, place)


def _book2dial(row: Mapping[str, Any], place: str) -> Record:
    about = background(row, place)
    return conversation(
        f"{CARD.name}/{text(row, 'id', place)}",
        spoken(row, place),
        source=CARD.name,
        group=f"book2dial/{text(about, 'source_section', place)}",
        system=f"Topic: {text(about, 'topic', place)}",
    )


def _mathdial(row: Mapping[str, Any], place: str) -> Record:
    problem = text(background(row, place), "question", place)
    return conversation(
        f"{CARD.name}/{text(row, 'id', place)}",
        spoken(row, place),
        source=CARD.name,
        group=f"mathdial/{problem}",
        opening=problem,
    )


def _cima(row: Mapping[str, Any], place: str) -> Record:
    exercise, replies = row.get("exercise"), row.get("tutor_responses")
    if not isinstance(exercise, dict) or not (isinstance(replies, list) and replies):
        raise DataError(
            f"{place}: not an exercise with tutor_responses", hint="docs/DATA.md says what the file is"
        )
    phrase = text(exercise, "english", place)
    return conversation(
        f"{CARD.name}/cima-{text(row, 'id', place)}",
        [*spoken(row, place), ("assistant", text(replies[0], "text", place))],
        source=CARD.name,
        group=f"cima/{phrase}",
        opening=f'How do I say "{phrase}" in Italian?',
    )


SOURCE = Source(CARD, records)


class TutoringSource(Config):
    """Tutoring dialogues of three data sets."""

    kind: Literal["tutoring"] = Field("tutoring", description="This data set.")
    parts: tuple[Part, ...] = Field(
        PARTS, min_length=1, description="Which of the three; the licence is theirs alone."
    )

    @field_validator("parts")
    @classmethod
    def _distinct(cls, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        if len(set(parts)) < len(parts):
            raise ValueError("a part is listed twice")
        return parts

    def build(self) -> Source:
        """The parts as a data set, with the card of these alone."""
        chosen = [part for part in PARTS if part in self.parts]
        card = replace(
            CARD,
            licence=" AND ".join(dict.fromkeys(_LICENCES[part] for part in chosen)),
            files={_FILES[part]: CARD.files[_FILES[part]] for part in chosen},
            sizes={"all": sum(_SIZES[part] for part in chosen)},
        )
        return Source(card, partial(records, parts=tuple(chosen)))
