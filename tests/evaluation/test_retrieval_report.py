from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from overtone.errors import RunError
from overtone.evaluation import retrieval_report
from overtone.evaluation.benchmarks import retrieval
from overtone.evaluation.benchmarks.retrieval import Retrieved


def retrieved(values):
    scores = {measure: np.array(values) for measure in retrieval.SHOWN}
    return Retrieved(tuple(f"q{n:02d}" for n in range(len(values))), scores)


FOUND = {
    "ours": retrieved([1.0, 0.5] * 20),
    "worse": retrieved([0.5, 0.25] * 20),
    "better": retrieved([1.0, 1.0] * 20),
    "same": retrieved([0.5, 1.0] * 20),
}


def test_each_standing_is_a_mean_and_what_the_first_gains():
    ours, *others = retrieval.standings(FOUND, {}, seed=7, resamples=200)
    assert ours.gain is None
    assert ours.figures["mrr_10"].value == pytest.approx(0.75)
    for each, gain in zip(others, (0.375, -0.25, 0.0), strict=True):
        assert each.gain.value == pytest.approx(gain)
        assert each.gain.low <= gain <= each.gain.high


def verdicts(found, rivals):
    parts = {"test": retrieval.standings(found, rivals, seed=7, resamples=200)}
    report = SimpleNamespace(parts=parts, sizes={"test": 40}, rivals=rivals)
    return retrieval_report.verdicts(report)


def test_what_is_more_than_another_is_set_against_that_one():
    worse, better, _ = verdicts(FOUND, {"better": "worse"})
    assert worse.startswith("ours is better than worse")
    assert better.startswith("better is better than worse: 1.000 against 0.375 mrr_10")
    gain = retrieval.standings(FOUND, {"better": "worse"}, seed=7, resamples=200)[2].gain
    assert gain.value == pytest.approx(0.625)


def test_a_verdict_is_as_sure_as_the_interval():
    worse, better, same = verdicts(FOUND, {})
    assert worse.startswith("ours is better than worse: 0.750 against 0.375 mrr_10 on 40 test questions")
    assert "ours is worse than better" in better
    assert "ours is not shown to differ from same" in same


def test_a_report_without_a_baseline_is_refused():
    with pytest.raises(RunError, match="without a baseline"):
        verdicts({"ours": FOUND["ours"]}, {})
