"""EQ-Bench 3: role-plays, a message to draft, transcripts to analyse, and the rubric that a judge reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from overtone.data.files import lines, need
from overtone.data.records import Card, Record, Source
from overtone.errors import DataError

Kind = Literal["role-play", "drafting", "analysis"]
"""What a scenario asks for: acting in it, writing a message, or reading a transcript of one."""

_RAW = "https://raw.githubusercontent.com/EQ-bench/eqbench3/3c21bcc514bd43f93a00a5cf9c630aa3eb73a380/data"
_SCENARIOS, _NOTES, _DEBRIEF = "scenario_prompts.txt", "scenario_notes.txt", "debrief_prompt.txt"
_FETCH = "`overtone data fetch eq_bench3` gets the files again"

_FILES = {
    _SCENARIOS: "736f67a8f18ef5bba1f4eca89e60daef1a26ac58c8fea956560726357da39cae",
    _NOTES: "d66a4463bdd45d2a32dac04afcf448346fa4d9cb20e2dbd50c424c86055e2ff9",
    _DEBRIEF: "5f63279c27e444b7f8b154a190f9ce10a79d4d9cebb556fae97c70346f52c6fa",
    "scenario_master_prompt.txt": "8f76e06423fa6110e2afe9e88561b3511fc97a68dcd1aa1a4459c7af6424785c",
    "scenario_master_prompt_message_drafting.txt": (
        "719dc595c4fb3127a0347bbd90ceb2af7bdb5f86a0218df3cc51888a31b3f133"
    ),
    "scenario_master_prompt_analysis.txt": "b5773ced14ab7fc6d96ae1d6a0da981d7797804359a38d4992ad530edb3915e9",
    "rubric_scoring_prompt.txt": "423612b81594601548bf4625ca32c4400637fb3876171a153f3067cbcc0ec939",
    "rubric_scoring_prompt_analysis.txt": "78927fbb695c5c5374ce23ce39a1add4033abc5c99870e6be9747368df0e3f96",
    "rubric_scoring_criteria.txt": "11fefca1f467bbabfab8618731338aeeb167141c80756bf2d040d000d8318727",
    "rubric_scoring_criteria_analysis.txt": (
        "a83e91be22a4233c364c7cd3e611702360af94d045b170b6a88848dabf9d4d21"
    ),
}

CARD = Card(
    name="eq_bench3",
    title="EQ-Bench 3: scenarios that a judge reads the answers to, with its rubric",
    licence="MIT",
    commercial=True,
    url="https://github.com/EQ-bench/eqbench3",
    citation="Paech, EQ-Bench 3, 2025; EQ-Bench: An Emotional Intelligence Benchmark for Large Language "
    "Models, arXiv 2312.06281, 2023",
    files=_FILES,
    downloads={file: f"{_RAW}/{file}" for file in _FILES},
    sizes={"test": 93},
    notes="A row is one turn of the user's; there are 46 scenarios of one turn or more. It judges, so train "
    "nothing on it. The answers need a strong model as their judge.",
)

_MASTERS: dict[Kind, str] = {
    "role-play": "scenario_master_prompt.txt",
    "drafting": "scenario_master_prompt_message_drafting.txt",
    "analysis": "scenario_master_prompt_analysis.txt",
}
_HEAD = re.compile(r"#{8}\s*(\w+)\s*\|([^|]*)\|(.*)")
_TURN = re.compile(r"#{7}\s*\w+\s*")
_NOTE = re.compile(r"#\s*(\w+)\s*")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario.

    Args:
        id: as it was published.
        category: such as that of a quarrel at work.
        title: in some words.
        kind: what it asks for.
        prompts: the user's turns, one or more; what comes of an answer does not depend on it.
        notes: what a strong answer shows, for somebody who reads along; may be empty.
    """

    id: str
    category: str
    title: str
    kind: Kind
    prompts: tuple[str, ...]
    notes: str


