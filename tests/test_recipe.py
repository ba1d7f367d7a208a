from __future__ import annotations

import json

import pytest
import yaml

from overtone import kinds, recipe
from overtone.data.records import Record
from overtone.embedder_recipe import METRICS, EmbedderRecipe
from overtone.errors import UsageError
from overtone.language_recipe import LanguageRecipe
from overtone.likelihood import MEASURES
from overtone.recipe import Recipe
from overtone.training.tasks import Task

MINIMAL = {
    "name": "mine",
    "tasks": {
        "emotion": {
            "kind": "classification",
            "data": {
                "sources": [{"kind": "table", "path": "rows.csv"}],
                "labels": ["a", "b"],
                "split": {"kind": "seeded"},
            },
        },
    },
}


def task(loaded):
    return loaded.tasks["emotion"]


def written(folder, values, name="mine.yaml"):
    path = folder / name
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return str(path)


@pytest.fixture
def mine(tmp_path):
    return written(tmp_path, MINIMAL)


def refused(name, *overrides):
    with pytest.raises(UsageError) as caught:
        recipe.load(name, overrides)
    return caught.value


@pytest.mark.parametrize("name", sorted(recipe.shipped()))
def test_every_shipped_recipe(name, tmp_path):
    loaded = kinds.read(name)
    assert loaded.name == name
    assert loaded.description
    assert kinds.read(written(tmp_path, loaded.to_yaml())) == loaded
    known = {LanguageRecipe: MEASURES, EmbedderRecipe: METRICS}
    if not isinstance(loaded, Recipe):
        assert loaded.train.early_stopping.metric in known.get(type(loaded), ["loss"])
        return
    assert (
        loaded.train.early_stopping.direction([Task(n, t.kind, None, 1.0) for n, t in loaded.tasks.items()])
        == 1
    )


def test_what_is_shipped():
    assert {"emotion", "emotion-mini", "emotion-6", "goemotions-28", "emotion-distilbert"} <= set(
        recipe.shipped()
    )


def test_every_default_is_written_out(mine, tmp_path):
    loaded = recipe.load(mine)
    text = loaded.to_yaml()
    values = yaml.safe_load(text)
    assert values["train"]["optim"]["beta2"] == 0.999
    assert values["cascade"] is None
    assert set(values) == set(Recipe.model_fields)
    assert recipe.load(written(tmp_path, text, "again.yaml")) == loaded


CHANGES = [
    (("train.epochs=5",), lambda r: r.train.epochs == 5),
    (("train.optim.lr=3e-4",), lambda r: r.train.optim.lr == 3e-4),
    (("train.schedule.warmup_steps=9",), lambda r: r.train.schedule.warmup_steps == 9),
    (("train.schedule={kind: linear}",), lambda r: r.train.schedule.kind == "linear"),
    (("train.schedule.kind=plateau",), lambda r: r.train.schedule.patience == 2),
    (
        ("train.schedule.patience=5", "train.schedule.kind=plateau"),
        lambda r: (r.train.schedule.kind, r.train.schedule.patience) == ("plateau", 5),
    ),
    (("train.freeze.kind=bottom", "train.freeze.layers=2"), lambda r: r.train.freeze.layers == 2),
    (("adapter.r=4",), lambda r: r.adapter is not None and r.adapter.r == 4),
    (("adapter={r: 4}", "adapter=null"), lambda r: r.adapter is None),
    (("cascade={}",), lambda r: r.cascade is not None),
    (("cascade.risk=0.2",), lambda r: r.cascade is not None and r.cascade.risk == 0.2),
    (("tasks.emotion.data.labels=[x, y, z]",), lambda r: task(r).data.labels == ("x", "y", "z")),
    (("tasks.emotion.data.labels.1=c",), lambda r: task(r).data.labels == ("a", "c")),
    (
        ("tasks.emotion.data.sources.0.path=other.csv",),
        lambda r: str(task(r).data.sources[0].path) == "other.csv",
    ),
    (("tasks.emotion.head.hidden=[8, 4]",), lambda r: task(r).head.hidden == (8, 4)),
    (("tasks.emotion.kind=multilabel",), lambda r: task(r).loss.kind == "binary_cross_entropy"),
    (("train.tensorboard=true",), lambda r: r.train.tensorboard is True),
    (("description=a = b",), lambda r: r.description == "a = b"),
    (("seed=1", "seed=2"), lambda r: r.seed == 2),
]


