from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from overtone.data.tokenize import encode
from overtone.models.body import States
from overtone.models.heads import Head, HeadConfig, mean_pool
from toys import build_model, sentences

POOLINGS = ["mean", "cls", "last", "attention"]


@pytest.fixture
def states():
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    return States(torch.randn(3, 4, 5), mask)


def test_mean_by_hand(states):
    found = mean_pool(states)
    assert torch.allclose(found[0], states.hidden[0].mean(dim=0))
    assert torch.allclose(found[1], states.hidden[1, :2].mean(dim=0))
    assert torch.allclose(found[2], states.hidden[2, 0])


def test_cls_is_the_first_state(states):
    assert torch.equal(Head(HeadConfig(pooling="cls"), 5, 2).pool(states), states.hidden[:, 0])


def test_last_is_the_state_before_the_padding(states):
    found = Head(HeadConfig(pooling="last"), 5, 2).pool(states)
    assert torch.equal(found, torch.stack([states.hidden[0, 3], states.hidden[1, 1], states.hidden[2, 0]]))


def test_standardised_by_hand():
    """Training, in the batch's own mean and deviation; evaluated, in those of all batches."""
    torch.manual_seed(0)
    head = Head(HeadConfig(pooling="cls", hidden=(), dropout=0.0, standardise=True), 4, 2)
    first, *_, last = head.layers
    vectors = torch.randn(64, 4) * torch.tensor([1.0, 100.0, 0.01, 5.0]) + torch.tensor(
        [0.0, 7.0, -3.0, 50.0]
    )
    states = States(vectors.unsqueeze(1), torch.ones(64, 1, dtype=torch.long))
    expected = last((vectors - vectors.mean(dim=0)) / (vectors.var(dim=0, correction=0) + first.eps).sqrt())
    for _ in range(200):
        found = head(states)
    assert torch.allclose(found, expected, atol=1e-4)
    assert torch.allclose(head.eval()(states), expected, atol=0.05)  # its variance is the unbiased one
    one = States(states.hidden[:1], states.mask[:1])
    evaluated = head(one)
    assert torch.equal(head.train()(one), evaluated)  # one row has no deviation


