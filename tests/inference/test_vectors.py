"""The nearest vectors, beside sorting all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtone.errors import MissingExtraError, RunError
from overtone.inference import vectors as near
from overtone.inference.vectors import Approximate, ApproximateConfig, best, exact


def unit(values):
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float32)


def drawn(count, width=16, seed=0):
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


def sorted_all(vectors, query, k):
    """Every product in double precision, sorted by it and then by row."""
    scores = [sum(map(float.__mul__, row, query.tolist())) for row in vectors.tolist()]
    return sorted(range(len(vectors)), key=lambda row: (-scores[row], row))[:k]


@settings(max_examples=50)
@given(count=st.integers(1, 60), k=st.integers(1, 70), chunk=st.integers(1, 64), seed=st.integers(0, 999))
def test_exact_is_the_best_of_all_whatever_the_chunk(count, k, chunk, seed):
    vectors = drawn(count, seed=seed)
    vectors[seed % count] = vectors[0]  # a tie
    query = drawn(1, seed=seed + 1)[0]
    found = exact(vectors, query, k, chunk)
    assert found.rows.tolist() == sorted_all(vectors, query, k)
    whole = exact(vectors, query, k)
    np.testing.assert_array_equal(found.scores, whole.scores)
    assert (np.diff(found.scores) <= 0).all()


def test_equal_vectors_come_in_order_of_their_rows():
    vectors = np.repeat(drawn(3), 50, axis=0)
    for chunk in (1, 7, 150):
        found = exact(vectors, vectors[60], 60, chunk)
        assert found.rows[:50].tolist() == list(range(50, 100))
        assert found.rows.tolist() == sorted_all(vectors, vectors[60], 60)


def test_vectors_that_differ_by_less_than_single_precision_sums():
    """A matrix product may round these into another order; what is given must not depend on it."""
    width, count = 384, 200
    base = drawn(1, width)[0]
    vectors = unit(base + 1e-7 * np.random.default_rng(1).standard_normal((count, width)))
    for chunk in (1, 3, 64, count):
        assert exact(vectors, base, 20, chunk).rows.tolist() == sorted_all(vectors, base, 20)


def test_best_breaks_ties_by_row_in_any_order():
    scores = np.array([1.0, 2.0, 2.0, 0.5, 2.0])
    rows = np.array([9, 7, 3, 1, 5])
    assert best(rows, scores, 2).rows.tolist() == [3, 5]
    assert best(rows[::-1], scores[::-1], 4).rows.tolist() == [3, 5, 7, 9]
    assert best(rows[:0], scores[:0], 3).rows.tolist() == []


def clustered(count, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((count // 50, 32))
    return unit(
        centres[generator.integers(len(centres), size=count)] + 0.3 * generator.standard_normal((count, 32))
    )


def rows(index, vectors, query, probes):
    """The 20 rows that are found among so many cells."""
    return index.search(vectors, query, 20, ApproximateConfig(probes=probes)).rows.tolist()


def test_the_approximate_index_finds_most_of_them():
    vectors = clustered(3000)
    index, config = Approximate.build(vectors), ApproximateConfig(probes=8)
    shares = []
    for query in clustered(3000)[::100]:
        found, all_ = index.search(vectors, query, 10, config), exact(vectors, query, 10)
        shares.append(len(np.intersect1d(found.rows, all_.rows)) / 10)
        shared = np.isin(all_.rows, found.rows)
        np.testing.assert_array_equal(found.scores[: shared.sum()][0], all_.scores[0])  # itself, exactly
    assert np.mean(shares) > 0.9


def test_with_every_cell_probed_nothing_is_missed():
    vectors = clustered(2000)
    index, config = Approximate.build(vectors), ApproximateConfig(probes=10_000, candidates=20)
    for query in clustered(2000, seed=1)[:5]:
        assert (
            index.search(vectors, query, 10, config).rows.tolist() == exact(vectors, query, 10).rows.tolist()
        )


def test_building_it_twice_gives_the_same():
    vectors = clustered(1500)
    one, two = (Approximate.build(vectors) for _ in range(2))
    for query in vectors[:20]:
        assert rows(one, vectors, query, probes=2) == rows(two, vectors, query, probes=2)


def test_few_vectors_are_one_cell():
    vectors = drawn(5)
    found = Approximate.build(vectors).search(vectors, vectors[3], 10, ApproximateConfig())
    assert found.rows[0] == 3
    assert sorted(found.rows.tolist()) == [0, 1, 2, 3, 4]


def test_it_is_the_same_from_disk(tmp_path):
    vectors = clustered(1500)
    built = Approximate.build(vectors)
    built.save(tmp_path / "cells.faiss")
    read = Approximate.load(tmp_path / "cells.faiss")
    for query in vectors[:10]:
        assert rows(read, vectors, query, probes=3) == rows(built, vectors, query, probes=3)


def test_more_probes_find_more():
    vectors = drawn(3000, 32)
    index = Approximate.build(vectors)
    whole = {tuple(query): set(exact(vectors, query, 20).rows.tolist()) for query in drawn(20, 32, seed=1)}
    shares = [
        np.mean(
            [
                len(found & set(rows(index, vectors, np.array(q, np.float32), probes)))
                for q, found in whole.items()
            ]
        )
        for probes in (1, 4, 40)
    ]
    assert shares[0] < shares[1] < shares[2]


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "cells.faiss").write_bytes(b"no index")
    with pytest.raises(RunError, match=r"cells.faiss is damaged"):
        Approximate.load(tmp_path / "cells.faiss")


def test_without_faiss_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"overtone\[search\]"):
        near.Approximate.build(drawn(5))
