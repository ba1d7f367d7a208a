from __future__ import annotations

import json
import tempfile
from dataclasses import asdict

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoModel

from overtone import backbones
from overtone.backbones import MODES, Backbone, Rate
from overtone.errors import UsageError, WeightsError
from overtone.evaluation.compare import Interval
from overtone.models import weights
from overtone.models.weights import Architecture, Weights
from overtone.run import write_json
from toys import task


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(backbones, "SPAN", 0.0)
    monkeypatch.setattr(backbones, "ROUNDS", 2)


@pytest.fixture
def far(monkeypatch, tmp_path):
    """A tiny encoder of the catalogue whose weights are not at hand."""
    tiny = Architecture("roberta", 3, 24, 4, 48, 100, 40, 1, 1)
    monkeypatch.setitem(weights.CATALOGUE, "far", Weights("far", "org/far", "MIT", 0.1, architecture=tiny))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return "far"


def measured(*names):
    """The rows, and the names of the steps."""
    steps = []
    return list(backbones.measure(list(names), steps.append)), steps


def test_the_figures_of_toy_encoders(encoder_folder):
    names = [str(encoder_folder(kind)) for kind in ("bert", "distilbert")]
    rows, steps = measured(*names)
    assert [row.name for row in rows] == names
    assert steps == [name for name in names for _ in range(3)]
    assert len(steps) == backbones.steps(names)
    for row in rows:
        model = AutoModel.from_pretrained(row.name)
        sizes = [p.numel() for name, p in model.named_parameters() if not name.startswith("pooler.")]
        assert row.parameters == sum(sizes)
        assert row.weights_mb == pytest.approx(4e-6 * sum(sizes))
        assert (row.at_hand, row.hidden, row.layers, row.accuracy) == (True, 32, 2, None)
        assert (row.batch, row.length) == (
            backbones.BATCH["cuda" if torch.cuda.is_available() else "cpu"],
            32,
        )
        assert tuple(row.rates) == MODES
        for rate in row.rates.values():
            assert rate.per_second > 0
            assert rate.low <= rate.ratio <= rate.high
    assert {rate.ratio for rate in rows[0].rates.values()} == {1.0}


def test_random_weights_where_there_are_none(far, tiny):
    (row, other), _ = measured(far, str(tiny))
    assert (row.at_hand, row.layers, row.hidden) == (False, 3, 24)
    layer = 4 * (24 * 24 + 24) + 2 * 24 * 48 + 48 + 24 + 4 * 24
    assert row.parameters == (100 + 40 + 1) * 24 + 2 * 24 + 3 * layer
    assert other.at_hand


def test_weights_that_are_at_hand_and_broken_are_not_replaced(encoder_folder, tmp_path):
    (tmp_path / "config.json").write_text((encoder_folder("bert") / "config.json").read_text())
    with pytest.raises(WeightsError, match="cannot be read"):
        measured(str(tmp_path))


def test_a_random_encoder_is_the_real_one():
    model = backbones.random_backbone("xtremedistil-l6")
    assert sum(p.numel() for p in model.parameters()) == 12_684_288
    assert model.config.model_type == "bert"
    assert model.pooler is None
    assert float(model.embeddings.word_embeddings.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_all_encoders_or_those_named(tiny):
    everything = backbones.chosen([])
    assert everything[0] == "minilm-l6"
    decoders = {"smollm2-135m-instruct", "qwen3-4b-instruct-2507", "qwen2.5-3b-instruct"}
    assert set(everything) == set(weights.CATALOGUE) - decoders
    assert backbones.chosen(["distilbert", str(tiny), "distilbert"]) == ["distilbert", str(tiny)]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("xlm-robberta", "did you mean 'xlm-roberta'?"),
        ("DistilBERT", "did you mean 'distilbert'?"),
        ("smollm2-135m-instruct", "known: "),
        ("no/folder", "known: "),
    ],
)
def test_an_unknown_name(name, hint):
    with pytest.raises(UsageError, match=f"no encoder is named '{name}'") as caught:
        backbones.chosen(["minilm-l6", name])
    assert caught.value.hint.startswith(hint)


def row(name="toy", *, at_hand=True, **changes):
    rates = {mode: Rate(100.0, 1.0, 0.9, 1.1) for mode in MODES}
    return Backbone(name, at_hand, 1000, 32, 2, 0.004, None, 7.5, 8, 32, rates, **changes)


def test_the_rows_come_back_from_json(tmp_path):
    rows = [row(accuracy=Interval(0.5, 0.4, 0.6)), row("far", at_hand=False)]
    backbones.write(tmp_path / "deep" / "rows.json", rows)
    found = json.loads((tmp_path / "deep" / "rows.json").read_text())
    assert found["backbones"] == [asdict(each) for each in rows]
    assert {"commit", "date", "hardware", "versions", "threads", "rounds"} < set(found)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["rows.json"]


def test_memory_that_work_takes():
    blocks = [bytearray(100_000) for _ in range(2000)]
    held = bytearray(100_000)  # above the blocks, so that what they leave stays with the allocator
    del blocks
    grown = backbones._growth(lambda: torch.ones(16_000_000).sum())
    if grown is None:
        pytest.skip("the system does not tell")
    assert held
    assert 60 < grown < 100


def test_memory_where_the_system_does_not_tell(monkeypatch):
    def refuse(*arguments, **named):
        raise PermissionError

    done = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(backbones.Path, "write_text", refuse)
    assert backbones._growth(lambda: done.append(1)) is None
    assert done == [1]


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """What stands in for a training; it is given the recipe and the run. Nothing may be left behind."""
    from overtone import pipeline

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield lambda run: monkeypatch.setattr(pipeline, "run", run)
    assert list(tmp_path.iterdir()) == []


def test_accuracy_is_that_of_the_run(trained):
    def run(recipe, place):
        assert recipe.body.weights == "toy"
        figures = {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}
        standings = [{"name": "model", "figures": figures}, {"name": "majority", "figures": {}}]
        write_json(place.evaluation / "emotion" / "standings.json", standings)
        return place

    trained(run)
    assert backbones.with_accuracy(row()) == row(accuracy=Interval(0.5, 0.4, 0.6))


def test_an_encoder_that_is_not_at_hand_is_not_trained(trained):
    trained(lambda *_: pytest.fail("it was trained"))
    assert backbones.with_accuracy(row(at_hand=False)) == row(at_hand=False)


def test_a_training_that_is_stopped_leaves_nothing(trained):
    from overtone.training.stopping import InterruptedFitError

    def run(recipe, place):
        place.folder.mkdir(parents=True)
        raise InterruptedFitError("stopped", hint=f"overtone run {place.folder}")

    trained(run)
    with pytest.raises(KeyboardInterrupt):
        backbones.with_accuracy(row())


def test_a_real_training(tiny, table, tmp_path, monkeypatch):
    train = {"epochs": 1, "batch_size": 32, "early_stopping": {"metric": "loss"}}
    short = {"name": "short", "tasks": {"emotion": task(table)}, "train": train}
    (tmp_path / "short.yaml").write_text(json.dumps({**short, "cascade": {"risk": 0.5}}))
    monkeypatch.setattr(backbones, "RECIPE", str(tmp_path / "short.yaml"))
    found = backbones.with_accuracy(row(str(tiny))).accuracy
    assert 0 <= found.low <= found.value <= found.high <= 1
