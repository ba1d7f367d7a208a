from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from overtone.data.records import Record
from overtone.errors import DataError
from overtone.evaluation.baselines import BASELINES, Setting, majority, probe, tfidf
from overtone.models.linear import STRENGTHS
from overtone.scores import summary

LABELS = ("joy", "sadness", "fear")
WORDS = {"joy": ["sun", "song", "dance"], "sadness": ["rain", "tears", "alone"], "fear": ["dark", "ghost"]}


def records(n, seed, multilabel=False):
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        names = [label for label in LABELS if rng.random() < 0.35] if multilabel else []
        label = rng.choice(LABELS, p=[0.5, 0.3, 0.2])
        shown = names if multilabel else [label]
        words = [str(rng.choice(WORDS[name])) for name in shown] + [str(rng.choice(["day", "night", "so"]))]
        target = tuple(names) if multilabel else str(label)
        found.append(Record(f"{seed}-{i}", " ".join(words), {"emotion": target}, "made"))
    return found


def embed(texts):
    """Counts of two words, a constant, and the length."""
    return np.array([[t.count("sun"), t.count("rain"), 3.0, len(t)] for t in texts], dtype=np.float64)


@pytest.fixture(params=[False, True], ids=["single", "multi"])
def rows(request):
    parts = [records(n, seed, request.param) for seed, n in enumerate((120, 60, 50))]
    return *parts, Setting(LABELS, "emotion", request.param, embed)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_predicts_the_rows_it_is_given(name, rows):
    train, validation, test, setting = rows
    fitted = BASELINES[name](train, validation, setting)
    found = fitted.predict(test)
    assert fitted.name == name
    assert found.ids == tuple(record.id for record in test)
    assert found.labels == LABELS
    assert found.sources == ("made",) * 50
    assert found.multilabel == setting.multilabel
    assert (found.gold == setting.gold(test)).all()
    assert (found.probabilities == fitted.predict_proba([record.text for record in test])).all()
    assert ((found.probabilities >= 0) & (found.probabilities <= 1)).all()
    again = BASELINES[name](train, validation, setting).predict(test)
    assert (again.probabilities == found.probabilities).all()


def test_the_better_baseline_wins(rows):
    train, validation, test, setting = rows
    scores = {
        name: summary(fit(train, validation, setting).predict(test))["macro_f1"]
        for name, fit in BASELINES.items()
    }
    assert scores["majority"] < scores["probe"] < scores["tfidf"]


def test_majority_gives_the_commonest_label(rows):
    train, validation, test, setting = rows
    found = majority(train, validation, setting).predict(test)
    gold = setting.gold(train)
    if setting.multilabel:
        assert found.decided.sum(axis=1).tolist() == [1] * 50
        assert (found.decided.argmax(axis=1) == gold.sum(axis=0).argmax()).all()
        assert found.probabilities[0] == pytest.approx(gold.mean(axis=0))
    else:
        assert set(found.decided) == {0}
        assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(50))


def test_thresholds_of_multilabel_baselines_are_tuned(rows):
    train, validation, _, setting = rows
    for fit in (tfidf, probe):
        thresholds = fit(train, validation, setting).thresholds
        if setting.multilabel:
            assert thresholds.shape == (3,)
            assert (thresholds != 0.5).any()
        else:
            assert thresholds is None


def test_the_probe_equals_scikit_learn_on_scaled_embeddings():
    train, validation, test = (records(n, seed) for seed, n in enumerate((120, 60, 50)))
    setting = Setting(LABELS, "emotion", False, embed)
    ours = probe(train, validation, setting).predict_proba([record.text for record in test])
    scaler = StandardScaler().fit(embed([record.text for record in train]))
    candidates = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, class_weight="balanced", tol=1e-8, max_iter=1000)
        model.fit(scaler.transform(embed([record.text for record in train])), setting.gold(train))
        candidates.append(model.predict_proba(scaler.transform(embed([record.text for record in test]))))
    assert min(np.abs(ours - theirs).max() for theirs in candidates) < 2e-3


def test_the_probe_needs_embeddings(rows):
    train, validation, _, setting = rows
    with pytest.raises(DataError, match="frozen backbone"):
        probe(train, validation, Setting(LABELS, "emotion", setting.multilabel))
