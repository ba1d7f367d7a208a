from __future__ import annotations

import json
import math
import stat
from pathlib import Path

import numpy as np
import pytest

from overtone.errors import RunError
from overtone.run import PARTS, Run, finite, read_json, write_atomic, write_json, writes


def test_a_file_is_written_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_atomic(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    write_atomic(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [child.name for child in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_older_file(tmp_path, monkeypatch, moment):
    path = tmp_path / "file.txt"
    write_atomic(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync" if moment == "fsync" else "pathlib.Path.replace", full)
    with pytest.raises(RunError, match=r"could not write .*file\.txt: No space left on device") as caught:
        write_atomic(path, "new")
    assert "free some space" in caught.value.hint
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="could not write"):
        write_atomic(tmp_path / "file" / "below" / "it", "text")
    with pytest.raises(RunError, match="could not make"), Run(tmp_path / "file" / "run").lock():
        pass


def test_finite():
    value = {"a": math.nan, 2: [1.5, math.inf, (-math.inf, "NaN")], "b": {"c": None, "d": True}}
    assert finite(value) == {"a": None, "2": [1.5, None, [None, "NaN"]], "b": {"c": None, "d": True}}
    assert finite(np.float64("nan")) is None


def test_json_that_every_reader_can_parse(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"f1": math.nan, "name": "señal"})
    assert "señal" in path.read_text()
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {"f1": None, "name": "señal"}
    assert read_json(path) == {"f1": None, "name": "señal"}


@pytest.mark.parametrize("data", [b"", b'{"a": 1', b"\xff\xfe{}"])
def test_damaged_json(tmp_path, data):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(RunError, match=r"a\.json is damaged"):
        read_json(path)
    path.unlink()
    with pytest.raises(RunError, match=r"a\.json is missing"):
        read_json(path)


def test_the_manifest(tmp_path):
    run = Run(tmp_path / "mine")
    assert run.name == "mine"
    run.note(seed=7, data={"rows": 3})
    run.note(data={"rows": 4}, loss=math.inf)
    assert run.facts() == {"seed": 7, "data": {"rows": 4}, "loss": None}


def test_the_metrics(tmp_path):
    run = Run(tmp_path)
    assert run.history() == []
    run.log({"step": 1, "loss": 0.5})
    run.log({"step": 2, "loss": math.nan})
    assert run.metrics.read_text() == '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": null}\n'
    assert run.history() == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]


def test_every_way_to_cut_the_last_line(tmp_path):
    run = Run(tmp_path)
    run.log({"step": 1, "loss": 0.5})
    whole = run.metrics.read_bytes()
    run.log({"step": 2, "validation": {"loss": 0.25}})
    both = run.metrics.read_bytes()
    for end in range(len(whole), len(both) - 1):
        run.metrics.write_bytes(both[:end])
        assert run.history() == [{"step": 1, "loss": 0.5}]
        run.rewind(5)
        run.log({"step": 3})
        assert [row["step"] for row in run.history()] == [1, 3]


def test_rewind(tmp_path):
    run = Run(tmp_path)
    for step in range(1, 6):
        run.log({"step": step})
    run.rewind(3)
    assert [row["step"] for row in run.history()] == [1, 2, 3]
    run.rewind(0)
    assert run.history() == []


def test_a_log_that_cannot_be_written(tmp_path):
    run = Run(tmp_path)
    run.metrics.mkdir()
    with pytest.raises(RunError, match="could not write"):
        run.log({"step": 1})


def test_one_at_a_time(tmp_path):
    run = Run(tmp_path / "run")
    with run.lock():
        with pytest.raises(RunError, match="another process works in") as caught, Run(run.folder).lock():
            pass
        assert "--name" in caught.value.hint
    with run.lock():
        pass
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    with run.lock():
        pass


def test_clear_keeps_the_lock(tmp_path):
    run = Run(tmp_path)
    with run.lock():
        run.note(recipe="mine")
        write_atomic(run.checkpoints / "last" / "state.json", "{}")
        run.log({"step": 1})
        run.clear()
        assert {path.name for path in tmp_path.iterdir()} <= {".lock"}
        with pytest.raises(RunError), Run(tmp_path).lock():
            pass


def test_clear_takes_what_a_run_is_made_of_and_nothing_else(tmp_path):
    run = Run(tmp_path)
    run.note(recipe="mine")
    for name in PARTS:
        if "." in name:
            (tmp_path / name).touch()
        else:
            write_atomic(tmp_path / name / "inside", "x")
    write_atomic(tmp_path / "notes.txt", "mine")
    write_atomic(tmp_path / "photos" / "one.jpg", "mine")
    run.clear()
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "photos"}
    assert (tmp_path / "photos" / "one.jpg").read_text() == "mine"


@pytest.mark.parametrize(
    "manifest", [None, "", "[]", '{"manifest_version": 3, "name": "an extension of a browser"}']
)
def test_clear_refuses_a_folder_that_is_no_run(tmp_path, manifest):
    write_atomic(tmp_path / "model" / "thesis.tex", "years")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(RunError, match=r"not a run's: nothing was deleted") as caught:
        Run(tmp_path).clear()
    assert "--name" in caught.value.hint
    assert (tmp_path / "model" / "thesis.tex").read_text() == "years"


def test_clear_does_not_follow_links(tmp_path):
    write_atomic(tmp_path / "elsewhere" / "precious", "x")
    run = Run(tmp_path / "run")
    run.note(recipe="mine")
    run.model.symlink_to(tmp_path / "elsewhere")
    run.clear()
    assert not run.model.is_symlink()
    assert (tmp_path / "elsewhere" / "precious").read_text() == "x"


def test_clear_of_an_empty_folder(tmp_path):
    Run(tmp_path).clear()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("rank", "expected"), [(None, True), ("0", True), ("1", False), ("7", False)])
def test_the_first_process_writes(monkeypatch, rank, expected):
    if rank is None:
        monkeypatch.delenv("RANK", raising=False)
    else:
        monkeypatch.setenv("RANK", rank)
    assert writes() is expected


def test_paths():
    run = Run(Path("runs/mine"))
    assert {run.recipe, run.manifest, run.metrics, run.checkpoints, run.model, run.evaluation, run.plots} == {
        Path("runs/mine") / name
        for name in (
            "recipe.yaml",
            "manifest.json",
            "metrics.jsonl",
            "checkpoints",
            "model",
            "evaluation",
            "plots",
        )
    }
