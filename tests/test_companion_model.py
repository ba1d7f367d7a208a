"""A companion: what it learns beside the words, what it hears, how it replies, and what a run leaves."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from eq_questions import question
from overtone import chat_model, companion_model, companion_prompt, dispatch, eq_exam, kinds, system
from overtone.chat_prompt import framed
from overtone.chat_system import Tutor
from overtone.companion_prompt import LABELS, style, styled
from overtone.companion_proof import drawn, moments
from overtone.companion_recipe import SAFETY, CompanionRecipe
from overtone.data import chat, conversations
from overtone.data.chat import Turn
from overtone.data.records import MISSING
from overtone.errors import UsageError
from overtone.inference.policy import Verdict
from overtone.inference.reflect import NEEDS
from overtone.listener import Listener
from overtone.models import causal
from overtone.models.answers import HEAD
from overtone.models.store import HEADS
from overtone.run import Run, read_json
from toys import companion, identical, stopped_at, write_chat, write_support

ASKED = (Turn("user", "abcd lost efgh"),)
LATER = (*ASKED, Turn("assistant", "the ijkl?"), Turn("user", "why mnop qrst"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_chat(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory):
    """Both data sets, small and of our own, in place of those that the cards name."""
    folder = write_support(tmp_path_factory.mktemp("data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversations, "opened", lambda choice, _: (choice.build(), folder / choice.kind))
        yield folder


def made(weights, **changes):
    recipe = kinds.parse(companion(weights, **changes), "test")
    assert isinstance(recipe, CompanionRecipe)
    return recipe


@pytest.fixture(scope="module")
def run(weights, tmp_path_factory, data):
    recipe = made(weights, objective={"safety": 0.5, "prompts": 3, "prompt_tokens": 5})
    return dispatch.run(recipe, Run(tmp_path_factory.mktemp("runs") / "friend"))


@pytest.fixture(scope="module")
def loaded(run):
    return system.load_chat(run.folder)


def test_what_a_run_leaves(run):
    assert {path.name for path in run.model.iterdir()} >= {"adapter_model.safetensors", HEADS, "chat.json"}
    facts = run.facts()
    assert facts["licence"]["commercial"] is False
    assert "CC-BY-NC-4.0" in facts["licence"]["data"]
    assert facts["safety_prompts"] == facts["mask"]["safety"]["conversations"] > 0
    rows = facts["fit"]["rows_per_second"] * facts["fit"]["seconds"]
    assert rows == pytest.approx(
        2 * sum(facts["mask"][name]["conversations"] for name in ("train", "safety"))
    )
    fitted = sum(facts["mask"][name]["tokens"] for name in ("train", "safety"))
    assert facts["tokens"]["trained"] == pytest.approx(2 * fitted, rel=1e-3)
    logged = [row for row in run.history() if "losses" in row]
    assert {HEAD, "emotion", "strategy", SAFETY} == set().union(*(row["losses"] for row in logged))
    assert {"loss", "emotion.accuracy", "strategy.accuracy"} == set(run.history()[-1]["validation"])
    for name in ("emotion", "strategy"):
        systems = [each["name"] for each in read_json(run.evaluation / name / "standings.json")]
        assert systems == ["friend", "majority", "tfidf"]
    for source in ("empathetic_dialogues", "esconv"):
        systems = [each["name"] for each in read_json(run.evaluation / source / "standings.json")]
        assert systems == ["friend", "base"]
    said = read_json(run.evaluation / "replies.json")
    assert [each["system"] for each in said["measured"]] == ["friend", "base"]
    assert len(said["replies"]) == 4
    report = (run.folder / "report.md").read_text()
    told = ("Not for commercial use", "emotion", "strategy", "BLEU", "⟦", "Side by side", "They need")
    assert all(word in report for word in told)
    assert (run.folder / "plots" / "emotion-confusion.png").exists()


def test_what_is_read_again_hears_the_same(run, loaded):
    """The heads on the states of transformers' own model, a conversation at a time; one begins another."""
    conversations = [ASKED, LATER, LATER[:1], ASKED]
    found = loaded.hear(conversations)
    for place, turns in enumerate(conversations):
        ids = torch.tensor([chat.prompt(loaded.body.tokenizer, framed(turns, "Listen."))])
        with torch.no_grad():
            last = loaded.body.backbone(input_ids=ids, output_hidden_states=True).hidden_states[-1][:, -1]
            for name, head in loaded.heads.items():
                shares = head.layers(last).softmax(-1)[0]
                assert np.allclose(found[name][place], shares.numpy(), atol=1e-5)
    assert found["emotion"].shape == (4, 32)
    assert found["strategy"].shape == (4, 8)
    assert not np.allclose(found["emotion"][1], found["emotion"][2])


