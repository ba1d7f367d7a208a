from __future__ import annotations

import math

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from overtone.errors import UsageError
from overtone.inference.generate import Begins, SamplingConfig, draw, filtered, generate, stream
from overtone.models.lstm import LstmConfig, LstmModel
from overtone.models.transformer import TransformerConfig, TransformerModel

V = 30
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9], [4]]
GREEDY = SamplingConfig(temperature=0, max_tokens=6)


class Counting:
    """Says one more than the last token, for certain."""

    max_length = None

    def __init__(self):
        self.read = 0

    def step(self, state, tokens):
        self.read += tokens.shape[1]
        scores = torch.full((len(tokens), V), -100.0)
        scores[torch.arange(len(tokens)), (tokens[:, -1] + 1) % V] = 100.0
        return scores, (state or 0) + tokens.shape[1]


def build(kind):
    torch.manual_seed(0)
    if kind == "lstm":
        model = LstmModel(LstmConfig(width=16), V)
    else:
        model = TransformerModel(TransformerConfig(width=16, layers=2, heads=2, max_length=40), V)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return model.eval()


def call(model, prompts=PROMPTS, config=GREEDY, end=None):
    return generate(model, prompts, config, end, "cpu")


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_greedy_takes_the_best_of_the_whole_model(kind):
    model = build(kind)
    for prompt, made in zip(PROMPTS, call(model), strict=True):
        ids = list(prompt)
        for token in made:
            with torch.no_grad():
                best = model.logits(model(torch.tensor([ids])))[0, -1].argmax()
            assert token == best
            ids.append(token)
        assert len(made) == 6


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_does_not_depend_on_its_neighbours(kind, temperature):
    model = build(kind)
    config = SamplingConfig(temperature=temperature, max_tokens=6, seed=5)
    together = call(model, config=config)
    for row, prompt in enumerate(PROMPTS):
        alone = call(model, [prompt], config.model_copy(update={"seed": 5 + row}))
        assert alone == [together[row]]


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_seeds_of_its_own_are_those_of_a_row_alone(kind):
    model = build(kind)
    config = SamplingConfig(max_tokens=6, seed=1)
    found = generate(model, PROMPTS, config, None, "cpu", seeds=[9, 4, 9, 1])
    for prompt, seed, made in zip(PROMPTS, (9, 4, 9, 1), found, strict=True):
        assert call(model, [prompt], config.model_copy(update={"seed": seed})) == [made]


class AtOnce(Counting):
    """Reads prompts of any lengths at once."""

    def begin(self, prompts):
        self.read += max(map(len, prompts))
        last = torch.tensor([prompt[-1] for prompt in prompts])
        scores = torch.full((len(prompts), V), -100.0)
        scores[torch.arange(len(prompts)), (last + 1) % V] = 100.0
        return scores, 0


def test_a_model_that_begins_speaks_in_all_rows_at_once():
    model = AtOnce()
    assert isinstance(model, Begins)
    assert not isinstance(Counting(), Begins)
    told = stream(model, [[1], [5, 6, 7]], SamplingConfig(max_tokens=3), 10, "cpu")
    assert list(told) == [[2, 8], [3, 9], [4, None]]
    assert model.read == 3 + 2


def test_the_seed_decides_and_rows_differ():
    model = build("transformer")
    config = SamplingConfig(max_tokens=20)
    assert call(model, [[4]] * 3, config) == call(model, [[4]] * 3, config)
    one, two, three = call(model, [[4]] * 3, config)
    assert one != two != three
    assert call(model, [[4]], config.model_copy(update={"seed": 8})) == [two]


def test_it_stops_at_the_end_of_text():
    made = call(Counting(), [[7], [1, 2], [9]], SamplingConfig(max_tokens=20), end=10)
    assert made == [[8, 9], [3, 4, 5, 6, 7, 8, 9], []]


def test_it_stops_reading_when_all_have_ended():
    model = Counting()
    assert call(model, [[7], [8]], SamplingConfig(max_tokens=1000), end=10) == [[8, 9], [9]]
    assert model.read == 3


def test_a_stream_gives_each_token_when_it_is_made():
    model = Counting()
    told = stream(model, [[1], [5, 6, 7]], SamplingConfig(max_tokens=3), None, "cpu")
    assert next(told) == [2, None]
    assert model.read == 1
    assert list(told) == [[3, None], [4, 8], [None, 9], [None, 10]]


def test_the_most_frequent_of_a_thousand_draws_is_the_likeliest():
    scores = torch.log(torch.tensor([[0.1, 0.6, 0.3, 0.0]]))
    generator = torch.Generator().manual_seed(0)
    drawn = [draw(scores, SamplingConfig(), [generator])[0] for _ in range(3000)]
    shares = [drawn.count(token) / 3000 for token in range(4)]
    assert shares[3] == 0
    for share, expected in zip(shares, (0.1, 0.6, 0.3), strict=False):
        assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / 3000)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
@pytest.mark.parametrize("top_k", [None, 1, 5, V, 99])
@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 1.0])
def test_filters_are_those_of_transformers(temperature, top_k, top_p):
    scores = torch.randn(16, V, generator=torch.Generator().manual_seed(1)) * 3
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k is not None:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    expected = warpers(None, scores.clone())
    found = filtered(scores, SamplingConfig(temperature=temperature, top_k=top_k, top_p=top_p))
    assert torch.equal(found.isinf(), expected.isinf())
    torch.testing.assert_close(found, expected)


def test_the_nucleus_is_the_fewest_that_reach_the_share():
    scores = torch.log(torch.tensor([[0.15, 0.5, 0.05, 0.3]]))
    for top_p, kept in ((0.4, [1]), (0.6, [1, 3]), (0.85, [0, 1, 3]), (0.99, [0, 1, 2, 3])):
        found = filtered(scores, SamplingConfig(top_p=top_p))
        assert (~found[0].isinf()).nonzero().flatten().tolist() == kept


def test_bf16_scores_are_drawn_in_fp32():
    scores = torch.randn(2, V).bfloat16()
    assert filtered(scores, SamplingConfig()).dtype == torch.float32


def test_what_goes_beyond_the_model_is_refused_before_it_starts():
    model = build("transformer")  # 40 positions
    assert len(call(model, [[1] * 30], SamplingConfig(max_tokens=11))[0]) == 11
    with pytest.raises(UsageError, match=r"30 tokens and 12 more go beyond the 40(?s:.*)at most 11"):
        call(model, [[1] * 30], SamplingConfig(max_tokens=12))
    for prompts in ([], [[1], []]):
        with pytest.raises(UsageError, match="a prompt has no tokens"):
            call(model, prompts)
