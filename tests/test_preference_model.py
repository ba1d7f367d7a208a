"""Learning from pairs: the loss and gradients of TRL's, which pairs, and what a run leaves."""

from __future__ import annotations

import json
import math
import warnings

import pytest
import torch

from overtone import chat_model, dispatch, kinds, preference_pairs, system
from overtone.chat_prompt import framed
from overtone.data import conversations, paired
from overtone.data.chat import render
from overtone.data.files import digest
from overtone.data.preferences import own
from overtone.errors import DataError, UsageError
from overtone.models import causal
from overtone.models.answers import HEAD
from overtone.models.causal import ChatModel
from overtone.preference_recipe import PreferenceRecipe
from overtone.run import Run, read_json
from overtone.training.preference import PreferenceLoss
from toys import chat, companion, speaking, write_answers, write_chat, write_rows, write_support


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_chat(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Pairs whose better answer is the shorter word."""
    rows = [
        {"prompt": f"say {n}", "chosen": f"yes {n}", "rejected": f"no {n} {'never ' * (n % 3)}"}
        for n in range(12)
    ]
    return write_rows(tmp_path_factory.mktemp("pairs") / "mine.jsonl", rows)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return write_answers(tmp_path_factory.mktemp("answers") / "places.jsonl")


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory):
    folder = write_support(tmp_path_factory.mktemp("data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversations, "opened", lambda choice, _: (choice.build(), folder / choice.kind))
        yield folder


def made(weights, pairs, **changes) -> PreferenceRecipe:
    values = companion(weights, **changes)
    for name in ("objective", "exam"):
        values.pop(name, None)
    values |= {"kind": "preference", "answers": "last", "exam": {"resamples": 100}}
    values["pairs"] = {"rated": False, "failed": False, "own": str(pairs), "validation": 0.2, "test": 0.2}
    values["objective"] = {"beta": 0.5}
    recipe = kinds.parse(values, "test")
    assert isinstance(recipe, PreferenceRecipe)
    return recipe


def test_loss_and_gradients_are_trl_s(weights, pairs, tmp_path):
    """One batch of four pairs on one tiny decoder, whose adapter has moved since the fit began."""
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")
    recipe, four = made(weights, pairs), list(own(pairs))[:4]
    model = ChatModel(speaking(weights))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    rows = preference_pairs.encoded(recipe, model, four)
    loss = PreferenceLoss(rows, preference_pairs.likely(model.eval(), rows), beta=0.5)
    tokenizer = model.body.tokenizer
    told = [
        {
            "prompt": render(tokenizer, framed(each.context, recipe.system), ask=True),
            "chosen": each.chosen,  # what ends a turn is put behind it
            "rejected": each.rejected,
        }
        for each in four
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = trl.DPOTrainer(
            model.body.backbone,
            args=trl.DPOConfig(
                output_dir=str(tmp_path),
                beta=0.5,
                per_device_train_batch_size=4,
                bf16=False,
                use_cpu=True,
                report_to=[],
                gradient_checkpointing=False,
                disable_dropout=True,
                max_length=None,
            ),
            train_dataset=datasets.Dataset.from_list(told),
            processing_class=tokenizer,
        )
        torch.manual_seed(3)
        learnt = {name: p for name, p in model.named_parameters() if "lora_" in name and ".ref." not in name}
        with torch.no_grad():
            for parameter in learnt.values():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
        theirs = trainer.compute_loss(trainer.model, next(iter(trainer.get_train_dataloader())))
        theirs.backward()
    expected = {name: p.grad.clone() for name, p in learnt.items()}
    model.zero_grad()
    total = loss.total(model(*rows.pad(range(4)))[HEAD], torch.arange(4)) / 4
    total.backward()
    assert abs(float(theirs.detach()) - math.log(2)) > 0.01
    assert float(total.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
    for name, gradient in expected.items():
        near = 1e-4 * float(gradient.abs().max())
        assert torch.allclose(learnt[name].grad, gradient, atol=near, rtol=0), name


def test_packed_pairs_are_the_same_pairs(weights, pairs):
    recipe, model = made(weights, pairs), ChatModel(speaking(weights))
    three = list(own(pairs))[:3]
    alone, packed = (
        preference_pairs.encoded(recipe.model_copy(update={"pack": pack}), model, three) for pack in (0, 400)
    )
    assert len(packed.pad([0, 1, 2])[0]) < len(alone.pad([0, 1, 2])[0])
    found = [preference_pairs.likely(model, rows) for rows in (alone, packed)]
    assert torch.allclose(*found, atol=1e-4)


def test_a_batch_is_all_better_ones_then_all_worse(weights, pairs):
    recipe, model = (
        made(weights, pairs),
        causal.build(made(weights, pairs).body, made(weights, pairs).adapter),
    )
    three = list(own(pairs))[:3]
    rows = preference_pairs.encoded(recipe, model, three)
    ids, _ = rows.pad([2, 0])
    texts = [model.body.tokenizer.decode(row) for row in ids]
    for text, answer in zip(texts, ("yes 2", "yes 0", "no 2", "no 0"), strict=True):
        assert f"assistant\n{answer}" in text
    assert len(rows.wanted([2, 0])) == int(rows.counts_of([2, 0]).sum())
    assert len(rows) == 3
    assert rows.lengths[2] == max(len(row) for row in (ids[0], ids[2]))


def test_what_a_run_leaves(weights, pairs, tmp_path):
    recipe = made(weights, pairs, train={"epochs": 4, "batch_size": 4, "optim": {"lr": 0.02}})
    run = dispatch.run(recipe, Run(tmp_path / "friend"))
    validated = [row["validation"] for row in run.history() if "validation" in row]
    assert validated[-1].keys() == {"loss", "accuracy"}
    assert min(each["loss"] for each in validated) < math.log(2)
    facts = run.facts()
    assert facts["pairs"] == {"train": 6, "validation": 3, "test": 3}
    assert facts["licence"]["commercial"] is False
    assert facts["fingerprints"]["mine"]["files"] == {"mine.jsonl": digest(pairs)}
    lines = [json.loads(line) for line in (run.evaluation / "pairs.jsonl").read_text().splitlines()]
    assert [line.keys() for line in lines] == [{"id", "friend", "base"}] * 3
    assert [each["name"] for each in read_json(run.evaluation / "answers" / "standings.json")] == [
        "friend",
        "base",
    ]
    assert "held-out pairs" in (run.folder / "report.md").read_text()
    loaded = system.load_chat(run.folder)
    model = ChatModel(loaded.body)
    rows = preference_pairs.encoded(
        recipe, model, preference_pairs.pairs(recipe, chat_model.divide(recipe)).test
    )
    assert torch.allclose(
        preference_pairs.likely(model, rows), torch.tensor([line["friend"] for line in lines]), atol=1e-3
    )


def test_a_licence_goes_down_every_stage(weights, pairs, answers, data, tmp_path):
    """Pairs of one's own on answers of one's own, on a companion: what the first forbids is forbidden."""
    first = dispatch.run(kinds.parse(companion(weights), "test"), Run(tmp_path / "first"))
    values = chat(weights, answers, start=str(first.folder), train={"epochs": 1})
    values["data"]["sources"][0] |= {"licence": "CC0-1.0", "commercial": True}
    middle = dispatch.run(kinds.parse(values, "test"), Run(tmp_path / "middle"))
    values = made(weights, pairs, start=str(middle.folder), train={"epochs": 1}).model_dump(mode="json")
    values["data"] = middle_data = kinds.read(str(middle.recipe)).data.model_dump(mode="json")
    assert middle_data["sources"][0]["commercial"] is True
    last = dispatch.run(kinds.parse(values, "test"), Run(tmp_path / "last"))
    assert last.facts()["licence"]["commercial"] is False
    assert "CC-BY-NC-4.0" in last.facts()["licence"]["data"]


def test_it_begins_where_another_run_ended(weights, pairs, data, tmp_path):
    """The reference is the adapter as it started, so nothing has moved at the first step."""
    first = dispatch.run(kinds.parse(companion(weights), "test"), Run(tmp_path / "first"))
    recipe = made(weights, pairs, start=str(first.folder), name="second", train={"epochs": 1})
    run = dispatch.run(recipe, Run(tmp_path / "second"))
    told = next(row for row in run.history() if "losses" in row)
    assert told["loss"] == pytest.approx(math.log(2), rel=1e-5)


def test_no_conversation_is_in_two_parts(weights, tmp_path):
    """Two answers to one prompt are not independent: they are learnt, or they judge."""
    rows = [{"prompt": f"say {n // 2}", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(20)]
    recipe = made(weights, write_rows(tmp_path / "mine.jsonl", rows))
    found = preference_pairs.pairs(recipe, chat_model.divide(recipe))
    parts = [{each.context for each in part} for part in (found.train, found.validation, found.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 10
    assert all(parts)


def test_what_cannot_be_is_said(weights, pairs, tmp_path):
    with pytest.raises(UsageError, match="the last answers are compared"):
        kinds.parse({**made(weights, pairs).model_dump(mode="json"), "answers": "every"}, "test")
    few = write_rows(tmp_path / "few.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}])
    recipe = made(weights, few)
    with pytest.raises(DataError, match="1 pairs are too few"):
        preference_pairs.pairs(recipe, chat_model.divide(recipe))
    with pytest.raises(DataError):
        paired.collect([], [], 0)
