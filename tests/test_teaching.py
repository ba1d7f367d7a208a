"""Distillation from end to end: the teacher's columns, what a student learns of them, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from scipy.special import softmax

from overtone import lineage, pipeline, recipe, system, teaching
from overtone.data.sources import reccon
from overtone.errors import DataError, RunError, UsageError
from overtone.run import Run, read_json, write_json
from overtone.training.tasks import Reading
from toys import LABELS, sentences, task


def made(tiny, tasks, epochs=1, **changes):
    """A recipe of seconds."""
    values = {
        "name": "moods",
        "body": {"weights": str(tiny), "max_length": 64},
        "tasks": tasks,
        "train": {
            "epochs": epochs,
            "batch_size": 16,
            "precision": "fp32",
            "optim": {"lr": 0.003, "head_lr": 0.01},
            "schedule": {"kind": "linear", "warmup_steps": 2},
        },
        "evaluate": {"baselines": ["majority"], "resamples": 100},
        **changes,
    }
    return recipe.parse(values, "test")


def fit(resolved, run):
    """What `overtone train` does."""
    with run.lock():
        pipeline.begin(resolved, run, overwrite=False)
        prepared = pipeline.prepare(resolved, run)
        pipeline.train(resolved, prepared, run)
    return run


@pytest.fixture(scope="module")
def teachers(tmp_path_factory, tiny, table):
    """The folders of two runs on the same rows."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed in (7, 8):
        resolved = made(tiny, {"emotion": task(table)}, seed=seed, split_seed=7)
        fit(resolved, Run(folder / str(seed)))
    return [folder / "7", folder / "8"]


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    """A file of 90 other texts, without labels."""
    path = tmp_path_factory.mktemp("more") / "more.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text, _ in sentences(90, seed=5)))
    return path


def student(tiny, table, runs, data=None, epochs=1, **teacher):
    """A recipe whose only task has these teachers."""
    own = task(table, data=data or {}, teacher={"runs": [str(run) for run in runs], **teacher})
    return made(tiny, {"emotion": own}, epochs)


def taught(resolved):
    """The student's data as the fit gets them."""
    prepared = pipeline.divide(resolved)
    readings = {
        name: pipeline._reading(each, prepared.splits[name].train) for name, each in resolved.tasks.items()
    }
    return prepared, teaching.teach(resolved, prepared, readings, pipeline.divide)


def test_rows_carry_the_mean_of_the_teachers(tiny, table, more, teachers, capsys):
    data = {"unlabelled": [{"kind": "table", "path": str(more)}]}
    prepared, found = taught(student(tiny, table, teachers, data))
    own, column = found.splits["emotion"], teaching.column("emotion")
    rows = [*own.train, *found.unlabelled["emotion"]]
    assert len(found.unlabelled["emotion"]) > 60
    outputs = [
        system.load(folder).reader.outputs([row.text for row in rows])["emotion"] for folder in teachers
    ]
    expected = np.mean([softmax(each, axis=1) for each in outputs], axis=0)
    assert np.exp([row.targets[column] for row in rows]) == pytest.approx(expected, abs=1e-6)
    assert [row.targets["emotion"] for row in own.train] == [
        row.targets["emotion"] for row in prepared.splits["emotion"].train
    ]
    assert all("emotion" not in row.targets for row in found.unlabelled["emotion"])
    assert (own.validation, own.test) == (
        prepared.splits["emotion"].validation,
        prepared.splits["emotion"].test,
    )
    assert f"the teacher of 'emotion' reads {len(rows)} rows" in capsys.readouterr().err


