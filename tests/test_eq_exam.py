"""EQ-Bench sat: the published protocol step by step, the constrained one, and an exam that was stopped."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
import torch

from eq_questions import NAMES, one_pass, prompt, question, two_passes
from overtone import eq_exam
from overtone.data.chat import Turn
from overtone.eq_exam import answered, chosen, questions, sit, table
from overtone.errors import DataError, RunError, UsageError
from overtone.evaluation.benchmarks import eq_bench
from overtone.evaluation.benchmarks.eq_bench import EqExamConfig, score
from overtone.models import adapters, causal
from overtone.models.adapters import LoraConfig
from overtone.models.causal import DecoderConfig
from toys import write_chat

REFERENCE_PROMPTS = "906d1f387d307055642053a846caed0671519d72249a8ae025e39237961b76aa"
"""SHA-256 of the 171 prompts of one pass, as the reference's own code makes them, with zero bytes between."""

WHOLE = one_pass(1, 2, 3, 4)


class Says:
    """A system that says these texts to each question, one a try, the last one ever after."""

    def __init__(self, **texts):
        self.texts = {name.removeprefix("q"): list(each) for name, each in texts.items()}
        self.heard = []
        self.forgotten = 0

    def answers(self, conversations, **settings):
        names = [re.search(r"Ola: (\d+)", turns[0].text)[1] for turns in conversations]
        self.heard.append((names, settings))
        assert all([turn.role for turn in turns] == ["user"] for turns in conversations)
        texts = [self.texts.get(name, [WHOLE]) for name in names]
        return [each.pop(0) if len(each) > 1 else each[0] for each in texts]


def asked(n):
    """Questions whose prompts hold their number."""
    made = [question(f"{number}") for number in range(n)]
    return [
        type(each)(each.id, each.prompt.replace("Ola: ", f"Ola: {each.id} "), NAMES, each.relative, each.full)
        for each in made
    ]


def test_a_question_of_one_pass():
    form = "".join(f"{name}: <score>\n" for name in NAMES)
    assert eq_exam.prompt(question(), EqExamConfig()) == (
        "\nWhat is felt?\n\nOla: The boat is gone.\n[End dialogue]\n\nAt the end, Ola would feel...\n"
        "Glad\nUneasy\nEnvious\nCalm\n\nRate each.\n\nLike this:\n\n"
        f"{form}\n\n[End of answer]\n\nOne of them is felt.\n\nYour answer:\n"
    )
    for config in (EqExamConfig(revise=True), EqExamConfig(version="v1")):
        assert eq_exam.prompt(question(), config) == prompt()
    plain = type(question())("9", "How is she?", NAMES, (1, 2, 3, 4), (1, 2, 3, 4))
    with pytest.raises(DataError, match="question 9 has no second pass"):
        eq_exam.prompt(plain, EqExamConfig())


def test_the_prompts_are_the_reference_s(data_root):
    config = EqExamConfig()
    made = "\0".join(eq_exam.prompt(each, config) for each in questions(config))
    assert hashlib.sha256(made.encode()).hexdigest() == REFERENCE_PROMPTS
    assert len(questions(EqExamConfig(version="v1"))) == 60


def test_what_is_not_whole_is_asked_again_with_more_chance(tmp_path):
    says = Says(q1=["Glad: 1", one_pass(0, 0, 0, 0), one_pass(0, 8, 2, 5)], q2=["no"], q3=["no", WHOLE])
    config = EqExamConfig(seed=20)
    found = answered(says, asked(4), tmp_path, config)
    assert [names for names, _ in says.heard] == [["0", "1", "2", "3"], ["1", "2", "3"], ["1", "2"]]
    settings = [each for _, each in says.heard]
    assert [each["temperature"] for each in settings] == pytest.approx([0.01, 0.16, 0.31])
    assert {each["max_tokens"] for each in settings} == {60}
    assert len({each["seed"] for each in settings}) == 3
    assert found.first[1] == 10
    assert np.isnan(found.first).tolist() == [False, False, True, False]
    assert eq_bench.outcome(found).failed
    rows = [json.loads(line) for line in (tmp_path / "v2-standard.jsonl").read_text().splitlines()]
    assert [(row["id"], row["counts"]) for row in rows[1:]] == [
        ("0", True),
        ("1", True),
        ("2", False),
        ("3", True),
    ]
    assert rows[3]["text"] == "no"


