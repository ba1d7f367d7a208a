from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from overtone.data.records import Record
from overtone.data.tokenize import encode
from overtone.errors import DataError, RunError
from overtone.evaluation import parity, speed
from overtone.evaluation.parity import Check, Parity, compare
from overtone.inference import export
from overtone.training import tasks
from overtone.training.tasks import Reading
from toys import LABELS, build_model, records

CLASSES = Reading("classification", LABELS)


def check(reading, targets, metric):
    """Rows with these targets; what they say does not matter."""
    rows = [Record(f"r/{i}", "a day", {"t": target}, "r") for i, target in enumerate(targets)]
    return Check(reading, metric, rows, tasks.encode_targets(rows, "t", reading.labels, reading.kind), None)


def test_one_row_in_four_decided_otherwise():
    reference = torch.tensor([[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0], [0.1, 0, 0]])
    found = reference.clone()
    found[3] = torch.tensor([0, 0.1, 0])
    gold = ["joy", "sadness", "anger", "joy"]
    result = compare("emotion", check(CLASSES, gold, "macro_f1"), reference, found)
    assert result.same == 0.75
    before, after = (f1_score([0, 1, 2, 0], d, average="macro") for d in ([0, 1, 2, 0], [0, 1, 2, 1]))
    assert result.change == pytest.approx(after - before)
    shares = torch.softmax(torch.tensor([[0.1, 0, 0], [0, 0.1, 0]]), dim=1)
    assert result.furthest == pytest.approx(float((shares[0] - shares[1]).abs().max()))
    assert not result.passed
    assert "75.00% of 4 rows" in result.sentence
    assert "needs 97%" in result.sentence


def test_thresholds_decide_about_several_labels():
    reading = Reading("multilabel", LABELS, thresholds=np.array([0.5, 0.9, 0.5]))
    gold = [("joy",), ("joy", "sadness")]
    reference = torch.tensor([[2.0, 2.0, -2.0], [2.0, 3.0, -2.0]])  # 0.88 and 0.95 beside 0.9
    held = check(reading, gold, "macro_f1")
    assert compare("e", held, reference, reference + 0.1).same == 1
    assert compare("e", held, reference, reference + torch.tensor([0, 0.4, 0])).same == 0.5


def test_numbers_are_near_in_units_of_their_deviation():
    reading = Reading("regression", ("v",), mean=np.array([3.0]), scale=np.array([2.0]))
    held = check(reading, [(1.0,), (2.0,), (4.0,)], "pearson")
    reference = torch.tensor([[-1.0], [0.0], [1.0]])
    assert compare("vad", held, reference, reference + 0.14).same == 1
    assert compare("vad", held, reference, reference + 0.16).same == 0
    found = compare("vad", held, reference, reference + 0.1)
    assert found.furthest == pytest.approx(0.2, abs=1e-6)  # in the data's unit
    assert found.change == pytest.approx(0, abs=1e-6)
    assert found.passed


def test_a_metric_that_is_no_number_never_passes():
    assert not Parity("t", "regression", "pearson", 3, 1.0, 0.0, float("nan")).passed


def test_both_directions_count():
    same = {"task": "t", "kind": "classification", "metric": "accuracy", "rows": 9, "same": 1, "furthest": 0}
    assert Parity(**same, change=0.005).passed
    assert not Parity(**same, change=0.006).passed
    assert not Parity(**same, change=-0.006).passed


def test_no_rows_and_other_shapes():
    with pytest.raises(DataError):
        compare("t", check(CLASSES, [], "accuracy"), torch.zeros(0, 3), torch.zeros(0, 3))
    with pytest.raises(DataError):
        compare("t", check(CLASSES, ["joy"], "accuracy"), torch.zeros(1, 3), torch.zeros(1, 2))


@pytest.fixture(scope="module")
def setting(tiny):
    pytest.importorskip("onnxruntime")
    model = build_model(tiny).eval()
    rows = records(60)
    encoded = encode(model.body.tokenizer, [row.text for row in rows], model.body.max_length)
    targets = tasks.encode_targets(rows, "emotion", LABELS, "classification")
    return model, {"emotion": Check(CLASSES, "accuracy", rows, targets, encoded)}, encoded


@pytest.fixture(scope="module")
def exported(setting, tmp_path_factory):
    """The graphs, which are the same for every test."""
    return export.export(setting[0], tmp_path_factory.mktemp("onnx"), setting[2])


