from __future__ import annotations

import json

import numpy as np
import peft
import pytest
import safetensors.torch
import torch
from transformers import AutoModelForCausalLM

import overtone
from lookups import fitted
from overtone import chat_model, chat_prompt, dispatch, kinds, system
from overtone.chat_prompt import KNOWN, framed
from overtone.chat_system import ChatSystem
from overtone.data import chat as chats
from overtone.data.chat import Turn
from overtone.errors import RunError, UsageError
from overtone.evaluation.benchmarks import qa
from overtone.models import adapters, causal
from overtone.run import Run, read_json
from toys import chat, identical, stopped_at, write_answers, write_chat


def made(weights, path, **changes):
    return kinds.parse(chat(weights, path, **changes), "test")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_chat(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return write_answers(tmp_path_factory.mktemp("answers") / "places.jsonl")


@pytest.fixture(scope="module")
def run(weights, answers, tmp_path_factory):
    return dispatch.run(made(weights, answers), Run(tmp_path_factory.mktemp("run") / "guide"))


def recipe_of(run):
    return kinds.read(str(run.recipe))


def adapter(run):
    return safetensors.torch.load_file(run.model / "adapter_model.safetensors")


def test_what_a_run_leaves(run):
    for part in (
        "checkpoints/best",
        "model/adapter_model.safetensors",
        "model/adapter_config.json",
        "model/chat.json",
        "evaluation/trained/answers.jsonl",
        "evaluation/held_out/answers.jsonl",
        "evaluation/answers/standings.json",
        "plots/learning.png",
        "plots/gains.png",
        "report.html",
    ):
        assert (run.folder / part).exists(), part
    facts = run.facts()
    prepared = chat_model.divide(recipe_of(run))
    assert facts["mask"]["train"]["conversations"] == len(prepared.splits.train)
    assert facts["mask"]["train"]["ended"] == 1
    assert facts["mask"]["train"]["cut"] == 0
    assert facts["tokens"]["trained"] == facts["mask"]["train"]["tokens"] * facts["fit"]["epochs"]
    assert facts["model"]["trainable"] < facts["model"]["parameters"]
    report = (run.folder / "report.md").read_text()
    assert "Held-out wordings" in report
    assert "Unknown questions" not in report  # these data have none
    assert "⟦It is in" in report


def test_what_is_shown_as_trained_is_what_an_answer_is(run):
    """Suffering 1 and 4: the mask holds the answers and their ends, and nothing else."""
    (example, *_) = run.facts()["mask"]["train"]["examples"]
    before, rest = example.split("⟦")
    answer, after = rest.split("⟧")
    assert before.endswith("<|im_start|>assistant\n")
    assert answer.startswith("It is in")
    assert answer.endswith(".<|im_end|>")
    assert after == "\n"


def test_the_loss_that_chooses_is_that_of_the_answers(run):
    """Counted again, a conversation at a time, by transformers' own loss."""
    loaded, recipe = overtone.load(run.folder), recipe_of(run)
    rows = chat_model.divide(recipe).splits.validation
    found = chat_prompt.encoded(recipe, loaded.body.tokenizer, rows)
    total = count = 0
    for each in found:
        labels = [token if trained else -100 for token, trained in zip(each.ids, each.trained, strict=True)]
        ids = torch.tensor([each.ids])
        n = sum(each.trained)
        total += float(loaded.body.backbone(input_ids=ids, labels=torch.tensor([labels])).loss) * n
        count += n
    assert run.facts()["fit"]["best"] == pytest.approx(total / count, rel=1e-4)


def test_the_adapter_is_that_of_plain_peft(run, weights):
    """Suffering 5: loaded by peft alone, it gives the same scores."""
    plain = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(weights), run.model).eval()
    loaded = overtone.load(run.folder)
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        ours = loaded.body.logits(loaded.body(ids, torch.ones(1, 37, 2, dtype=torch.long)).hidden)
        assert torch.allclose(plain(ids).logits, ours, atol=1e-5)