@dataclass(frozen=True, slots=True)
class Form:
    """What the scenarios of one kind are asked and judged with.

    Args:
        master: what stands around each turn; ``{scenario_prompt}`` is filled in.
        debrief: what is asked after the last turn; None where nothing is.
        rubric: what the judge reads; ``{transcript}``, ``{debrief}`` and ``{output_format}`` are filled in.
        criteria: what it scores, each 0 to 20.
    """

    master: str
    debrief: str | None
    rubric: str
    criteria: tuple[str, ...]


def kind_of(number: str) -> Kind:
    """What a scenario asks for, by its id: 201 to 209 are messages, from 401 on are analyses."""
    if number.isdecimal() and 201 <= int(number) <= 209:
        return "drafting"
    return "analysis" if number.isdecimal() and int(number) > 400 else "role-play"


def scenarios(folder: Path) -> tuple[Scenario, ...]:
    """The scenarios, in the order of the file.

    Args:
        folder: with the files of the card.

    Raises:
        DataError: a file is missing, or a scenario has no turn.
    """
    notes = _notes(folder)
    path = need(folder, _SCENARIOS)
    heads: list[tuple[str, str, str]] = []
    turns: list[list[list[str]]] = []
    for number, line in lines(path):
        if head := _HEAD.fullmatch(line):
            name, category, title = (part.strip() for part in head.groups())
            heads.append((name, category, title))
            turns.append([])
        elif not turns:
            raise DataError(f"{path}, line {number}: no scenario begins here", hint=_FETCH)
        elif _TURN.fullmatch(line):
            turns[-1].append([])
        elif turns[-1]:
            turns[-1][-1].append(line)
    made = [
        Scenario(
            *head, kind_of(head[0]), tuple("\n".join(turn).strip() for turn in said), notes.get(head[0], "")
        )
        for head, said in zip(heads, turns, strict=True)
    ]
    for each in made:
        if not each.prompts or not all(each.prompts):
            raise DataError(f"{path}: scenario {each.id} has no turn, or an empty one", hint=_FETCH)
    if not made:
        raise DataError(f"{path}: no line such as '######## 1 | … | …' begins a scenario", hint=_FETCH)
    return tuple(made)


def forms(folder: Path) -> Mapping[Kind, Form]:
    """What each kind is asked and judged with.

    Args:
        folder: with the files of the card.

    Raises:
        DataError: a file is missing, or lacks what is to be filled in.
    """
    made: dict[Kind, Form] = {}
    for kind, file in _MASTERS.items():
        end = "_analysis" if kind == "analysis" else ""
        criteria = _text(folder, f"rubric_scoring_criteria{end}.txt").split()
        debrief = None if kind == "analysis" else _text(folder, _DEBRIEF)
        master, rubric = _text(folder, file), _text(folder, f"rubric_scoring_prompt{end}.txt")
        wanted = ("transcript", "output_format", *(() if debrief is None else ("debrief",)))
        if "{scenario_prompt}" not in master or any(f"{{{each}}}" not in rubric for each in wanted):
            raise DataError(f"{folder}: a template for {kind} lacks what is to be filled in", hint=_FETCH)
        made[kind] = Form(master, debrief, rubric, tuple(criteria))
    return made


def records(folder: Path) -> Iterator[Record]:
    """The user's turns, without targets; ids are ``eq_bench3/1-1``, ``group`` is the scenario.

    Args:
        folder: with the files of the card.

    Raises:
        DataError: see ``scenarios``.
    """
    for each in scenarios(folder):
        for number, prompt in enumerate(each.prompts, start=1):
            name = f"eq_bench3/{each.id}-{number}"
            yield Record(name, prompt, {}, source="eq_bench3", split="test", group=each.id)


def _notes(folder: Path) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for _, line in lines(need(folder, _NOTES)):
        if head := _NOTE.fullmatch(line):
            current = found.setdefault(head[1], [])
        else:
            current.append(line)
    return {name: "\n".join(note).strip() for name, note in found.items()}


def _text(folder: Path, name: str) -> str:
    return "\n".join(line for _, line in lines(need(folder, name)))


SOURCE = Source(CARD, records)