def test_numbers_are_put_into_the_students_units(tiny, table, monkeypatch):
    class Fixed:
        """A teacher that says 10 and 20 of every text with a context, and 0 of the others."""

        def values(self, texts, contexts, tasks):
            assert tasks == ["size"]
            return {"size": np.array([[10.0, 20.0] if said else [0.0, 0.0] for said in contexts])}

    monkeypatch.setattr(system, "together", lambda folders, tasks: Fixed())
    monkeypatch.setattr(lineage, "refuse_known", lambda *_: None)
    path = table.with_name("sizes.jsonl")
    rows = [
        {"text": t, "a": len(t), "b": i, "before": "hm" if i % 2 else None}
        for i, (t, _) in enumerate(sentences(60))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"kind": "table", "path": str(path), "numbers": ["a", "b"], "context": "before"}
    data = {"sources": [source], "target": "ab", "labels": ["a", "b"]}
    resolved = made(tiny, {"size": task(path, kind="regression", data=data, teacher={"runs": ["somewhere"]})})
    prepared, found = taught(resolved)
    reading = pipeline._reading(resolved.tasks["size"], prepared.splits["size"].train)
    for row in found.splits["size"].train:
        said = np.array([10.0, 20.0]) if row.context else np.zeros(2)
        assert row.targets["size.teacher"] == pytest.approx((said - reading.mean) / reading.scale)


def test_targets_are_gold_and_then_the_teachers(tiny, table, table_multilabel, more, teachers):
    """Rows of another task have neither; rows without labels have the teacher's alone."""
    runs = {"runs": [str(teachers[0])]}
    data = {"unlabelled": [{"kind": "table", "path": str(more)}]}
    resolved = made(
        tiny,
        {"tags": task(table_multilabel, kind="multilabel"), "emotion": task(table, data=data, teacher=runs)},
        leakage={"near": 1.0},
    )
    prepared, found = taught(resolved)
    model = pipeline.store.build(
        resolved.body, None, {name: (each.head, 3) for name, each in resolved.tasks.items()}
    )
    readings = {name: Reading(each.kind, LABELS) for name, each in resolved.tasks.items()}
    made_data = pipeline._training_data(resolved, model, found, readings)
    tags, emotion = made_data.targets["tags"], made_data.targets["emotion"]
    sizes = [len(prepared.splits[name].train) for name in ("tags", "emotion")]
    sizes.append(len(found.unlabelled["emotion"]))
    assert (tags.shape, emotion.shape) == ((sum(sizes), 3), (sum(sizes), 4))
    assert np.bincount(made_data.groups).tolist() == [sizes[0], sizes[1] + sizes[2]]
    parts = torch.split(emotion, sizes)
    assert (parts[0][:, 0] == -100).all()
    assert parts[0][:, 1:].isnan().all()
    gold = [LABELS.index(row.targets["emotion"]) for row in found.splits["emotion"].train]
    assert parts[1][:, 0].tolist() == gold
    assert (parts[2][:, 0] == -100).all()
    expected = [row.targets["emotion.teacher"] for row in found.unlabelled["emotion"]]
    assert torch.allclose(parts[2][:, 1:], torch.tensor(expected))
    assert torch.split(tags, sizes)[2].isnan().all()


def test_a_share_of_nothing_changes_nothing(tiny, table, teachers, tmp_path):
    """Bit for bit what the same seed makes without a teacher; the manifest says that there was one."""
    plain = Run(teachers[0])
    idle = fit(student(tiny, table, teachers, share=0.0), Run(tmp_path / "idle"))
    for name in ("heads.safetensors", "labels.json"):
        assert (plain.model / name).read_bytes() == (idle.model / name).read_bytes()
    kept = idle.facts()["teachers"]["emotion"]
    assert [each["run"] for each in kept] == [str(folder) for folder in teachers]
    for each, folder in zip(kept, teachers, strict=True):
        facts = Run(folder).facts()
        assert all(each[key] == facts[key] for key in ("commit", "fingerprints", "licence"))
    assert plain.facts()["teachers"] == {}


