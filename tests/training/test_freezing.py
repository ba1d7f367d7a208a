from __future__ import annotations

import pytest
import torch

from overtone.errors import UsageError
from overtone.models.adapters import LoraConfig
from overtone.training.cache import freeze_states
from overtone.training.freezing import BackboneFrozen, BottomFrozen, NothingFrozen, freeze, layers_of
from toys import build_model, records, training_data

KINDS = ["bert", "roberta", "distilbert"]


def trained(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_found_lowest_first(encoder_folder, kind):
    model = build_model(encoder_folder(kind))
    layers = layers_of(model.body.backbone)
    assert len(layers) == 2
    names = dict(model.named_modules())
    assert next(name for name, module in names.items() if module is layers[0]).endswith("layer.0")


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(encoder_folder, kind):
    whole = trained(build_model(encoder_folder(kind)))
    found = {}
    for config in (NothingFrozen(), BackboneFrozen(), BottomFrozen(layers=1), BottomFrozen(layers=2)):
        model = build_model(encoder_folder(kind))
        freeze(model.body, config)
        found[config.model_dump_json()] = trained(model)
    nothing, backbone, one, two = found.values()
    assert nothing == whole
    assert backbone == {name for name in whole if name.startswith("heads.")}
    assert whole - one == {name for name in whole if "embeddings." in name or "layer.0." in name}
    assert two <= one
    assert not {name for name in two if "layer.1." in name}


def test_the_lower_adapters_are_frozen_with_their_layers(tiny):
    model = build_model(tiny, adapter=LoraConfig(r=2))
    freeze(model.body, BottomFrozen(layers=1))
    left = {name for name in trained(model) if "lora_" in name}
    assert left
    assert all("layer.1." in name for name in left)


def test_more_layers_than_there_are(tiny):
    with pytest.raises(UsageError, match=r"train\.freeze\.layers is 3, but the backbone has 2 layers"):
        freeze(build_model(tiny).body, BottomFrozen(layers=3))


def test_an_unknown_architecture(tiny):
    model = build_model(tiny)
    model.body.backbone = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match="the layers of Linear were not found") as caught:
        freeze(model.body, BottomFrozen(layers=1))
    assert "train.freeze.kind=none" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_cached_states_are_the_body_s(encoder_folder, kind):
    """Each row's states, whatever batch they were computed in, and nothing where there is padding."""
    model = build_model(encoder_folder(kind), dropout=0.1)
    data = training_data(model, records(20))
    states = freeze_states(model.body, data.encoded)
    for rows in ([0, 5, 19], [7], list(range(20))):
        ids, mask = data.encoded.pad(rows)
        with torch.no_grad():
            expected = model.eval().body(ids, mask).hidden * mask.unsqueeze(-1)
        assert torch.allclose(states.pad(rows), expected, atol=1e-5)
