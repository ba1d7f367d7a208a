from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from overtone.data.split import DataReport
from overtone.errors import RunError
from overtone.evaluation import language_report, texts
from overtone.evaluation.findings import Licence, Origin, Training
from overtone.evaluation.language_report import Evidence, LanguageReport
from overtone.evaluation.texts import Likelihoods

HISTORY = [
    {"step": step, "epoch": step / 4, "loss": 5 - step / 4, "losses": {"next": 5 - step / 4}}
    for step in range(1, 9)
] + [
    {"step": 4, "epoch": 1, "best": True, "validation": {"loss": 4.4, "bits_per_byte": 3.1}},
    {"step": 8, "epoch": 2, "best": True, "validation": {"loss": 3.9, "bits_per_byte": 2.8}},
]


def evidence(gap, text="test"):
    sizes = np.arange(100, 140)
    ids = tuple(f"toy/{i}" for i in range(40))
    other = sizes * np.random.default_rng(0).uniform(1.4, 1.6, 40)
    noise = np.random.default_rng(1).uniform(-0.2, 0.2, 40) * sizes
    found = Likelihoods(
        text, ids, ids, sizes, sizes, sizes, {"tongue|1": other - gap * sizes + noise, "ngram-5": other}
    )
    return Evidence(found, texts.standings(found, seed=7, resamples=300), "A note <b>.")


def report(*found, unknown=0.0):
    return LanguageReport(
        origin=Origin(
            "A toy.", "overtone run tongue", 7, {"commit": "abc", "date": "2026-01-01", "versions": {}}
        ),
        texts=found,
        training=Training(HISTORY, "bits_per_byte", 61.0, 10.0, 1000, 1000, 2**30),
        licence=Licence("CC-BY-SA", "trained from scratch", True),
        data=DataReport(
            rows={"train": 9, "validation": 1, "test": 2},
            counts={},
            left_out={"too many": 3},
            leaks=(),
            dropped={},
            licence="CC-BY-SA",
            commercial=True,
        ),
        sizes=[["tokens a second", "1,280"]],
        unknown={each.found.text: unknown for each in found},
        samples=[("", "x" * 2000), ("The | first", "a *star*")],
    )


@pytest.mark.parametrize(
    ("gap", "said"),
    [(0.3, "is better than"), (-0.3, "is worse than"), (0.0, "is not shown to differ from")],
)
def test_the_verdict(gap, said):
    sentence = language_report.verdict(evidence(gap))
    assert f"tongue|1 {said} ngram-5" in sentence
    assert "bits a byte on 40 test documents" in sentence


def test_what_the_report_tells(tmp_path):
    page = language_report.write(report(evidence(0.3), evidence(0.1, "wikitext2"), unknown=0.05), tmp_path)
    text = (tmp_path / "report.md").read_text()
    for part in (
        "| ngram-5 |",
        "### wikitext2",
        "5.00% of its tokens are unknown",
        "Rows: 9 train, 1 validation, 2 test",
        "| too many | 3 |",
        "| tokens a second | 1,280 |",
        "Weights: trained from scratch",
        "overtone run tongue",
        "The \\| first",
        "A note",
    ):
        assert part in text, part
    assert "x" * 1000 not in text
    html = page.read_text()
    assert html.count("data:image/png;base64,") == 2
    assert "<b>." not in html


def test_a_report_without_a_baseline_is_an_error(tmp_path):
    alone = evidence(0.3)
    alone = dataclasses.replace(alone, standings=alone.standings[:1])
    with pytest.raises(RunError, match="without a baseline"):
        language_report.write(report(alone), tmp_path)
