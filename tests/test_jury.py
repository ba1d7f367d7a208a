"""Ensembles of runs: loaded, asked, evaluated beside their runs, from Python and by the command line."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
from rich.console import Console

import overtone
from overtone import cli, jury, pipeline, proof, recipe, system
from overtone.data.sources import reccon
from overtone.errors import RunError, UsageError
from overtone.evaluation.compare import load_predictions
from overtone.run import Run, read_json
from overtone.scores import summary
from toys import LABELS, sentences, task

TEXTS = ["happy tears again", "we went there", "rage"]


def trained(folder, tiny, tasks, **changes):
    """A run of seconds, trained and not evaluated."""
    values = {
        "name": "moods",
        "body": {"weights": str(tiny), "max_length": 64},
        "tasks": tasks,
        "train": {"epochs": 1, "batch_size": 16, "optim": {"lr": 0.003, "head_lr": 0.01}},
        "evaluate": {"baselines": ["majority"], "resamples": 200},
        **changes,
    }
    resolved, run = recipe.parse(values, "test"), Run(folder)
    with run.lock():
        pipeline.begin(resolved, run, overwrite=False)
        pipeline.train(resolved, pipeline.prepare(resolved, run), run)
    return run


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    """A file of texts with a number each."""
    path = tmp_path_factory.mktemp("sizes") / "sizes.jsonl"
    rows = [{"text": f"{text} .", "size": len(text)} for text, _ in sentences(60, seed=4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "kind": "regression",
        "data": {
            "sources": [{"kind": "table", "path": str(path), "numbers": ["size"]}],
            "target": "size",
            "labels": ["size"],
            "split": {"kind": "seeded"},
        },
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny, table, sizes):
    """Two runs of two tasks on the same rows, and one that says that it is of others."""
    folder, tasks = tmp_path_factory.mktemp("runs"), {"emotion": task(table), "size": sizes}
    for name, seed in (("a", 7), ("b", 8)):
        trained(folder / name, tiny, tasks, seed=seed, split_seed=7)
    shutil.copytree(folder / "b", folder / "other")
    other = Run(folder / "other")
    other.recipe.write_text(recipe.load(str(other.recipe), ["split_seed=1"]).to_yaml())
    return folder


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command line in this process: its exit code, standard output and standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["overtone", *map(str, words)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    monkeypatch.setattr(cli, "out", Console(soft_wrap=True, width=200))
    monkeypatch.setattr(cli, "err", Console(stderr=True, soft_wrap=True, width=200))
    return call


def test_the_ensemble_means(runs):
    together = overtone.load([runs / "a", str(runs / "b")])
    alone = [overtone.load(runs / name) for name in "ab"]
    for i, readout in enumerate(together.read(TEXTS)):
        parts = [each.read(TEXTS)[i] for each in alone]
        for head, found in readout.heads.items():
            for label, score in found.scores.items():
                mean = np.mean([part.heads[head].scores[label] for part in parts])
                assert score == pytest.approx(mean, rel=1e-6)
    assert together.cascade is None
    assert not together.decides


def test_an_ensemble_of_one_head_decides(tiny, table, tmp_path):
    run = trained(tmp_path / "one", tiny, {"emotion": task(table)})
    shutil.copytree(run.folder, tmp_path / "copy")
    together = overtone.load([run.folder, tmp_path / "copy"])
    decision = together.classify("happy glad smile")
    assert decision.label == overtone.load(run.folder).classify("happy glad smile").label
    assert sum(decision.scores.values()) == pytest.approx(1.0)
    with pytest.raises(UsageError, match="no classifier of one model"):
        _ = together.classifier
    assert overtone.load([run.folder]).classify("happy").label in LABELS


def test_the_strictest_licence_binds(runs, tmp_path):
    bound = Run(tmp_path / "bound")
    shutil.copytree(runs / "b", bound.folder)
    card = {"name": "r", "licence": reccon.CARD.licence, "commercial": False, "url": "u", "files": {}}
    bound.note(
        fingerprints={**bound.facts()["fingerprints"], "r": card},
        licence={"data": reccon.CARD.licence, "weights": "MIT", "commercial": False},
    )
    found = overtone.load([runs / "a", bound.folder]).licence
    assert found["commercial"] is False
    assert reccon.CARD.licence in found["data"]
    assert found["weights"] == "unknown and MIT"
    plain = overtone.load([runs / "a", runs / "b"])
    assert plain.licence == overtone.load(runs / "a").licence


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ([], UsageError, "an ensemble of no runs"),
        (["a", "a"], UsageError, "an ensemble of .*a, .*a"),
        (["a", "nothing"], RunError, "nothing is not a trained run"),
    ],
)
def test_what_is_no_ensemble(runs, names, error, message):
    with pytest.raises(error, match=message) as caught:
        system.load([runs / name for name in names])
    assert caught.value.hint


def test_the_ensemble_is_judged_beside_its_runs(runs, tmp_path):
    shutil.copytree(runs / "a", tmp_path / "a")
    run = Run(tmp_path / "a")
    found = jury.judge(run, [runs / "b"])
    assert found.keys() == {"emotion", "size"}
    resolved = recipe.load(str(run.recipe))
    prepared = pipeline.divide(resolved)
    together = system.together([runs / "a", runs / "b"])
    for name, judged in found.items():
        assert [each.name for each in judged] == ["ensemble", str(run.folder), str(runs / "b")]
        expected = proof.predict(resolved, name, together, prepared.splits[name].test)
        kept = load_predictions(run.evaluation / name / "ensemble.jsonl")
        assert kept.ids == expected.ids
        assert kept.decided == pytest.approx(expected.decided, rel=1e-5)
        metric = resolved.tasks[name].metric
        assert judged[0].figures[metric].value == pytest.approx(summary(expected)[metric])
        figures = read_json(run.evaluation / name / "ensemble.summary.json")
        assert figures[metric] == pytest.approx(judged[0].figures[metric].value)
        for alone in judged[1:]:
            gain = judged[0].figures[metric].value - alone.figures[metric].value
            assert alone.gain.value == pytest.approx(gain)
        assert len(read_json(run.evaluation / name / "ensemble.standings.json")) == 3


def test_a_run_that_was_trained_on_the_test_rows_is_no_judge(runs):
    with pytest.raises(RunError, match=r"other was trained on \d+ of the \d+ test rows of .*a\n"):
        jury.judge(Run(runs / "a"), [runs / "other"])


def test_by_the_command_line(runs, tmp_path, command):
    shutil.copytree(runs / "a", tmp_path / "a")
    code, said, told = command("evaluate", tmp_path / "a", "--with", runs / "b")
    assert code == 0, told
    assert f"reads {tmp_path / 'a'}, {runs / 'b'}" in told
    assert "gain of ensemble, accuracy" in said
    assert "gain of ensemble, pearson" in said
    code, said, _ = command("evaluate", tmp_path / "a", "--with", runs / "b", "--json")
    assert code == 0
    found = json.loads(said)
    assert [each["name"] for each in found["size"]] == ["ensemble", str(tmp_path / "a"), str(runs / "b")]
    code, _, told = command("evaluate", tmp_path / "a", "--with", runs / "other")
    assert code == 1
    assert "was trained on" in told


def test_classify_with_others(runs, command):
    code, said, told = command("classify", runs / "a", "happy tears", "--with", runs / "b", "--json")
    assert code == 0, told
    assert f"reads {runs / 'a'}, {runs / 'b'}" in told
    (line,) = said.strip().splitlines()
    (readout,) = overtone.load([runs / "a", runs / "b"]).read(["happy tears"])
    shown = json.loads(line)["heads"]["emotion"]["scores"]
    assert shown == pytest.approx(dict(readout.heads["emotion"].scores), abs=1e-5)
    code, _, told = command("classify", "happy tears", "--with", runs / "b")
    assert code == 2
    assert "--with needs a RUN" in told