@pytest.mark.parametrize(("overrides", "holds"), CHANGES, ids=[" ".join(o) for o, _ in CHANGES])
def test_overrides(mine, overrides, holds):
    changed = recipe.load(mine, overrides)
    assert holds(changed)
    assert (changed != recipe.load(mine)) is ("adapter=null" not in overrides)


UNKNOWN = [
    ("epochs=3", "unknown key 'epochs'", None),
    ("trian.epochs=3", "unknown key 'trian'", "train"),
    ("train.epoch=3", "unknown key 'train.epoch'", "epochs"),
    ("train.optim.learning_rate=3", "unknown key 'train.optim.learning_rate'", "layer_decay"),
    ("train.schedule.warmup=3", "unknown key 'train.schedule.warmup'", "warmup_steps"),
    ("train.freeze.layer=3", "unknown key 'train.freeze.layer'", None),
    ("tasks.emotion.los={}", "unknown key 'tasks.emotion.los'", "loss"),
    (
        "tasks.emotion.loss.label_smothing=0.1",
        "unknown key 'tasks.emotion.loss.label_smothing'",
        "label_smoothing",
    ),
    ("tasks.emotion.head.poling=cls", "unknown key 'tasks.emotion.head.poling'", "pooling"),
    ("tasks.emotion.data.lables=[a, b]", "unknown key 'tasks.emotion.data.lables'", "labels"),
    ("tasks.emotion.data.sources.0.pth=x", "unknown key 'tasks.emotion.data.sources.0.pth'", "path"),
    ("tasks.emotion.data.split.tset=0.2", "unknown key 'tasks.emotion.data.split.tset'", "test"),
    ("leakage.nera=1", "unknown key 'leakage.nera'", "near"),
    ("adapter.rank=3", "unknown key 'adapter.rank'", None),
    ("adapter.dropuot=0", "unknown key 'adapter.dropuot'", "dropout"),
    ("cascade.risc=0.1", "unknown key 'cascade.risc'", "risk"),
    ("evaluate.resample=9", "unknown key 'evaluate.resample'", "resamples"),
]


@pytest.mark.parametrize(("override", "what", "meant"), UNKNOWN, ids=[o for o, _, _ in UNKNOWN])
def test_an_unknown_key_at_any_depth(mine, override, what, meant):
    error = refused(mine, override)
    assert what in error.what
    assert "\n" not in error.what  # one mistake is one line
    if meant == "layer_decay":
        assert "lr" in error.what
    elif meant is not None:
        assert f"did you mean '{meant}'?" in error.what
    else:
        assert "known: " in error.what


@pytest.mark.parametrize("where", ["file", "override"])
def test_an_unknown_key_in_a_union_names_the_kind_s_own_keys(tmp_path, where):
    """`patience` belongs to the plateau schedule alone."""
    name = written(tmp_path, MINIMAL)
    overrides = ["train.schedule.patience=3"]
    if where == "file":
        schedule = {"kind": "cosine", "patience": 3}
        name, overrides = written(tmp_path, {**MINIMAL, "train": {"schedule": schedule}}), []
    error = refused(name, *overrides)
    assert "unknown key 'train.schedule.patience': known: kind, warmup_steps" in error.what