def test_the_exam_is_what_was_said(run):
    """Asked again, and graded again."""
    loaded = overtone.load(run.folder)
    told = (run.evaluation / "held_out" / "answers.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in told]
    records = {row.id: row for row in chat_model.divide(recipe_of(run)).splits.test}
    assert {row["id"] for row in rows} == set(records)
    for row in rows[:3]:
        gold = str(records[row["id"]].targets["answer"])
        for name, tuned in (("guide", True), ("base", False)):
            (said,) = loaded.answer([records[row["id"]].text], tuned=tuned, temperature=0, max_tokens=6)
            assert row["systems"][name]["answer"] == said.text
            assert row["systems"][name]["f1"] == pytest.approx(qa.token_f1(said.text, gold))


def test_the_base_is_the_weights_as_they_were(run, weights):
    """Greedy, against transformers' own generation."""
    loaded, plain = overtone.load(run.folder), AutoModelForCausalLM.from_pretrained(weights).eval()
    ids = chats.prompt(loaded.body.tokenizer, framed([Turn("user", "hello")], "Be brief."))
    made = plain.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=6, pad_token_id=2)
    wanted = loaded.body.tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True)
    (said,) = loaded.answer(["hello"], tuned=False, temperature=0, max_tokens=6)
    assert said.text == wanted.replace("\ufffd", "").strip() or "\ufffd" in wanted
    streamed = "".join(loaded.reply([Turn("user", "hello")], tuned=False, temperature=0, max_tokens=6))
    assert streamed.strip() == said.text


def test_what_the_answers_of_the_test_are_given(run):
    """Bits a byte of base and run, from the files and from transformers' own loss of the base."""
    first, second = read_json(run.evaluation / "answers" / "standings.json")
    assert (first["name"], second["name"]) == ("guide", "base")
    recipe = recipe_of(run)
    loaded = overtone.load(run.folder)
    rows = chat_model.divide(recipe).splits.test
    total = size = 0
    with loaded.body.without_adapter():
        for each, row in zip(chat_prompt.encoded(recipe, loaded.body.tokenizer, rows), rows, strict=True):
            labels = [i if t else -100 for i, t in zip(each.ids, each.trained, strict=True)]
            loss = loaded.body.backbone(
                input_ids=torch.tensor([each.ids]), labels=torch.tensor([labels])
            ).loss
            total += float(loss) * sum(each.trained)
            size += len(str(row.targets["answer"]).encode())
    bits = total / np.log(2) / size
    assert second["figures"]["bits_per_byte"]["value"] == pytest.approx(bits, rel=1e-4)


def test_a_second_stage_goes_on_from_the_first(run, weights, answers, tmp_path):
    other = write_answers(tmp_path / "more.jsonl", 20)
    first = adapter(run)
    recipe = made(
        weights,
        other,
        name="second",
        start=str(run.folder),
        data={"sources": [{"kind": "qa", "path": str(other), "name": "more"}]},
        train={"epochs": 1, "optim": {"lr": 1e-9}, "early_stopping": {"metric": "loss"}},
    )
    with pytest.raises(RunError, match="was trained on"):  # the first twelve facts are the same
        dispatch.run(recipe, Run(tmp_path / "refused"))
    answers_ = write_answers(tmp_path / "others.jsonl", 20)
    lines = answers_.read_text().splitlines()[36:]
    answers_.write_text("\n".join(lines) + "\n")
    values = recipe.model_dump(mode="json") | {
        "data": {"sources": [{"kind": "qa", "path": str(answers_)}], "validation": 0.2, "test": 0.2}
    }
    second = dispatch.run(kinds.parse(values, "test"), Run(tmp_path / "second"))
    after = adapter(second)
    assert all(torch.allclose(first[name], after[name], atol=1e-6) for name in first)
    assert str(run.folder) in second.facts()["licence"]["weights"]


def test_a_start_that_is_none(weights, answers, tmp_path):
    with pytest.raises(RunError, match="is not the run of a tuned decoder"):
        dispatch.run(made(weights, answers, start=str(tmp_path / "nowhere")), Run(tmp_path / "run"))


