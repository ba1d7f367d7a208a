from __future__ import annotations

import pytest
import yaml

from overtone import grid
from overtone.errors import UsageError
from overtone.recipe import Recipe
from toys import task

BASE = {
    "name": "moods",
    "seed": 5,
    "tasks": {"mood": task("moods.jsonl"), "tone": task("moods.jsonl", metric="macro_f1")},
    "train": {"epochs": 2, "early_stopping": {"metric": "mean"}},
}
STUDY = {
    "name": "losses",
    "question": "Does it help?",
    "base": "base.yaml",
    "seeds": [7, 11, 13],
    "against": "old",
    "arms": {"old": {}, "new": {"set": ["tasks.*.loss.kind=focal"]}},
    "figures": ["mean", "mood.joy.f1", "train.seconds"],
}


@pytest.fixture
def load(tmp_path):
    """Reads the study above, with changes."""

    def loaded(**changes):
        (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
        path = tmp_path / "losses.yaml"
        path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))
        return grid.load(str(path))

    return loaded


@pytest.mark.parametrize("name", grid.shipped())
def test_every_shipped_study_resolves(name):
    study = grid.load(name)
    assert study.name == name
    assert study.question.endswith("?")
    seen = {}
    for arm in study.arms:
        made = study.recipe(arm, 11)
        assert isinstance(made, Recipe)
        assert (made.seed, made.rows_seed) == (11, 7)
        seen.setdefault(study.run_name(arm, 11), made)
        assert seen[study.run_name(arm, 11)] == made  # a folder is of one recipe
    distinct = {made.model_copy(update={"name": "x"}).to_yaml() for made in seen.values()}
    assert len(distinct) == len(seen)  # no two arms are the same run


def test_an_arm_is_the_base_with_its_changes(load):
    study = load(set=["train.epochs=4"])
    old, new = study.recipe("old", 7), study.recipe("new", 11)
    assert (old.seed, old.rows_seed, old.name, old.train.epochs) == (7, 5, "losses-old-7", 4)
    assert (new.seed, new.rows_seed, new.name, new.train.epochs) == (11, 5, "losses-new-11", 4)
    assert {each.loss.kind for each in old.tasks.values()} == {"cross_entropy"}
    assert {each.loss.kind for each in new.tasks.values()} == {"focal"}


def test_tasks_that_are_kept(load):
    arms = {"old": {}, "alone": {"tasks": ["tone"], "set": ["tasks.*.weight=2"]}}
    study = load(arms=arms)
    assert tuple(study.recipe("alone", 7).tasks) == ("tone",)
    assert study.recipe("alone", 7).tasks["tone"].weight == 2
    assert tuple(study.recipe("old", 7).tasks) == ("mood", "tone")
    fewer = load(tasks=["tone"], figures=["mean"])
    assert tuple(fewer.recipe("old", 7).tasks) == ("tone",)
    assert [term.task for term in fewer.measures()[0].terms] == ["tone"]


def test_ways_to_read_share_a_run(load):
    arms = {"plain": {}, "other": {"set": ["train.epochs=1"]}, "dropout": {"read": "dropout"}}
    study = load(arms=arms, against="plain")
    assert study.run_name("dropout", 7) == "plain-7"
    assert study.run_name("other", 7) == "other-7"
    assert study.recipe("dropout", 7) == study.recipe("plain", 7)
    assert study.arms["dropout"].changes == ("read: dropout",)


def test_figures_find_their_metrics(load):
    mean, joy, seconds = load().measures()
    assert {(term.task, term.metric, term.share) for term in mean.terms} == {
        ("mood", "accuracy", 0.5),
        ("tone", "macro_f1", 0.5),
    }
    assert joy.higher_is_better
    assert seconds.terms == ()
    assert load().parts == ("test",)
    assert load(figures=["mean", "gap"]).parts == ("test", "train")


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"seed": [1, 2, 3]}, "unknown key 'seed': did you mean 'seeds'?", None),
        (
            {"arms": {"old": {}, "new": {"sets": []}}},
            "unknown key 'arms.new.sets': did you mean 'set'?",
            None,
        ),
        ({"seeds": [1, 2]}, "seeds: tuple should have at least 3 items", None),
        ({"seeds": [1, 2, 1]}, "seeds: '1' stands there 2 times", None),
        ({"against": "odl"}, "against: no arm 'odl': did you mean 'old'?", None),
        ({"arms": {"old": {}}}, "arms: dictionary should have at least 2 items", None),
        ({"arms": {"old": {}, "New": {}}}, "arms.New.[key]: string should match pattern", None),
        ({"arms": {"old": {}, "new": {"read": "twice"}}}, "arms.new.read: input should be 'plain'", None),
        ({"arms": {"old": {"tasks": ["mood"]}, "new": {}}}, "arms.old.tasks: the others are compared", None),
        ({"arms": {"old": {}, "new": {"tasks": ["mod"]}}}, "arm 'new': no task 'mod'", "'mood'"),
        ({"arms": {"old": {}, "new": {"set": ["train.epoch=2"]}}}, "arm 'new': .*unknown key", "schema"),
        (
            {"arms": {"old": {}, "new": {"set": ["tasks.*.loss.kind=fokal"]}}},
            "no 'fokal': did you mean",
            None,
        ),
        ({"figures": ["moood.accuracy"]}, "figures: no figure 'moood.accuracy'", "'mood.accuracy'"),
        ({"figures": ["mood.joyy.f1"]}, "figures: no metric 'joyy.f1'", "joy.f1"),
        ({"figures": ["train.seconds"]}, "figures: 'train.seconds' is a cost", None),
        ({"figures": ["mean", "mean"]}, "figures: 'mean' stands there 2 times", None),
        ({"figures": ["Mean?"]}, "figures.0: string should match pattern", None),
        ({"base": "bose.yaml"}, "no recipe 'bose.yaml'", None),
        ({"question": ""}, "question: string should have at least 1 character", None),
    ],
)
def test_what_is_wrong_with_a_study(load, changes, message, hint):
    with pytest.raises(UsageError, match=message.replace("[key]", r"\[key\]").replace("?", r"\?")) as caught:
        load(**changes)
    assert hint is None or hint in caught.value.hint


def test_files_that_are_no_study(tmp_path):
    with pytest.raises(UsageError, match="no study 'weigthing'") as caught:
        grid.load("weigthing")
    assert caught.value.hint == "did you mean 'weighting'?"
    broken, empty = tmp_path / "broken.yaml", tmp_path / "list.yaml"
    broken.write_text("a: [")
    empty.write_text("- a")
    with pytest.raises(UsageError, match="is not YAML"):
        grid.load(str(broken))
    with pytest.raises(UsageError, match="is not a study: it holds list"):
        grid.load(str(empty))


def test_what_looks_like_a_study():
    assert grid.is_study("weighting")
    assert grid.is_study("mine.yaml")
    assert not grid.is_study("runs/emotion")
