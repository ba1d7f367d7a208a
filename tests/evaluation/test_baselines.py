from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from overtone.data.records import Record
from overtone.errors import DataError
from overtone.evaluation.baselines import BASELINES, Setting, fit, majority, probe, tfidf
from overtone.models.linear import PENALTIES, STRENGTHS
from overtone.scores import Estimates, Predictions, summary

LABELS = ("joy", "sadness", "fear")
WORDS = {"joy": ["sun", "song", "dance"], "sadness": ["rain", "tears", "alone"], "fear": ["dark", "ghost"]}
WORTH = {"good": 1.0, "fine": 0.4, "dull": -0.4, "bad": -1.0}
METRICS = {"classification": "macro_f1", "multilabel": "macro_f1", "regression": "pearson"}


def records(n, seed, kind="classification"):
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        if kind == "regression":
            shown = [str(word) for word in rng.choice(list(WORTH), size=3)]
            total = sum(WORTH[word] for word in shown)
            target = tuple(3 + share * total + rng.normal() * 0.2 for share in (1, -0.5, 0))
            found.append(Record(f"{seed}-{i}", " ".join(shown), {"emotion": target}, "made"))
            continue
        several = kind == "multilabel"
        names = [label for label in LABELS if rng.random() < 0.35] if several else []
        label = rng.choice(LABELS, p=[0.5, 0.3, 0.2])
        words = [str(rng.choice(WORDS[name])) for name in (names if several else [label])]
        words.append(str(rng.choice(["day", "night", "so"])))
        target = tuple(names) if several else str(label)
        found.append(Record(f"{seed}-{i}", " ".join(words), {"emotion": target}, "made"))
    return found


def embed(texts):
    """Counts of some words, a constant, and the length."""
    return np.array(
        [[t.count("sun"), t.count("rain"), t.count("bad"), t.count("fine"), 3.0, len(t)] for t in texts],
        dtype=np.float64,
    )


def setting(kind, **more):
    usual = {"labels": LABELS, "target": "emotion", "metric": METRICS[kind], "embed": embed}
    return Setting(kind, **{**usual, **more})


@pytest.fixture(params=METRICS)
def rows(request):
    parts = [records(n, seed, request.param) for seed, n in enumerate((120, 60, 50))]
    return *parts, setting(request.param)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_predicts_the_rows_it_is_given(name, rows):
    train, validation, test, asked = rows
    fitted = fit(name, train, validation, asked)
    found = fitted.predict(test)
    assert fitted.name == ("mean" if asked.kind == "regression" and name == "majority" else name)
    assert found.ids == tuple(record.id for record in test)
    assert found.labels == LABELS
    assert found.sources == ("made",) * 50
    assert found.kind == asked.kind
    assert (found.gold == asked.gold(test)).all()
    again = fit(name, train, validation, asked).predict(test)
    assert (again.decided == found.decided).all()
    if isinstance(found, Predictions):
        assert ((found.probabilities >= 0) & (found.probabilities <= 1)).all()
        assert (again.probabilities == found.probabilities).all()


def test_the_better_baseline_wins(rows):
    train, validation, test, asked = rows
    scores = {
        name: summary(fit(name, train, validation, asked).predict(test))[asked.metric] for name in BASELINES
    }
    assert scores["majority"] < scores["probe"] < scores["tfidf"]


def test_majority_gives_the_commonest_label_or_the_mean(rows):
    train, validation, test, asked = rows
    found = majority(train, validation, asked).predict(test)
    gold = asked.gold(train)
    if isinstance(found, Estimates):
        assert found.decided == pytest.approx(np.tile(gold.mean(axis=0), (50, 1)))
        assert summary(found)["pearson"] == 0
    elif asked.kind == "multilabel":
        assert found.decided.sum(axis=1).tolist() == [1] * 50
        assert (found.decided.argmax(axis=1) == gold.sum(axis=0).argmax()).all()
        assert found.probabilities[0] == pytest.approx(gold.mean(axis=0))
    else:
        assert set(found.decided) == {0}
        assert found.probabilities[0] == pytest.approx(np.bincount(gold) / 120)


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_a_label_that_is_never_or_always_there(kind):
    there = "joy" if kind == "classification" else ("joy",)
    train = [Record(str(i), "sun", {"emotion": there}, "made") for i in range(4)]
    found = majority(train, train, setting(kind)).predict(train)
    assert found.probabilities == pytest.approx(np.tile([1.0, 0, 0], (4, 1)))
    assert (found.decided == found.gold).all()


def test_thresholds_of_multilabel_baselines_are_tuned(rows):
    train, validation, _, asked = rows
    for make in (tfidf, probe):
        thresholds = make(train, validation, asked).thresholds
        if asked.kind == "multilabel":
            assert thresholds.shape == (3,)
            assert (thresholds != 0.5).any()
        else:
            assert thresholds is None