def test_stopped_and_run_again(weights, answers, tmp_path, monkeypatch):
    """Suffering 11: the same adapter as the run that nobody stopped."""
    recipe = made(weights, answers, name="stopped", adapter={"dropout": 0.2})
    whole = dispatch.run(recipe, Run(tmp_path / "whole" / "stopped"))
    again = Run(tmp_path / "again" / "stopped")
    with stopped_at(monkeypatch, 4):
        dispatch.run(recipe, again)
    dispatch.run(recipe, again)
    assert identical(adapter(whole), adapter(again))


def test_some_questions_come_with_their_fact(weights, answers):
    recipe = made(weights, answers, grounding={"share": 0.5})
    rows = chat_model.divide(recipe).splits.train
    tokenizer = causal.load(recipe.body).tokenizer
    plain, found = (each(recipe, tokenizer, rows) for each in (chat_prompt.encoded, chat_prompt.grounded))
    assert len(plain) == len(rows)
    assert len(found) == round(0.5 * len(rows))
    assert not any(KNOWN in tokenizer.decode(each.ids) for each in plain)
    for text in (tokenizer.decode(each.ids) for each in found):
        known, said = text.split(KNOWN)[1].split("<|im_end|>")[0], text.split("assistant\n")[1]
        assert said.startswith(known)


def test_a_run_of_another_kind(run, tmp_path):
    with pytest.raises(UsageError, match="is no language model"):
        system.load_language(run.folder)
    assert system.load_chat(run.folder).run.folder == run.folder


def test_an_adapter_of_another_rank(run, tmp_path):
    recipe = recipe_of(run)
    body = causal.build(recipe.body, recipe.adapter.model_copy(update={"r": 3})).body
    with pytest.raises(RunError, match="is not of this model and rank"):
        adapters.restore(body, run.model)


def test_turns_keep_their_own_words_above():
    own = [Turn("system", "Topic: rain"), Turn("user", "why?"), Turn("assistant", "clouds")]
    assert framed(own, "Be kind.", "Rain falls.")[0].text == f"Be kind.\nTopic: rain\n{KNOWN}Rain falls."
    assert framed(own[1:], "") == own[1:]


def said(tutor, *asked):
    """What is looked up for the last of these questions, each answered before the next."""
    turns = [turn for text in asked for turn in (Turn("user", text), Turn("assistant", "so"))][:-1]
    told = "".join(tutor.reply(turns, max_tokens=3))
    return None if told == chat_prompt.UNKNOWN else tutor.source


def test_a_fact_and_its_source_are_looked_up(run):
    tutor = ChatSystem(run, recipe_of(run), overtone.load(run.folder).body, fitted())
    assert said(tutor, "when does the ferry run") == "source of ferry"
    assert said(tutor, "who won the cup") is None
    assert tutor.source is None


def test_a_question_that_points_back_is_looked_up_with_the_one_before(run):
    tutor = ChatSystem(run, recipe_of(run), overtone.load(run.folder).body, fitted())
    assert said(tutor, "why do they") is None
    assert said(tutor, "when does the ferry run", "why do they") == "source of ferry"
    assert said(tutor, "when does the ferry run", "who won the cup") is None  # points to nothing
    assert said(tutor, "when does the ferry run", "is it there when bread is baked") == "source of bread"


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("And when was that?", True),
        ("Who taught him?", True),
        ("What did she do after the war?", False),  # too long to say nothing by itself
        ("Is there a Deaf coffee chat in town?", False),
        ("When did the first Deaf club in Nairobi open its doors?", False),
        ("Who founded Gallaudet?", False),
    ],
)
def test_what_points_back(text, points):
    before = [Turn("user", "Who was Clerc?"), Turn("assistant", "A teacher.")]
    found = chat_prompt.follows([*before, Turn("user", text)])
    assert found == (f"Who was Clerc? {text}" if points else "")
    assert chat_prompt.follows([Turn("user", text)]) == ""