WRONG = [
    ("train.epochs=0", "train.epochs: input should be greater than or equal to 1 (found 0)"),
    ("train.epochs=many", "train.epochs: input should be a valid integer"),
    ("train.precision=fp8", "train.precision: input should be 'fp32', 'bf16' or 'fp16' (found 'fp8')"),
    ("train.schedule.kind=cosin", "train.schedule.kind: no 'cosin': did you mean 'cosine'?"),
    ("train.schedule={warmup_steps: 3}", "'train.schedule.kind' is missing"),
    (
        "tasks.emotion.kind=clasification",
        "tasks.emotion.kind: no 'clasification': did you mean 'classification'?",
    ),
    ("tasks.emotion.data.sources=[{kind: table}]", "'tasks.emotion.data.sources.0.path' is missing"),
    ("tasks.emotion.data.sources=[]", "tasks.emotion.data.sources: tuple should have at least 1 item"),
    (
        "tasks.emotion.data.split={kind: seeded, validation: 0.8, test: 0.3}",
        "tasks.emotion.data.split: validation 0.8 and test 0.3",
    ),
    ("tasks.emotion.data.labels=[a, b, a]", "tasks.emotion.data.labels: listed twice: a"),
    (
        "tasks.emotion.data.labels=[yes, b]",
        "tasks.emotion.data.labels.0: input should be a valid string (found True)",
    ),
    ("name=Not A Name", "name: string should match pattern"),
    ("tasks={}", "tasks: dictionary should have at least 1 item"),
    ("train=5", "train: input should be a valid dictionary"),
    ("seed=-1", "seed: input should be greater than or equal to 0"),
]


@pytest.mark.parametrize(("override", "what"), WRONG, ids=[o for o, _ in WRONG])
def test_a_wrong_value(mine, override, what):
    error = refused(mine, override)
    assert what in error.what
    assert "\n" not in error.what
    assert "overtone data schema" in error.hint


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (["tasks.emotion.metric=acuracy"], "tasks.emotion.metric: no 'acuracy': did you mean 'accuracy'?"),
        (["tasks.emotion.metric=hamming"], "tasks.emotion.metric: no 'hamming'"),
        (["tasks.emotion.metric=c.f1"], "tasks.emotion.metric: no 'c.f1'"),
        (["train.early_stopping.metric=emotion.macro_f"], "did you mean 'emotion.macro_f1'?"),
        (["train.early_stopping.metric=emotion.hamming"], "no 'emotion.hamming'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_metric_that_the_task_has_not(mine, overrides, what):
    assert what in refused(mine, *overrides).what


def test_a_metric_of_multi_label_tasks(mine):
    several = ["tasks.emotion.kind=multilabel", "tasks.emotion.metric=hamming"]
    loaded = recipe.load(mine, [*several, "train.early_stopping.metric=emotion.hamming"])
    assert task(loaded).metric == "hamming"
    assert recipe.load(mine, ["train.early_stopping.metric=loss"]).train.early_stopping.metric == "loss"


def test_a_cascade_is_for_one_label(mine):
    error = refused(mine, "tasks.emotion.kind=multilabel", "cascade={}")
    assert "set cascade=null" in error.what


def test_every_mistake_is_told_at_once(mine):
    error = refused(mine, "train.epochs=0", "adapter.rank=3", "seed=x")
    assert error.what.count("\n") == 2


def test_an_adapter_in_a_frozen_backbone_would_not_be_trained(mine):
    error = refused(mine, "train.freeze.kind=backbone", "adapter={}")
    assert "set adapter=null" in error.what
    assert recipe.load(mine, ["train.freeze.kind=bottom", "adapter={}"]).adapter is not None


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("epochs", "not of the form a.b=c"),
        ("=3", "not of the form a.b=c"),
        ("train.epochs=[", "the value is not YAML"),
        ("tasks.emotion.data.labels.7=x", "'7' is not a place in a list of 2"),
        ("tasks.emotion.data.labels.-1=x", "'-1' is not a place in a list of 2"),
        ("tasks.emotion.data.sources.x.path=y", "'x' is not a place in a list of 1"),
        ("tasks.emotion.data.labels.0.x=y", "'0' holds a value, not keys"),
        ("train.epochs.x=y", "'epochs' holds a value, not keys"),
    ],
)
def test_a_broken_override(mine, override, what):
    assert what in refused(mine, override).what


