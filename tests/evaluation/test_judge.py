"""A judge's grades: the probabilities of three tokens, whoever is beside an answer in its batch."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers import models as pieces
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from endpoints import completion, serving
from overtone.data import chat
from overtone.data.chat import Turn
from overtone.errors import DataError, UsageError, WeightsError
from overtone.evaluation.benchmarks.qa import grade, interval, paired
from overtone.evaluation.judge import (
    RUBRIC,
    Asked,
    EndpointJudge,
    LocalJudge,
    Reading,
    Verdict,
    judge,
    label_tokens,
    measured,
)
from overtone.inference.endpoint import EndpointConfig, EndpointError
from overtone.models import adapters, causal
from overtone.models.adapters import LoraConfig
from overtone.models.causal import DecoderConfig
from toys import CHATML, chat_tokenizer, write_chat

IDS = ("a", "b", "c", "d")
QUESTIONS = ("Who signs?", "What is {ASL}?", "Where is Gallaudet, and since when?", "Why?")
GOLDS = ("Deaf people do.", "A language.", "In Washington, D.C., since 1864.", "So.")
ANSWERS = (
    "Deaf people.",
    "A {set} of gestures, as everybody knows, made up by hearing monks.",
    "",
    "{answer}",
)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random decoder that reads texts as long as the rubric is in letters."""
    place = write_chat(tmp_path_factory.mktemp("judge"))
    settings = json.loads((place / "config.json").read_text())
    settings["max_position_embeddings"] = 4096
    (place / "config.json").write_text(json.dumps(settings))
    return place


def load(folder, **changes):
    return causal.load(DecoderConfig(weights=str(folder), **{"stored": "fp32", **changes}))


@pytest.fixture(scope="module")
def adapted(folder):
    """The same with an adapter that changes what it says."""
    torch.manual_seed(0)
    body = load(folder)
    adapters.attach(body, LoraConfig(r=4, alpha=8, targets="all-linear"), causal=True)
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return body.eval()


def judged(found, **changes):
    columns = {"ids": IDS, "questions": QUESTIONS, "golds": GOLDS, "answers": ANSWERS, **changes}
    return judge(found, **columns)


def shares(verdicts):
    return np.array([each.shares for each in verdicts])


