from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch
import yaml

from overtone import claim, pipeline, recipe, system
from overtone.errors import DataError, RunError, WeightsError
from overtone.inference.classify import Classifier
from overtone.models import store
from overtone.run import Run, read_json, write_json
from overtone.training import tasks
from overtone.training.tasks import Reading
from toys import stopped_at, task

FULL = {"adapter": None}
LORA = {"adapter": {"r": 4, "alpha": 8, "dropout": 0.0}}
FROZEN = {"adapter": None, "train": {"freeze": {"kind": "backbone"}}}


def made(tiny, table, **changes):
    """A recipe of seconds on a table of texts."""
    values = {
        "name": "moods",
        "body": {"weights": str(tiny), "max_length": 64},
        "tasks": {"emotion": task(table)},
        "train": {
            "epochs": 2,
            "batch_size": 16,
            "optim": {"lr": 0.003, "head_lr": 0.01},
            "schedule": {"kind": "linear", "warmup_steps": 2},
            "early_stopping": {"metric": "emotion.macro_f1"},
            "log_every": 1,
        },
        "evaluate": {"baselines": ["majority"], "resamples": 100},
    }
    for key, value in changes.items():
        inner = values.get(key)
        values[key] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, dict) else value
    return recipe.parse(values, "test")


def train(resolved, run):
    """What `overtone train` does."""
    with run.lock():
        pipeline.begin(resolved, run, overwrite=False)
        prepared = pipeline.prepare(resolved, run)
        return prepared, pipeline.train(resolved, prepared, run)


