"""Dialogues of teachers and students: small files of our own in their formats, and the real ones."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from overtone.data.chat import _check
from overtone.data.conversations import turns
from overtone.data.fetch import catalogue, verify
from overtone.data.sources import tutoring
from overtone.data.sources.education_dialogue import EducationDialogueSource, conversation
from overtone.data.sources.tutoring import TutoringSource
from overtone.errors import DataError

ABOUT = {
    "topic": "the tides",
    "student_prefrences": "drawings",
    "teacher_prefrences": "questions",
    "student_reactions": "asks more",
}
LESSON = [
    {"role": "Teacher", "text": "What do you know?"},
    {"role": "STUDENT", "text": "The moon pulls."},
    {"role": "teacher", "text": "Yes."},
    {"role": "Teacher", "text": "And the sun. [end of conversation]"},
    {"role": "Student", "text": "Thanks! [End of Conversation]"},
]


def lesson(path, *rows):
    path.write_text(json.dumps(list(rows)), encoding="utf-8")
    return path


def read(path):
    source = EducationDialogueSource(path=path).build()
    return list(source.records(path if path.is_dir() else path.parent))


def said(record):
    return [(turn.role, turn.text) for turn in turns(record)]


def test_a_lesson_is_a_conversation(tmp_path):
    (row,) = read(
        lesson(tmp_path / "conversations_train1.json", {"background_info": ABOUT, "conversation": LESSON})
    )
    assert row.id == "education-dialogue/conversations_train1-00001"
    assert row.group == "the tides"
    assert said(row) == [
        ("system", "Topic: the tides\nThe student prefers: drawings\nThe teacher prefers: questions"),
        ("user", "I would like to learn about the tides."),
        ("assistant", "What do you know?"),
        ("user", "The moon pulls."),
        ("assistant", "Yes.\nAnd the sun."),
    ]
    assert row.text == "\n".join(text for _, text in said(row))


def test_without_a_topic_the_teachers_first_turn_is_left_out(tmp_path):
    (row,) = read(lesson(tmp_path / "a.json", {"conversation": LESSON}))
    assert said(row) == [("user", "The moon pulls."), ("assistant", "Yes.\nAnd the sun.")]
    assert row.group is None


def test_a_folder_gives_its_training_files(tmp_path):
    for name in ("conversations_train2.json", "conversations_train1.json", "conversations_eval.json"):
        lesson(tmp_path / name, {"background_info": ABOUT, "conversation": LESSON})
    assert [row.id for row in read(tmp_path)] == [
        "education-dialogue/conversations_train1-00001",
        "education-dialogue/conversations_train2-00001",
    ]
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"has no file conversations_train\*\.json"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"dialogue": LESSON}, r"item 1: no 'conversation'; it has 'dialogue'"),
        ({"conversation": []}, "item 1: 'conversation' is not a list of turns"),
        ({"conversation": "hello"}, "item 1: 'conversation' is not a list of turns"),
        ({"conversation": [{"role": "Teachr", "text": "a"}]}, "item 1, turn 1: 'teachr' .*mean 'teacher'"),
        ({"conversation": [LESSON[0], {"role": "Student"}]}, "item 1, turn 2: not an object with the texts"),
        ({"conversation": [{"role": None, "text": "a"}]}, "item 1, turn 1: not an object with the texts"),
        ({"conversation": ["a"]}, "item 1, turn 1: not an object with the texts"),
        ({"conversation": LESSON, "background_info": "tides"}, "item 1: 'background_info' is not an object"),
        ({"conversation": LESSON, "background_info": {"topic": 3}}, "item 1: 'topic' is int, not text"),
    ],
)
def test_a_broken_lesson_is_named(tmp_path, row, problem):
    with pytest.raises(DataError, match=f"(?s){problem}"):
        read(lesson(tmp_path / "a.json", row))


def test_a_broken_file_is_named(tmp_path):
    for content, problem in (
        (b"", "is empty"),
        (b"[{", "not JSON"),
        (b'["\xff"]', "not UTF-8 at byte 2"),
        (b"{}", "not a list"),
    ):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(DataError, match=rf"a\.json.*{problem}"):
            read(tmp_path / "a.json")


spoken = st.lists(
    st.tuples(
        st.sampled_from(["user", "assistant"]),
        st.sampled_from(["", " ", "Yes.", "No?", "[end of conversation]", "Bye. [END OF CONVERSATION]"]),
    ),
    max_size=9,
)


@given(spoken, st.sampled_from(["", "Topic: tides"]), st.sampled_from(["", "Teach me."]))
def test_whatever_is_said_a_template_takes_it_or_nothing_is_left(raw, system, opening):
    row = conversation("c/1", raw, source="c", group=None, system=system, opening=opening)
    kept = turns(row)
    assert bool(kept) == bool(row.text)
    assert "end of conversation" not in row.text.lower()
    if not kept:
        return
    _check(kept)
    roles = [turn.role for turn in kept]
    assert ("system" in roles) == bool(system)
    spoken_roles = roles[bool(system) :]
    assert spoken_roles == ["user", "assistant"] * (len(spoken_roles) // 2)
    # No word of an answer comes from elsewhere, and each keeps its place.
    answers = "\n".join(turn.text for turn in kept if turn.role == "assistant").split("\n")
    given_ = [text.split("[")[0].strip() for role, text in raw if role == "assistant"]
    assert answers == [text for text in given_ if text][-len(answers) :]


@pytest.fixture
def folder(tmp_path):
    """A folder with one conversation of each of the three data sets."""
    ask, tell = {"role": "Student", "text": "Why?"}, {"role": "Teacher", "text": "Look here."}
    rows = {
        "book2dial.jsonl": {
            "id": "b-1",
            "background_info": {"topic": "tides", "source_section": "1-1-tides"},
            "conversation": [ask, tell],
        },
        "mathdial_test.jsonl": {
            "id": "m-1",
            "background_info": {"topic": "mathematics", "question": "One and one?"},
            "conversation": [tell, ask, {"role": "Teacher", "text": ""}, ask, tell, ask],
        },
        "cima.jsonl": {
            "id": "7",
            "exercise": {"english": "is under the bed"},
            "conversation": [tell, ask],
            "tutor_responses": [{"text": "e sotto"}, {"text": "Sotto."}],
        },
    }
    for name, row in rows.items():
        (tmp_path / name).write_text(json.dumps(row) + "\n", encoding="utf-8")
    return tmp_path


def test_the_three_are_brought_to_one_form(folder):
    rows = {row.id: row for row in tutoring.records(folder)}
    assert {name: (row.group, said(row)) for name, row in rows.items()} == {
        "tutoring/b-1": (
            "book2dial/1-1-tides",
            [("system", "Topic: tides"), ("user", "Why?"), ("assistant", "Look here.")],
        ),
        "tutoring/m-1": (
            "mathdial/One and one?",
            [
                ("user", "One and one?"),
                ("assistant", "Look here."),
                ("user", "Why?\nWhy?"),
                ("assistant", "Look here."),
            ],
        ),
        "tutoring/cima-7": (
            "cima/is under the bed",
            [
                ("user", 'How do I say "is under the bed" in Italian?'),
                ("assistant", "Look here."),
                ("user", "Why?"),
                ("assistant", "e sotto"),
            ],
        ),
    }


def test_the_card_is_that_of_the_parts():
    card = TutoringSource(parts=("cima",)).build().card
    assert (card.licence, set(card.files), card.sizes) == ("CC-BY-2.5", {"cima.jsonl"}, {"all": 1_135})
    assert TutoringSource().build().card == tutoring.CARD == catalogue()["tutoring"].card
    with pytest.raises(ValidationError, match="listed twice"):
        TutoringSource(parts=("cima", "cima"))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("book2dial.jsonl", {"id": "b", "conversation": LESSON}),
        ("mathdial_test.jsonl", {"id": "m", "background_info": {"topic": "a"}, "conversation": LESSON}),
        ("cima.jsonl", {"id": "1", "exercise": {"english": "a"}, "conversation": LESSON}),
        ("cima.jsonl", {"id": "1", "conversation": LESSON, "tutor_responses": [{"text": "a"}]}),
    ],
)
def test_a_broken_line_is_named(folder, name, row):
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row))
    with pytest.raises(DataError, match=rf"{name}, line 2"):
        list(tutoring.records(folder))


def test_the_dialogues_are_as_published(data_root):
    folder = data_root / "tutoring"
    verify(tutoring.CARD, folder)
    rows = list(tutoring.records(folder))
    assert len({row.id for row in rows}) == len(rows) == tutoring.CARD.sizes["all"]
    parts = Counter(str(row.group).partition("/")[0] for row in rows)
    assert parts == {"book2dial": 889, "mathdial": 599, "cima": 1_135}
    groups = Counter(name.partition("/")[0] for name in {str(row.group) for row in rows})
    assert groups == {"book2dial": 240, "mathdial": 394, "cima": 123}
    for row in rows:
        found = turns(row)
        _check(found)
        spoken_roles = [turn.role for turn in found if turn.role != "system"]
        assert spoken_roles == ["user", "assistant"] * (len(spoken_roles) // 2), row.id
        assert (found[0].role == "system") == str(row.group).startswith("book2dial/")
