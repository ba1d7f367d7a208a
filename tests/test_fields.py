"""Suffering 10, a flag that is read by nothing: every field of the recipe is read while tiny runs run."""

from __future__ import annotations

import json
import sys
import typing
from pathlib import Path

import pytest

import overtone
from eq_questions import question
from overtone import dispatch, eq_exam, kinds, pipeline, recipe
from overtone.config import Config
from overtone.data import conversations
from overtone.data.records import Record
from overtone.data.sources import goemotions
from overtone.data.sources.asl_signing import AslSigningSource
from overtone.data.sources.clinc150 import Clinc150Source
from overtone.data.sources.dailydialog import DailyDialogSource
from overtone.data.sources.deaf_knowledge import DeafKnowledgeSource
from overtone.data.sources.education_dialogue import EducationDialogueSource
from overtone.data.sources.empathetic_dialogues import EmpatheticDialoguesSource
from overtone.data.sources.esconv import EsconvSource
from overtone.data.sources.politeness import PolitenessSource
from overtone.data.sources.reccon import RecconSource
from overtone.data.sources.tutoring import TutoringSource
from overtone.data.sources.wikipassages import WikipassagesSource
from overtone.data.sources.wikitext2 import Wikitext2Source
from overtone.data.vocabulary import WordPieceVocabulary
from overtone.errors import DataError
from overtone.run import Run
from toys import (
    chat,
    companion,
    embedder,
    language,
    sentences,
    seq2seq,
    write_answers,
    write_chat,
    write_collection,
    write_documents,
    write_rows,
    write_support,
)

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


def learnt(source, labels=LABELS, target="emotion", **parts):
    """A task on a table; ``parts`` are its other fields, and ``split`` and limits of its rows."""
    data = {"sources": [{"kind": "table", **source}], "labels": labels, "target": target}
    data |= {key: parts.pop(key) for key in ("split", "train_rows", "validation_rows") if key in parts}
    return {"kind": "classification", "data": data, "head": {"hidden": [8]}, **parts}


def resolved(tiny, tasks, **parts):
    train = {"epochs": 2, "batch_size": 32, "early_stopping": {"metric": "loss"}, "log_every": 1}
    values = {
        "name": "toy",
        "tasks": tasks,
        "body": {"weights": str(tiny)},
        "evaluate": {"baselines": ["majority"], "resamples": 100},
        "train": {**train, **parts.pop("train")},
        **parts,
    }
    return recipe.parse(values, "test")