def test_attention_by_hand(states):
    head = Head(HeadConfig(pooling="attention"), 5, 2)
    for row, length in enumerate((4, 2, 1)):
        kept = states.hidden[row, :length]
        share = head.attention(kept).softmax(dim=0)
        assert torch.allclose(head.pool(states)[row], (share * kept).sum(dim=0), atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_counts_nothing(states, pooling):
    head = Head(HeadConfig(pooling=pooling, hidden=(7,)), 5, 2).eval()
    longer = States(
        torch.cat([states.hidden, torch.full((3, 6, 5), 1e4)], dim=1),
        torch.cat([states.mask, torch.zeros(3, 6, dtype=torch.long)], dim=1),
    )
    noisy = States(
        torch.where(states.mask.bool().unsqueeze(-1), states.hidden, torch.tensor(99.0)), states.mask
    )
    for other in (longer, noisy):
        assert torch.allclose(head(states), head(other), atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_a_text_s_outputs_do_not_depend_on_its_batch(encoder_folder, kind, pooling):
    model = build_model(encoder_folder(kind), head=HeadConfig(pooling=pooling, hidden=(6,))).eval()
    encoded = encode(model.body.tokenizer, [text for text, _ in sentences(9)] + ["", "a"], 64)
    with torch.no_grad():
        alone = torch.cat([model(*encoded.pad([row]))["emotion"] for row in range(11)])
        together = model(*encoded.pad(range(11)))["emotion"]
        turned = model(*encoded.pad(range(10, -1, -1)))["emotion"].flip(0)
    assert torch.allclose(alone, together, atol=1e-5)
    assert torch.allclose(alone, turned, atol=1e-5)


def shapes(head):
    """Widths in and out of every linear layer that has a bias."""
    linear = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    return [(layer.in_features, layer.out_features) for layer in linear if layer.bias is not None]


def test_hidden_layers(states):
    """Against the same layers put together by hand."""
    head = Head(HeadConfig(hidden=(7, 6), dropout=0.25), 5, 2)
    block = [nn.Dropout, nn.Linear, nn.LayerNorm, nn.GELU]
    assert [type(layer) for layer in head.layers] == [*block, *block, nn.Dropout, nn.Linear]
    assert shapes(head) == [(5, 7), (7, 6), (6, 2)]
    assert {layer.p for layer in head.layers if isinstance(layer, nn.Dropout)} == {0.25}
    head.eval()
    value = head.pool(states)
    for place in (0, 4):
        _, linear, norm, _ = head.layers[place : place + 4]
        value = functional.linear(value, linear.weight, linear.bias)
        value = functional.layer_norm(value, value.shape[1:], norm.weight, norm.bias)
        value = functional.gelu(value)
    value = functional.linear(value, head.layers[-1].weight, head.layers[-1].bias)
    assert torch.allclose(head(states), value, atol=1e-6)


def test_defaults():
    """256-128 with a dropout of 0.3; a deep head is 512-256-128; () is a linear head."""
    head = Head(HeadConfig(), 384, 11)
    assert shapes(head) == [(384, 256), (256, 128), (128, 11)]
    assert {layer.p for layer in head.modules() if isinstance(layer, nn.Dropout)} == {0.3}
    deep = Head(HeadConfig(hidden=(512, 256, 128)), 384, 11)
    assert shapes(deep) == [(384, 512), (512, 256), (256, 128), (128, 11)]
    assert shapes(Head(HeadConfig(hidden=()), 384, 11)) == [(384, 11)]


@pytest.mark.parametrize("values", [{"hidden": (0,)}, {"samples": 0}, {"dropout": 1.0}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ValidationError):
        HeadConfig(**values)


def test_only_attention_has_weights_of_its_own():
    counts = {
        pooling: sum(p.numel() for p in Head(HeadConfig(pooling=pooling, hidden=()), 5, 2).parameters())
        for pooling in POOLINGS
    }
    assert counts == {"mean": 12, "cls": 12, "last": 12, "attention": 18}


def silence(head):
    """Make all that the hidden layers compute 0."""
    for layer in head.modules():
        if isinstance(layer, nn.Linear) and layer.bias is not None and layer is not head.layers[-1]:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


def test_a_residual_layer_that_computes_nothing_is_the_identity(states):
    """Where widths match; a plain one leaves nothing but the output's bias."""
    head = Head(HeadConfig(hidden=(5, 5), residual=True), 5, 2).eval()
    plain = Head(HeadConfig(hidden=(5, 5)), 5, 2).eval()
    silence(head)
    silence(plain)
    assert torch.allclose(head(states), head.layers[-1](head.pool(states)))
    assert torch.allclose(plain(states), plain.layers[-1].bias.expand(3, 2))


def test_a_residual_layer_projects_where_widths_differ(states):
    head = Head(HeadConfig(hidden=(7, 7), residual=True), 5, 2).eval()
    first, second, _, output = head.layers
    assert (first.kept.weight.shape, first.kept.bias) == ((7, 5), None)
    assert isinstance(second.kept, nn.Identity)
    pooled = head.pool(states)
    assert torch.allclose(first(pooled), first.computed(pooled) + pooled @ first.kept.weight.T, atol=1e-6)
    silence(head)
    assert torch.allclose(head(states), output(pooled @ first.kept.weight.T), atol=1e-6)


def twins(samples):
    """Two heads of the same weights that drop at the output alone, one with a single draw."""
    one = Head(HeadConfig(hidden=(6,), dropout=0.5), 5, 2)
    other = Head(HeadConfig(hidden=(6,), dropout=0.5, samples=samples), 5, 2)
    other.load_state_dict(one.state_dict())
    for head in (one, other):
        head.layers[0].eval()
    return one, other


def test_samples_change_nothing_in_evaluation(states):
    one, several = twins(8)
    assert torch.equal(one.eval()(states), several.eval()(states))


def test_one_sample_is_plain_dropout(states):
    """The perceptron's layers one after the other, with the same random numbers."""
    head = Head(HeadConfig(hidden=(6,), dropout=0.5, samples=1), 5, 2)
    torch.manual_seed(4)
    found = head(states)
    torch.manual_seed(4)
    assert torch.equal(found, head.layers(head.pool(states)))


def test_samples_are_the_mean_of_draws(states):
    """The mean of the outputs of as many draws of the last dropout alone."""
    _, head = twins(4)
    torch.manual_seed(9)
    found = head(states)
    torch.manual_seed(9)
    vector = head.layers[:-2](head.pool(states))
    draws = head.layers[-2](vector.repeat(4, 1)).view(4, 3, 6)
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == 4
    expected = torch.stack([head.layers[-1](draw) for draw in draws]).mean(dim=0)
    assert torch.allclose(found, expected, atol=1e-6)


def test_more_samples_have_less_noise(states):
    """Averaged over n draws, the variance is an nth."""
    torch.manual_seed(2)
    deviations = []
    for head in twins(16):
        with torch.no_grad():
            deviations.append(torch.stack([head(states) for _ in range(1500)]).std(dim=0))
    ratio = deviations[0] / deviations[1]
    assert ratio.mean().item() == pytest.approx(4, rel=0.1)


class Alone(nn.Module):
    """A head that takes tensors."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, hidden, mask):
        return self.head(States(hidden, mask))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_head_is_exported_for_any_batch(states, pooling):
    """One graph for every number of rows and tokens."""
    head = Head(HeadConfig(pooling=pooling, hidden=(7, 7), residual=True, samples=4), 5, 2).eval()
    rows, tokens = torch.export.Dim("rows", min=2, max=64), torch.export.Dim("tokens", min=2, max=64)
    shape = {0: rows, 1: tokens} if pooling != "cls" else {0: rows, 1: torch.export.Dim.AUTO}
    exported = torch.export.export(
        Alone(head), (states.hidden, states.mask), dynamic_shapes=(shape, shape), strict=False
    ).module()
    longer = States(torch.randn(5, 9, 5), torch.ones(5, 9, dtype=torch.long))
    for batch in (states, longer):
        assert torch.allclose(exported(batch.hidden, batch.mask), head(batch), atol=1e-6)


def test_a_row_without_a_token_is_finite():
    empty = States(torch.randn(1, 3, 5), torch.zeros(1, 3, dtype=torch.long))
    for pooling in POOLINGS:
        assert bool(Head(HeadConfig(pooling=pooling), 5, 2)(empty).isfinite().all())
