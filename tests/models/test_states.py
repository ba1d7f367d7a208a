from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overtone.models.states import FrozenStates


@settings(max_examples=40)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.data())
def test_rows_are_padded_in_the_order_asked_for(lengths, data):
    """State j of row i is (i, j)."""
    flat = torch.tensor([[float(i), float(j)] for i, length in enumerate(lengths) for j in range(length)])
    states = FrozenStates(flat, np.concatenate([[0], np.cumsum(lengths)]))
    assert states.lengths.tolist() == lengths
    rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=8))
    hidden, mask = states.pad(rows)
    longest = max(lengths[row] for row in rows)
    assert hidden.shape == (len(rows), longest, 2)
    assert mask.sum(dim=1).tolist() == [lengths[row] for row in rows]
    for place, row in enumerate(rows):
        expected = [[float(row), float(j)] for j in range(lengths[row])]
        assert hidden[place][mask[place].bool()].tolist() == expected


@pytest.mark.parametrize(
    ("kept", "given_on"),
    [
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_for_keeping_alone(kept, given_on):
    states = FrozenStates(torch.rand(3, 4).to(kept), np.array([0, 1, 3]))
    assert states.pad([1])[0].dtype == given_on
