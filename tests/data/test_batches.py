from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overtone.data.batches import Encoded, by_length, plan
from overtone.data.tokenize import encode
from toys import sentences, write_tokenizer

lengths_of_rows = st.lists(st.integers(1, 60), min_size=1, max_size=300).map(np.array)


def flat(steps):
    return [row for step in steps for rows in step for row in rows]


@settings(max_examples=60)
@given(lengths_of_rows, st.integers(1, 7), st.integers(1, 4), st.integers(0, 9))
def test_an_epoch_holds_each_row_once(lengths, size, accumulation, seed):
    steps = plan(lengths, size, accumulation, seed)
    assert sorted(flat(steps)) == list(range(len(lengths)))
    assert all(rows for step in steps for rows in step)
    assert all(1 <= len(step) <= accumulation for step in steps)
    full = size * accumulation
    short = [step for step in steps if sum(map(len, step)) < full]
    assert len(short) <= 1
    assert len(steps) == -(-len(lengths) // full)


@settings(max_examples=40)
@given(lengths_of_rows, st.integers(0, 9))
def test_a_step_holds_the_same_rows_however_it_is_cut(lengths, seed):
    whole = [flat([step]) for step in plan(lengths, 12, 1, seed)]
    for size, accumulation in ((1, 12), (3, 4), (6, 2)):
        steps = plan(lengths, size, accumulation, seed)
        assert [flat([step]) for step in steps] == whole
        assert all(len(rows) % size == 0 for step in steps for rows in step[:-1])


def area(lengths, rows):
    return len(rows) * lengths[rows].max()


@settings(max_examples=60)
@given(lengths_of_rows, st.integers(1, 5), st.integers(0, 9))
def test_short_rows_are_read_together_in_no_more_room(lengths, size, seed):
    """No batch is larger than the largest of whole micro-batches, and no two neighbours would fit in one."""
    steps = plan(lengths, size, 4, seed)
    every = [flat([step]) for step in steps]
    uncut = [rows[i : i + size] for rows in every for i in range(0, len(rows), size)]
    room = max(area(lengths, rows) for rows in uncut)
    assert max(area(lengths, rows) for step in steps for rows in step) == room
    for step in steps:
        assert all(area(lengths, [*one, *other[:size]]) > room for one, other in pairwise(step))


def test_short_rows_by_hand():
    """Four rows of 2 tokens fit where one of 8 does; the long ones stay by themselves."""
    lengths = np.array([2, 2, 2, 2, 8, 8, 8, 8])
    steps = sorted(plan(lengths, 1, 4, 0), key=len)
    assert [[len(rows) for rows in step] for step in steps] == [[4], [1, 1, 1, 1]]


def test_the_order_is_the_seed_s():
    lengths = np.arange(1, 200)
    assert plan(lengths, 4, 2, 1) == plan(lengths, 4, 2, 1)
    assert plan(lengths, 4, 2, 1) != plan(lengths, 4, 2, 2)


def test_buckets_pad_little_and_steps_are_shuffled():
    lengths = np.random.default_rng(0).integers(5, 120, size=2000)
    steps = plan(lengths, 16, 1, 3)
    padded = sum(int(lengths[rows].max()) * len(rows) for step in steps for rows in step)
    assert padded < 1.05 * lengths.sum()
    longest = [int(lengths[step[0]].max()) for step in steps]
    assert np.abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.2


@given(lengths_of_rows, st.integers(1, 200))
@settings(max_examples=60)
def test_batches_for_inference(lengths, budget):
    batches = by_length(lengths, budget)
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * int(lengths[rows].max()) <= budget
    longest = [int(lengths[rows].max()) for rows in batches]
    assert longest == sorted(longest, reverse=True)


def test_no_rows_are_no_batches():
    assert by_length(np.zeros(0, dtype=np.int64)) == []
    assert plan(np.zeros(0, dtype=np.int64), 4, 1, 0) == []


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_padding_is_the_tokenizer_s(tokenizer):
    texts = [text for text, _ in sentences(20)] + ["", "a"]
    encoded = encode(tokenizer, texts, 24)
    for rows in ([0], [3, 1, 2], [20, 21, 5], list(range(22))):
        ids, mask = encoded.pad(rows)
        expected = tokenizer(
            [texts[row] for row in rows], padding=True, truncation=True, max_length=24, return_tensors="pt"
        )
        assert torch.equal(ids, expected["input_ids"])
        assert torch.equal(mask, expected["attention_mask"])


def test_padding_of_another_id():
    encoded = Encoded(np.array([5, 6, 7]), np.array([0, 1, 3]), pad_id=9, cut=0)
    ids, mask = encoded.pad([0, 1])
    assert ids.tolist() == [[5, 9], [6, 7]]
    assert mask.tolist() == [[1, 0], [1, 1]]


def test_take(tokenizer):
    encoded = encode(tokenizer, [text for text, _ in sentences(9)], 24)
    some = encoded.take([7, 0, 7])
    assert len(some) == 3
    assert some.lengths.tolist() == encoded.lengths[[7, 0, 7]].tolist()
    for mine, theirs in zip(some.pad([0, 1, 2]), encoded.pad([7, 0, 7]), strict=True):
        assert torch.equal(mine, theirs)
