from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtone.data import stream
from overtone.data.records import Record
from overtone.data.vocabulary import BpeVocabulary, ByteVocabulary
from overtone.errors import DataError

BYTES = ByteVocabulary().build([])


def rows(n, passages=1):
    """N documents, some of them passages of one article."""
    return [
        Record(f"toy/{i:03d}", f"text {i}", {}, "toy", group=f"article {i // passages}") for i in range(n)
    ]


def test_documents_stand_between_ends():
    made = stream.build(BYTES, ["ab", "", "é"])
    end = BYTES.end_id
    a, b, *e = BYTES.encode(["abé"]).flat
    assert made.ids.tolist() == [end, a, b, end, end, *e, end]
    assert (made.documents, made.bytes, made.characters, made.targets) == (3, 4, 3, 7)


@settings(max_examples=50)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=9).filter(any))
def test_the_stream_is_the_documents(texts):
    made = stream.build(BYTES, texts)
    ends = np.flatnonzero(made.ids == BYTES.end_id)
    found = [BYTES.decode(made.ids[a:b]) for a, b in pairwise(ends)]
    assert found == texts
    assert made.ids[0] == made.ids[-1] == BYTES.end_id


@settings(max_examples=50)
@given(length=st.integers(1, 12), size=st.integers(2, 60))
def test_each_token_but_the_first_is_a_target_once(length, size):
    ids = np.arange(size)
    if size <= length:
        with pytest.raises(DataError, match=f"has no window of {length}"):
            stream.windows(ids, length)
        whole = np.zeros((0, length + 1), dtype=np.int64)
    else:
        whole = stream.windows(ids, length)
    left = stream.rest(ids, length)
    assert len(left) - 1 < length
    assert np.concatenate([whole[:, 1:].ravel(), left[1:]]).tolist() == list(range(1, size))
    assert np.concatenate([whole[:, :-1].ravel(), left]).tolist() == list(range(size))


def test_windows_are_not_copied_and_shuffles_follow_the_seed():
    ids = np.arange(1001)
    pieces = stream.windows(ids, 10)
    assert np.shares_memory(pieces, ids)
    assert pieces.shape == (100, 11)
    first, again, later, other = (stream.shuffled(pieces, *key) for key in ((7, 0), (7, 0), (7, 1), (8, 0)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, later)
    assert not np.array_equal(first, other)
    assert sorted(map(tuple, later)) == sorted(map(tuple, pieces))
    assert not np.shares_memory(first, ids)


def test_articles_are_held_out_whole():
    given_rows = rows(100, passages=3)
    train, held = stream.hold_out(given_rows, 0.1, 7)
    assert [row.id for row in sorted([*train, *held], key=lambda row: row.id)] == [r.id for r in given_rows]
    assert {row.group for row in train}.isdisjoint(row.group for row in held)
    assert 10 <= len(held) <= 12
    backwards, held_again = stream.hold_out(given_rows[::-1], 0.1, 7)
    assert (backwards[::-1], held_again[::-1]) == (train, held)
    assert stream.hold_out(given_rows, 0.1, 8)[1] != held


@pytest.mark.parametrize("share", [0.0, 0.01, 0.99, 1.0])
def test_neither_part_is_empty(share):
    train, held = stream.hold_out(rows(2), share, 1)
    assert (len(train), len(held)) == (1, 1)


def test_what_cannot_be_done_is_said():
    with pytest.raises(DataError, match="no text for a stream"):
        stream.build(BYTES, ["", ""])
    with pytest.raises(DataError, match="1 documents cannot be divided"):
        stream.hold_out(rows(3, passages=3), 0.5, 1)


def test_fewer_tokens_and_the_same_bytes():
    texts = ["the cat sat on the mat"] * 4
    by_bytes, by_pairs = (stream.build(v, texts) for v in (BYTES, BpeVocabulary(size=300).build(texts)))
    assert by_pairs.targets < by_bytes.targets
    assert by_pairs.bytes == by_bytes.bytes == by_bytes.targets - 4


def test_windows_are_the_rows_of_a_fit():
    rows = stream.Windows(stream.windows(np.arange(10), 3))
    assert rows.lengths.tolist() == [3, 3, 3]
    assert rows.targets.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    ids, mask = rows.pad([2, 0])
    assert ids.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 1]]
