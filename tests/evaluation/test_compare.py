from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from overtone.breakdown import metric_named
from overtone.errors import DataError
from overtone.evaluation.compare import (
    Interval,
    System,
    aligned,
    flips,
    interval,
    load_predictions,
    mcnemar,
    mcnemar_of,
    paired,
    paired_statistic,
    save_predictions,
    standings,
)
from overtone.scores import METRICS, aurc, select

ACCURACY, MACRO_F1 = METRICS["accuracy"], METRICS["macro_f1"]


def decide(predictions, right):
    """The same rows, decided right or wrong as told."""
    wrong = (predictions.gold + 1) % 4
    return dataclasses.replace(predictions, decided=np.where(right, predictions.gold, wrong))


def test_interval_of_a_share_is_near_the_normal_one(single):
    p = decide(single(n=400), np.arange(400) < 300)
    found = interval(ACCURACY, p, seed=0, resamples=4000)
    half = norm.ppf(0.975) * np.sqrt(0.75 * 0.25 / 400)
    assert found.value == 0.75
    assert (found.low, found.high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.006)


def test_a_lower_level_gives_a_narrower_interval_inside(single):
    wide, narrow = (interval(MACRO_F1, single(), seed=0, level=level) for level in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_the_same_seed_gives_the_same_interval(make):
    assert interval(MACRO_F1, make(), seed=4, resamples=200) == interval(
        MACRO_F1, make(), seed=4, resamples=200
    )


def test_paired_intervals_are_narrower_than_the_difference_of_two(make):
    a, b = make(1), make(1, skill=1.3)
    found = paired(ACCURACY, a, b, seed=0)
    alone = [interval(ACCURACY, each, seed=0) for each in (a, b)]
    assert found.value == pytest.approx(ACCURACY.function(b) - ACCURACY.function(a))
    assert found.value > 0
    assert found.high - found.low < sum(each.high - each.low for each in alone) / 2
    assert found.low <= found.value <= found.high


def test_a_clear_difference_has_a_small_p_and_none_has_one(single):
    a, b = single(1, skill=0.3), single(2, skill=4)
    assert paired(ACCURACY, a, b, seed=0, resamples=999).p == pytest.approx(2 / 1000)
    backwards = paired(ACCURACY, b, a, seed=0, resamples=999)
    assert backwards.high < 0
    assert backwards.p == pytest.approx(2 / 1000)
    same = paired(ACCURACY, a, a, seed=0, resamples=100)
    assert dataclasses.astuple(same) == (0, 0, 0, 1)


def test_paired_statistic_equals_paired(single):
    a, b = single(1), single(2)
    right_a, right_b = a.correct, b.correct
    found = paired_statistic(
        lambda rows: right_b[rows].mean() - right_a[rows].mean(), 120, seed=0, resamples=300
    )
    expected = paired(ACCURACY, a, b, seed=0, resamples=300)
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(expected))


def test_paired_statistic_of_areas_under_the_risk_coverage_curve(single):
    p = single()
    noise = np.random.default_rng(0).random(120)

    def difference(rows):
        return aurc(p.confidence[rows], p.correct[rows]) - aurc(noise[rows], p.correct[rows])

    found = paired_statistic(difference, 120, seed=0, resamples=400)
    assert found.high < 0


def test_a_metric_that_does_not_apply_has_no_interval(single):
    found = interval(METRICS["hamming"], single(), seed=0, resamples=20)
    assert np.isnan(dataclasses.astuple(found)).all()


def test_mcnemar_by_hand(single):
    # Both right on 4 rows, only a on 1, only b on 7: p = 2 · (C(8,0) + C(8,1)) / 2^8.
    rows = np.arange(12)
    p = single(n=12)
    a, b = decide(p, rows < 5), decide(p, (rows < 4) | (rows >= 5))
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == (1, 7)
    assert found.p == pytest.approx(2 * 9 / 256)
    assert found.p == pytest.approx(binomtest(7, 8).pvalue)
    assert mcnemar(a, a).p == 1.0
    assert mcnemar_of(a.correct, b.correct) == found


def test_flips_name_what_was_fixed_and_broken(single):
    p = single(n=4)
    a, b = decide(p, [True, True, False, False]), decide(p, [True, False, True, False])
    found = flips(a, b)
    assert [(flip.id, flip.fixed) for flip in found] == [("r1", False), ("r2", True)]
    assert found[0].a == found[0].gold == p.labels[p.gold[1]]
    assert found[0].b == p.labels[(p.gold[1] + 1) % 4]
    assert len(flips(single(1), single(2))) == sum(dataclasses.astuple(mcnemar(single(1), single(2)))[:2])


