from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from overtone.models import decoder as model
from overtone.models.decoder import Decoder


@pytest.fixture
def decoder(minilm):
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    return Decoder(LlamaForCausalLM(config).eval(), tokenizer)


def alone(decoder, prompt, word):
    """The likelihood of one continuation, token by token, without padding or batching."""
    ids = decoder.tokenizer(prompt)["input_ids"]
    total = 0.0
    for token in decoder.tokenizer(word, add_special_tokens=False)["input_ids"]:
        with torch.no_grad():
            logits = decoder.model(input_ids=torch.tensor([ids])).logits[0, -1]
        total += float(logits.log_softmax(-1)[token])
        ids = [*ids, token]
    return total


def test_scores_equal_those_of_one_text_at_a_time(decoder):
    prompts = ["it rained", "the longest of these prompts has many more words than the others", "ok"]
    words = ["joy", "unspeakable dread", "anger"]
    expected = [[alone(decoder, prompt, word) for word in words] for prompt in prompts]
    assert decoder.score(prompts, words) == pytest.approx(np.array(expected), abs=1e-4)


def test_scores_do_not_depend_on_company(decoder):
    prompts = [f"prompt number {i} " + "word " * (i % 7) for i in range(40)]
    together = decoder.score(prompts, ["joy", "deep sorrow"])
    apart = np.concatenate([decoder.score([prompt], ["joy", "deep sorrow"]) for prompt in prompts])
    assert together == pytest.approx(apart, abs=1e-4)


def test_two_files_of_one_name_are_two_in_the_cache(tmp_path):
    files = [tmp_path / folder / "model.gguf" for folder in "ab"]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(b"GGUF")
    keys = [model._key(file) for file in files]
    assert len(set(keys)) == 2
    assert [model._key(file) for file in files] == keys
    files[0].write_bytes(b"GGUF again")
    assert model._key(files[0]) not in keys
