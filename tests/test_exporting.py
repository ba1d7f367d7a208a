"""`overtone export` of a tuned decoder, from the run's folder to the files that others read."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys

import pytest
import safetensors.torch
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from decoders import tuned
from overtone import exporting, kinds, system
from overtone.errors import DataError, MissingExtraError, RunError, UsageError
from overtone.evaluation import parity_chat
from overtone.evaluation.parity_chat import Tolerance
from overtone.inference import export_chat, gguf_file
from overtone.models import adapters, causal
from overtone.run import Run, read_json

IDS = torch.arange(3, 60)[None]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tuned(tmp_path_factory.mktemp("tuned"))


@pytest.fixture
def run(trained, tmp_path):
    """A copy that a test may export."""
    return Run(shutil.copytree(trained.folder, tmp_path / "guide"))


@torch.inference_mode()
def adapted(run):
    """The scores of the run with its adapter on."""
    recipe = kinds.read(str(run.recipe))
    body = causal.build(recipe.body, recipe.adapter).body.eval()
    adapters.restore(body, run.model)
    with body.without_adapter():
        base = body.backbone(input_ids=IDS).logits
    scores = body.backbone(input_ids=IDS).logits
    assert not torch.allclose(scores, base, atol=1e-2)  # or nothing would be shown
    return scores


def merged(run):
    return run.model / "merged"


def left(run):
    """What the export left, beside the folder and in it."""
    assert not list(run.model.glob(".merged*"))
    return {path.relative_to(merged(run)).as_posix() for path in merged(run).rglob("*") if path.is_file()}


def spoiled(monkeypatch, spoil):
    """Let something happen to the files between the writing and the gate."""
    write = export_chat.write

    def then(body, folder, *args):
        write(body, folder, *args)
        spoil(folder)

    monkeypatch.setattr(export_chat, "write", then)


def test_what_is_written_is_the_run(run):
    """Suffering 5: with transformers alone, and with its reader of GGUF files."""
    pytest.importorskip("gguf")
    judged = exporting.export_decoder(run, "f32")
    assert [each.form for each in judged] == ["merged", "gguf"]
    assert all(each.passed for each in judged)
    assert left(run) == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "gguf/model.gguf",
        "parity.json",
    }
    plain = AutoModelForCausalLM.from_pretrained(merged(run)).eval()
    with torch.inference_mode():
        scores = plain(input_ids=IDS).logits
        assert torch.allclose(scores, adapted(run), atol=1e-5)
        file = gguf_file.read(merged(run) / "gguf" / "model.gguf")
        assert torch.allclose(file.causal(input_ids=IDS).logits, scores, atol=1e-5)
    said = read_json(merged(run) / "parity.json")
    assert [each["passed"] for each in said["forms"]] == [True, True]
    assert said["licence"] == run.facts()["licence"]
    written = (merged(run) / "model.safetensors").read_bytes()
    assert said["sha256"]["model.safetensors"] == hashlib.sha256(written).hexdigest()
    assert (merged(run) / "model.safetensors").stat().st_mode & 0o044 == 0o044
    assert str(run.folder.parent) not in (merged(run) / "config.json").read_text()


def test_it_is_kept_as_the_run_kept_its_weights(tmp_path):
    run = tuned(tmp_path, body={"weights": str(tmp_path / "weights"), "stored": "bf16"})
    (judged,) = exporting.export_decoder(run, None)
    assert judged.passed
    assert judged.mean > 0  # bf16 rounds
    found = safetensors.torch.load_file(merged(run) / "model.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
    assert system.load_chat(run.folder).body.adapted  # what is served is still the run


def test_a_spoiled_tensor(run, typed, monkeypatch):
    def spoil(folder):
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
        tensors["model.layers.0.self_attn.v_proj.weight"].mul_(0.5)
        safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    spoiled(monkeypatch, spoil)
    code, said, told = typed("export", run.folder, "--gguf", "none")
    assert code == 1
    assert "refused: mean KL" in " ".join(said.split())
    assert "merged refused, and removed" in " ".join(told.split())
    assert left(run) == {"parity.json"}
    (form,) = read_json(merged(run) / "parity.json")["forms"]
    assert form["mean"] > Tolerance().mean
    assert not form["passed"]


def test_a_spoiled_tensor_of_the_file(run, typed, monkeypatch):
    gguf = pytest.importorskip("gguf")

    def spoil(folder):
        (tensor,) = [
            each
            for each in gguf.GGUFReader(folder / "gguf" / "model.gguf", "r+").tensors
            if each.name == "blk.1.ffn_down.weight"
        ]
        tensor.data[:] = 0

    spoiled(monkeypatch, spoil)
    code, said, told = typed("export", run.folder)
    assert code == 1
    assert "gguf refused, and removed" in " ".join(told.split())
    assert "merged: KL" in said
    assert "model.safetensors" in left(run)
    assert "gguf/model.gguf" not in left(run)


def test_another_template(run, monkeypatch):
    def spoil(folder):
        file = folder / "chat_template.jinja"
        file.write_text(file.read_text().replace("assistant\n", "assistant: "))

    spoiled(monkeypatch, spoil)
    (judged,) = exporting.export_decoder(run, None)
    assert judged.mean < 1e-7
    assert judged.rewritten == judged.conversations
    assert any("its chat template writes" in fault for fault in judged.faults)
    assert left(run) == {"parity.json"}


def test_another_template_in_the_file(run, monkeypatch):
    pytest.importorskip("gguf")

    def spoil(folder):  # it is only said where there is no system turn: no conversation here shows it
        file = folder / "gguf" / "model.gguf"
        assert b"be kind" in file.read_bytes()
        file.write_bytes(file.read_bytes().replace(b"be kind", b"be curt"))

    spoiled(monkeypatch, spoil)
    _, judged = exporting.export_decoder(run, "f32")
    assert judged.faults == ("its chat template is another",)
    assert judged.rewritten == 0


def test_another_tokenizer(run, monkeypatch):
    def spoil(folder):
        file = folder / "tokenizer.json"
        state = json.loads(file.read_text(encoding="utf-8"))
        state["model"]["merges"].remove(["th", "e"])
        file.write_text(json.dumps(state), encoding="utf-8")

    spoiled(monkeypatch, spoil)
    (judged,) = exporting.export_decoder(run, None)
    assert judged.rewritten == 0
    assert 0 < judged.recut < judged.conversations  # not all of them say `the`
    assert len(judged.faults) == 1


def test_what_went_wrong_leaves_what_was_there(run, monkeypatch):
    exporting.export_decoder(run, None)
    before = left(run)
    stamp = (merged(run) / "model.safetensors").stat().st_mtime_ns

    def broken(folder):
        raise OSError(28, "No space left on device")

    spoiled(monkeypatch, broken)
    with pytest.raises(RunError, match="No space left on device"):
        exporting.export_decoder(run, None)
    assert left(run) == before
    assert (merged(run) / "model.safetensors").stat().st_mtime_ns == stamp


def test_an_export_that_was_killed(run):
    half = run.model / ".merged.new"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    exporting.export_decoder(run, None)
    AutoTokenizer.from_pretrained(merged(run))
    assert "model.safetensors" in left(run)


def test_without_the_package(run, typed, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"overtone\[gguf\]"):
        exporting.export_decoder(run)
    assert not merged(run).exists()
    code, said, _ = typed("export", run.folder, "--gguf", "none", "--json")
    assert code == 0
    assert [(each["form"], each["passed"]) for each in json.loads(said)] == [("merged", True)]


def test_runs_that_cannot_be_exported_so(run, typed, tmp_path):
    code, _, told = typed("export", tmp_path, "--gguf", "f16")
    assert code == 2
    assert "is no tuned decoder" in " ".join(told.split())
    code, _, told = typed("export", tmp_path)
    assert code == 2
    assert "is not a trained run" in " ".join(told.split())
    (run.model / "chat.json").unlink()
    with pytest.raises(UsageError, match="is not a trained run"):
        exporting.export_decoder(run, None)


def test_weights_of_a_few_bits(trained):
    recipe = kinds.read(str(trained.recipe))
    with pytest.raises(UsageError, match="kept as nf4 cannot be merged"):
        export_chat.merged(recipe.body.model_copy(update={"stored": "nf4"}), trained.model)


def test_no_conversation_to_compare_on(trained, tmp_path):
    with pytest.raises(DataError, match="no conversations"):
        parity_chat.gate(None, tmp_path, ["merged"], [], Tolerance(), stored="fp32", facts={})
