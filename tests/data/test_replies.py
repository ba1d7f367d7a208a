"""Where a head reads a conversation: the end of the prompt that is asked, and nothing after it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models as pieces
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from overtone.data import chat, replies
from overtone.data.records import MISSING, Record
from overtone.data.replies import known, opening, places
from overtone.errors import DataError
from overtone.models import causal, weights
from overtone.models.causal import DecoderConfig
from overtone.training.losses import MISSING as IGNORED
from toys import chat_tokenizer, write_chat

SAID = ("my cat is gone", "gone since when, then?", "since may", "that is long", "it is", "poor cat")
LABELS = {"emotion": ("joyful", "sad"), "strategy": ("Others", "Question")}


def conversation(said=SAID, system=False, **targets):
    roles = ("user", "assistant") * (len(said) // 2)
    if system:
        roles, said = ("system", *roles), ("be kind", *said)
    return Record("t/1", "\n".join(said), {"roles": roles, "turns": tuple(said), **targets}, "t")


ROW = conversation(emotion="sad", strategy=("", "Question", "", "", "", "Others"))


@pytest.fixture(scope="module")
def tokenizer():
    return chat_tokenizer()


@pytest.fixture(scope="module")
def smol():
    """The tokenizer of SmolLM2; skipped where its package is not installed."""
    pytest.importorskip("gguf")
    try:
        (file,) = weights.resolve("smollm2-135m-instruct").glob("*.gguf")
    except weights.WeightsError as error:
        pytest.skip(str(error))
    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def placed(tokenizer, row, limit=512, answers="every", labels=LABELS):
    encoded = chat.encode(tokenizer, replies.turns(row), limit, answers)
    return encoded, places(encoded, row, labels, opening(tokenizer))


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


@pytest.mark.parametrize("name", ["tokenizer", "smol"])
@pytest.mark.parametrize("system", [False, True])
def test_a_place_is_the_end_of_the_prompt_that_is_asked(name, system, request):
    tokenizer = request.getfixturevalue(name)
    strategy = ("",) * system + ROW.targets["strategy"]
    row = conversation(system=system, emotion="sad", strategy=strategy)
    encoded, found = placed(tokenizer, row)
    assert len(found.at) == 3
    for place, reply in zip(found.at, replies.replies(row), strict=True):
        assert encoded.ids[: place + 1] == chat.prompt(tokenizer, reply.context)
        assert not encoded.trained[place]
        assert encoded.trained[place + 1]
    assert found.targets["emotion"].tolist() == [1, 1, 1]
    assert found.targets["strategy"].tolist() == [1, MISSING, 0]
    assert found.at.dtype == found.targets["strategy"].dtype == np.int64
    assert MISSING == IGNORED == torch.nn.CrossEntropyLoss().ignore_index


def test_what_comes_after_is_not_read(tokenizer, tmp_path):
    body = causal.load(DecoderConfig(weights=str(write_chat(tmp_path)), stored="fp32"))
    # One row's replies are all other than the next one's, from the second on, and of other lengths.
    other = conversation((*SAID[:3], "go and look for him", "no", "do"), emotion="sad")

    def states(row):
        encoded, found = placed(tokenizer, row, labels={"emotion": LABELS["emotion"]})
        ids = torch.tensor([encoded.ids])
        with torch.inference_mode():
            hidden = body(ids, torch.ones(1, len(encoded.ids), 2, dtype=torch.long)).hidden[0]
        return hidden[found.at], hidden[found.at + 1]

    (here, after), (there, after_there) = states(ROW), states(other)
    torch.testing.assert_close(here[:2], there[:2])
    assert not torch.allclose(here[2], there[2], atol=1e-3)  # by then the second reply was said
    # The token after a place does belong to the reply: the test would notice a place one too late.
    assert not torch.allclose(after[1], after_there[1], atol=1e-3)


def test_the_last_alone_is_the_last(tokenizer):
    encoded, found = placed(tokenizer, ROW, answers="last")
    assert found.targets["strategy"].tolist() == [0]
    assert encoded.ids[: found.at[0] + 1] == chat.prompt(tokenizer, replies.replies(ROW)[-1].context)


@given(st.integers(4, 260))
def test_however_it_is_cut_places_fit_their_replies(limit):
    tokenizer = chat_tokenizer()
    encoded, found = placed(tokenizer, ROW, limit)
    texts = SAID[1::2][len(SAID) // 2 - len(found.at) :]
    assert len(found.at) >= 1
    whole = [1, MISSING, 0]
    assert found.targets["strategy"].tolist() == whole[len(whole) - len(found.at) :]
    opens = "<|im_start|>assistant\n"
    for place, text in zip(found.at, texts, strict=True):
        before = tokenizer.decode(encoded.ids[: place + 1])
        assert opens.endswith(before) or before.endswith(opens)
        after = tokenizer.decode(encoded.ids[place + 1 :])
        assert after.startswith(text) or text.startswith(after)


def test_a_reply_that_grows_into_what_opens_it_has_no_place():
    """A tokenizer that makes one token of two line ends, and a reply that begins with one."""
    merged = chat_tokenizer()
    merged.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = merged.get_vocab()
    merged.backend_tokenizer.model = pieces.BPE({**letters, "ĊĊ": len(letters)}, [("Ċ", "Ċ")])
    row = conversation(("hm", "well", "hm", "\nwell"), emotion="sad")
    encoded, found = placed(merged, row, labels={"emotion": LABELS["emotion"]})
    assert len(found.at) == 1
    assert encoded.ids[: found.at[0] + 1] == chat.prompt(merged, replies.replies(row)[0].context)
    assert len(placed(chat_tokenizer(), row, labels={})[1].at) == 2


def test_what_does_not_fit_is_said(tokenizer):
    with pytest.raises(DataError, match=r"(?s)'t/1': 'sad' is not among the labels of 'emotion'.*'sat'"):
        placed(tokenizer, ROW, labels={"emotion": ("sat",)})
    encoded = chat.encode(tokenizer, replies.turns(ROW), 512)
    with pytest.raises(DataError, match="'t/1' has 1 replies, and 3 are trained"):
        places(encoded, conversation(SAID[:2], emotion="sad"), LABELS, opening(tokenizer))
