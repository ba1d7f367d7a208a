from __future__ import annotations

import pytest

from overtone.data.fertility import fertility
from overtone.data.vocabulary import ByteVocabulary, WordVocabulary
from overtone.errors import DataError


def test_the_counts_are_those_of_the_hand():
    # 5 pieces: end, unknown, the, cat, sat; "é" is unknown, two bytes.
    vocabulary = WordVocabulary(size=5).build(["the cat the cat sat the"])
    found = fertility(vocabulary, ["the cat é", "", "the  the"])
    assert (found.texts, found.words, found.bytes, found.tokens) == (3, 5, 18, 5)
    assert (found.unknown, found.used, found.size) == (1, 3, 5)
    assert found.tokens_a_word == 1.0
    assert found.bytes_a_token == pytest.approx(3.6)
    assert found.unknown_share == pytest.approx(0.2)
    assert found.used_share == pytest.approx(0.6)
    assert found.as_dict()["used_share"] == found.used_share


def test_bytes_are_bytes_and_never_unknown():
    found = fertility(ByteVocabulary().build([]), ["née"] * 5000)
    assert (found.tokens, found.bytes, found.unknown, found.used) == (20_000, 20_000, 0, 4)
    assert found.tokens_a_word == 4.0


@pytest.mark.parametrize("texts", [[], [""], [" \n"]])
def test_without_a_word_there_is_nothing_to_measure(texts):
    with pytest.raises(DataError, match="no word"):
        fertility(ByteVocabulary().build([]), texts)