def test_that_nothing_is_felt_is_no_answer(tmp_path):
    says = Says(q0=[one_pass(0, 0, 0, 0)])
    assert np.isnan(answered(says, asked(1), tmp_path, EqExamConfig()).first).all()
    assert len(says.heard) == 3


def test_of_two_passes_a_partial_answer_counts_where_none_is_whole(tmp_path):
    nothing = "I rate nothing.\n"
    half, other = two_passes(WHOLE, nothing), two_passes(nothing, one_pass(4, 3, 2, 1))
    says = Says(
        q0=[nothing, half, other],
        q1=[half, two_passes(WHOLE, one_pass(0, 8, 2, 5))],
        q2=[nothing, nothing, other],
        q3=[nothing],
    )
    found = answered(says, asked(4), tmp_path, EqExamConfig(revise=True))
    whole, turned = (
        score(question(), dict(zip(NAMES, each, strict=True)), "v2") for each in ((1, 2, 3, 4), (4, 3, 2, 1))
    )
    nan = float("nan")
    np.testing.assert_allclose(found.first, [whole, whole, nan, nan])
    np.testing.assert_allclose(found.revised, [nan, 10, turned, nan])
    assert {each["max_tokens"] for _, each in says.heard} == {1000}
    assert (tmp_path / "v2-revise-standard.jsonl").exists()


def test_version_1_is_of_two_passes_by_its_own_rules(tmp_path):
    says = Says(q0=[two_passes(one_pass(0, 12, 2, 6), WHOLE)])
    found = answered(says, asked(1), tmp_path, EqExamConfig(version="v1"))
    assert found.first.tolist() == pytest.approx([10])


class StoppedError(Exception):
    """What ends an exam in a test."""


class Stops(Says):
    """The same, but it stops at this question."""

    def __init__(self, at, **texts):
        super().__init__(**texts)
        self.at = at

    def answers(self, conversations, **settings):
        said = super().answers(conversations, **settings)
        if self.at in self.heard[-1][0]:
            raise StoppedError
        return said


def test_an_exam_that_was_stopped_goes_on(tmp_path):
    texts = {"q3": ["no", WHOLE], "q12": ["no", "no", WHOLE]}
    questions, config = asked(20), EqExamConfig()
    whole = Says(**texts)
    expected = answered(whole, questions, tmp_path / "whole", config)
    with pytest.raises(StoppedError):
        answered(Stops("12", **texts), questions, tmp_path / "stopped", config)
    rest = Says(**texts)
    found = answered(rest, questions, tmp_path / "stopped", config)
    assert rest.heard[0][0] == [f"{n}" for n in range(8, 16)]  # the first eight were kept
    assert rest.heard == [each for each in whole.heard if int(each[0][0]) >= 8]  # seeds too
    assert found.answers == expected.answers
    again = Says()
    assert answered(again, questions, tmp_path / "stopped", config).answers == expected.answers
    assert again.heard == []


def test_answers_of_another_exam_are_not_taken(tmp_path):
    answered(Says(), asked(3), tmp_path, EqExamConfig())
    for others, config in ((asked(4), EqExamConfig()), (asked(3), EqExamConfig(attempts=5))):
        with pytest.raises(RunError, match=r"(?s)v2-standard\.jsonl holds answers by another.*delete it"):
            answered(Says(), others, tmp_path, config)
    (tmp_path / "v2-standard.jsonl").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        answered(Says(), asked(3), tmp_path, EqExamConfig())


def test_a_question_that_is_too_long_is_refused(tmp_path):
    says = Says()
    says.forgotten = 1
    with pytest.raises(UsageError, match=r"(?s)question '0' or one of the 2 after it is longer.*read more"):
        answered(says, asked(3), tmp_path, EqExamConfig())
    assert not (tmp_path / "v2-standard.jsonl").exists()


class Prefers:
    """A chooser with a liking for each emotion: number → probability, the others have little."""

    def __init__(self, **shares):
        self.shares = shares
        self.heard = []

    def log_likelihoods(self, turns, begun, options):
        self.heard.append((turns, begun, list(options)))
        liked = self.shares[begun.rsplit("\n", 1)[-1].removesuffix(": ")]
        return np.log([liked.get(int(option), 1e-9) for option in options])


