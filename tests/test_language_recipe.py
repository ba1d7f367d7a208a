from __future__ import annotations

import pytest
import yaml

from overtone import kinds, recipe
from overtone.errors import UsageError
from overtone.language_recipe import LanguageRecipe
from toys import language


def parse(**changes):
    return kinds.parse(language("texts.jsonl", **changes), "test")


def test_every_default_is_written_out(tmp_path):
    loaded = parse()
    assert isinstance(loaded, LanguageRecipe)
    (tmp_path / "again.yaml").write_text(loaded.to_yaml())
    assert kinds.read(str(tmp_path / "again.yaml")) == loaded
    assert yaml.safe_load(loaded.to_yaml())["vocabulary"] == {"kind": "bpe", "size": 300}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"windw": 3}, "unknown key 'windw': did you mean 'window'?"),
        ({"body": {"widht": 3}}, "unknown key 'body.widht': did you mean 'width'?"),
        ({"train": {"early_stopping": {"metric": "mean"}}}, "no 'mean' of a language model"),
        ({"train": {"freeze": {"kind": "backbone"}}}, "trained as a whole"),
        ({"train": {"mix": {"temperature": 2}}}, "are for several tasks"),
        ({"train": {"weighting": {"kind": "equal"}}}, "are for several tasks"),
        ({"train": {"optim": {"head_lr": 0.5}}}, "train.optim.head_lr: all of this model"),
        ({"train": {"optim": {"layer_decay": 0.5}}}, "train.optim.layer_decay: all of this model"),
        ({"evaluate": {"stride": 17}}, "evaluate.stride: 17 tokens, and window is 16"),
        ({"data": {"validation": 0.0}}, "data.validation"),
        ({"tasks": {}}, "unknown key 'tasks'"),
    ],
)
def test_what_does_not_apply_is_refused(changes, said):
    with pytest.raises(UsageError) as caught:
        parse(**changes)
    assert said in caught.value.what
    assert caught.value.hint == "the schema: overtone data schema language"


def test_windows_are_no_longer_than_what_a_transformer_reads():
    changes = ["body.kind=transformer", "body.max_length=64"]
    with pytest.raises(UsageError, match=r"window: 128 tokens, and body.max_length is 64"):
        kinds.read("language", changes)
    assert kinds.read("language", [*changes, "window=64"]).body.max_length == 64


def test_the_shipped_ones_differ_in_the_body_alone():
    lstm, transformer = kinds.read("language"), kinds.read("language-transformer")
    assert (lstm.data, lstm.vocabulary, lstm.window) == (
        transformer.data,
        transformer.vocabulary,
        transformer.window,
    )
    assert (lstm.rows_seed, kinds.read("language", ["seed=3"]).rows_seed) == (7, 7)
    assert (lstm.body.kind, transformer.body.kind) == ("lstm", "transformer")


def test_a_reader_is_wanted_and_a_language_model_given(tmp_path):
    with pytest.raises(UsageError, match="language is a recipe of kind 'language'") as caught:
        recipe.load("language")
    assert "tasks" in caught.value.hint
