"""BM25 beside its formula written out, and on disk."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtone.errors import RunError
from overtone.inference.lexical import Lexical

TEXTS = (
    "The ferry runs twice a day.",
    "In winter the ferry does not run; the other ferry does.",
    "Bread is baked at night.",
    "",
    "Night ferry? No: night bread, and bread again.",
)


def naive(texts, query, k1=0.9, b=0.4):
    """Lucene's BM25 with exact lengths, from its definition; the texts hold plain words alone."""
    documents = [text.split() for text in texts]
    average = sum(map(len, documents)) / len(documents)
    scores = np.zeros(len(documents))
    for word in query.split():
        holders = sum(word in document for document in documents)
        idf = math.log(1 + (len(documents) - holders + 0.5) / (holders + 0.5))
        for row, document in enumerate(documents):
            count = Counter(document)[word]
            if count:
                scores[row] += idf * count / (count + k1 * (1 - b + b * len(document) / average))
    return scores


words = st.sampled_from(["ferry", "bread", "night", "day", "winter", "run"])
texts = st.lists(st.lists(words, max_size=8).map(" ".join), min_size=1, max_size=8).filter(any)


@settings(max_examples=50)
@given(texts=texts, query=st.lists(words, min_size=1, max_size=4).map(" ".join))
def test_scores_are_those_of_the_formula(texts, query):
    np.testing.assert_allclose(Lexical.build(texts).scores(query), naive(texts, query), rtol=1e-5, atol=1e-6)


def test_case_and_punctuation_do_not_count():
    index = Lexical.build(TEXTS)
    assert index.search("FERRY!", 10).rows.tolist() == index.search("ferry", 10).rows.tolist()


def test_only_texts_that_share_a_word_are_found():
    index = Lexical.build(TEXTS)
    assert sorted(index.search("bread", 10).rows.tolist()) == [2, 4]
    assert index.search("bread", 1).rows.tolist() == [4]
    assert len(index.search("zeppelin", 10).rows) == 0
    assert len(index.search("?!", 10).rows) == 0


def test_equal_scores_keep_the_order_of_the_texts():
    index = Lexical.build(["bread", "ferry", "bread", "bread"])
    assert index.search("bread", 2).rows.tolist() == [0, 2]


@pytest.mark.parametrize("texts", [TEXTS, ("", "?")])
def test_it_is_the_same_from_disk(texts, tmp_path):
    built = Lexical.build(texts)
    built.save(tmp_path / "bm25")
    read = Lexical.load(tmp_path / "bm25")
    for query in ("night ferry", "bread bread", "winter", "zeppelin"):
        np.testing.assert_array_equal(read.scores(query), built.scores(query))


def test_nothing_on_disk_is_pickled(tmp_path):
    Lexical.build(TEXTS).save(tmp_path)
    for path in tmp_path.iterdir():
        if path.suffix == ".npy":
            np.load(path, allow_pickle=False)
        else:
            assert path.suffix == ".json"


def test_a_pickle_in_its_place_is_refused(tmp_path):
    Lexical.build(TEXTS).save(tmp_path)
    np.save(tmp_path / "data.csc.index.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(RunError, match=r"damaged.*allow_pickle=False"):
        Lexical.load(tmp_path)


@pytest.mark.parametrize("name", ["data.csc.index.npy", "vocab.index.json", "params.index.json"])
def test_a_damaged_or_missing_file_is_named(name, tmp_path):
    Lexical.build(TEXTS).save(tmp_path)
    (tmp_path / name).write_bytes(b"\x93NUMPY")
    with pytest.raises(RunError, match="damaged"):
        Lexical.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(RunError, match="damaged"):
        Lexical.load(tmp_path)