def test_flips_of_multilabel_rows_join_the_labels(multi):
    p = select(multi(), np.array([0, 1]))
    gold = np.array([[1, 0, 1, 0], [0, 0, 0, 0]])
    a = dataclasses.replace(p, gold=gold, decided=np.array([[0, 0, 1, 0], [0, 0, 0, 0]]))
    b = dataclasses.replace(p, gold=gold, decided=np.array([[1, 0, 1, 0], [0, 1, 0, 0]]))
    assert [dataclasses.astuple(flip) for flip in flips(a, b)] == [
        ("r0", "joy, anger", "anger", "joy, anger", True),
        ("r1", "–", "–", "sadness", False),
    ]


def test_rows_are_matched_by_id(make):
    p = make()
    order = np.random.default_rng(0).permutation(120)
    again = aligned(p, select(p, order))
    assert again.ids == p.ids
    assert (again.decided == p.decided).all()
    assert paired(ACCURACY, p, select(p, order), seed=0, resamples=100).value == 0


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (lambda p: select(p, np.arange(3, 120)), "3 ids are in only one of 120 and 117"),
        (lambda p: dataclasses.replace(p, labels=("a", "b", "c", "d")), "labels differ"),
        (
            lambda p: dataclasses.replace(p, gold=np.where(np.arange(120) < 2, 3 - p.gold, p.gold)),
            "gold labels of 2 rows differ",
        ),
        (
            lambda p: dataclasses.replace(p, gold=np.eye(4, dtype=int)[p.gold]),
            "gold labels of all rows differ",
        ),
    ],
)
def test_other_rows_are_refused(other, match, single):
    with pytest.raises(DataError, match=match):
        paired(ACCURACY, single(), other(single()), seed=0)


def test_repeated_ids_cannot_be_matched_in_another_order(single):
    p = dataclasses.replace(single(n=3), ids=("a", "a", "b"))
    assert paired(ACCURACY, p, p, seed=0, resamples=10).value == 0
    with pytest.raises(DataError, match="ids repeat"):
        aligned(p, select(p, np.array([2, 0, 1])))


def test_no_rows_are_refused(single):
    with pytest.raises(DataError, match="no rows"):
        interval(ACCURACY, select(single(), np.zeros(0, dtype=np.int64)), seed=0)


def test_standings_equal_the_single_comparisons(make):
    model, weak, weaker = make(1, skill=2.0), make(2, skill=1.0), make(3, skill=0.2)
    systems = [System("tfidf", weak), System("majority", weaker)]
    found = standings(System("model", model), systems, ["accuracy", "macro_f1"], seed=3, resamples=200)
    assert [each.name for each in found] == ["model", "tfidf", "majority"]
    assert found[0].gain is None
    assert found[0].mcnemar is None
    assert found[1].gain == paired(ACCURACY, weak, model, seed=3, resamples=200)
    assert found[2].mcnemar == mcnemar(weaker, model)
    assert found[0].figures["macro_f1"] == interval(MACRO_F1, model, seed=3, resamples=200)


def test_numbers_are_compared_in_pairs_without_mcnemar(numbers):
    model, weak = numbers(1, skill=3.0), numbers(2, skill=0.5)
    path = metric_named("valence.pearson", model)
    found = paired(path, weak, model, seed=0, resamples=300)
    assert found.value == pytest.approx(path.function(model) - path.function(weak))
    assert found.low > 0
    assert mcnemar(weak, model) is None
    assert flips(weak, model) == ()
    order = np.random.default_rng(0).permutation(120)
    assert paired(path, weak, select(model, order), seed=0, resamples=300) == found


def test_standings_of_numbers(numbers):
    model, constant = numbers(1, skill=3.0), numbers()
    constant = dataclasses.replace(constant, decided=np.full_like(constant.gold, 3.0))
    names = ["pearson", "ccc", "mae", "arousal.ccc", "accuracy"]
    found = standings(System("model", model), [System("majority", constant)], names, seed=3, resamples=200)
    assert set(found[0].figures) == set(names[:-1])
    assert found[1].figures["pearson"] == Interval(0, 0, 0)
    assert found[1].mcnemar is None
    gain = found[1].gain
    assert gain is not None
    assert gain.value == pytest.approx(METRICS["pearson"].function(model))
    assert found[0].figures["arousal.ccc"] == interval(
        metric_named("arousal.ccc", model), model, seed=3, resamples=200
    )


def test_gold_in_single_precision_is_the_same_gold(numbers):
    p = numbers()
    single = dataclasses.replace(p, gold=p.gold.astype(np.float32).astype(float))
    assert aligned(p, single) is single
    with pytest.raises(DataError, match="gold labels of 1 rows differ"):
        aligned(p, dataclasses.replace(p, gold=p.gold + 0.001 * (np.arange(120) == 3)[:, None]))


def test_classes_and_numbers_are_not_compared(numbers, single):
    with pytest.raises(DataError, match="not of one kind: classification and regression"):
        aligned(single(), numbers())


