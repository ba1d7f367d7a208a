from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from overtone import grid, pipeline, study
from overtone.errors import RunError
from overtone.evaluation import study_page
from overtone.evaluation.compare import load_predictions
from overtone.evaluation.results import load_results, write_results
from overtone.run import Run
from overtone.scores import METRICS
from overtone.study import Places
from overtone.training import loop as loops
from overtone.training.stopping import InterruptedFitError
from toys import task

ROOT = Path(__file__).parents[1]
DOCS, RESULTS = ROOT / "docs" / "studies", ROOT / "benchmarks" / "results"
SEEDS = (7, 11, 13)

STUDY = {
    "name": "rates",
    "question": "Does a higher rate help?",
    "base": "base.yaml",
    "seeds": list(SEEDS),
    "set": ["train.precision=fp32"],
    "against": "slow",
    "arms": {
        "slow": {"set": ["train.optim.head_lr=0.0001", "train.freeze.kind=backbone"]},
        "fast": {},
        "fast-cooled": {"read": "temperature"},
        "fast-passes": {"read": "dropout"},
        "mood-alone": {"tasks": ["mood"]},
    },
    "figures": ["mean", "mood.ece", "gap", "mood.accuracy", "train.seconds"],
    "resamples": 200,
}


def answered(folder, **places):
    """What is said while the study in that folder is answered, and its figures."""
    said = []
    places = Places(folder / "runs", **places)
    results = study.answer(grid.load(str(folder / "rates.yaml")), "rates.yaml", places, said.append)
    return said, {figure.name: figure for figure in results.figures}


