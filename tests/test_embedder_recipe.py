from __future__ import annotations

import pytest
import yaml

from overtone import dispatch, kinds
from overtone.embedder_recipe import EmbedderRecipe
from overtone.errors import UsageError
from toys import embedder

LSTM = {"kind": "lstm", "width": 16, "layers": 1}
TRANSFORMER = {"kind": "transformer", "width": 16, "layers": 1, "heads": 2, "max_length": 32}


def parse(**changes):
    return kinds.parse(embedder("mine", **changes), "test")


def test_every_default_is_written_out(tmp_path):
    loaded = parse()
    assert isinstance(loaded, EmbedderRecipe)
    assert dispatch.of(loaded) is dispatch.EMBEDDER
    (tmp_path / "again.yaml").write_text(loaded.to_yaml())
    assert kinds.read(str(tmp_path / "again.yaml")) == loaded
    assert yaml.safe_load(loaded.to_yaml())["body"] == {"kind": "bag", "width": 16, "weights": "learnt"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"windw": 3}, "unknown key 'windw'"),
        ({"objective": {"temprature": 3}}, "did you mean 'temperature'?"),
        ({"data": {"collection": {"kind": "folder"}}}, "data.collection.path"),
        ({"train": {"early_stopping": {"metric": "mrr_1"}}}, "no 'mrr_1' of an embedder"),
        ({"train": {"freeze": {"kind": "backbone"}}}, "trained as a whole"),
        ({"train": {"mix": {"temperature": 2}}}, "are for several tasks"),
        ({"train": {"weighting": {"kind": "equal"}}}, "are for several tasks"),
        ({"train": {"accumulation": 2}}, "train.accumulation"),
        ({"train": {"optim": {"head_lr": 0.5}}}, "train.optim.head_lr: all of this model"),
        ({"train": {"optim": {"layer_decay": 0.5}}}, "train.optim.layer_decay: all of this model"),
        ({"objective": {"distillation": 1.0}}, "need a teacher"),
        ({"negatives": {"teacher": 1}}, "need a teacher"),
        ({"objective": {"contrastive": 0.0}}, "nothing to learn"),
        ({"objective": {"dimensions": [8, 16]}}, "each is below body.width, 16"),
        ({"objective": {"dimensions": [0]}}, "objective.dimensions"),
        ({"body": {"kind": "bag", "weights": "rare"}}, "body.weights: input should be"),
        ({"pooling": "last"}, "of a bag there is but the mean"),
        ({"start": "runs/language", "vocabulary": None}, "a bag has no language model to start from"),
        ({"start": "runs/language", "body": LSTM}, "vocabulary: that of runs/language is taken"),
        ({"vocabulary": None}, "null is for a recipe with start"),
        ({"body": TRANSFORMER}, "max_length: 64 tokens, and body.max_length is 32"),
        ({"window": 16}, "unknown key 'window'"),
    ],
)
def test_what_does_not_apply_is_refused(changes, said):
    with pytest.raises(UsageError) as caught:
        parse(**changes)
    assert said in caught.value.what
    assert caught.value.hint == "the schema: overtone data schema embedder"


def test_what_applies_is_taken():
    loaded = parse(start="runs/language", vocabulary=None, body=LSTM, pooling="last")
    assert loaded.vocabulary is None
    teacher = {"teacher": {"weights": "minilm-l6"}, "negatives": {"teacher": 1}}
    assert parse(**teacher, objective={"distillation": 1.0}).negatives.teacher == 1


def test_the_shipped_ones_are_of_the_same_questions_and_teacher():
    bag, lstm, transformer = (kinds.read(f"embedder{name}") for name in ("", "-lstm", "-transformer"))
    for each in (lstm, transformer):
        assert each.data == bag.data.model_copy(update={"sentences": each.data.sentences})
        assert (each.teacher, each.objective, each.vocabulary) == (bag.teacher, bag.objective, None)
        assert each.rows_seed == bag.rows_seed
    for each, name in ((lstm, "language"), (transformer, "language-transformer")):
        began = kinds.read(name)
        assert str(each.start) == f"runs/{name}"
        changed = {"dropout": began.body.dropout}
        assert each.body.model_copy(update=changed) == began.body
