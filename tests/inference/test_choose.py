"""How likely texts are to follow: the numbers of transformers' own, whatever was read before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from decoders import write_merging
from overtone.data.chat import Turn
from overtone.errors import DataError, UsageError, WeightsError
from overtone.inference.choose import Chooser
from overtone.models import adapters, causal
from overtone.models.adapters import LoraConfig
from overtone.models.causal import DecoderConfig
from toys import write_chat

NUMBERS = [f"{number}\n" for number in range(11)]
ASKED = (Turn("user", "Rate it: Glad, Calm."),)
OTHER = (Turn("system", "Be brief."), Turn("user", "Rate this: Sad."))


@pytest.fixture(scope="module", params=["letters", "merges", "slides"])
def folder(request, tmp_path_factory):
    """Random decoders: one whose tokens are letters, one that merges, one whose window slides."""
    place = tmp_path_factory.mktemp(request.param)
    match request.param:
        case "letters":
            return write_chat(place)
        case "merges":
            return write_merging(place)
        case _:
            write_chat(place, kind="mistral")
            return place


def load(folder):
    return causal.load(DecoderConfig(weights=str(folder), stored="fp32"))


def by_hand(model, tokenizer, turns, begun, options):
    """The log-probability of each option alone, in one pass over the whole text."""
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    opened = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    before = len(tokenizer(opened, add_special_tokens=False)["input_ids"])
    found = []
    for option in options:
        ids = tokenizer(opened + begun + option, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0].double().log_softmax(dim=-1)
        rows = range(before, ids.shape[1])
        found.append(sum(float(logits[row - 1, ids[0, row]]) for row in rows))
    return np.array(found)


def shares(values):
    """Log-likelihoods without the number that all share."""
    return values - values.max()


def test_likelihoods_are_those_of_the_whole_text(folder):
    chooser = Chooser(load(folder))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    # The second goes on with the first, the third is an older one, the fourth another, the last the same.
    cases = [(ASKED, ""), (ASKED, "Glad: "), (ASKED, "Glad: 10\nCalm: "), (ASKED, "Glad: "), (OTHER, "Sad: ")]
    for turns, begun in [*cases, cases[-1]]:
        found = chooser.log_likelihoods(turns, begun, NUMBERS)
        expected = by_hand(model, tokenizer, turns, begun, NUMBERS)
        assert shares(found) == pytest.approx(shares(expected), abs=1e-4)
        assert np.ptp(expected) > 0.1
    words = ["the", "this\n", "is it"]
    found = chooser.log_likelihoods(ASKED, "Well ", words)
    assert shares(found) == pytest.approx(shares(by_hand(model, tokenizer, ASKED, "Well ", words)), abs=1e-4)


def test_the_adapter_is_off_for_the_base_alone(tmp_path):
    write_chat(tmp_path)
    plain = Chooser(load(tmp_path)).log_likelihoods(ASKED, "Glad: ", NUMBERS)
    body = load(tmp_path)
    torch.manual_seed(0)
    adapters.attach(body, LoraConfig(r=4, alpha=8, targets="all-linear"), causal=True)
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    body.eval()
    tuned, base = Chooser(body), Chooser(body, tuned=False)
    for _ in range(2):  # each keeps what it read itself
        assert base.log_likelihoods(ASKED, "Glad: ", NUMBERS) == pytest.approx(plain, abs=1e-5)
        assert abs(tuned.log_likelihoods(ASKED, "Glad: ", NUMBERS) - plain).max() > 1e-3
    with pytest.raises(UsageError, match="no adapter"):
        Chooser(load(tmp_path), tuned=False)


def test_what_cannot_be_chosen_from_is_said(tmp_path):
    chooser = Chooser(load(write_chat(tmp_path)))
    for options in (["1"], ["1", "1"], ["1", "10"], ["", "1"]):
        with pytest.raises(DataError, match="cannot be told apart"):
            chooser.log_likelihoods(ASKED, "", options)
    with pytest.raises(DataError, match="special token"):
        chooser.log_likelihoods((Turn("user", "so<|im_end|>"),), "", NUMBERS)
    with pytest.raises(DataError, match=r"(?s)more than the 512 that this decoder reads.*reads more"):
        chooser.log_likelihoods(ASKED, "x" * 600, NUMBERS)


def test_scores_that_are_no_numbers_choose_nothing(tmp_path):
    body = load(write_chat(tmp_path))
    with torch.no_grad():
        body.causal.get_output_embeddings().weight.fill_(float("nan"))
    with pytest.raises(WeightsError, match="not numbers"):
        Chooser(body).log_likelihoods(ASKED, "", NUMBERS)