def test_the_objective_is_the_weighted_sum(weights, data, tmp_path, monkeypatch):
    """One step on one batch, each term worked out apart with plain transformers and PyTorch."""
    recipe = made(
        weights,
        objective={"answer": 0.7, "emotion": 0.3, "strategy": 0.4, "head": {"dropout": 0.0}},
        styled=0.0,
        train={"epochs": 1, "batch_size": 200, "optim": {"lr": 1e-9}},
    )
    run = Run(tmp_path / "friend")
    chat_model.begin(recipe, run, overwrite=False)
    prepared = chat_model.prepare(recipe, run)
    companion_model.train(recipe, prepared, run)
    told = next(row for row in run.history() if "losses" in row)
    torch.manual_seed(recipe.seed)
    body = causal.build(recipe.body, recipe.adapter).body.eval()
    heads = {name: head.eval() for name, head in companion_model.heads(recipe, body).items()}
    nats, right = [], {name: [] for name in heads}
    for row in prepared.splits.train:
        said = framed(conversations.turns(row), recipe.system)
        for place, turn in enumerate(said):
            if turn.role != "assistant":
                continue
            begun = chat.prompt(body.tokenizer, said[:place])
            ids = torch.tensor([begun + body.tokenizer(turn.text + "<|im_end|>")["input_ids"]])
            with torch.no_grad():
                output = body.backbone(input_ids=ids, output_hidden_states=True)
                shares = output.logits[0, len(begun) - 1 : -1].log_softmax(-1)
                nats += (-shares.gather(1, ids[0, len(begun) :, None])).flatten().tolist()
                state = output.hidden_states[-1][0, len(begun) - 1]
                for name, head in heads.items():
                    value = row.targets.get(name)
                    number = sum(each.role == "assistant" for each in said[:place])
                    label = value if isinstance(value, str) or value is None else value[2 * number + 1]
                    if label:
                        wanted = torch.tensor(LABELS[name].index(label))
                        right[name].append(float(nn.functional.cross_entropy(head.layers(state), wanted)))
    expected = {HEAD: np.mean(nats), **{name: np.mean(each) for name, each in right.items()}}
    assert told["losses"] == pytest.approx(expected, rel=1e-4)
    summed = 0.7 * expected[HEAD] + 0.3 * expected["emotion"] + 0.4 * expected["strategy"]
    assert told["loss"] == pytest.approx(summed, rel=1e-4)


def test_heads_that_weigh_nothing_are_not_there(weights):
    recipe = made(weights, objective={"emotion": 0})
    assert recipe.objective.heard == ("strategy",)
    assert set(companion_model.heads(recipe, causal.load(recipe.body))) == {"strategy"}
    with pytest.raises(UsageError, match=r"no 'emotion\.accuracy'"):
        made(weights, objective={"emotion": 0}, train={"early_stopping": {"metric": "emotion.accuracy"}})


def test_a_style_stands_below_the_turn_that_is_replied_to():
    assert style("sad", "Question") == "\n[they feel sad]\n[reply with: Question]"
    assert style(None, "Others") == "\n[reply with: Others]"
    assert style(None, None) == ""
    found = styled([Turn("system", "s"), *LATER], ["\n[1]", "\n[2]"])
    assert [turn.text for turn in found] == ["s", "abcd lost efgh\n[1]", "the ijkl?", "why mnop qrst\n[2]"]


