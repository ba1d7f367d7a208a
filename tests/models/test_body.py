from __future__ import annotations

import pytest
from torch import nn

from overtone.errors import UsageError
from overtone.models.body import Body
from toys import build_model


class Whole(Body):
    """A body that says nothing of its layers."""

    hidden_size = 2

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))


def test_a_body_without_known_layers_is_trained_as_a_whole():
    body = Whole()
    body.freeze(None)
    assert (body.depth, body.frozen, body.at_rest()) == (0, None, [])
    assert all(parameter.requires_grad for parameter in body.parameters())
    for layers in (0, 1):
        with pytest.raises(UsageError, match="Whole is trained as a whole") as caught:
            body.freeze(layers)
        assert caught.value.hint == "set train.freeze.kind=none"
    assert body.frozen is None
    assert body.train().inner[1].training
    assert not body.eval().inner[1].training


def test_every_decision_is_counted():
    body = Whole()
    before = body.stage
    body.freeze(None)
    assert body.stage == before + 1
    assert Whole().stage == before


@pytest.mark.parametrize("layers", [-1, 3])
def test_an_encoder_freezes_no_layers_that_it_has_not(tiny, layers):
    with pytest.raises(UsageError, match="the backbone has 2 layers"):
        build_model(tiny).body.freeze(layers)
