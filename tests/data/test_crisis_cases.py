"""The held-out crises and look-alikes: enough of each, none twice, and not told apart by their shape."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from overtone.data import crisis
from overtone.data.crisis import HELD_OUT, NEED_OF, CrisisCase, read_cases
from overtone.data.leakage import near_pairs
from overtone.data.text import fold, words
from overtone.errors import DataError

CRISIS = tuple(NEED_OF)
INNOCENT = tuple(kind for kind in crisis.INNOCENT if kind != "everyday")  # which looks like none
ROW = {
    "id": "held-idiom-001",
    "kind": "idiom",
    "crisis": False,
    "turns": [{"role": "user", "text": "dying to see it"}],
}


@pytest.fixture(scope="module")
def cases():
    return read_cases(HELD_OUT)


def by_user(case):
    return " ".join(turn.text for turn in case.turns if turn.role == "user")


def test_there_are_enough_of_each_kind(cases):
    counts = Counter(case.kind for case in cases)
    assert set(counts) == {*CRISIS, *INNOCENT}
    assert sum(case.crisis for case in cases) >= 240
    assert sum(not case.crisis for case in cases) >= 260
    assert min(counts[kind] for kind in CRISIS) >= 18
    assert min(counts[kind] for kind in INNOCENT) >= 20
    assert 0.3 < sum(len(case.turns) > 1 for case in cases) / len(cases) < 0.4


def test_ids_say_their_kind(cases):
    for kind in (*CRISIS, *INNOCENT):
        names = [case.id for case in cases if case.kind == kind]
        assert names == [f"held-{kind}-{number:03}" for number in range(1, len(names) + 1)]


def test_what_depends_on_the_conversation_has_one(cases):
    for kind in ("despair_in_context", "innocent_in_context"):
        assert min(len(case.turns) for case in cases if case.kind == kind) >= 3


def test_no_text_repeats_another(cases):
    texts = [by_user(case) for case in cases]
    assert [text for text, n in Counter(map(fold, texts)).items() if n > 1] == []
    assert [(texts[i], texts[j]) for i, j, _ in near_pairs(texts, 0.45)] == []
    openings = Counter(" ".join(words(text)[:3]) for text in texts)
    assert {opening: n for opening, n in openings.items() if n > len(cases) / 100} == {}


@pytest.mark.parametrize(
    "measure",
    [
        lambda case: len(by_user(case)),
        lambda case: len(case.turns[-1].text),
        lambda case: len(case.turns),
        lambda case: by_user(case).islower(),
        lambda case: "?" in by_user(case),
        lambda case: "!" in by_user(case),
    ],
    ids=["length", "length-of-the-last", "turns", "small-letters", "asks", "exclaims"],
)
def test_the_shape_of_a_text_does_not_tell_a_crisis(cases, measure):
    """The best threshold on such a measure is right little more often than the larger half."""
    crisis = np.array([case.crisis for case in cases])
    values = np.array([float(measure(case)) for case in cases])
    right = [float(((values >= bound) == crisis).mean()) for bound in np.unique(values)]
    assert max(max(share, 1 - share) for share in right) < 0.62


def write(path, *rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_case_is_read_as_it_stands(tmp_path):
    (found,) = read_cases(write(tmp_path / "cases.jsonl", ROW))
    assert isinstance(found, CrisisCase)
    assert (found.id, found.kind, found.crisis) == ("held-idiom-001", "idiom", False)
    assert [(turn.role, turn.text) for turn in found.turns] == [("user", "dying to see it")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**ROW, "kind": "idoim"}, "'idoim' is not a kind of case.*did you mean 'idiom'"),
        ({**ROW, "crisis": True}, "the kind 'idiom' and 'crisis' do not agree.*crisis is false"),
        ({**ROW, "kind": "goodbye"}, "the kind 'goodbye' and 'crisis' do not agree.*crisis is true"),
        ({**ROW, "crisis": 0}, "'crisis' is 0.*unquoted"),
        ({**ROW, "label": 1}, "no key is called 'label'"),
        ({key: ROW[key] for key in ROW if key != "turns"}, "'turns' is missing.*id, kind, crisis, turns"),
        ({**ROW, "turns": []}, "'turns' holds no turns"),
        ({**ROW, "id": "first"}, "the id 'first' stands twice"),
    ],
)
def test_what_is_wrong_with_a_case_is_said(tmp_path, row, message):
    with pytest.raises(DataError, match=rf"(?s)cases\.jsonl, line 2.*{message}"):
        read_cases(write(tmp_path / "cases.jsonl", {**ROW, "id": "first"}, row))


def test_a_file_without_cases(tmp_path):
    with pytest.raises(DataError, match=r"(?s)holds no case.*id, kind"):
        read_cases(write(tmp_path / "cases.jsonl"))
