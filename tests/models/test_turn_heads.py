"""Heads on a conversation: they read the place before an answer, and compare with the base."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from overtone.data import chat
from overtone.data.chat import COMPARED, LEARNT, OPENS, Turn
from overtone.models import causal
from overtone.models.adapters import LoraConfig
from overtone.models.causal import ChatModel, DecoderConfig
from overtone.models.turns import Kept, TurnHead, TurnHeadConfig
from overtone.training import losses
from overtone.training.losses import MISSING, CrossEntropyConfig
from overtone.training.turn_loss import KeptLoss, TurnLoss
from toys import speaking, write_chat

LONG = [
    Turn("user", "all is lost"),
    Turn("assistant", "what is?"),
    Turn("user", "my hat"),
    Turn("assistant", "oh dear"),
]
SHORT = [Turn("user", "good day"), Turn("assistant", "and to you")]
LABELS = {"strategy": [2, 0]}, {"strategy": [MISSING]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_chat(tmp_path_factory.mktemp("decoder"))


@pytest.fixture
def model(folder):
    body = speaking(folder)
    torch.manual_seed(1)
    heads = {
        "strategy": TurnHead(TurnHeadConfig(hidden=(6,), dropout=0.0), body.hidden_size, 3),
        "kept": Kept(body.logits),
    }
    return ChatModel(body, heads).eval()


def rows(model, purposes=(LEARNT, LEARNT), pack=0):
    tokenizer = model.body.tokenizer
    chats = [
        chat.encode(tokenizer, turns, 256, labels=labels)
        for turns, labels in zip((LONG, SHORT), LABELS, strict=True)
    ]
    return chat.collect(chats, 0, pack, purposes)


@pytest.mark.parametrize("pack", [0, 400])
def test_a_head_reads_what_a_reader_of_the_prompt_would(model, pack):
    """Alone with the prompt, and nothing after it, the last state is the same."""
    found = model(*rows(model, pack=pack).pad([1, 0]))["strategy"]
    prompts = [chat.prompt(model.body.tokenizer, turns) for turns in (SHORT[:1], LONG[:1], LONG[:3])]
    for outputs, prompt in zip(found, prompts, strict=True):
        ids = torch.tensor([prompt])
        last = model.body.causal.base_model(input_ids=ids).last_hidden_state[:, -1]
        assert torch.allclose(model.heads["strategy"].layers(last)[0], outputs, atol=1e-5)


def test_no_word_of_an_answer_is_read_before_it(model):
    made = rows(model)
    ids, marks = made.pad([0])
    before = model(ids, marks)["strategy"]
    second = (marks[0, :, 1] & OPENS > 0).nonzero()[1].item()
    ids[0, second + 1 :] = 7
    after = model(ids, marks)["strategy"]
    assert torch.equal(before, after)
    first = (marks[0, :, 1] & OPENS > 0).nonzero()[0].item()
    ids[0, first + 1 : first + 3] = 9  # the first answer is known to the second
    assert torch.equal(model(ids, marks)["strategy"][0], before[0])
    assert not torch.allclose(model(ids, marks)["strategy"][1], before[1])


def test_the_loss_of_a_head_is_over_the_answers_that_have_a_label(model):
    made = rows(model)
    loss = TurnLoss(made, "strategy", losses.build(CrossEntropyConfig(), torch.tensor([0, 1, 2]), 3))
    outputs = model(*made.pad([1, 0]))["strategy"].detach()
    expected = nn.functional.cross_entropy(outputs[1:], torch.tensor([2, 0]), reduction="sum")
    assert float(loss.total(outputs, torch.tensor([1, 0]))) == pytest.approx(float(expected), rel=1e-6)
    assert float(loss.count(torch.tensor([1, 0]))) == 2
    assert float(loss.count(torch.tensor([1]))) == 0
    assert not loss.whole_step


@pytest.mark.parametrize("pack", [0, 400])
def test_the_divergence_is_that_of_the_two_distributions(model, folder, pack):
    """Against the base loaded apart from any adapter, and the sum written out."""
    made = rows(model, (COMPARED, LEARNT | COMPARED), pack)
    found = model(*made.pad([0, 1]))["kept"].detach()
    base = causal.load(DecoderConfig(weights=str(folder), stored="fp32"))
    expected = []
    for row in (0, 1):
        ids = torch.from_numpy(made.flat[made.offsets[row] : made.offsets[row + 1]])[None]
        said = torch.from_numpy(made.trained[made.offsets[row] : made.offsets[row + 1]])[1:]
        with torch.no_grad():
            p = base.causal(input_ids=ids).logits[0, :-1][said].softmax(-1)
            q = model.body.causal(input_ids=ids).logits[0, :-1][said].softmax(-1)
        expected.append((p * (p / q).log()).sum(-1))
    assert torch.allclose(found, torch.cat(expected), atol=1e-5)
    assert (found > 0).all()
    loss = KeptLoss(made)
    both = torch.tensor([0, 1])
    assert float(loss.total(found, both)) == pytest.approx(float(torch.cat(expected).sum()), rel=1e-4)
    assert int(loss.count(torch.tensor([0, 1]))) == len(found)


def test_only_rows_that_are_compared_are_read_twice(model, monkeypatch):
    made, read = rows(model, (LEARNT, COMPARED)), []
    forward = model.body.forward
    monkeypatch.setattr(
        model.body, "forward", lambda ids, marks: read.append(len(ids)) or forward(ids, marks)
    )
    model(*made.pad([0, 1]))
    assert read == [2, 1]
    read.clear()
    assert len(model(*made.pad([0]))["kept"]) == 0
    assert read == [1]


def test_the_gradient_moves_the_adapter_and_never_the_reference(model):
    made = rows(model, (COMPARED, COMPARED))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    model(*made.pad([0, 1]))["kept"].sum().backward()
    moved = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert moved
    assert all("lora_" in name for name in moved)


def test_a_fresh_adapter_has_not_moved(folder):
    made = causal.build(
        DecoderConfig(weights=str(folder), stored="fp32"), LoraConfig(r=2, targets="all-linear")
    )
    model = ChatModel(made.body, {"kept": Kept(made.body.logits)}).eval()
    found = model(*rows(model, (COMPARED, COMPARED)).pad([0, 1]))["kept"]
    assert torch.allclose(found, torch.zeros_like(found), atol=1e-6)
