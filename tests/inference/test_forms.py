from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest
import torch

from overtone.data.tokenize import encode
from overtone.errors import MissingExtraError, RunError
from overtone.inference import export, quantise
from overtone.inference.forms import OnnxForm, TorchForm, onnx_settings
from overtone.models import store
from overtone.models.adapters import LoraConfig
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.models.model import sweep
from toys import sentences

HEADS = {
    "emotion": (HeadConfig(hidden=(8,)), 3),
    "vad": (HeadConfig(hidden=(), pooling="attention"), 2),
    "intent": (HeadConfig(hidden=(4,), pooling="cls", residual=True), 1),
}


def read(model, n=50, seed=0):
    return encode(model.body.tokenizer, [text for text, _ in sentences(n, seed)], model.body.max_length)


def made(weights, folder):
    torch.manual_seed(0)
    model = store.build(EncoderConfig(weights=str(weights)), None, HEADS).eval()
    return model, export.export(model, folder, read(model, seed=1))


@pytest.fixture(scope="module")
def tiny_onnx(tiny, tmp_path_factory):
    """A trained run with adapters, as it is loaded, and its graphs."""
    pytest.importorskip("onnxruntime")
    folder, config = tmp_path_factory.mktemp("onnx"), EncoderConfig(weights=str(tiny), dropout=0.0)
    torch.manual_seed(0)
    adapted = store.build(config, LoraConfig(r=2, dropout=0.0), HEADS)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    store.save(adapted, folder, config)
    model = store.load(folder, config, HEADS)
    encoded = read(model)
    assert near(sweep(model, encoded, model.device), sweep(adapted.eval(), encoded, adapted.device), 1e-4)
    return model, export.export(model, folder, read(model, seed=1))


def near(one, other, within):
    return one.keys() == other.keys() and all(torch.allclose(one[t], other[t], atol=within) for t in one)


def test_every_form_gives_what_the_model_gives(tiny_onnx):
    model, paths = tiny_onnx
    encoded = read(model)
    reference = sweep(model, encoded, model.device)
    assert near(TorchForm(model, "fp32")(encoded), reference, 1e-6)
    assert near(TorchForm(model, "fp32", threads=1, budget=64)(encoded), reference, 1e-4)
    assert near(TorchForm(model, "bf16")(encoded), reference, 0.1)
    assert near(OnnxForm(paths["float"])(encoded), reference, 1e-4)
    assert near(OnnxForm(paths["int8"])(encoded), reference, 0.05)
    assert not near(OnnxForm(paths["int8"])(encoded), reference, 1e-6)  # it is another graph


@pytest.mark.parametrize("kind", ["roberta", "distilbert"])
def test_other_architectures(encoder_folder, tmp_path, kind):
    pytest.importorskip("onnxruntime")
    model, paths = made(encoder_folder(kind), tmp_path)
    encoded = read(model)
    reference = sweep(model, encoded, model.device)
    assert near(OnnxForm(paths["float"])(encoded), reference, 1e-4)
    assert near(OnnxForm(paths["int8"])(encoded), reference, 0.1)


@pytest.mark.parametrize(("sessions", "threads"), [(1, 1), (2, 1), (3, 2)])
def test_sessions_and_threads_change_nothing(tiny_onnx, sessions, threads):
    model, paths = tiny_onnx
    encoded = read(model)
    for path in paths.values():
        assert near(OnnxForm(path, sessions, threads, 64)(encoded), OnnxForm(path, budget=64)(encoded), 1e-6)


def test_rows_come_back_in_their_order(tiny_onnx):
    model, paths = tiny_onnx
    encoded, turn = read(model), np.random.default_rng(0).permutation(50).tolist()
    for path in paths.values():
        form = OnnxForm(path, 2, 1, 64)
        plain, turned = form(encoded), form(encoded.take(turn))
        assert near(turned, {task: rows[turn] for task, rows in plain.items()}, 1e-6)


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_chunks_change_nothing(tiny_onnx, budget):
    model, paths = tiny_onnx
    encoded = read(model)
    expected = sweep(model, encoded, model.device)
    assert near(OnnxForm(paths["float"], budget=budget)(encoded), expected, 1e-4)
    assert near(OnnxForm(paths["int8"], budget=budget)(encoded), expected, 0.05)


