from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pytest

from overtone.errors import RunError
from overtone.inference.decisions import Decision, DecisionLog, Statistics, Step


def decision(label, confidence, source):
    steps = () if label is None else (Step("primary", label, confidence, "secret note"),)
    scores = {} if label is None else {label: confidence, "other": 1 - confidence}
    return Decision(label, confidence, scores, source, steps)


ROWS = [
    decision("joy", 0.9, "primary"),
    decision("anger", 0.5, "ask"),
    decision(None, 0.0, "noise"),
    decision("joy", 0.7, "backup"),
]


def test_the_log_holds_no_text_unless_asked(tmp_path):
    texts = ["my secret", "second secret", "", "third"]
    path = tmp_path / "deep" / "log.jsonl"
    DecisionLog(path).add(texts, ROWS)
    DecisionLog(path).add(texts[:1], ROWS[:1])
    assert "secret" not in path.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 5
    assert set(rows[0]) == {"time", "label", "confidence", "source", "steps", "length"}
    assert rows[0]["length"] == len(texts[0])
    assert rows[0]["steps"] == [["primary", "joy", 0.9]]
    assert rows[2]["label"] is None
    assert datetime.fromisoformat(rows[0]["time"]).utcoffset().total_seconds() == 0

    DecisionLog(tmp_path / "full.jsonl", with_text=True).add(["hello"], ROWS[:1])
    assert json.loads((tmp_path / "full.jsonl").read_text())["text"] == "hello"


def test_a_log_that_cannot_be_written(tmp_path):
    with pytest.raises(RunError, match="decision log"):
        DecisionLog(tmp_path).add(["a"], ROWS[:1])


def test_statistics_by_hand():
    statistics = Statistics()
    assert statistics.fallback_share == 0.0
    statistics.add(ROWS[:2])
    statistics.add(ROWS[2:])
    assert statistics.n == 4
    assert statistics.fallback_share == 0.5
    assert dict(statistics.labels) == {"joy": 2, "anger": 1}
    assert statistics.mean_confidence == pytest.approx(np.array([0.9, 0.7, 0.7]))


def test_what_counts_as_answered():
    assert [row.answered for row in ROWS] == [True, False, False, True]