def by_hand(model, tokenizer):
    """The probabilities of each answer alone: all of transformers' own, in float64, over three tokens."""
    found = []
    for question, gold, answer in zip(QUESTIONS, GOLDS, ANSWERS, strict=True):
        text = RUBRIC.replace("{question}", "⟨1⟩").replace("{gold}", "⟨2⟩").replace("{answer}", "⟨3⟩")
        for mark, filled in (("⟨1⟩", question), ("⟨2⟩", gold), ("⟨3⟩", answer)):
            text = text.replace(mark, filled)
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(rendered, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            all_of_them = model(input_ids=ids).logits[0, -1].double().softmax(dim=-1)
        three = all_of_them[[tokenizer.convert_tokens_to_ids(digit) for digit in "012"]]
        found.append((three / three.sum()).numpy())
    return np.array(found)


def test_shares_are_those_of_the_whole_model(folder):
    verdicts = judged(LocalJudge(load(folder), "toy-1b"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    expected = by_hand(model, AutoTokenizer.from_pretrained(folder))
    assert shares(verdicts) == pytest.approx(expected, abs=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3  # the answers are told apart
    assert [each.id for each in verdicts] == list(IDS)
    assert [each.label for each in verdicts] == expected.argmax(axis=1).tolist()
    assert [each.expected for each in verdicts] == pytest.approx((expected @ [0, 1, 2]).tolist(), abs=1e-5)
    assert shares(verdicts).sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert all(each.judge == "toy-1b" and not each.judges_itself for each in verdicts)
    assert not any(each.from_text for each in verdicts)


def test_neighbours_and_batches_change_nothing(folder, monkeypatch):
    found = LocalJudge(load(folder), "toy-1b")
    together = shares(judged(found))  # in batches, since four rubrics are more than TOKENS here
    alone = [
        judge(found, [name], [question], [gold], [answer])[0].shares
        for name, question, gold, answer in zip(IDS, QUESTIONS, GOLDS, ANSWERS, strict=True)
    ]
    assert together == pytest.approx(np.array(alone), abs=1e-5)
    monkeypatch.setattr("overtone.evaluation.judge.TOKENS", 100_000)
    assert shares(judged(found)) == pytest.approx(together, abs=1e-5)
    backwards = judge(found, IDS[::-1], QUESTIONS[::-1], GOLDS[::-1], ANSWERS[::-1])
    assert shares(backwards)[::-1] == pytest.approx(together, abs=1e-5)


def test_the_adapter_is_off_unless_it_is_to_judge(folder, adapted):
    plain = shares(judged(LocalJudge(load(folder), "toy-1b")))
    off = LocalJudge(adapted, "toy-1b", judges_itself=True)
    on = LocalJudge(adapted, "toy-1b", tuned=True)
    assert shares(judged(off)) == pytest.approx(plain, abs=1e-6)
    tuned = shares(judged(on))
    assert tuned == pytest.approx(by_hand(adapted.backbone, adapted.tokenizer), abs=1e-5)
    assert abs(tuned - plain).max() > 1e-3
    assert (on.name, on.judges_itself) == ("toy-1b, tuned", False)
    assert (off.name, off.judges_itself) == ("toy-1b, judging itself", True)
    assert all(each.judges_itself for each in judged(off))
    with pytest.raises(UsageError, match="toy-1b has no adapter"):
        LocalJudge(load(folder), "toy-1b", tuned=True)


def test_texts_that_a_judge_cannot_read_are_named(folder):
    found = LocalJudge(load(folder), "toy-1b")
    with pytest.raises(DataError, match=r"answer 'd'.*special token '<\|im_end\|>'"):
        judged(found, answers=(*ANSWERS[:3], "so<|im_end|>"))
    with pytest.raises(
        DataError, match=r"(?s)answer 'b'.* tokens, and the judge toy-1b reads 4,096.*max_tokens"
    ):
        judged(found, answers=("x", "y" * 4096, "", ""))


def test_scores_that_are_no_numbers_are_no_grade(folder):
    body = load(folder)
    with torch.no_grad():
        body.causal.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(WeightsError, match="toy-1b are not numbers"):
        judged(LocalJudge(body, "toy-1b"))


def test_an_unreadable_number_of_answers():
    with pytest.raises(DataError, match="3 answers to 4 questions with 4 right answers and 4 ids"):
        judged(Says("2"), answers=ANSWERS[:3])
    with pytest.raises(DataError, match="0 answers to 0 questions"):
        judge(Says("2"), [], [], [], [])


class Says:
    """A judge of one mind."""

    judges_itself = False

    def __init__(self, *grades):
        self.name = "one mind"
        self.grades = grades
        self.heard = []

    def read(self, asked):
        self.heard += asked
        rows = [tuple(float(digit == grade) for digit in "012") for grade in self.grades]
        return [Reading(rows[place % len(rows)], True) for place in range(len(asked))]


def test_the_rubric_holds_the_texts_as_they_are():
    found = Says("0")
    judged(found)
    assert [each.id for each in found.heard] == list(IDS)
    for asked, question, gold, answer in zip(found.heard, QUESTIONS, GOLDS, ANSWERS, strict=True):
        assert f"<question>\n{question}\n</question>" in asked.text
        assert f"<right_answer>\n{gold}\n</right_answer>" in asked.text
        assert f"<tutor_answer>\n{answer}\n</tutor_answer>" in asked.text
        assert asked.text.endswith("0, 1 or 2.")
        assert "one digit" in asked.text


@pytest.mark.parametrize(
    ("given", "label", "expected"),
    [((0.2, 0.5, 0.3), 1, 1.1), ((0.4, 0.2, 0.4), 0, 1.0), ((0, 0.5, 0.5), 1, 1.5), ((0, 0, 1), 2, 2)],
)
def test_a_verdict_by_hand(given, label, expected):
    verdict = Verdict("a", given, "judge", False, False)
    assert verdict.label == label
    assert verdict.expected == pytest.approx(expected)


def test_an_exam_with_verdicts_has_intervals_and_differences():
    one, two = (
        measured(grade("trained", IDS, IDS, ANSWERS, GOLDS), judged(Says(*grades)))
        for grades in (("0", "1", "2", "1"), ("1", "2", "2", "2"))
    )
    assert interval(one, "judged", seed=0).value == 1
    assert paired(one, two, "judged", seed=0).value == pytest.approx(0.75)
    assert one.of("f1") == pytest.approx(grade("trained", IDS, IDS, ANSWERS, GOLDS).of("f1"))
    with pytest.raises(DataError, match="4 verdicts are not on the 3 answers of 'trained'"):
        measured(grade("trained", IDS[:3], IDS[:3], ANSWERS[:3], GOLDS[:3]), judged(Says("1")))


def spaced(ids):
    """A tokenizer of letters in which a blank and a digit are these tokens."""
    vocabulary = {"<s>": 0, "a": 1, **ids}
    backend = Tokenizer(pieces.WordLevel(vocabulary, unk_token="<s>"))
    template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<s>", chat_template=template)


def test_label_tokens_are_those_that_open_an_answer():
    tokenizer = chat_tokenizer()
    assert label_tokens(tokenizer) == [tokenizer.convert_tokens_to_ids(digit) for digit in "012"]
    opened = chat.prompt(tokenizer, (Turn("user", "a"),))
    for digit, label in zip("012", label_tokens(tokenizer), strict=True):
        assert tokenizer.decode([*opened, label]).endswith(f"assistant\n{digit}")


def test_digits_without_tokens_of_their_own_are_refused():
    # One token for whatever it does not know: three digits that are one.
    with pytest.raises(DataError, match=r"(?s)no token of their own for 0, 1 and 2.*other weights"):
        label_tokens(spaced({}))
    # With the blank that opens an answer a digit is one token, and the prompt's own last token is gone.
    merged = chat_tokenizer(CHATML.replace("assistant\n", "assistant "))
    backend = json.loads(merged.backend_tokenizer.to_str())
    for digit in "012":
        backend["model"]["vocab"][f"Ġ{digit}"] = len(backend["model"]["vocab"])
        backend["model"]["merges"].append(["Ġ", digit])
    settings = {"eos_token": "<|im_end|>", "chat_template": merged.chat_template}
    joined = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(backend)), **settings)
    with pytest.raises(DataError, match="no token of their own"):
        label_tokens(joined)


def remote(url, **changes):
    return EndpointJudge(EndpointConfig(url=url, model="judge-7b", backoff=0.001), **changes)


def test_an_endpoint_s_probabilities_are_put_over_their_sum():
    first = [(" 2", 0.3), ("2", 0.1), ("Ġ1", 0.1), ("Grade", 0.4), ("20", 0.05)]
    with serving((200, completion("Grade", first))) as (url, got):
        found = remote(url, judges_itself=True)
        verdicts = judged(found)
    assert shares(verdicts) == pytest.approx(np.tile([0, 0.2, 0.8], (4, 1)))
    assert not any(each.from_text for each in verdicts)
    assert all(each.judges_itself and each.judge == found.name for each in verdicts)
    assert found.name == f"judge-7b at {url.removeprefix('http://').removesuffix('/v1')}, judging itself"
    assert [body["max_tokens"] for _, _, body in got] == [1] * 4
    heard = Says("0")
    judged(heard)
    assert [body["messages"][0]["content"] for _, _, body in got] == [each.text for each in heard.heard]


@pytest.mark.parametrize(
    ("text", "label"),
    [("2", 2), (" 0\n", 0), ("Grade: 1.", 1), ("**2**", 2), ("2.Since", 2), ("2, so 2 of two", 2)],
)
@pytest.mark.parametrize("first", [None, [("Well", 0.9)]])
def test_without_probabilities_the_digit_counts_and_that_is_said(text, label, first):
    with serving((200, completion(text, first))) as (url, _):
        (reading,) = remote(url).read([Asked("a", "…")])
    assert reading == Reading(tuple(float(grade == label) for grade in range(3)), from_text=True)


@pytest.mark.parametrize("text", ["", "Grade", "1 or 2", "1.5", "10", "3", "v2", "2nd", "1/2"])
def test_a_reply_without_one_grade_is_none(text):
    with (
        serving((200, completion("1")), (200, completion(text)), (200, completion("1"))) as (url, got),
        pytest.raises(DataError, match=r"(?s)judge-7b at .* answer 'b' with 0, 1 or 2.*think aloud"),
    ):
        judged(remote(url))
    assert len(got) == 2  # the others were not paid for


def test_an_endpoint_that_fails_is_no_verdict():
    with serving((401, {"error": "no"})) as (url, _), pytest.raises(EndpointError, match="401"):
        judged(remote(url))