def test_no_texts(tiny_onnx):
    model, paths = tiny_onnx
    empty = encode(model.body.tokenizer, [], 16)
    found = OnnxForm(paths["int8"])(empty)
    assert {task: tuple(rows.shape) for task, rows in found.items()} == {
        "emotion": (0, 3),
        "vad": (0, 2),
        "intent": (0, 1),
    }


def test_what_int8_needs_changes_nothing_before_it(tiny):
    """Only the tables are rounded; with them as they were, the prepared model is the model."""
    torch.manual_seed(0)
    model = store.build(EncoderConfig(weights=str(tiny)), None, HEADS).eval()
    encoded = read(model)
    prepared = quantise.prepare(model, encoded)
    kinds = {type(module).__name__ for module in prepared.body.backbone.modules()}
    assert {"RowTable", "Evened", "PerToken"} <= kinds
    prepared.body.backbone.embeddings = model.body.backbone.embeddings
    assert near(sweep(prepared, encoded, model.device), sweep(model, encoded, model.device), 1e-5)


def test_a_table_in_int8_is_near_by_row():
    table = torch.randn(100, 8) * torch.logspace(-3, 2, 100)[:, None]
    found = quantise.RowTable(table)(torch.arange(100))
    assert ((found - table).abs() <= table.abs().amax(dim=1, keepdim=True) / 253).all()


def test_int8_on_real_weights(minilm, tmp_path):
    pytest.importorskip("onnxruntime")
    model, paths = made(minilm, tmp_path)
    encoded = read(model, 80)
    assert paths["int8"].stat().st_size <= 25e6
    reference = sweep(model, encoded, model.device)["emotion"]
    found = OnnxForm(paths["int8"], 2)(encoded)["emotion"]
    assert torch.cosine_similarity(found, reference).min() > 0.98
    assert (found.argmax(dim=1) == reference.argmax(dim=1)).float().mean() >= 0.95


def test_no_path_of_this_machine_is_in_the_files(tiny_onnx):
    for path in tiny_onnx[1].values():
        assert b"/site-packages/" not in path.read_bytes()
        assert b"forms.py" not in path.read_bytes()


def test_the_opset_is_stated(tiny_onnx):
    onnx = pytest.importorskip("onnx")
    for path in tiny_onnx[1].values():
        versions = {each.domain: each.version for each in onnx.load(path).opset_import}
        assert versions[""] == export.OPSET


def test_a_damaged_graph(tiny_onnx, tmp_path):
    broken = tmp_path / "int8.onnx"
    broken.write_bytes(tiny_onnx[1]["int8"].read_bytes()[:1000])
    with pytest.raises(RunError, match="cannot be run"):
        OnnxForm(broken)


def test_without_the_extra(tiny, tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **named):
        if name.split(".")[0] in ("onnx", "onnxruntime", "onnxscript"):
            raise ImportError(name)
        return real(name, *rest, **named)

    for name in [each for each in sys.modules if each.split(".")[0] in ("onnxruntime", "onnxscript")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match="'onnx'"):
        OnnxForm(tmp_path / "float.onnx")
    model = store.build(EncoderConfig(weights=str(tiny)), None, HEADS).eval()
    with pytest.raises(MissingExtraError, match=r"overtone\[onnx\]"):
        export.export(model, tmp_path, read(model))
    assert list(tmp_path.iterdir()) == []


def test_settings_that_are_tried():
    assert onnx_settings(1) == [(1, 1)]
    assert onnx_settings(2) == [(2, 1), (1, 2)]
    assert onnx_settings(8) == [(8, 1), (4, 2), (1, 8)]