def test_a_student_learns_what_its_teacher_says(tiny, table, more, teachers, tmp_path):
    """Without gold, and from rows without labels too, it comes nearer to its teacher than by gold alone."""
    data = {"unlabelled": [{"kind": "table", "path": str(more)}]}
    config = student(tiny, table, teachers[1:], data, epochs=3, share=1.0, temperature=1.0)
    pupil = fit(config, Run(tmp_path / "pupil"))
    texts = [text for text, _ in sentences(200, seed=11)]
    taught, gold, teacher = (
        system.load(folder).reader.values(texts)["emotion"] for folder in (pupil.folder, *teachers)
    )
    assert np.abs(taught - teacher).mean() < 0.7 * np.abs(gold - teacher).mean()
    judged = [row["validation"] for row in pupil.history() if "validation" in row]
    assert all(0 < figures["loss"] < 10 for figures in judged)  # against gold: no teacher reads validation


def bound(folder, to):
    """A copy of a run whose data forbid commercial use."""
    shutil.copytree(folder, to)
    run = Run(to)
    card = {"name": "dialogues", "licence": reccon.CARD.licence, "commercial": False, "url": "u", "files": {}}
    licence = {"data": reccon.CARD.licence, "weights": "unknown", "commercial": False}
    run.note(fingerprints={**run.facts()["fingerprints"], "dialogues": card}, licence=licence)
    return run


def test_licences_travel_from_teacher_to_student(tiny, table, teachers, tmp_path):
    """And on to the student's own student, whose teacher's manifest names no such data itself."""
    first = bound(teachers[0], tmp_path / "bound")
    resolved = student(tiny, table, [first.folder])
    second = fit(resolved, Run(tmp_path / "second"))
    third = Run(tmp_path / "third")
    pipeline.prepare(student(tiny, table, [second.folder]), third)
    for run in (second, third):
        facts = run.facts()
        assert facts["fingerprints"].keys() == {"moods"}
        assert facts["licence"]["commercial"] is False
        assert reccon.CARD.licence in facts["licence"]["data"]
    shutil.rmtree(first.folder)  # a finished run can be evaluated without its teacher
    pipeline.begin(resolved, second, overwrite=False)
    pipeline.prepare(resolved, second)
    assert second.facts()["licence"]["commercial"] is False
    assert second.facts()["teachers"]["emotion"][0]["run"] == str(first.folder)


def test_a_teacher_that_has_seen_the_test_rows(tiny, table, teachers, tmp_path):
    """Split by another seed, the same file has had the student's test rows in the teacher's training."""
    resolved = made(
        tiny, {"emotion": task(table, teacher={"runs": [str(teachers[0])]})}, seed=7, split_seed=1
    )
    run = Run(tmp_path / "student")
    with pytest.raises(
        RunError, match=r"was trained on \d+ of the \d+ rows that validate and test"
    ) as caught:
        fit(resolved, run)
    assert "split_seed" in caught.value.hint
    assert not run.checkpoints.exists()
    prepared, other = pipeline.divide(resolved), pipeline.divide(recipe.load(str(Run(teachers[0]).recipe)))
    known = {row.text for row in other.splits["emotion"].train}
    own = prepared.splits["emotion"]
    count = sum(row.text in known for row in (*own.validation, *own.test))
    assert f"on {count} of the {len(own.validation) + len(own.test)} rows" in caught.value.what


def test_the_teacher_of_a_teacher_has_seen_them(tiny, table, teachers, tmp_path):
    """The rows of the one between are clean, and its own teacher's are not."""
    between = Run(tmp_path / "between")
    shutil.copytree(teachers[0], between.folder)
    other = tmp_path / "other.jsonl"
    other.write_text(
        "".join(
            json.dumps({"text": f"{t} moon", "label": label}) + "\n" for t, label in sentences(90, seed=3)
        )
    )
    resolved = student(tiny, other, [teachers[0]])
    between.recipe.write_text(resolved.to_yaml())
    between.note(fingerprints=pipeline.divide(resolved).fingerprints)
    judged = pipeline.divide(recipe.load(str(Run(teachers[0]).recipe))).splits["emotion"]
    lineage.refuse_known([between], judged.test, pipeline.divide, "rows")
    with pytest.raises(RunError, match=f"between was trained on {len(judged.train)} of the"):
        lineage.refuse_known([between], judged.train, pipeline.divide, "rows")


