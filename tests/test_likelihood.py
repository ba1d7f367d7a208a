from __future__ import annotations

import math

import pytest

from overtone.errors import DataError
from overtone.likelihood import bits_per_byte, bits_per_character, perplexity


def test_perplexity_is_the_number_of_equal_choices():
    assert perplexity(10 * math.log(48), 10) == pytest.approx(48)
    assert perplexity(0.0, 3) == 1.0
    # two tokens, of probability 1/2 and 1/8: the geometric mean is 1/4
    assert perplexity(math.log(2) + math.log(8), 2) == pytest.approx(4)


def test_bits_are_nats_over_ln_2():
    # "né" is 2 characters and 3 bytes; 6 bits in all
    assert bits_per_character(6 * math.log(2), 2) == pytest.approx(3)
    assert bits_per_byte(6 * math.log(2), 3) == pytest.approx(2)


def test_uniform_bytes_cost_eight_bits():
    assert bits_per_byte(5 * math.log(256), 5) == pytest.approx(8)


@pytest.mark.parametrize("measure", [perplexity, bits_per_byte, bits_per_character])
def test_nothing_to_judge_on_is_said(measure):
    with pytest.raises(DataError, match="to judge a language model on"):
        measure(1.0, 0)