def test_extends_merges_key_by_key(tmp_path):
    written(
        tmp_path,
        {
            **MINIMAL,
            "train": {"epochs": 9, "optim": {"lr": 0.5}, "schedule": {"kind": "cosine", "warmup_steps": 5}},
            "adapter": {"r": 4, "alpha": 8},
        },
        "base.yaml",
    )
    above = {
        "extends": "base.yaml",
        "name": "above",
        "tasks": {"emotion": {"data": {"labels": ["x", "y", "z"]}}},
        "train": {"optim": {"head_lr": 0.25}, "schedule": {"kind": "plateau"}},
        "adapter": {"kind": "lora", "alpha": 16},
    }
    loaded = recipe.load(written(tmp_path, above, "above.yaml"))
    assert loaded.name == "above"
    assert (loaded.train.epochs, loaded.train.optim.lr, loaded.train.optim.head_lr) == (9, 0.5, 0.25)
    assert task(loaded).data.labels == ("x", "y", "z")  # lists are replaced
    assert task(loaded).data.sources[0].kind == "table"
    assert (loaded.train.schedule.kind, loaded.train.schedule.warmup_steps) == (
        "plateau",
        100,
    )  # another kind
    assert (loaded.adapter.r, loaded.adapter.alpha) == (4, 16)
    alone = recipe.load(written(tmp_path, {"extends": "base.yaml", "adapter": None}, "alone.yaml"))
    assert alone.adapter is None


def test_extends_looks_beside_the_file_and_among_the_shipped(tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    written(tmp_path / "below", MINIMAL, "base.yaml")
    path = written(tmp_path / "below", {"extends": "base.yaml", "name": "above"}, "above.yaml")
    monkeypatch.chdir(tmp_path)
    assert recipe.load(path).name == "above"
    shipped = written(tmp_path, {"extends": "emotion", "name": "variant", "train": {"epochs": 1}})
    loaded = recipe.load(shipped)
    assert (loaded.name, loaded.train.epochs) == ("variant", 1)
    assert loaded.tasks == recipe.load("emotion").tasks


def test_extends_itself(tmp_path):
    one = written(tmp_path, {"extends": "two.yaml"}, "one.yaml")
    written(tmp_path, {"extends": "one.yaml"}, "two.yaml")
    assert "extends itself" in refused(one).what


def test_extends_nothing(tmp_path):
    assert "no recipe" in refused(written(tmp_path, {"extends": "nothing.yaml"})).what


def test_an_unknown_recipe():
    error = refused("emotoin")
    assert error.what == "no recipe 'emotoin'"
    assert error.hint == "did you mean 'emotion'?"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("name: [", "is not YAML"),
        ("", "is not a recipe: it holds NoneType"),
        ("- a\n- b\n", "is not a recipe: it holds list"),
        ("just text", "is not a recipe: it holds str"),
        ("name: mine\n", "'tasks' is missing"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_a_broken_file(tmp_path, text, what):
    assert what in refused(written(tmp_path, text)).what


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\xfe\x00name")
    assert "is not YAML" in refused(str(path)).what


def test_the_schema_describes_every_field():
    schema = Recipe.model_json_schema()
    json.dumps(schema)
    assert "PlateauSchedule" in schema["$defs"]
    undescribed = [
        f"{name}.{field}"
        for name, part in {**schema["$defs"], "Recipe": schema}.items()
        for field, about in part["properties"].items()
        if field != "kind" and "description" not in about and "$ref" not in about and "oneOf" not in about
    ]
    assert undescribed == []


def test_the_held_out_rows_are_shared_out_once(mine):
    rows = [Record(f"r/{i}", f"t {i}", {"emotion": "ab"[i % 2]}, "r") for i in range(40)]
    plain = recipe.load(mine)
    assert plain.held_out(rows) == (tuple(rows), ())
    cascaded = recipe.load(mine, ["cascade={}"])
    choose, certify = cascaded.held_out(rows)
    assert {row.id for row in choose} | {row.id for row in certify} == {row.id for row in rows}
    assert not {row.id for row in choose} & {row.id for row in certify}
    assert choose
    assert certify
    assert cascaded.held_out(rows) == (choose, certify)
    other = recipe.load(mine, ["cascade={}", "seed=8"]).held_out(rows)
    assert other != (choose, certify)


def test_recipes_do_not_change(mine):
    loaded = recipe.load(mine)
    with pytest.raises(ValueError, match="frozen"):
        loaded.seed = 3
