"""Suffering 10, a flag that is read by nothing: every field of the recipe is read while tiny runs run."""

from __future__ import annotations

import json
import sys
import typing
from pathlib import Path

import pytest

import overtone
from overtone import pipeline, recipe
from overtone.config import Config
from overtone.data.records import Record
from overtone.data.sources import goemotions
from overtone.recipe import Recipe
from overtone.run import Run
from toys import sentences

SOURCE = str(Path(overtone.__file__).parent)
LABELS = ["joy", "sadness", "anger"]


def configs(annotation, found):
    """Every config class that a recipe can hold, in the order of its fields."""
    for argument in typing.get_args(annotation):
        configs(argument, found)
    if isinstance(annotation, type) and issubclass(annotation, Config) and annotation not in found:
        found.append(annotation)
        for field in annotation.model_fields.values():
            configs(field.annotation, found)
    return found


def checks(cls):
    """The names of a config's own validators: to check a value is not to use it."""
    decorators = cls.__pydantic_decorators__
    return {*decorators.field_validators, *decorators.model_validators}


@pytest.fixture
def read(monkeypatch):
    """Which fields the package's own code reads, by class and name."""
    seen = set()
    plain = object.__getattribute__

    def watch(self, name):
        cls = type(self)
        if name in cls.model_fields:
            code = sys._getframe(1).f_code
            if code.co_filename.startswith(SOURCE) and code.co_name not in checks(cls):
                seen.add((cls.__name__, name))
        return plain(self, name)

    monkeypatch.setattr(Config, "__getattribute__", watch)
    return seen


def rows_of(path, values):
    path.write_text("".join(json.dumps(row) + "\n" for row in values))
    return str(path)


def resolved(tiny, source, **parts):
    train = {"epochs": 2, "batch_size": 32, "early_stopping": {"metric": "loss"}, "log_every": 1}
    values = {
        "name": "toy",
        "data": {"sources": [{"kind": "table", **source}], "labels": LABELS, **parts.pop("data")},
        "body": {"weights": str(tiny)},
        "evaluate": {"baselines": ["majority"], "resamples": 100},
        "train": {**train, **parts.pop("train")},
        **parts,
    }
    return recipe.parse(values, "test")


def one_label(tiny, folder):
    """An adapter, a cosine, the cascade, and baselines."""
    rows = [{"text": text, "label": label} for text, label in sentences(240)]
    return resolved(
        tiny,
        {"path": rows_of(folder / "one.jsonl", rows)},
        data={"split": {"kind": "seeded", "validation": 0.4}},
        adapter={"targets": "all-linear"},
        cascade={},
        train={"schedule": {"kind": "cosine"}, "tensorboard": True},
    )


def many_labels(tiny, folder):
    """Frozen layers at the bottom, a plateau, an official split without validation, several labels a row."""
    parts = ("train", "train", "train", "train", "test")
    rows = [
        {"text": text, "label": label, "split": parts[i % 5]}
        for i, (text, label) in enumerate(sentences(150, multilabel=True))
    ]
    return resolved(
        tiny,
        {"path": rows_of(folder / "many.jsonl", rows), "split": "split"},
        data={"split": {"kind": "official"}},
        tasks=[{"kind": "multilabel"}],
        train={"schedule": {"kind": "plateau", "warmup_steps": 0}, "freeze": {"kind": "bottom", "layers": 1}},
    )


def pooled(tiny, folder):
    """A frozen body, a line, a pooled split."""
    rows = [{"text": text, "label": label} for text, label in sentences(150)]
    return resolved(
        tiny,
        {"path": rows_of(folder / "pooled.jsonl", rows)},
        data={"split": {"kind": "pooled", "test_per_label": 10}},
        train={"schedule": {"kind": "linear", "warmup_steps": 0}, "freeze": {"kind": "backbone"}},
    )


def test_every_field_is_read(tiny, tmp_path, monkeypatch, read):
    pytest.importorskip("tensorboard")
    monkeypatch.delenv("OVERTONE_DATA", raising=False)
    for make in (one_label, many_labels, pooled):
        run = pipeline.run(make(tiny, tmp_path), Run(tmp_path / make.__name__))
        assert overtone.load(run.folder).classify("happy tears").scores.keys() == set(LABELS)

    comment = Record("g/1", "text", {"emotion": ("joy",)}, "goemotions", "train")
    monkeypatch.setattr(goemotions, "records", lambda folder: iter([comment]))
    monkeypatch.setattr(goemotions, "groupings", lambda folder: {"ekman": {"joy": "joy"}})
    source = goemotions.GoEmotionsSource(grouping="ekman", single_label=True).build()
    assert [row.targets for row in source.records(tmp_path)] == [{"emotion": "joy"}]

    fields = {
        (cls.__name__, name)
        for cls in configs(Recipe, [])
        for name in cls.model_fields
        if name != "kind"  # it picks the class
    }
    assert len(fields) > 60
    assert sorted(fields - read) == []


def test_a_field_that_nothing_reads_is_found(read):
    class Unused(Config):
        """A config with a flag that nobody looks at."""

        flag: bool = True

    assert Unused().flag  # read here, and not in the package
    assert ("Unused", "flag") not in read
