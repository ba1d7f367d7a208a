from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overtone.inference.prefixes import Shared, together

PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=12)


def test_a_conversation_is_read_once():
    """By hand: two prompts begin the third, one of them stands twice, and another shares a part alone."""
    found = together([[1, 2], [1, 2, 3, 4], [1, 2], [1, 2, 3], [1, 5]])
    assert found == [Shared([1, 2, 3, 4], {1: [0, 2], 2: [3], 3: [1]}), Shared([1, 5], {1: [4]})]


@given(PROMPTS)
def test_every_prompt_ends_where_it_is_said_to(prompts):
    found = together(prompts)
    asked = []
    for each in found:
        assert list(each.ends) == sorted(each.ends)
        for end, places in each.ends.items():
            asked += places
            assert all(list(prompts[place]) == list(each.tokens[: end + 1]) for place in places)
    assert sorted(asked) == list(range(len(prompts)))


@given(PROMPTS)
def test_nothing_is_read_that_begins_another(prompts):
    read = [tuple(each.tokens) for each in together(prompts)]
    assert not any(one != other and other[: len(one)] == one for one in read for other in read)
    assert len(set(read)) == len(read)
