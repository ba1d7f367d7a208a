from __future__ import annotations

import numpy as np
import torch

from overtone.data.batches import Encoded
from overtone.data.pairs import Pairs

QUESTIONS = [[1, 2], [3], [4, 5, 6]]
PASSAGES = [[10], [11, 12, 13, 14], [15, 16]]
PAD = 99


def encoded(rows):
    offsets = np.cumsum([0, *map(len, rows)])
    return Encoded(np.concatenate([np.array(row) for row in rows]), offsets, PAD, 0)


def pairs(answers=((0, 2), (1, 0), (2, 2), (0, 1))):
    return Pairs(encoded(QUESTIONS), encoded(PASSAGES), np.array([2, 1, 0, 0]), np.array(answers))


def test_the_length_of_a_pair_is_that_of_its_longest_text():
    assert pairs().lengths.tolist() == [3, 4, 2, 4]


def test_questions_come_first_and_then_the_passages_row_by_row():
    ids, mask = pairs().pad([3, 0])
    expected = [QUESTIONS[0], QUESTIONS[2], PASSAGES[0], PASSAGES[1], PASSAGES[0], PASSAGES[2]]
    assert ids.shape == mask.shape == (6, 4)
    assert [row[keep.bool()].tolist() for row, keep in zip(ids, mask, strict=True)] == expected
    assert set(ids[mask == 0].tolist()) == {PAD}
    assert ids.dtype == mask.dtype == torch.int64


def test_a_question_may_be_the_longest():
    ids, mask = pairs([(0,), (0,), (0,), (0,)]).pad([0])
    assert ids.tolist() == [QUESTIONS[2], [10, PAD, PAD]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