@pytest.fixture
def copied(exported, monkeypatch):
    """An export that takes no time."""

    def copy(_model, folder, _texts):
        return {kind: Path(shutil.copy(path, folder)) for kind, path in exported.items()}

    monkeypatch.setattr(parity, "export", copy)


@pytest.fixture
def gated(setting, copied, tmp_path, monkeypatch):
    model, checks, encoded = setting
    monkeypatch.setattr(parity, "SAME", dict.fromkeys(parity.SAME, 0.0))
    monkeypatch.setattr(parity, "CHANGE", 1.0)
    return tmp_path, parity.gate(model, tmp_path, checks, encoded, 2)


def test_the_gate(gated):
    folder, judged = gated
    names = {"torch-fp32", "torch-bf16"}
    names |= {f"onnx-{kind}-{setting}" for kind in ("float", "int8") for setting in ("2x1", "1x2")}
    assert {each.name for each in judged} == names
    speeds = [each.per_second for each in judged]
    assert speeds == sorted(speeds, reverse=True)
    facts = json.loads((folder / "parity.json").read_text())
    assert facts["hardware"]
    assert set(facts["sha256"]) == {"float.onnx", "int8.onnx"}
    assert parity.fastest(folder) == judged[0].name
    (lossless,) = next(each for each in judged if each.name == "onnx-float-2x1").tasks
    assert lossless.same == 1
    assert lossless.furthest < 1e-4


def test_a_form_that_passed_is_loaded(gated, setting):
    folder, _ = gated
    form = parity.load(folder, "onnx-int8-2x1")
    assert form.name == "onnx-int8-2x1"
    assert len(form.sessions) == 2
    assert form(setting[2])["emotion"].shape == (60, 3)
    assert parity.load(folder, "torch-bf16") is None


def test_a_file_that_was_changed_is_refused(gated):
    folder, _ = gated
    path = folder / "int8.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="not the file that passed"):
        parity.load(folder, "onnx-int8-2x1")
    path.unlink()
    with pytest.raises(RunError, match="not the file that passed"):
        parity.load(folder, "onnx-int8-1x2")


def test_what_the_gate_refuses_is_gone(setting, copied, tmp_path, monkeypatch):
    model, checks, encoded = setting
    monkeypatch.setattr(parity, "CHANGE", -1.0)  # nothing is as near as that
    judged = parity.gate(model, tmp_path, checks, encoded, 1)
    assert list(tmp_path.glob("*.onnx")) == []
    assert [each.name for each in judged if each.passed] == ["torch-fp32"]  # the reference itself
    assert parity.fastest(tmp_path) == "torch-fp32"
    with pytest.raises(RunError, match="refused by the parity gate"):
        parity.load(tmp_path, "onnx-int8-1x1")
    with pytest.raises(RunError, match="never exported"):
        parity.load(tmp_path, "onnx-int4-1x1")


def test_nothing_was_exported(tmp_path):
    with pytest.raises(RunError):
        parity.fastest(tmp_path)
    (tmp_path / "parity.json").write_text("[]")
    with pytest.raises(RunError, match="damaged"):
        parity.fastest(tmp_path)


def test_bench_inference(setting, tmp_path, gated, capsys):
    from rich.console import Console

    from overtone.apps import bench

    folder, _ = gated
    graphs = {kind: folder / f"{kind}.onnx" for kind in ("float", "int8")}
    texts = [row.text for row in records(12)]
    rows = speed.bench_inference(setting[0], texts, graphs, 2, rounds=1)
    assert capsys.readouterr().out == ""
    assert len(rows) == len({(r.backend, r.precision, r.sessions, r.threads, r.batch) for r in rows}) == 24
    speeds = [row.per_second for row in rows]
    assert speeds == sorted(speeds, reverse=True)
    speed.save(tmp_path / "bench.json", len(texts), rows)
    assert len(json.loads((tmp_path / "bench.json").read_text())["rows"]) == 24
    console = Console(width=100, record=True)
    bench.inference(console, rows, len(texts))
    assert "12 texts" in console.export_text()
    assert {row.backend for row in speed.bench_inference(setting[0], texts, {}, 1, rounds=1)} == {"torch"}


def test_nothing_to_measure_with(setting):
    with pytest.raises(DataError, match="no texts"):
        speed.bench_inference(setting[0], [], {}, 1)