def test_styled_rows_are_a_second_copy_without_labels(weights, data):
    recipe = made(weights, styled=0.5)
    rows = chat_model.divide(recipe).splits.train
    tokenizer = causal.load(recipe.body).tokenizer
    found = companion_prompt.told(recipe, tokenizer, rows)
    assert len(found) == round(0.5 * len(rows))
    assert all(label == MISSING for each in found for labels in each.labels.values() for label in labels)
    texts = [tokenizer.decode(each.ids) for each in found]
    assert all(("[they feel" in text) != ("[reply with:" in text) for text in texts)  # no data set knows both
    for each, text in zip(found, texts, strict=True):
        asked, _, said = text.rpartition("<|im_start|>assistant\n")
        assert asked.endswith("]<|im_end|>\n")
        trained = [token for token, on in zip(each.ids, each.trained, strict=True) if on]
        assert tokenizer.decode(trained) == said.strip()


def test_what_is_compared_are_the_base_s_own_replies(weights):
    recipe = made(weights, objective={"safety": 0.1, "prompts": 4, "prompt_tokens": 6})
    model = causal.build(recipe.body, recipe.adapter)
    kept = companion_model.base_replies(recipe, model.body)
    base = causal.load(recipe.body)
    assert kept
    for each in kept:
        begin = each.trained.index(True)
        assert not any(each.trained[:begin])
        with torch.no_grad():
            likeliest = base.causal(input_ids=torch.tensor([each.ids])).logits[0, begin - 1 : -1].argmax(-1)
        said = [token for token, on in zip(each.ids, each.trained, strict=True) if on]
        assert said[:-1] == likeliest[: len(said) - 1].tolist()


def test_moments_have_what_was_said_before_and_nothing_after(weights, data):
    recipe = made(weights)
    rows = drawn(recipe, chat_model.divide(recipe).splits.test)
    assert len(rows) == 12
    emotions, strategies = moments(rows, "emotion"), moments(rows, "strategy")
    assert [len(context) for _, context in emotions] == [1] * 6
    assert len(strategies) == 3 * 6
    for moment, context in strategies:
        assert context[-1].role == "user"
        assert moment.text == context[-1].text
        assert (moment.context is None) == (len(context) == 1)


def test_it_reflects_and_keeps_that_beside_the_reply(loaded):
    found = loaded.respond(LATER, temperature=0, max_tokens=6)
    thought = found.reflection
    heard = loaded.hear([LATER])
    assert thought.emotion.label == LABELS["emotion"][heard["emotion"][0].argmax()]
    assert thought.strategy.confidence == pytest.approx(heard["strategy"][0].max())
    assert thought.own or thought.needed == NEEDS[thought.strategy.label]
    told = style(thought.emotion.label, thought.strategy.label)
    plain = "".join(loaded.reply(styled(LATER, ["", told]), temperature=0, max_tokens=6))
    assert found.text == plain.strip()
    assert thought.text not in found.text


@pytest.mark.parametrize("stored", ["fp32", "nf4"])
def test_stopped_and_run_again(weights, data, tmp_path, monkeypatch, stored):
    """Suffering 11, in four bits too."""
    if stored == "nf4":
        pytest.importorskip("bitsandbytes")
    recipe = made(
        weights,
        name="stopped",
        body={"stored": stored},
        adapter={"dropout": 0.2},
        objective={"safety": 0.5, "prompts": 3, "prompt_tokens": 5, "compared": "all"},
    )
    whole = dispatch.run(recipe, Run(tmp_path / "whole" / "stopped"))
    again = Run(tmp_path / "again" / "stopped")
    with stopped_at(monkeypatch, 4):
        dispatch.run(recipe, again)
    dispatch.run(recipe, again)
    for file in ("adapter_model.safetensors", HEADS):
        assert identical(*(safetensors.torch.load_file(one.model / file) for one in (whole, again)))


