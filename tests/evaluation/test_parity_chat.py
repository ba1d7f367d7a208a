from __future__ import annotations

import math

import pytest
import torch

from decoders import write_merging
from overtone.data import chat
from overtone.data.chat import Turn
from overtone.evaluation import parity_chat
from overtone.evaluation.parity_chat import Check, Tolerance
from overtone.models import causal
from overtone.models.causal import DecoderConfig

SAID = (("where is the box?", "It is in town."), ("no", "this  is longer, and it says more of the thesis"))


def load(folder):
    return causal.load(DecoderConfig(weights=str(folder), stored="fp32"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_merging(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def run(folder):
    return load(folder)


@pytest.fixture(scope="module")
def checks(run):
    told = [[Turn("user", question), Turn("assistant", answer)] for question, answer in SAID]
    return [Check(turns, chat.encode(run.tokenizer, turns, 256)) for turns in told]


@pytest.fixture
def form(folder):
    """Its output differs a little everywhere."""
    body = load(folder)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return body


def judged(run, form, checks, **tolerance):
    return parity_chat.compare("merged", run, form, checks, Tolerance(**tolerance))


def test_a_form_that_is_the_run(folder, run, checks):
    found = judged(run, load(folder), checks)
    assert (found.mean, found.most, found.perplexity) == (0, 0, 1)
    assert found.passed
    assert found.sentence.endswith("passed")
    assert found.tokens == sum(sum(each.chat.trained) for each in checks)


@torch.inference_mode()
def test_the_figures_are_those_of_torch_and_transformers(run, form, checks):
    found = judged(run, form, checks)
    divergences, losses = [], torch.zeros(2, dtype=torch.double)
    for check in checks:
        ids = torch.tensor([check.chat.ids])
        labels = torch.where(torch.tensor([check.chat.trained]), ids, -100)
        outputs = [each.causal(input_ids=ids, labels=labels) for each in (run, form)]
        count = sum(check.chat.trained)
        losses += torch.tensor([float(each.loss) * count for each in outputs])
        one, other = (each.logits[0].double().log_softmax(-1) for each in outputs)
        every = torch.nn.functional.kl_div(other, one, reduction="none", log_target=True).sum(-1)
        divergences += [every[at - 1] for at, trained in enumerate(check.chat.trained) if trained]
    wanted = torch.stack(divergences)
    assert len(wanted) == found.tokens
    assert found.mean == pytest.approx(float(wanted.mean()), rel=1e-4)
    assert found.most == pytest.approx(float(wanted.max()), rel=1e-4)
    before, after = (losses / found.tokens).tolist()
    assert found.perplexity == pytest.approx(math.exp(after - before), rel=1e-5)


@pytest.mark.parametrize("limit", ["mean", "most", "perplexity"])
def test_each_limit_refuses(run, form, checks, limit):
    wide = {"mean": 10.0, "most": 100.0, "perplexity": 10.0}
    assert judged(run, form, checks, **wide).passed
    found = judged(run, form, checks, **{**wide, limit: 1e-6})
    assert len(found.faults) == 1
    assert "may be" in found.sentence


def test_what_is_not_finite_never_passes(run, form, checks):
    with torch.no_grad():
        form.causal.base_model.norm.weight[0] = math.nan
    found = judged(run, form, checks, mean=1e9, most=1e9, perplexity=1e9)
    assert len(found.faults) == 3


def test_another_vocabulary(run, form, checks):
    form.causal.resize_token_embeddings(run.causal.config.vocab_size + 5, mean_resizing=False)
    found = judged(run, form, checks)
    assert found.mean == math.inf
    assert not found.passed
