from __future__ import annotations

import pytest
import torch

from overtone.errors import RunError, UsageError
from overtone.models import language
from overtone.models.language import LanguageModel
from overtone.models.lstm import LstmConfig
from overtone.models.transformer import TransformerConfig

V = 30
BODIES = {
    "lstm": LstmConfig(width=8, dropout=0.0),
    "tied": LstmConfig(width=8, dropout=0.0, tied=True),
    "transformer": TransformerConfig(width=8, layers=2, heads=2, dropout=0.0),
}


def built(config):
    torch.manual_seed(0)
    return language.build(config, V)


@pytest.mark.parametrize("kind", BODIES)
def test_a_language_model_as_a_body_and_a_head(kind):
    reader = built(BODIES[kind])
    model = LanguageModel(reader)
    ids = torch.randint(V, (2, 5))
    outputs = model(ids, torch.ones_like(ids))
    assert list(outputs) == ["next"]
    assert torch.equal(outputs["next"], reader.logits(reader(ids)))
    assert model.body.hidden_size == 8
    # The output layer is the body's; the head has nothing of its own to train or to save.
    assert model.sizes()["parameters"] == sum(parameter.numel() for parameter in reader.parameters())
    assert not model.heads.state_dict()
    assert all(name.startswith("body.reader.") for name, _ in model.named_parameters())


def test_padding_on_the_right_changes_nothing_before_it():
    model = LanguageModel(built(BODIES["transformer"])).eval()
    ids = torch.randint(V, (1, 6))
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]])
    states = model.body(ids, mask)
    assert torch.allclose(states.hidden[:, :4], model.body(ids[:, :4], mask[:, :4]).hidden, atol=1e-6)
    assert states.mask is mask


def test_it_is_trained_as_a_whole():
    with pytest.raises(UsageError, match="LanguageBody is trained as a whole"):
        LanguageModel(built(BODIES["lstm"])).body.freeze(1)


@pytest.mark.parametrize("kind", BODIES)
def test_on_disk_and_back(kind, tmp_path):
    reader = built(BODIES[kind]).eval()
    language.save(reader, tmp_path)
    torch.manual_seed(1)
    back = language.load(tmp_path, BODIES[kind], V)
    ids = torch.randint(V, (2, 5))
    assert torch.equal(
        back.logits(back(ids.to(back.embedding.weight.device))).cpu(), reader.logits(reader(ids))
    )
    assert not back.training
    assert not any(parameter.requires_grad for parameter in back.parameters())
    assert (back.head.weight is back.embedding.weight) == (kind == "tied")


def test_what_cannot_be_read_is_said(tmp_path):
    language.save(built(BODIES["lstm"]), tmp_path)
    with pytest.raises(RunError, match="this model of 31 pieces"):
        language.load(tmp_path, BODIES["lstm"], V + 1)
    with pytest.raises(RunError, match="cannot be read"):
        language.load(tmp_path, BODIES["transformer"], V)
    path = tmp_path / language.FILE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match="cannot be read") as caught:
        language.load(tmp_path, BODIES["lstm"], V)
    assert "--overwrite" in caught.value.hint
    path.unlink()
    with pytest.raises(RunError, match="No such file"):
        language.load(tmp_path, BODIES["lstm"], V)