def test_standings_leave_out_what_does_not_apply_and_refuse_what_is_unknown(single):
    model = System("model", single())
    assert set(standings(model, [], ["accuracy", "hamming"], seed=0, resamples=50)[0].figures) == {"accuracy"}
    with pytest.raises(DataError, match="'hamming' does not apply"):
        standings(model, [], ["hamming"], seed=0, resamples=50)
    with pytest.raises(DataError, match="did you mean 'macro_f1'"):
        standings(model, [], ["macr_f1"], seed=0)


def test_predictions_survive_the_disk(make, tmp_path):
    p, path = make(), tmp_path / "evaluation" / "test.jsonl"
    save_predictions(path, p)
    again = load_predictions(path)
    assert (again.ids, again.labels, again.sources) == (p.ids, p.labels, p.sources)
    assert (again.gold == p.gold).all()
    assert (again.decided == p.decided).all()
    assert (again.probabilities == p.probabilities.round(6)).all()
    first = path.read_bytes()
    save_predictions(path, again)
    assert path.read_bytes() == first


def test_a_file_of_predictions_holds_what_it_says(tmp_path, single):
    p, path = single(n=3), tmp_path / "test.jsonl"
    save_predictions(path, p)
    header, *rows = map(json.loads, path.read_text().splitlines())
    assert header == {"kind": "classification", "labels": list(p.labels)}
    assert list(rows[0]) == ["id", "source", "gold", "decided", "confidence", "correct", "scores"]
    assert rows[1]["source"] == "tweets"
    assert rows[0]["scores"]["joy"] == round(p.probabilities[0, 0], 6)
    assert rows[0]["confidence"] == max(rows[0]["scores"].values())
    assert [row["correct"] for row in rows] == p.correct.tolist()


def test_no_rows_survive_the_disk(make, tmp_path):
    p = select(make(), np.zeros(0, dtype=np.int64))
    save_predictions(tmp_path / "none.jsonl", p)
    again = load_predictions(tmp_path / "none.jsonl")
    assert again.gold.shape == p.gold.shape
    assert again.probabilities.shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda lines: [], "line 1"),
        (lambda lines: lines[1:], "line 1: no 'labels'"),
        (lambda lines: [lines[0].replace("classi", "falsi"), *lines[1:]], "line 1: the kind 'falsification'"),
        (lambda lines: [*lines[:2], lines[2][:30], *lines[3:]], "line 3"),
        (lambda lines: [*lines[:-1], lines[-1].replace('"gold"', '"goal"')], "line 4: no 'gold'"),
        (lambda lines: [*lines[:-1], lines[-1].replace('"joy": ', '"joy": 7')], "line 4: a score is not in"),
        (
            lambda lines: [*lines[:-1], lines[-1].replace('"joy": ', '"hop": ')],
            "line 4: 4 labels that",
        ),
        (
            lambda lines: [lines[0].replace("classification", "multilabel"), *lines[1:]],
            "line 2: .*multi-label row",
        ),
        (lambda lines: [lines[0], "[]"], "line 2"),
    ],
)
def test_a_broken_line_is_named(change, match, tmp_path, single):
    path = tmp_path / "test.jsonl"
    save_predictions(path, single(n=3))
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(DataError, match=match):
        load_predictions(path)


def test_estimates_survive_the_disk(numbers, tmp_path):
    p, path = numbers(), tmp_path / "test.jsonl"
    save_predictions(path, p)
    again = load_predictions(path)
    assert (again.ids, again.labels, again.sources) == (p.ids, p.labels, p.sources)
    assert again.gold == pytest.approx(p.gold, rel=1e-6)
    assert again.decided == pytest.approx(p.decided, rel=1e-6)
    assert aligned(p, again) is again
    first = path.read_bytes()
    save_predictions(path, again)
    assert path.read_bytes() == first
    header, row, *_ = map(json.loads, path.read_text().splitlines())
    assert header == {"kind": "regression", "labels": ["valence", "arousal", "dominance"]}
    assert row == {
        "id": "r0",
        "source": "letters",
        "gold": {label: float(f"{x:.7g}") for label, x in zip(p.labels, p.gold[0], strict=True)},
        "decided": {label: float(f"{x:.7g}") for label, x in zip(p.labels, p.decided[0], strict=True)},
    }
    none = select(p, np.zeros(0, dtype=np.int64))
    save_predictions(path, none)
    assert load_predictions(path).gold.shape == (0, 3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda line: line.replace('"valence"', '"violence"', 1), "line 2: 3 labels that are not the 3"),
        (lambda line: line.replace('"valence": ', '"valence": 1e999'), "line 2"),
        (lambda line: line.replace('"decided"', '"decide"'), "line 2: no 'decided'"),
    ],
)
def test_a_broken_line_of_numbers_is_named(change, match, numbers, tmp_path):
    path = tmp_path / "test.jsonl"
    save_predictions(path, numbers(n=3))
    first, second, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first, change(second), *rest]))
    with pytest.raises(DataError, match=match):
        load_predictions(path)


def test_a_missing_file_of_predictions(tmp_path):
    with pytest.raises(DataError, match="could not read"):
        load_predictions(tmp_path / "none.jsonl")
