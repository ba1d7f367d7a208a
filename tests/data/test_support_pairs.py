"""Which replies are set against each other, on conversations whose nearest ones are known."""

from __future__ import annotations

import dataclasses

import pytest

from overtone.data import support_pairs
from overtone.data.leakage import LeakageConfig
from overtone.data.records import Record
from overtone.data.sources import esconv
from overtone.data.text import fold
from overtone.errors import DataError

WORK, FRIEND = "job crisis", "problems with friends"


def talk(name, asked, reply, rating="", strategy="Question", problem=WORK, split="train"):
    """A conversation of one question and its reply."""
    return Record(
        f"esconv/{name}",
        f"{asked}\n{reply}",
        {
            "roles": ("user", "assistant"),
            "turns": (asked, reply),
            "strategy": ("", strategy),
            "rating": ("", rating),
            "problem": problem,
        },
        "esconv",
        split,
    )


BOSS = "my boss at the factory wants to fire me"
SHIFT = "they cut every night shift at our plant"
LIKED = talk("train-1", BOSS, "What did that boss say?", "5")
OTHER = talk("train-2", SHIFT, "Which shifts are left?", "4")
POOR = talk("train-3", f"{BOSS} today", "Who cares?", "1")


def by_reply(pairs):
    return [(each.id, each.context[-1].text, each.chosen, each.rejected) for each in pairs]


def test_a_liked_reply_in_its_context_over_a_disliked_one():
    found = support_pairs.rated([OTHER, POOR, LIKED])
    assert by_reply(found) == [("esconv/rated-train-3-0", BOSS, "What did that boss say?", "Who cares?")]
    assert found[0].source == "esconv"


@pytest.mark.parametrize(
    "change",
    [
        {"problem": FRIEND},
        {"strategy": "Information"},
        {"rating": "3"},
        {"rating": ""},
        {"reply": "who cares"},
        {"asked": "my boss again"},  # too few words to be compared
    ],
)
def test_only_what_can_be_compared_is_set_against_it(change):
    values = {"name": "train-1", "asked": BOSS, "reply": "What did that boss say?", "rating": "5", **change}
    assert support_pairs.rated([talk(**values), POOR]) == []


def test_each_liked_reply_is_taken_once():
    second = talk("train-4", f"{BOSS} now", "Leave it.", "2")
    found = support_pairs.rated([LIKED, OTHER, POOR, second])
    assert [(each.rejected, each.chosen) for each in found] == [
        ("Who cares?", "What did that boss say?"),
        ("Leave it.", "Which shifts are left?"),  # what is left, however far
    ]


def test_nobody_is_set_against_himself():
    both = dataclasses.replace(
        LIKED,
        targets={
            "roles": ("user", "assistant") * 2,
            "turns": (BOSS, "What did that boss say?", f"{BOSS} today", "Who cares?"),
            "strategy": ("", "Question") * 2,
            "rating": ("", "5", "", "1"),
            "problem": WORK,
        },
    )
    assert support_pairs.rated([both]) == []


def test_a_poor_supporter_s_reply_is_rejected_in_its_own_context():
    poor = talk("failed-000", f"{BOSS} soon", "hi", strategy="Others")
    found = support_pairs.failed([LIKED, OTHER], [poor], (), LeakageConfig())
    assert by_reply(found) == [
        ("esconv/failed-failed-000-0", f"{BOSS} soon", "What did that boss say?", "hi")
    ]
    assert support_pairs.failed([OTHER], [poor], (), LeakageConfig()) == []  # near, but not near enough
    assert len(support_pairs.failed([OTHER], [poor], (), LeakageConfig(), least=0.0)) == 1
    liked = talk("failed-001", f"{BOSS} soon", "hi", "4")
    assert support_pairs.failed([LIKED], [liked], (), LeakageConfig()) == []


def test_nothing_is_taken_from_what_is_held_out():
    poor = talk("failed-000", f"{BOSS} soon", "hi")
    twin = talk("test-9", f"{BOSS} soon", "hi", split="test")
    assert support_pairs.failed([LIKED], [poor], (), LeakageConfig()) != []
    for drop in (True, False):
        assert support_pairs.failed([LIKED], [poor], [twin], LeakageConfig(drop=drop)) == []
    for make in (
        lambda: support_pairs.rated([LIKED, twin]),
        lambda: support_pairs.failed([LIKED, twin], [poor], (), LeakageConfig()),
        lambda: support_pairs.failed([LIKED], [twin], (), LeakageConfig()),
    ):
        with pytest.raises(DataError, match="'esconv/test-9' is not for training"):
            make()


def test_nothing_to_compare_gives_no_pair():
    assert support_pairs.rated([]) == support_pairs.rated([POOR]) == support_pairs.rated([LIKED]) == []
    assert support_pairs.failed([LIKED], [], (), LeakageConfig()) == []


def test_the_real_pairs_come_from_training_conversations(data_root):
    folder = data_root / "esconv"
    rows = list(esconv.records(folder))
    train = [row for row in rows if row.split == "train"]
    held = [row for row in rows if row.split != "train"]
    poor = list(esconv.failed(folder))
    rated = support_pairs.rated(train)
    failed = support_pairs.failed(train, poor, held, LeakageConfig())
    assert rated == support_pairs.rated(train)
    assert len(rated) > 100
    assert len(failed) > 80
    made = [*rated, *failed]
    assert len({each.id for each in made}) == len(made)
    taught = {fold(text) for row in train for text in row.targets["turns"]}
    said = {fold(text) for row in poor for text in row.targets["turns"]}
    for each in made:
        assert each.context[-1].role == "user"
        assert fold(each.chosen) in taught
        assert fold(each.chosen) != fold(each.rejected)
    assert all(fold(each.rejected) in taught for each in rated)
    assert all(fold(each.rejected) in said for each in failed)
    liked = [each.chosen for each in rated]
    assert len(liked) == len({(each.context, each.chosen) for each in rated})