def test_a_teacher_whose_data_changed(tiny, table, teachers, tmp_path):
    """Nobody can say what it has seen."""
    copy, old = tmp_path / "moods.jsonl", Run(tmp_path / "old")
    shutil.copytree(teachers[0], old.folder)
    old.recipe.write_text(old.recipe.read_text().replace(str(table), str(copy)))
    copy.write_bytes(table.read_bytes())
    taught(student(tiny, table, [old.folder]))
    copy.write_text("\n".join(sorted(copy.read_text().splitlines())) + "\n")
    with pytest.raises(RunError, match=r"the data of .*old changed since it was trained \(moods\)"):
        fit(student(tiny, table, [old.folder]), Run(tmp_path / "new"))
    copy.unlink()
    with pytest.raises(DataError, match="is not a file"):
        fit(student(tiny, table, [old.folder]), Run(tmp_path / "newer"))


def test_rows_that_are_known_are_not_divided_again(tiny, table, teachers):
    resolved = student(tiny, table, teachers)
    prepared = pipeline.divide(resolved)

    def never(other):
        raise AssertionError("the teachers' rows are the student's")

    divide = lineage.remembering(never, resolved, prepared)
    assert divide(recipe.load(str(Run(teachers[1]).recipe))) is prepared
    with pytest.raises(AssertionError):
        divide(made(tiny, {"emotion": task(table)}, seed=1))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"teacher": {"runs": ["nowhere"]}}, RunError, "nowhere is not a trained run"),
        (
            {"data": {"labels": [*LABELS[1:], LABELS[0]]}},
            UsageError,
            "not a classification of sadness, anger",
        ),
        ({"kind": "multilabel"}, UsageError, "is a classification of joy, sadness, anger, not a multilabel"),
        ({"name": "mood"}, UsageError, r"tasks\.mood\.teacher\.runs: .* has no task 'mood'"),
    ],
)
def test_a_teacher_of_something_else(tiny, table, teachers, tmp_path, change, error, message):
    """Found before the folder is made."""
    runs = {"runs": [str(teachers[0])]}
    name = change.pop("name", "emotion")
    resolved = made(tiny, {name: task(table, **{"teacher": runs, **change})})
    run = Run(tmp_path / "student")
    with pytest.raises(error, match=message) as caught:
        pipeline.begin(resolved, run, overwrite=False)
    assert caught.value.hint
    assert not run.folder.exists()


def test_a_run_does_not_teach_itself(tiny, table, teachers, tmp_path):
    """Starting over would delete the teacher."""
    run = Run(tmp_path / "mine")
    shutil.copytree(teachers[0], run.folder)
    with pytest.raises(RunError, match="would be its own teacher"):
        pipeline.begin(student(tiny, table, [run.folder]), run, overwrite=True)
    assert pipeline.finished(run)


def test_a_manifest_without_data_says_nothing_of_them(tiny, table, teachers, tmp_path):
    run = Run(tmp_path / "old")
    shutil.copytree(teachers[0], run.folder)
    write_json(run.manifest, {k: v for k, v in read_json(run.manifest).items() if k != "fingerprints"})
    with pytest.raises(RunError, match="does not say what data the run is of"):
        fit(student(tiny, table, [run.folder]), Run(tmp_path / "student"))


def test_rows_without_labels_need_a_teacher(tiny, table, more):
    data = {"unlabelled": [{"kind": "table", "path": str(more)}]}
    with pytest.raises(
        UsageError, match=r"tasks\.emotion\.data\.unlabelled: rows that .*teacher would label"
    ):
        made(tiny, {"emotion": task(table, data=data)})