@pytest.mark.parametrize("changes", [FULL, LORA, FROZEN], ids=["full", "lora", "frozen"])
def test_what_a_training_leaves(tiny, table, tmp_path, changes):
    resolved, run = made(tiny, table, **changes), Run(tmp_path / "run")
    prepared, fit = train(resolved, run)
    assert pipeline.finished(run)
    assert recipe.load(str(run.recipe)) == resolved
    reading = Reading("classification", ("joy", "sadness", "anger"))
    assert read_json(run.model / "labels.json") == {"emotion": reading.as_dict()}
    facts = run.facts()
    assert facts["fit"] == dataclasses.asdict(fit)
    assert facts["seed"] == 7
    splits = prepared.splits["emotion"]
    assert facts["data"]["emotion"]["rows"] == {
        name: len(splits[name]) for name in ("train", "validation", "test")
    }
    assert facts["fingerprints"].keys() == {"moods"}
    assert facts["licence"]["weights"] == "unknown"
    assert facts["tokens"]["train"] == {"texts": len(splits.train), "cut": 0}
    assert 0 < facts["model"]["trainable"] <= facts["model"]["parameters"]
    assert facts["peak_memory_bytes"] > 50e6
    steps = [row["step"] for row in run.history() if "loss" in row]
    assert steps == list(range(1, fit.steps + 1))
    assert fit.steps == 2 * -(-len(splits.train) // 16)

    loaded = Classifier(system.load_reader(resolved, run))
    rows = splits.validation
    targets = tasks.encode_targets(rows, "emotion", loaded.labels, "classification")
    decided = torch.from_numpy(loaded.logits([row.text for row in rows])).argmax(dim=1)
    best = max(row["validation"]["emotion.macro_f1"] for row in run.history() if "validation" in row)
    accuracy = float((decided == targets).double().mean())
    judged = [row["validation"] for row in run.history() if "validation" in row]
    assert fit.best == best
    at_best = next(figures for figures in judged if figures["emotion.macro_f1"] == best)
    assert accuracy == pytest.approx(at_best["emotion.accuracy"], abs=1.5 / len(rows))


def test_thresholds_are_tuned_on_the_served_model(tiny, table_multilabel, tmp_path):
    weighted = {"kind": "binary_cross_entropy", "positive_weights": 0.5}
    resolved = made(
        tiny,
        table_multilabel,
        tasks={"emotion": task(table_multilabel, kind="multilabel", loss=weighted)},
    )
    run = Run(tmp_path / "run")
    _, fit = train(resolved, run)
    facts = read_json(run.model / "labels.json")["emotion"]
    assert len(facts["thresholds"]) == 3
    assert all(0 < limit < 1 for limit in facts["thresholds"])
    assert 0 < fit.best <= 1


def test_the_labels_are_written_last(tiny, table, tmp_path, monkeypatch):
    """They say that a model is whole, so a disk that fills up before leaves none."""
    resolved, run = made(tiny, table), Run(tmp_path / "run")

    def full(*_):
        raise RunError("could not write")

    monkeypatch.setattr(store, "save", full)
    with pytest.raises(RunError):
        train(resolved, run)
    assert not pipeline.finished(run)
    monkeypatch.undo()
    before = run.history()
    train(resolved, run)
    assert pipeline.finished(run)
    assert run.history() == before  # the fit was over; it was not done again


@pytest.mark.parametrize("changes", [LORA, FROZEN], ids=["lora", "frozen"])
def test_stopped_and_run_again(tiny, table, tmp_path, monkeypatch, changes):
    resolved = made(tiny, table, **changes)
    _, whole = train(resolved, Run(tmp_path / "whole"))
    run = Run(tmp_path / "run")
    with stopped_at(monkeypatch, 5):
        train(resolved, run)
    _, resumed = train(resolved, run)
    assert resumed.final_loss == whole.final_loss
    for name in ("heads.safetensors", "labels.json"):
        assert (run.model / name).read_bytes() == (tmp_path / "whole" / "model" / name).read_bytes()


def test_a_folder_of_another_recipe_is_kept(tiny, table, tmp_path):
    resolved, run = made(tiny, table), Run(tmp_path / "run")
    train(resolved, run)
    other = made(tiny, table, seed=8)
    with pytest.raises(RunError, match="holds a run of another recipe") as caught:
        pipeline.begin(other, run, overwrite=False)
    assert "--name" in caught.value.hint
    pipeline.begin(other, run, overwrite=True)
    assert recipe.load(str(run.recipe)) == other
    assert not run.model.exists()
    assert run.history() == []


def test_a_finished_run_is_not_run_again(tiny, table, tmp_path):
    resolved, run = made(tiny, table), Run(tmp_path / "run")
    train(resolved, run)
    (run.folder / "report.md").write_text("done")
    with pytest.raises(RunError, match="is finished") as caught:
        pipeline.begin(resolved, run, overwrite=False)
    assert "--overwrite" in caught.value.hint


def changed(table, folder):
    """The same rows in another order, under the same name."""
    folder.mkdir(exist_ok=True)
    copy = folder / table.name
    copy.write_text("\n".join(sorted(table.read_text().splitlines())) + "\n")
    return copy


def test_changed_data_are_found_before_they_leak(tiny, table, tmp_path):
    """Other data are divided otherwise, so rows that were trained on would be tested on."""
    copy = tmp_path / table.name
    copy.write_bytes(table.read_bytes())
    resolved, run = made(tiny, copy), Run(tmp_path / "run")
    train(resolved, run)
    before = run.facts()
    changed(copy, tmp_path)
    for again in (train, pipeline.run):  # to go on; `overtone evaluate` prepares the data in the same way
        with pytest.raises(RunError, match="the data changed since this run began: moods") as caught:
            again(resolved, run)
        assert "--overwrite" in caught.value.hint
        assert "--name" in caught.value.hint
    assert run.facts()["fingerprints"] == before["fingerprints"]
    assert run.facts()["data"] == before["data"]
    copy.write_bytes(table.read_bytes())
    pipeline.prepare(resolved, run)
    changed(copy, tmp_path)
    with run.lock():
        pipeline.begin(resolved, run, overwrite=True)
        pipeline.prepare(resolved, run)


def test_data_may_change_while_nothing_is_trained(tiny, table, tmp_path):
    copy = tmp_path / table.name
    copy.write_bytes(table.read_bytes())
    resolved, run = made(tiny, copy), Run(tmp_path / "run")
    pipeline.begin(resolved, run, overwrite=False)
    first = pipeline.prepare(resolved, run)
    changed(copy, tmp_path)
    assert pipeline.prepare(resolved, run).fingerprints != first.fingerprints


def test_a_manifest_without_fingerprints_is_taken_as_it_is(tiny, table, tmp_path):
    resolved, run = made(tiny, table), Run(tmp_path / "run")
    train(resolved, run)
    write_json(run.manifest, {k: v for k, v in run.facts().items() if k not in ("fingerprints", "resumed")})
    pipeline.begin(resolved, run, overwrite=False)
    pipeline.prepare(resolved, run)
    assert run.facts()["fingerprints"].keys() == {"moods"}
    assert len(run.facts()["resumed"]) == 1


def test_what_began_a_run_stays_known(tiny, table, tmp_path, monkeypatch):
    resolved, run = made(tiny, table), Run(tmp_path / "run")
    monkeypatch.setattr("sys.argv", ["/bin/overtone", "run", "moods.yaml"])
    days = iter(("one", "two", "three", "four"))
    monkeypatch.setattr(
        claim,
        "environment",
        lambda: {
            "commit": f"c-{(day := next(days))}",
            "date": day,
            "hardware": day,
            "versions": {"torch": day},
        },
    )
    train(resolved, run)
    monkeypatch.setattr("sys.argv", ["/bin/overtone", "run", str(run.folder)])
    pipeline.begin(resolved, run, overwrite=False)
    pipeline.begin(resolved, run, overwrite=False)
    facts = run.facts()
    assert facts["command"] == "overtone run moods.yaml"
    assert (facts["commit"], facts["date"], facts["versions"]) == ("c-one", "one", {"torch": "one"})
    assert facts["resumed"] == [{"date": "two", "commit": "c-two"}, {"date": "three", "commit": "c-three"}]
    pipeline.begin(resolved, run, overwrite=True)
    assert (run.facts()["commit"], run.facts()["resumed"]) == ("c-four", [])


def test_weights_are_looked_for_before_anything_is_touched(tiny, table, tmp_path):
    resolved, run = made(tiny, table), Run(tmp_path / "run")
    train(resolved, run)
    lost = made(tiny, table, body={"weights": "minilm-l7"})
    with pytest.raises(WeightsError, match="no weights are named 'minilm-l7'"):
        pipeline.begin(lost, run, overwrite=True)
    assert pipeline.finished(run)
    fresh = Run(tmp_path / "fresh")
    with pytest.raises(WeightsError):
        pipeline.begin(lost, fresh, overwrite=False)
    assert not fresh.folder.exists()


def test_a_trained_run_outlives_the_weights_it_began_from(tiny, table, tmp_path):
    shutil.copytree(tiny, tmp_path / "weights")
    resolved, run = made(tmp_path / "weights", table), Run(tmp_path / "run")
    train(resolved, run)
    shutil.rmtree(tmp_path / "weights")
    pipeline.begin(resolved, run, overwrite=False)


def test_overwriting_spares_what_is_no_run(tiny, table, tmp_path):
    run = Run(tmp_path / "documents")
    run.model.mkdir(parents=True)
    (run.model / "thesis.tex").write_text("years")
    with pytest.raises(RunError, match="nothing was deleted"):
        pipeline.run(made(tiny, table), run, overwrite=True)
    assert (run.model / "thesis.tex").read_text() == "years"


def test_a_recipe_that_trained_nothing_yet_may_be_mended(tiny, table, tmp_path):
    """A wrong path is found after the folder was claimed; the mended recipe takes the same one."""
    run = Run(tmp_path / "run")
    wrong = made(tiny, tmp_path / "nothing.jsonl")
    with pytest.raises(DataError):
        train(wrong, run)
    train(made(tiny, table), run)
    assert pipeline.finished(run)


def test_the_seed_is_the_only_one(tiny, table, tmp_path):
    heads = {}
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        run = Run(tmp_path / name)
        train(made(tiny, table, seed=seed, body={"dropout": 0.2}), run)
        heads[name] = (run.model / "heads.safetensors").read_bytes()
        torch.manual_seed(123)  # what went before does not matter
    assert heads["one"] == heads["two"]
    assert heads["one"] != heads["three"]


def test_rows_that_certify_the_cascade_choose_nothing(tiny, table, tmp_path, monkeypatch):
    resolved = made(tiny, table, cascade={"calibration_share": 0.5})
    run = Run(tmp_path / "run")
    judged = []
    real = pipeline.Validation.__call__
    monkeypatch.setattr(
        pipeline.Validation,
        "__call__",
        lambda self, model: (
            judged.append({row.id for row in self.parts["emotion"].records}),
            real(self, model),
        )[1],
    )
    prepared, _ = train(resolved, run)
    choose, certify = resolved.held_out(prepared.splits["emotion"].validation)
    assert judged[0] == {row.id for row in choose}
    assert not judged[0] & {row.id for row in certify}


def test_a_whole_run(tiny, table, tmp_path):
    resolved, run = made(tiny, table, **LORA), Run(tmp_path / "run")
    assert pipeline.run(resolved, run) is run
    names = {path.name for path in run.folder.iterdir()}
    assert {"recipe.yaml", "manifest.json", "metrics.jsonl", "checkpoints", "model", "evaluation"} <= names
    assert {"plots", "report.md", "report.html"} <= names
    assert yaml.safe_load(run.recipe.read_text())["name"] == "moods"
    lines = (run.evaluation / "emotion" / "test.jsonl").read_text().splitlines()
    assert (
        len(lines) == 1 + run.facts()["data"]["emotion"]["rows"]["test"]
    )  # the first line says what the rest is
    with pytest.raises(RunError, match="is finished"):
        pipeline.run(resolved, run)


def test_a_run_is_locked(tiny, table, tmp_path):
    run = Run(tmp_path / "run")
    with run.lock(), pytest.raises(RunError, match="another process works in"):
        pipeline.run(made(tiny, table), Run(run.folder))
