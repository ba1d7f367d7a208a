from __future__ import annotations

import dataclasses
import hashlib
import shutil

import pytest

from overtone import pipeline, proof, recipe, system
from overtone.data.sources import sarcasm_headlines
from overtone.errors import DataError, RunError
from overtone.run import Run
from toys import sentences, task

NOT_HERE = "not tried: the data set sarcasm_headlines is not here"


def made(tiny, table, **changes):
    """A recipe of seconds with a cascade."""
    values = {
        "name": "moods",
        "tasks": {"emotion": task(table, data={"split": {"kind": "seeded", "validation": 0.4}})},
        "body": {"weights": str(tiny), "max_length": 64},
        "train": {"epochs": 1, "batch_size": 16, "optim": {"lr": 0.003, "head_lr": 0.01}},
        "evaluate": {"baselines": ["majority"], "resamples": 100},
        "cascade": {"risk": 0.5},
    }
    return recipe.parse({**values, **changes}, "test")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny, table):
    """A recipe, its data and its run, trained and not yet evaluated."""
    resolved, run = made(tiny, table), Run(tmp_path_factory.mktemp("runs") / "moods")
    with run.lock():
        pipeline.begin(resolved, run, overwrite=False)
        prepared = pipeline.prepare(resolved, run)
        pipeline.train(resolved, prepared, run)
    return resolved, prepared, run


@pytest.fixture
def mine(trained, tmp_path, monkeypatch):
    """A copy of the run that a test may change, with no data at hand but the shipped."""
    monkeypatch.delenv("OVERTONE_DATA", raising=False)
    monkeypatch.setenv("OVERTONE_CACHE", str(tmp_path / "cache"))
    resolved, prepared, run = trained
    shutil.copytree(run.folder, tmp_path / "moods")
    return resolved, prepared, Run(tmp_path / "moods")


@pytest.fixture
def headlines(tmp_path, monkeypatch):
    """A file of headlines where the data set is looked for, and a card that says so; a function makes it."""

    def put():
        folder = tmp_path / "cache" / "data" / "sarcasm_headlines"
        folder.mkdir(parents=True)
        rows = [
            f"{i % 2}\t{'area man' if i % 2 else 'senate vote'} {text}"
            for i, (text, _) in enumerate(sentences(80))
        ]
        content = "is_sarcastic\theadline\n" + "\n".join(rows) + "\n"
        (folder / "headlines.tsv").write_text(content)
        files = {"headlines.tsv": hashlib.sha256(content.encode()).hexdigest()}
        monkeypatch.setattr(
            sarcasm_headlines, "CARD", dataclasses.replace(sarcasm_headlines.CARD, files=files)
        )
        return folder / "headlines.tsv"

    return put


def test_headlines_that_are_not_here_are_told(mine):
    _, _, run = mine
    proof.prove(*mine)
    assert run.facts()["sarcasm"] == NOT_HERE
    assert "| sarcasm detector | not tried: the data set sarcasm" in (run.folder / "report.md").read_text()
    assert run.facts()["fingerprints"].keys() == {"moods"}
    licence = run.facts()["licence"]
    assert licence == {"data": "the licence of your own data", "weights": "unknown", "commercial": None}
    assert system.load(run.folder).licence == licence
    assert "unknown: check the licence of your own data and weights" in (run.folder / "report.md").read_text()


def test_headlines_that_are_tried_are_scored(mine, headlines):
    headlines()
    proof.prove(*mine)
    _, _, run = mine
    told = run.facts()["sarcasm"]
    assert told.startswith("on 12 held-out headlines accuracy 1.000 ")
    assert told in (run.folder / "report.md").read_text()


def test_headlines_that_are_kept_are_in_the_manifest(mine, headlines, monkeypatch):
    file = headlines()

    def kept(*arguments):
        cascade, found = fit(*arguments)
        cascade.sarcasm = arguments[2]
        cascade.rules = {
            dataclasses.replace(use, sarcasm=heard): rule
            for use, rule in cascade.rules.items()
            for heard in (True, False)
        }
        return cascade, found

    fit = proof.fit_cascade
    monkeypatch.setattr(proof, "fit_cascade", kept)
    proof.prove(*mine)
    _, _, run = mine
    facts = run.facts()
    assert facts["fingerprints"].keys() == {"moods", "sarcasm_headlines"}
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert facts["fingerprints"]["sarcasm_headlines"]["files"] == {"headlines.tsv": digest}
    assert facts["licence"]["commercial"] is False
    assert "Not for commercial use" in (run.folder / "report.md").read_text()
    pipeline.prepare(mine[0], run)  # headlines are no rows of the task: their fingerprint is not compared


def test_headlines_that_were_changed_are_refused(mine, headlines):
    file = headlines()
    file.write_text(file.read_text() + "0\tone more\n")
    with pytest.raises(DataError, match=r"headlines\.tsv is not the file that the card"):
        proof.prove(*mine)


def test_without_the_sarcasm_check_nothing_is_told(mine):
    resolved, prepared, run = mine
    without = resolved.model_copy(update={"cascade": resolved.cascade.model_copy(update={"sarcasm": False})})
    proof.prove(without, prepared, run)
    assert run.facts()["sarcasm"] is None
    assert "sarcasm detector" not in (run.folder / "report.md").read_text()


def test_too_few_rows_leave_the_cascade_out_and_nothing_else_is_hidden(mine, monkeypatch):
    resolved, prepared, run = mine
    rows = prepared.splits["emotion"]
    few = tuple(
        next(r for r in rows.validation if r.targets["emotion"] == label)
        for label in resolved.tasks["emotion"].data.labels
    )
    splits = {"emotion": dataclasses.replace(rows, validation=few)}
    proof.prove(resolved, dataclasses.replace(prepared, splits=splits), run)
    assert "rows to certify" in run.facts()["cascade"]["left_out"]
    assert "## Cascade" not in (run.folder / "report.md").read_text()

    def broken(*_):
        raise DataError("something else")

    monkeypatch.setattr(proof, "candidates", broken)
    with pytest.raises(DataError, match="something else"):
        proof.prove(resolved, prepared, run)


def test_a_model_without_a_cascade_takes_the_same_switches_and_no_others(trained):
    loaded = system.load(trained[2].folder)
    assert loaded.cascade is None
    plain = loaded.classify("happy sunny laugh")
    assert loaded.classify("happy sunny laugh", backup=False, sarcasm=False, emoji=False, ask=False) == plain
    with pytest.raises(TypeError, match="bakcup"):
        loaded.classify("happy sunny laugh", bakcup=False)


def test_the_shipped_classifier_may_be_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(system, "shipped", lambda: tmp_path / "nothing")
    with pytest.raises(RunError, match="the classifier that ships with the package is not here") as caught:
        system.load()
    assert "overtone classify runs/emotion-mini" in caught.value.hint