@pytest.fixture(scope="module")
def finished(tiny, table, tmp_path_factory):
    """A folder with an answered study of seconds, what was said, its figures, and which rows were divided."""
    folder = tmp_path_factory.mktemp("study")
    base = {
        "name": "moods",
        "body": {"weights": str(tiny), "max_length": 64},
        "tasks": {"mood": task(table), "tone": task(table, metric="macro_f1")},
        "train": {
            "epochs": 2,
            "batch_size": 16,
            "optim": {"lr": 0.003, "head_lr": 0.01},
            "schedule": {"kind": "linear", "warmup_steps": 2},
        },
    }
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    (folder / "rates.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    divided, real = [], pipeline.divide
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "divide", lambda recipe: (divided.append(recipe.name), real(recipe))[1])
        return folder, *answered(folder), divided


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of that folder."""
    return Path(shutil.copytree(finished[0], tmp_path / "study"))


def change(folder, **changes):
    """Change the study file of a folder."""
    (folder / "rates.yaml").write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))


def test_from_the_file_to_the_page(finished):
    folder, said, figures, divided = finished
    made, folder = grid.load(str(folder / "rates.yaml")), folder / "runs" / "studies" / "rates"
    runs = {path.name for path in folder.iterdir() if path.is_dir()}
    assert runs == {f"{arm}-{seed}" for arm in ("slow", "fast", "mood-alone") for seed in SEEDS}
    assert [line.split(",")[0] for line in said[:5]] == [
        "rates 1/15: slow",
        "rates 2/15: fast",
        "rates 3/15: fast-cooled",
        "rates 4/15: fast-passes",
        "rates 5/15: mood-alone",
    ]
    assert said[-2:] == [f"wrote {folder / 'results.json'}", f"wrote {folder / 'rates.md'}"]
    assert divided == ["rates-slow-7", "rates-mood-alone-7"]

    # Every figure of the JSON is what the runs' own files say.
    test = {
        (name, seed, at): load_predictions(folder / f"{run}-{seed}" / "evaluation" / at / f"{file}.jsonl")
        for name, run, file in (
            ("slow", "slow", "test"),
            ("fast", "fast", "test"),
            ("fast-cooled", "fast", "temperature-test"),
            ("fast-passes", "fast", "dropout-test"),
        )
        for seed in SEEDS
        for at in ("mood", "tone")
    }
    for arm in ("slow", "fast", "fast-cooled", "fast-passes"):
        means = [
            (
                METRICS["accuracy"].function(test[arm, seed, "mood"])
                + METRICS["macro_f1"].function(test[arm, seed, "tone"])
            )
            / 2
            for seed in SEEDS
        ]
        assert figures[f"study.rates.{arm}.mean"].value == pytest.approx(np.mean(means))
        assert figures[f"study.rates.{arm}.mean.deviation"].value == pytest.approx(np.std(means, ddof=1))
    gain = figures["study.rates.fast.mean.difference"]
    values = [figures[f"study.rates.{arm}.mean"].value for arm in ("fast", "slow")]
    assert gain.value == pytest.approx(values[0] - values[1])
    assert gain.value > 0.1
    seconds = [Run(folder / f"slow-{seed}").facts()["fit"]["seconds"] for seed in SEEDS]
    assert figures["study.rates.slow.train.seconds"].value == pytest.approx(np.mean(seconds))

    # An arm without a task has the figures of the others.
    assert "study.rates.mood-alone.mood.accuracy.difference" in figures
    assert "study.rates.mood-alone.mean" not in figures

    # A temperature changes confidences alone; what is read in passes is another thing.
    one, cooled = test["fast", 7, "mood"], test["fast-cooled", 7, "mood"]
    assert (one.decided == cooled.decided).all()
    assert not np.allclose(one.probabilities, cooled.probabilities)

    # Arms of all seeds have the same rows, and the recipe says by which seed they are divided.
    assert len({each.ids for each in test.values()}) == 1
    kept = yaml.safe_load((folder / "fast-11" / "recipe.yaml").read_text())
    assert (kept["seed"], kept["split_seed"], kept["name"]) == (11, 7, "rates-fast-11")

    page = (folder / "rates.md").read_text()
    assert page == study_page.page(study.design(made), load_results(folder / "results.json"))
    assert f"`fast` in `mean` {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})" in page
    assert "overtone compare rates.yaml" in page


def test_stopped_and_asked_again(finished, copied, monkeypatch):
    for name in ("fast-11", "slow-13", "fast-13"):
        shutil.rmtree(copied / "runs" / "studies" / "rates" / name)
    step, fits = loops.Loop._step, []

    def interrupted(self, *args):
        fits.append(self.run.name)
        if len(fits) == 3:
            signal.raise_signal(signal.SIGINT)
        return step(self, *args)

    monkeypatch.setattr(loops.Loop, "_step", interrupted)
    with pytest.raises(InterruptedFitError, match="stopped after step 3") as caught:
        answered(copied)
    assert "the same command again" in caught.value.hint
    assert set(fits) == {"fast-11"}
    said, again = answered(copied)
    assert set(fits) == {"fast-11", "slow-13", "fast-13"}
    assert [line.endswith("was finished") for line in said[5:11]] == [True, False, False, False, True, False]

    def plain(figures):
        return {name: figure for name, figure in figures.items() if "seconds" not in name}

    assert plain(again) == plain(finished[2])


def test_what_is_finished_is_only_told_again(finished, copied, monkeypatch):
    monkeypatch.setattr(pipeline, "divide", lambda recipe: pytest.fail("data are read"))
    monkeypatch.setattr(pipeline, "train", lambda *_: pytest.fail("something is trained"))
    assert answered(copied)[1] == finished[2]
    change(copied, figures=["tone.accuracy"])
    _, figures = answered(copied)
    assert set(figures) >= {"study.rates.fast.tone.accuracy.difference"}
    assert "study.rates.mood-alone.tone.accuracy" not in figures


def test_a_study_that_changed_is_refused(copied):
    change(copied, set=["train.precision=fp32", "train.batch_size=8"])
    with pytest.raises(RunError, match=r"slow-7 holds a run of another recipe") as caught:
        answered(copied)
    assert "another name" in caught.value.hint


def test_a_study_is_locked(copied):
    with (
        Run(copied / "runs" / "studies" / "rates").lock(),
        pytest.raises(RunError, match="another process works in"),
    ):
        answered(copied)


def test_pages_are_published_from_committed_results(copied, monkeypatch):
    """The pages of a folder, and their index, need no run."""
    docs, file = copied / "docs", copied / "results" / "study-rates.json"
    monkeypatch.setattr(grid, "shipped", lambda: {"rates": copied / "rates.yaml", "none": copied / "x"})
    answered(copied, docs=docs, results=file)
    first = {path.name: path.read_bytes() for path in docs.iterdir()}
    assert set(first) == {"README.md", "rates.md", "rates.png"}
    assert b"[rates](rates.md)" in first["README.md"]
    results = load_results(file)
    assert results.command == f"overtone compare rates.yaml --docs {docs} --results {file}"
    shutil.rmtree(copied / "runs")
    study.publish(copied / "again", file.parent)
    assert {path.name: path.read_bytes() for path in (copied / "again").iterdir()} == first

    name = "study.rates.fast.mean"
    other = [replace(each, value=0.123) if each.name == name else each for each in results.figures]
    write_results(file, results.command, results.seed, other)
    study.publish(copied / "again", file.parent)
    assert "0.123 ±" in (copied / "again" / "rates.md").read_text()


@pytest.mark.parametrize(
    "name", [name for name in grid.shipped() if (RESULTS / f"study-{name}.json").exists()]
)
def test_a_committed_page_says_what_the_committed_results_say(name):
    told = study_page.page(study.design(grid.load(name)), load_results(RESULTS / f"study-{name}.json"))
    assert (DOCS / f"{name}.md").read_text() == told, "python benchmarks/studies.py makes the pages anew"
    assert (DOCS / f"{name}.png").exists()
    assert f"[{name}]({name}.md)" in (DOCS / "README.md").read_text()