def test_a_constrained_answer_by_hand(tmp_path):
    by = Prefers(Glad={2: 0.4, 10: 0.3, 9: 0.3}, Uneasy={8: 1}, Envious={0: 1}, Calm={5: 0.6, 4: 0.4})
    found = chosen(by, asked(1), tmp_path, EqExamConfig())
    assert found.answers[0].first == {"Glad": 2, "Uneasy": 8, "Envious": 0, "Calm": 5}
    turns, begun, options = by.heard[3]
    assert turns == (Turn("user", eq_exam.prompt(asked(1)[0], EqExamConfig())),)
    assert begun == "Glad: 2\nUneasy: 8\nEnvious: 0\nCalm: "
    assert options == [f"{n}\n" for n in range(11)]
    # 0.8 + 3 + 2.7 = 6.5, rounded to even; 3 + 1.6 = 4.6.
    found = chosen(by, asked(1), tmp_path / "mean", EqExamConfig(reading="expected"))
    assert found.answers[0].first == {"Glad": 6, "Uneasy": 8, "Envious": 0, "Calm": 5}
    chosen(by, asked(1), tmp_path / "two", EqExamConfig(revise=True))
    assert by.heard[-4][1] == "First pass scores:\nGlad: "
    with pytest.raises(RunError, match="another protocol"):
        chosen(by, asked(1), tmp_path, EqExamConfig(reading="expected"))


@pytest.mark.parametrize("reading", ["mode", "expected"])
def test_something_is_felt_in_a_constrained_answer(tmp_path, reading):
    by = Prefers(**{name: {0: 0.9, 3: 0.1} for name in NAMES})
    found = chosen(by, asked(1), tmp_path, EqExamConfig(reading=reading))
    assert list(found.answers[0].first.values()) == [0, 0, 0, 3]
    assert by.heard[3][2] == [f"{n}\n" for n in range(1, 11)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A random decoder that reads texts as long as a question is in letters."""
    place = write_chat(tmp_path_factory.mktemp("weights"))
    settings = json.loads((place / "config.json").read_text())
    settings["max_position_embeddings"] = 2048
    (place / "config.json").write_text(json.dumps(settings))
    return place


@pytest.fixture
def tuned(weights):
    """The same with an adapter that changes what it says."""
    body = causal.load(DecoderConfig(weights=str(weights), stored="fp32"))
    torch.manual_seed(0)
    adapters.attach(body, LoraConfig(r=4, alpha=8, targets="all-linear"), causal=True)
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    return body.eval()


def test_a_decoder_that_cannot_write_the_form_is_constrained(tmp_path, weights, tuned):
    questions, systems = asked(3), {"base": False, "tuned": True}
    found = sit(tuned, questions, tmp_path, EqExamConfig(), systems=systems)
    for sat in found.values():
        assert eq_bench.outcome(sat.standard).failed
        assert eq_bench.outcome(sat.constrained).parsed == 3
    assert found["base"].constrained.answers != found["tuned"].constrained.answers
    plain = causal.load(DecoderConfig(weights=str(weights), stored="fp32"))
    alone = sit(plain, questions, tmp_path / "plain", EqExamConfig(), systems={"base": False})
    assert alone["base"].constrained.answers == found["base"].constrained.answers
    rows = table(found, questions, EqExamConfig(resamples=100), base="base")
    assert rows[0][:1] + rows[0][2:4] == ["base", "constrained", "0 of 3 (0.0%)"]
    assert rows[0][4].startswith("FAIL")
    assert rows[1][5].endswith("both constrained")
    assert [row[0] for row in rows[2:]] == ["always 0", "always 2", "always 3", "always 4", "random"]


@pytest.mark.parametrize(("constrained", "made"), [("never", False), ("failed", False), ("always", True)])
def test_when_answers_are_constrained(tmp_path, monkeypatch, tuned, constrained, made):
    monkeypatch.setattr(eq_exam, "Speaker", lambda body, tuned: Says())
    config = EqExamConfig(constrained=constrained)
    found = sit(tuned, asked(2), tmp_path, config, systems={"tuned": True})
    assert (found["tuned"].constrained is not None) is made
    monkeypatch.setattr(eq_exam, "Speaker", lambda body, tuned: Says(q0=["no"]))
    config = EqExamConfig(constrained="never")
    assert sit(tuned, asked(2), tmp_path / "no", config, systems={"tuned": True})["tuned"].constrained is None
