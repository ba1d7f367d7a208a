from __future__ import annotations

import pytest
import torch

from overtone.errors import RunError
from overtone.models import embedder as embedders
from overtone.models import language
from overtone.models.bag import BagConfig
from overtone.models.body import States
from overtone.models.embedder import HEAD, Unit
from overtone.models.language import LanguageBody
from overtone.models.lstm import LstmConfig
from overtone.models.transformer import TransformerConfig

PIECES = 21
BODIES = [
    LstmConfig(width=8, layers=2, dropout=0.0),
    LstmConfig(width=8, layers=1, dropout=0.0, tied=True),
    TransformerConfig(width=8, layers=2, heads=2, dropout=0.0, max_length=16),
]
IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 20, 20]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def built(config, pooling="mean", pieces=PIECES, seed=1):
    torch.manual_seed(seed)
    return embedders.build(config, pooling, torch.ones(pieces)).eval()


@pytest.mark.parametrize("config", BODIES, ids=lambda config: config.kind)
def test_it_starts_where_the_language_model_is(tmp_path, config):
    torch.manual_seed(0)
    reader = language.build(config, PIECES).eval()
    language.save(reader, tmp_path)
    model = built(config)
    before = model.body(IDS, MASK).hidden
    embedders.start(model, tmp_path)
    expected = LanguageBody(reader)(IDS, MASK).hidden
    assert torch.equal(model.body(IDS, MASK).hidden, expected)
    assert not torch.equal(before, expected)
    states = expected[1, :3].mean(dim=0)
    torch.testing.assert_close(model(IDS, MASK)[HEAD][1], states / states.norm())


def test_another_body_or_vocabulary_is_refused(tmp_path):
    language.save(language.build(BODIES[0], PIECES), tmp_path)
    for config, pieces in ((BODIES[0], PIECES + 1), (BODIES[1], PIECES), (BODIES[2], PIECES)):
        with pytest.raises(RunError, match="not of this body and vocabulary"):
            embedders.start(built(config, pieces=pieces), tmp_path)
    with pytest.raises(RunError, match="damaged"):
        embedders.start(built(BODIES[0]), tmp_path / "nowhere")


def test_all_of_it_is_trained_and_nothing_is_left_over():
    """The output layer of a language model is not there: it would be weights that no gradient reaches."""
    for config in (BagConfig(width=8), *BODIES):
        model = built(config).train()
        model(IDS, MASK)[HEAD][:, 0].sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters()), config.kind
        assert model.body.hidden_size == 8


@pytest.mark.parametrize("config", [BagConfig(width=8), *BODIES], ids=lambda config: config.kind)
def test_saved_and_loaded_it_reads_alike(tmp_path, config):
    model = built(config)
    embedders.save(model, tmp_path)
    loaded = embedders.load(tmp_path, config, "mean", PIECES)
    assert torch.equal(loaded(IDS, MASK)[HEAD], model(IDS, MASK)[HEAD])
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_pooled_states_have_length_1():
    hidden = torch.tensor([[[3.0, 4.0], [5.0, 12.0], [99.0, 99.0]], [[1.0, 1.0]] * 3])
    states = States(hidden, torch.tensor([[1, 1, 0], [0, 0, 0]]))
    mean = torch.tensor([4.0, 8.0])
    torch.testing.assert_close(Unit("mean")(states)[0], mean / mean.norm())
    torch.testing.assert_close(Unit("last")(states)[0], torch.tensor([5 / 13, 12 / 13]))
    assert Unit("mean")(states)[1].tolist() == [0, 0]
