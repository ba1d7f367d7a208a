"""The replies of a conversation, and what is known of each."""

from __future__ import annotations

import pytest
import torch

from overtone.data import chat, replies
from overtone.data.records import MISSING, Record
from overtone.data.replies import classes, known
from overtone.errors import DataError
from overtone.training.losses import MISSING as IGNORED
from toys import chat_tokenizer

SAID = ("my cat is gone", "gone since when, then?", "since may", "that is long", "it is", "poor cat")
LABELS = {"emotion": ("joyful", "sad"), "strategy": ("Others", "Question")}


def conversation(said=SAID, system=False, **targets):
    roles = ("user", "assistant") * (len(said) // 2)
    if system:
        roles, said = ("system", *roles), ("be kind", *said)
    return Record("t/1", "\n".join(said), {"roles": roles, "turns": tuple(said), **targets}, "t")


ROW = conversation(emotion="sad", strategy=("", "Question", "", "", "", "Others"))


def test_a_reply_has_all_that_was_said_before():
    found = replies.replies(ROW)
    assert [(each.number, each.text) for each in found] == list(enumerate(SAID[1::2]))
    assert [[turn.text for turn in each.context] for each in found] == [
        list(SAID[:1]),
        list(SAID[:3]),
        list(SAID[:5]),
    ]
    assert all(each.context[-1].role == "user" for each in found)
    assert replies.replies(conversation(())) == []


def test_a_label_is_of_all_replies_or_of_its_turn():
    assert known(ROW, "emotion") == ["sad", "sad", "sad"]
    assert known(ROW, "strategy") == ["Question", None, "Others"]
    assert known(ROW, "safety") == [None, None, None]
    with pytest.raises(DataError, match="'t/1' has 2 values under 'strategy' and 6 turns"):
        known(conversation(strategy=("", "Question")), "strategy")
    with pytest.raises(DataError, match="6 values under 'strategy' and 6 turns"):
        known(conversation(strategy=(1.0,) * 6), "strategy")


def test_classes_are_numbers_of_labels():
    assert classes(ROW, LABELS) == {"emotion": [1, 1, 1], "strategy": [1, MISSING, 0]}
    assert classes(ROW, {}) == {}
    assert MISSING == IGNORED == torch.nn.CrossEntropyLoss().ignore_index
    with pytest.raises(DataError, match=r"(?s)'t/1': 'sad' is not among the labels of 'emotion'.*'sat'"):
        classes(ROW, {"emotion": ("sat",)})


@pytest.mark.parametrize("system", [False, True])
def test_a_class_is_read_after_what_was_said_before_its_reply(system):
    """The places that ``chat`` opens are the ends of the prompts of ``replies``, in their order."""
    tokenizer = chat_tokenizer()
    strategy = ("",) * system + ROW.targets["strategy"]
    row = conversation(system=system, emotion="sad", strategy=strategy)
    chats = chat.collect(
        [chat.encode(tokenizer, replies.turns(row), 512, labels=classes(row, LABELS))], pad_id=0
    )
    ids, marks = chats.pad([0])
    opened = (marks[0, :, 1] & chat.OPENS > 0).nonzero().flatten().tolist()
    for place, reply in zip(opened, replies.replies(row), strict=True):
        assert ids[0, : place + 1].tolist() == chat.prompt(tokenizer, reply.context)
    assert chats.labels("strategy", [0]).tolist() == [1, MISSING, 0]
