from __future__ import annotations

import pytest

from overtone.data import exchanges, vocabulary
from overtone.data.exchanges import PAD, START
from overtone.data.vocabulary import END, UNKNOWN, WordVocabulary
from overtone.errors import DataError

QUESTIONS = ["who signs", "who", "who signs who"]
ANSWERS = ["they sign", "they sign they sign", ""]


@pytest.fixture
def made():
    found = WordVocabulary(size=20).build([*QUESTIONS, *ANSWERS])
    exchanges.add_marks(found)
    return found


def pieces(found, ids):
    return [found.backend.id_to_token(int(number)) for number in ids]


def rows(found, encoded):
    bounds = zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)
    return [pieces(found, encoded.flat[begin:end]) for begin, end in bounds]


def test_a_vocabulary_gets_two_pieces_more_and_keeps_them(made, tmp_path):
    plain = WordVocabulary(size=20).build([*QUESTIONS, *ANSWERS])
    assert len(made) == len(plain) + 2
    marks = exchanges.marks_of(made)
    assert pieces(made, [marks.pad, marks.start, marks.end]) == [PAD, START, END]
    assert len({marks.pad, marks.start, marks.end, made.unknown_id}) == 4
    made.save(tmp_path)
    again = vocabulary.load(tmp_path)
    assert again == made
    assert exchanges.marks_of(again) == marks
    for found in (made, again):  # written in a text they are ordinary characters
        written = found.encode([f"{PAD} {START} {END} {UNKNOWN}"]).flat.tolist()
        assert not {marks.pad, marks.start, marks.end} & set(written)


def test_without_marks_it_is_refused():
    plain = WordVocabulary(size=20).build(QUESTIONS)
    with pytest.raises(DataError, match=f"no {PAD} and {START}\n  → make it anew"):
        exchanges.encode(plain, QUESTIONS, ANSWERS, 5)


def test_what_stands_around_the_words(made):
    found = exchanges.encode(made, QUESTIONS, ANSWERS, 5)
    assert rows(made, found.questions) == [[*text.split(), END] for text in QUESTIONS]
    assert rows(made, found.answers) == [[START, *text.split(), END] for text in ANSWERS]
    assert found.questions.cut == found.answers.cut == 0
    assert found.lengths.tolist() == [4, 6, 4]
    assert found.counts.tolist() == [3, 5, 1]


def test_an_answer_that_is_cut_has_no_end(made):
    found = exchanges.encode(made, QUESTIONS, ANSWERS, 2)
    assert rows(made, found.questions)[2] == ["who", "signs", END]
    assert rows(made, found.answers) == [
        [START, "they", "sign", END],
        [START, "they", "sign"],
        [START, END],
    ]
    assert (found.questions.cut, found.answers.cut) == (1, 1)


def test_questions_come_first_and_what_is_learnt_is_all_but_the_start(made):
    found = exchanges.encode(made, QUESTIONS, ANSWERS, 5)
    ids, mask = found.pad([2, 1])
    read = [pieces(made, row[keep.bool()]) for row, keep in zip(ids, mask, strict=True)]
    assert read == [
        ["who", "signs", "who", END],
        ["who", END],
        [START, END],
        [START, *ANSWERS[1].split(), END],
    ]
    assert set(ids[mask == 0].tolist()) == {exchanges.marks_of(made).pad}
    assert pieces(made, found.wanted([2, 1])) == [END, *ANSWERS[1].split(), END]


def test_what_is_unknown_and_what_is_empty(made):
    assert rows(made, exchanges.ask(made, ["who knows", "", "  "], 5)) == [
        ["who", UNKNOWN, END],
        [END],
        [END],
    ]