def test_the_probe_equals_scikit_learn_on_scaled_embeddings():
    train, validation, test = (records(n, seed) for seed, n in enumerate((120, 60, 50)))
    asked = setting("classification")
    ours = probe(train, validation, asked).predict(test).probabilities
    scaler = StandardScaler().fit(embed([record.text for record in train]))
    inputs, asked_of = (scaler.transform(embed([row.text for row in rows])) for rows in (train, test))
    candidates = []
    for strength in STRENGTHS:
        for weighting in ("balanced", None):
            model = LogisticRegression(C=strength, class_weight=weighting, tol=1e-8, max_iter=1000)
            candidates.append(model.fit(inputs, asked.gold(train)).predict_proba(asked_of))
    assert min(np.abs(ours - theirs).max() for theirs in candidates) < 2e-3


def test_the_probe_of_numbers_equals_scikit_learn_for_each_number():
    train, validation, test = (records(n, seed, "regression") for seed, n in enumerate((120, 60, 50)))
    asked = setting("regression")
    ours = probe(train, validation, asked).predict(test).decided
    scaler = StandardScaler().fit(embed([record.text for record in train]))
    inputs, chosen_on, asked_of = (
        scaler.transform(embed([row.text for row in rows])) for rows in (train, validation, test)
    )
    for number in range(3):
        fits = [Ridge(alpha=a).fit(inputs, asked.gold(train)[:, number]) for a in PENALTIES]
        truth = asked.gold(validation)[:, number]
        best = max(fits, key=lambda model, y=truth: pearsonr(model.predict(chosen_on), y).statistic)
        assert ours[:, number] == pytest.approx(best.predict(asked_of), abs=1e-4)


@pytest.mark.parametrize("make", [tfidf, probe])
def test_one_number_alone_is_estimated_as_among_others(make):
    parts = [records(n, seed, "regression") for seed, n in enumerate((120, 60, 50))]
    first = [
        [dataclasses.replace(row, targets={"emotion": row.targets["emotion"][:1]}) for row in part]
        for part in parts
    ]
    alone = make(*first[:2], setting("regression", labels=("joy",))).predict(first[2])
    among = make(*parts[:2], setting("regression")).predict(parts[2])
    assert alone.decided[:, 0] == pytest.approx(among.decided[:, 0], abs=1e-3)


def test_the_strength_is_chosen_by_the_tasks_own_metric():
    rng = np.random.default_rng(0)

    def lopsided(n):
        """Nine rows in ten are joy, and no word tells for sure."""
        found = []
        for i in range(n):
            joy = rng.random() < 0.9
            word = "sun" if rng.random() < (0.7 if joy else 0.3) else "rain"
            found.append(Record(f"{n}-{i}", word, {"emotion": "joy" if joy else "fear"}, "made"))
        return found

    train, validation, test = (lopsided(n) for n in (400, 401, 402))
    found = {
        metric: summary(tfidf(train, validation, setting("classification", metric=metric)).predict(test))
        for metric in ("accuracy", "macro_f1")
    }
    assert found["accuracy"]["accuracy"] > found["macro_f1"]["accuracy"] + 0.05
    assert found["macro_f1"]["macro_f1"] > found["accuracy"]["macro_f1"] + 0.05


def test_a_path_as_metric_is_understood():
    train, validation, test = (records(n, seed, "regression") for seed, n in enumerate((120, 60, 50)))
    one = tfidf(train, validation, setting("regression", metric="joy.pearson")).predict(test)
    whole = tfidf(train, validation, setting("regression")).predict(test)
    assert (one.decided == whole.decided).all()
    train, validation, test = (records(n, seed) for seed, n in enumerate((120, 60, 50)))
    assert summary(tfidf(train, validation, setting("classification", metric="fear.f1")).predict(test))


def test_punctuation_tells_a_question():
    rng = np.random.default_rng(1)

    def turns(n):
        marks = rng.choice(["?", "."], size=n)
        return [
            Record(f"{n}-{i}", f"you came {mark}", {"emotion": "joy" if mark == "?" else "fear"}, "made")
            for i, mark in enumerate(marks)
        ]

    found = tfidf(turns(40), turns(20), setting("classification")).predict(turns(30))
    assert summary(found)["accuracy"] == 1


@pytest.mark.parametrize("make", [tfidf, probe])
def test_what_was_said_before_is_seen_and_told_from_what_is_said(make):
    rng = np.random.default_rng(2)

    def turns(n):
        """The label is in one of two words, whichever is not the text."""
        found = []
        for i in range(n):
            before = None if rng.random() < 0.2 else str(rng.choice(["sun", "rain"]))
            label = {"sun": "joy", "rain": "fear", None: "sadness"}[before]
            text = str(rng.choice(["sun", "rain"]))
            found.append(Record(f"{n}-{i}", text, {"emotion": label}, "made", context=before))
        return found

    train, validation, test = turns(150), turns(60), turns(61)
    found = make(train, validation, setting("classification")).predict(test)
    assert summary(found)["accuracy"] == 1
    blind = [[dataclasses.replace(row, context=None) for row in part] for part in (train, validation, test)]
    alone = make(*blind[:2], setting("classification")).predict(blind[2])
    assert summary(alone)["accuracy"] < 0.7


def test_the_probe_needs_embeddings(rows):
    train, validation, _, asked = rows
    with pytest.raises(DataError, match="frozen backbone"):
        probe(train, validation, dataclasses.replace(asked, embed=None))