def one_label(tiny, folder):
    """An adapter, a cosine, the cascade, and baselines."""
    rows = [{"text": text, "label": label} for text, label in sentences(240)]
    source = {"path": rows_of(folder / "one.jsonl", rows)}
    return resolved(
        tiny,
        {"emotion": learnt(source, split={"kind": "seeded", "validation": 0.4})},
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
    source = {"path": rows_of(folder / "many.jsonl", rows), "split": "split"}
    return resolved(
        tiny,
        {"emotion": learnt(source, split={"kind": "official"}, kind="multilabel")},
        train={"schedule": {"kind": "plateau", "warmup_steps": 0}, "freeze": {"kind": "bottom", "layers": 1}},
    )


def pooled(tiny, folder):
    """A frozen body, a line, a pooled split."""
    rows = [{"text": text, "label": label} for text, label in sentences(150)]
    source = {"path": rows_of(folder / "pooled.jsonl", rows)}
    return resolved(
        tiny,
        {"emotion": learnt(source, split={"kind": "pooled", "test_per_label": 10})},
        train={"schedule": {"kind": "linear", "warmup_steps": 0}, "freeze": {"kind": "backbone"}},
    )


def asked(tiny, folder):
    """A body that is asked about a text, and whose states are read at several layers."""
    own = pooled(tiny, folder).model_dump(mode="json")
    own["tasks"]["emotion"]["head"] |= {"pooling": "last", "standardise": True}
    own["body"] |= {"prompt": "{text} feels", "states": [0, 1]}
    return recipe.parse(own, "test")


def taught(tiny, folder):
    """The run before as a teacher."""
    own = pooled(tiny, folder).model_dump(mode="json")
    own["tasks"]["emotion"]["teacher"] = {"runs": [str(folder / "pooled")]}
    return recipe.parse(own, "test")


def many_tasks(tiny, folder):
    """Every other loss, stages of freezing, weights that are learnt, and rows that are mixed and limited."""
    single = sentences(120)
    numbers = [{"reply": t, "before": None, "a": len(t), "b": t.count(" ")} for t, _ in sentences(90, seed=1)]
    several = [{"text": text, "label": label} for text, label in sentences(90, seed=2, multilabel=True)]
    classes = {"path": rows_of(folder / "a.jsonl", [{"text": t, "label": x} for t, x in single])}
    measured = {
        "path": rows_of(folder / "b.jsonl", numbers),
        "text": "reply",
        "context": "before",
        "numbers": ["a", "b"],
    }
    labels = {"path": rows_of(folder / "c.jsonl", several)}
    seeded = {"kind": "seeded"}
    return resolved(
        tiny,
        {
            "emotion": learnt(
                classes, split=seeded, train_rows=60, validation_rows=20, loss={"kind": "focal"}
            ),
            "length": learnt(
                measured, ["a", "b"], "length", split=seeded, kind="regression", loss={"kind": "ccc"}
            ),
            "mood": learnt(labels, split=seeded, kind="multilabel", loss={"kind": "asymmetric"}),
            "tone": learnt(labels, split=seeded, kind="multilabel", loss={"kind": "focal"}),
            "measure": learnt(
                measured, ["a", "b"], "length", split=seeded, kind="regression", head={"samples": 2}
            ),
        },
        train={
            "freeze": {
                "kind": "progressive",
                "stages": [{"epochs": 1, "top": 1}, {"epochs": 1, "top": None}],
            },
            "mix": {"temperature": 2.0},
            "weighting": {"kind": "uncertainty"},
        },
    )


def embedders(tiny, folder, texts):
    """An embedder with all that helps it, and one from a language model."""
    pytest.importorskip("bm25s")
    pytest.importorskip("pytrec_eval")
    path = write_collection(folder / "collection")
    taught = embedder(
        path,
        teacher={"weights": str(tiny), "max_length": 32},
        objective={"distillation": 0.5, "dimensions": [8]},
        negatives={"bm25": 1, "teacher": 1},
        data={"texts": [{"kind": "table", "path": str(texts)}], "passages": 10},
        train={"epochs": 1},
    )
    dispatch.run(kinds.parse(taught, "test"), Run(folder / "finder"))
    values = embedder(path, start=str(folder / "bpe"), vocabulary=None, train={"epochs": 1})
    values["body"] = {"kind": "lstm", "width": 16, "layers": 1}
    dispatch.run(kinds.parse(values, "test"), Run(folder / "started"))


def tutor(tiny, folder):
    """A decoder that looks facts up, and one that goes on from it."""
    pytest.importorskip("bm25s")
    weights, path = write_chat(folder / "decoder"), write_answers(folder / "facts.jsonl")
    seen = {"weights": str(tiny), "max_length": 32}
    general = [{"kind": "table", "path": str(write_documents(folder / "general.jsonl", 5))}]
    values = chat(
        weights,
        path,
        grounding={"share": 0.2, "lookup": {"embedder": seen}},
        train={"epochs": 1},
        exam={"embedder": seen, "general": general, "general_tokens": 50, "window": 32},
    )
    first = dispatch.run(kinds.parse(values, "test"), Run(folder / "first"))
    values |= {"name": "second", "start": str(first.folder)}
    dispatch.run(kinds.parse(values, "test"), Run(folder / "second"))
    values = seq2seq(path, train={"epochs": 1}, exam={"embedder": seen})
    dispatch.run(kinds.parse(values, "test"), Run(folder / "listener"))
    TutoringSource(parts=("cima",)).build()
    DeafKnowledgeSource().build()
    AslSigningSource().build()
    EmpatheticDialoguesSource().build()
    EsconvSource().build()
    dialogue = {"background_info": {}, "conversation": [{"role": "Student", "text": "why"}]}
    dialogue["conversation"].append({"role": "Teacher", "text": "so"})
    lessons = folder / "conversations_train1.json"
    lessons.write_text(json.dumps([dialogue]))
    source = EducationDialogueSource(path=lessons).build()
    assert len(list(source.records(folder))) == 1


def listeners(folder, monkeypatch):
    """A companion that is kept near its base and sits EQ-Bench, and one that goes on from it with pairs."""
    pytest.importorskip("bitsandbytes")
    weights, data = write_chat(folder / "listening"), write_support(folder / "support")
    monkeypatch.setattr(conversations, "opened", lambda choice, _: (choice.build(), data / choice.kind))
    monkeypatch.setattr(eq_exam, "questions", lambda config: (question(),))
    values = companion(
        weights,
        objective={"safety": 0.1, "prompts": 2, "prompt_tokens": 4},
        body={"stored": "nf4"},
        train={"epochs": 1},
    )
    general = [{"kind": "table", "path": str(write_documents(folder / "beside.jsonl", 5))}]
    beside = {"general": general, "general_tokens": 50, "window": 32}
    values["exam"] |= {"eq_bench": {"resamples": 100}, **beside}
    first = dispatch.run(kinds.parse(values, "test"), Run(folder / "friend"))
    rows = [{"prompt": f"say {n}", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(8)]
    pairs = {"own": str(write_rows(folder / "pairs.jsonl", rows)), "rated": False, "failed": False}
    values |= {"kind": "preference", "answers": "last", "pairs": pairs, "objective": {"beta": 0.2}}
    values |= {"start": str(first.folder), "name": "better", "exam": {"resamples": 100, **beside}}
    dispatch.run(kinds.parse(values, "test"), Run(folder / "better"))


def varied(tiny, folder):
    """Weights from the variance of recent losses, on one task."""
    rows = [{"text": text, "label": label} for text, label in sentences(60)]
    source = {"path": rows_of(folder / "varied.jsonl", rows)}
    return resolved(
        tiny,
        {"emotion": learnt(source, split={"kind": "seeded"})},
        train={"weighting": {"kind": "inverse_variance", "window": 2}},
    )


def test_every_field_is_read(tiny, tmp_path, monkeypatch, read):
    pytest.importorskip("tensorboard")
    monkeypatch.delenv("OVERTONE_DATA", raising=False)
    for make in (one_label, many_labels, pooled, asked, taught, many_tasks, varied):
        run = pipeline.run(make(tiny, tmp_path), Run(tmp_path / make.__name__))
        loaded = overtone.load(run.folder)
        (found,) = loaded.read(["happy tears"])
        assert found.heads["emotion"].scores.keys() == set(LABELS)
        if loaded.decides:
            assert loaded.classify("happy tears").scores.keys() == set(LABELS)

    texts = write_documents(tmp_path / "texts.jsonl")
    bodies = [
        {"kind": "transformer", "width": 16, "layers": 1, "heads": 2, "max_length": 64},
        {"kind": "lstm", "width": 16, "layers": 1},
    ]
    for kind, body in zip(("character", "word"), bodies, strict=True):
        values = language(texts, vocabulary={"kind": kind, "size": 64}, body=None, split_seed=1)
        values["data"]["documents"] = 50
        values["body"] = body
        run = dispatch.run(kinds.parse(values, "test"), Run(tmp_path / kind))
        assert overtone.load(run.folder).generate("happy", max_tokens=2)
    dispatch.run(kinds.parse(language(texts), "test"), Run(tmp_path / "bpe"))
    embedders(tiny, tmp_path, texts)
    tutor(tiny, tmp_path)
    listeners(tmp_path, monkeypatch)
    for vocabulary_source in (WikipassagesSource(), Wikitext2Source()):
        vocabulary_source.build()
    with pytest.raises(DataError):
        WordPieceVocabulary(folder=tmp_path).build([])

    comment = Record("g/1", "text", {"emotion": ("joy",)}, "goemotions", "train")
    monkeypatch.setattr(goemotions, "records", lambda folder: iter([comment]))
    monkeypatch.setattr(goemotions, "groupings", lambda folder: {"ekman": {"joy": "joy"}})
    for source in (
        PolitenessSource(test_community="stack-exchange"),
        DailyDialogSource(context=False),
        RecconSource(context=False),
        Clinc150Source(out_of_scope=True),
    ):
        source.build()
    source = goemotions.GoEmotionsSource(grouping="ekman", single_label=True).build()
    assert [row.targets for row in source.records(tmp_path)] == [{"emotion": "joy"}]

    fields = {
        (cls.__name__, name)
        for recipe_class in kinds.KINDS.values()
        for cls in configs(recipe_class, [])
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