def test_a_second_stage_goes_on_with_the_heads(run, weights, data, tmp_path):
    recipe = made(
        weights, start=str(run.folder), train={"optim": {"lr": 1e-12, "head_lr": 1e-12}, "epochs": 1}
    )
    found = dispatch.run(recipe, Run(tmp_path / "friend"))
    before, after = (system.load_chat(each.folder).hear([LATER]) for each in (run, found))
    assert np.allclose(before["strategy"], after["strategy"], atol=1e-5)


def test_it_sits_eq_bench(run, typed, monkeypatch):
    questions = tuple(question(str(n)) for n in range(3))
    monkeypatch.setattr(eq_exam, "questions", lambda config: questions)
    code, out, err = typed("evaluate", run.folder, "--benchmark", "eq_bench", "--json")
    assert code == 0, err
    told = {row["system"]: row for row in json.loads(out)}
    assert {"friend", "base", "always 3"} <= told.keys()
    assert told["friend"]["decoding"] == "constrained"  # a toy does not write the form by itself
    assert "FAIL" in told["friend"]["standard protocol"]
    assert "both constrained" in told["friend"]["over base"]
    assert "always 3" in (run.evaluation / "eq_bench" / "eq_bench.md").read_text()


GRAVE = (Turn("user", "I have the pills here and tonight I will end my life"),)


class Policy:
    """A policy whose verdict is known: a crisis where pills are spoken of, and a harmful reply to a hat."""

    def before(self, turns):
        return Verdict("pills" in turns[-1].text, 0.5, "suicide")

    def respond(self, verdict):
        return "please call"

    def after(self, turns, reply):
        return "please call" if "hat" in turns[-1].text else reply


def test_a_listener_reflects_and_the_policy_stands_before_and_after(loaded):
    settings = {"temperature": 0, "max_tokens": 6}
    told = Listener(loaded, Policy())
    assert list(told.reply(GRAVE, **settings)) == ["please call"]
    assert told.beside == {"crisis": True, "emotion": None, "strategy": None, "reflection": None}
    expected = loaded.respond(ASKED, **settings)
    assert "".join(told.reply(ASKED, **settings)) == expected.text
    thought = expected.reflection
    assert told.beside == {
        "crisis": False,
        "emotion": {"label": thought.emotion.label, "confidence": thought.emotion.confidence},
        "strategy": {"label": thought.strategy.label, "confidence": thought.strategy.confidence},
        "reflection": thought.text,
    }
    assert json.loads(json.dumps(told.beside)) == told.beside
    assert list(told.reply([Turn("user", "my hat")], **settings)) == ["please call"]
    base = "".join(told.reply(ASKED, tuned=False, **settings))
    assert base == "".join(loaded.reply(ASKED, tuned=False, **settings)).strip()
    assert told.reflection is None
    assert "".join(Listener(loaded, None).reply(GRAVE, **settings)) != "please call"
    assert told.licence["commercial"] is False


def test_the_verb_says_whether_anything_protects(run, loaded, typed, monkeypatch):
    def chat(*words):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"tonight I will end my life\n")))
        return typed("chat", run.folder, "--max-tokens", 6, *words)

    code, out, err = chat("--json")
    assert code == 0, err
    assert "988" in json.loads(out)["tuned"]
    assert "not for commercial use" in err
    exported = Tutor(loaded.run, loaded.recipe, loaded._speakers, None)
    monkeypatch.setattr(system, "load_exported_chat", lambda folder: exported)
    code, out, err = chat("--json", "--engine", "llama.cpp")
    assert code == 0, err
    assert "988" in json.loads(out)["tuned"]
    code, out, _ = chat("--json", "--locale", "GB")
    assert "116 123" in json.loads(out)["tuned"]
    code, out, err = chat("--no-policy")
    assert code == 0
    assert "988" not in out
    assert "the crisis policy is off" in " ".join(err.split())
    assert "reflection: " in err
