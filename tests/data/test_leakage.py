from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overtone.data.leakage import LeakageConfig, check, near_between, near_pairs
from overtone.data.records import Record, Splits
from overtone.data.text import words

TEXTS = st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=12).map(" ".join), max_size=14)
THRESHOLDS = st.one_of(st.sampled_from([0.25, 0.5, 0.6, 2 / 3, 0.75, 0.8, 0.85, 1.0]), st.floats(0.05, 1.0))


def jaccard(one, other):
    a, b = set(words(one)), set(words(other))
    return len(a & b) / len(a | b)


@given(texts=TEXTS, threshold=THRESHOLDS, minimum=st.integers(1, 6))
def test_near_pairs_equals_brute_force(texts, threshold, minimum):
    long = [i for i, text in enumerate(texts) if len(set(words(text))) >= minimum]
    expected = [
        (i, j, jaccard(texts[i], texts[j]))
        for i in long
        for j in long
        if i < j and jaccard(texts[i], texts[j]) >= threshold
    ]
    assert near_pairs(texts, threshold, minimum) == expected


@given(left=TEXTS, right=TEXTS, threshold=THRESHOLDS)
def test_near_between_equals_brute_force(left, right, threshold):
    expected = [
        (i, j, jaccard(one, other))
        for i, one in enumerate(left)
        for j, other in enumerate(right)
        if min(len(set(words(one))), len(set(words(other)))) >= 5 and jaccard(one, other) >= threshold
    ]
    assert sorted(near_between(left, right, threshold)) == expected


def test_a_bound_that_is_met_exactly_counts():
    one = " ".join(f"w{i}" for i in range(20))
    other = " ".join(f"w{i}" for i in range(17))
    assert near_pairs([one, other], 0.85) == [(0, 1, 0.85)]


def rows(split, texts):
    return tuple(Record(f"{split}-{i}", text, {}, "toy", split) for i, text in enumerate(texts))


LONG = "the rain kept falling on the old tin roof all through the night"
SPLITS = Splits(
    train=rows("train", ["I won!", LONG + " again", "only here, far from all others", "Short  one", "Mine."]),
    validation=rows("validation", ["i WON", "short one!", "a validation text of its own"]),
    test=rows("test", ["I won.", LONG, "mine, or yours?"]),
)


def test_test_wins_over_validation_and_validation_over_train():
    splits, leaks = check(SPLITS, LeakageConfig())
    assert [(leak.row, leak.twin, leak.exact) for leak in leaks] == [
        ("validation-0", "test-0", True),
        ("train-0", "test-0", True),
        ("train-1", "test-1", False),
        ("train-3", "validation-1", True),
    ]
    assert leaks[2].similarity == pytest.approx(jaccard(LONG, LONG + " again"))
    assert [row.id for row in splits.train] == ["train-2", "train-4"]
    assert [row.id for row in splits.validation] == ["validation-1", "validation-2"]
    assert splits.test == SPLITS.test
    assert check(splits, LeakageConfig()) == (splits, ())


def test_leaks_can_be_reported_alone():
    splits, leaks = check(SPLITS, LeakageConfig(drop=False))
    assert splits == SPLITS
    assert [(leak.row, leak.twin_split) for leak in leaks] == [
        ("validation-0", "test"),
        ("train-0", "test"),
        ("train-1", "test"),
        ("train-0", "validation"),
        ("train-3", "validation"),
    ]


def test_the_threshold_is_the_configs():
    _, leaks = check(SPLITS, LeakageConfig(near=1.0))
    assert "train-1" not in [leak.row for leak in leaks]


def test_the_join_is_fast_on_words_as_frequent_as_in_a_language():
    draw = random.Random(7)
    vocabulary = [f"w{i}" for i in range(20_000)]
    weights = list(itertools.accumulate(1 / (i + 1) for i in range(20_000)))

    def sentences(n):
        return [
            " ".join(draw.choices(vocabulary, cum_weights=weights, k=draw.randint(5, 25))) for _ in range(n)
        ]

    held = sentences(5_000)
    train = [*sentences(38_000), *held]
    start = time.process_time()
    found = {(i, j) for i, j, _ in near_between(train, held, 0.85)}
    assert time.process_time() - start < 15
    assert {(38_000 + j, j) for j, text in enumerate(held) if len(set(words(text))) >= 5} <= found
