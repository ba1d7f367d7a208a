from __future__ import annotations

import time

import pytest

from overtone.data.tokenize import encode
from toys import sentences, write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def rows(encoded):
    return [encoded.flat[a:b].tolist() for a, b in zip(encoded.offsets, encoded.offsets[1:], strict=False)]


def test_ids_are_the_tokenizer_s(tokenizer):
    texts = [text for text, _ in sentences(12)] + ["", "¡ñandú!", "日本語", "😀", "  spaces\tand\nlines "]
    encoded = encode(tokenizer, texts, 20)
    assert rows(encoded) == tokenizer(texts, truncation=True, max_length=20)["input_ids"]
    assert len(encoded) == len(texts)
    assert encoded.pad_id == tokenizer.pad_token_id
    assert encoded.cut == sum(len(row) == 20 for row in rows(encoded))


def test_what_was_said_before_is_the_first_of_a_pair(tokenizer):
    texts = ["happy day", "cry", "the house", "laugh"]
    before = ["we went", None, "sunny street again", ""]
    found = rows(encode(tokenizer, texts, 20, before))
    assert found[1] == tokenizer("cry")["input_ids"]
    for i in (0, 2, 3):
        assert found[i] == tokenizer(before[i], texts[i])["input_ids"]
    assert rows(encode(tokenizer, texts, 20, [None] * 4)) == rows(encode(tokenizer, texts, 20))


def test_of_a_long_pair_the_longer_part_is_cut(tokenizer):
    found = rows(encode(tokenizer, ["happy day"], 10, ["the house of " * 900]))[0]
    assert len(found) == 10
    assert found[-3:] == tokenizer("happy day")["input_ids"][1:]


def test_no_texts(tokenizer):
    encoded = encode(tokenizer, [], 20)
    assert len(encoded) == 0
    assert encoded.lengths.tolist() == []


def test_an_empty_text_is_two_marks(tokenizer):
    assert rows(encode(tokenizer, [""], 20)) == [[tokenizer.cls_token_id, tokenizer.sep_token_id]]


def test_ten_megabytes_are_read_quickly_and_alike(tokenizer):
    text = "happy day in the street " * 450_000
    begun = time.perf_counter()
    encoded = encode(tokenizer, [text, "a"], 64)
    assert time.perf_counter() - begun < 1
    assert rows(encoded)[0] == tokenizer(text[:2000], truncation=True, max_length=64)["input_ids"]
    assert encoded.cut == 1


def test_blanks_before_a_long_text_do_not_hide_it(tokenizer):
    found = rows(encode(tokenizer, ["\n" * 1_000_000 + "happy tears"], 16))[0]
    assert found == tokenizer("happy tears")["input_ids"]
