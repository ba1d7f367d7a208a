from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from overtone.errors import UsageError
from overtone.models.adapters import LoraConfig
from overtone.training.freezing import (
    BackboneFrozen,
    BottomFrozen,
    FreezeConfig,
    NothingFrozen,
    ProgressiveFrozen,
    ever_frozen,
    frozen_layers,
)
from toys import build_loop, build_model, settings


def parsed(**values):
    return TypeAdapter(FreezeConfig).validate_python(values)


def staged(*stages):
    return parsed(kind="progressive", stages=[{"epochs": epochs, "top": top} for epochs, top in stages])


@pytest.mark.parametrize(
    ("config", "by_epoch", "always"),
    [
        (NothingFrozen(), [None, None, None], None),
        (BackboneFrozen(), [6, 6, 6], 6),
        (BottomFrozen(layers=4), [4, 4, 4], 4),
        (BottomFrozen(layers=0), [0, 0, 0], 0),
        (staged((2, 0), (2, 2), (3, None)), [6, 6, 4, 4, None, None, None, None, None], None),
        (staged((1, 0), (1, 6)), [6, 0, 0], 0),  # all layers, and not the embeddings
        (staged((1, None), (2, 1)), [None, 5, 5, 5], None),
        (staged((1, 3), (9, 1)), [3, 5, 5], 3),
        (ProgressiveFrozen(), [6, 6, 4, 4, None, None, None], None),  # what the issue names
    ],
)
def test_what_is_frozen_in_each_epoch(config, by_epoch, always):
    assert [frozen_layers(config, epoch, 6) for epoch in range(len(by_epoch))] == by_epoch
    assert ever_frozen(config, len(by_epoch), 6) == always


def test_a_stage_that_is_never_reached_trains_nothing():
    config = staged((3, 0), (1, None))
    assert ever_frozen(config, 3, 6) == 6
    assert ever_frozen(config, 4, 6) is None


@given(
    st.lists(st.tuples(st.integers(1, 4), st.none() | st.integers(0, 6)), min_size=1, max_size=5),
    st.integers(1, 20),
)
def test_what_is_always_frozen_is_frozen_in_every_epoch(stages, epochs):
    config = staged(*stages)
    always = ever_frozen(config, epochs, 6)
    found = [frozen_layers(config, epoch, 6) for epoch in range(epochs)]
    if always is None:
        assert None in found
    else:
        assert all(layers is not None and layers >= always for layers in found)
        assert always in found


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BottomFrozen(layers=7), r"train\.freeze\.layers is 7, but the backbone has 6 layers"),
        (staged((1, 0), (1, 7)), r"train\.freeze\.stages\.1\.top is 7, but the backbone has 6 layers"),
    ],
)
def test_more_layers_than_there_are(config, message):
    """Found at the first epoch, though the stage begins later."""
    with pytest.raises(UsageError, match=message):
        frozen_layers(config, 0, 6)
    with pytest.raises(UsageError, match=message):
        ever_frozen(config, 1, 6)


def test_a_fit_of_more_layers_than_there_are_does_not_begin(tiny, tmp_path):
    freeze = {"kind": "progressive", "stages": [{"epochs": 1, "top": 0}, {"epochs": 1, "top": 3}]}
    loop = build_loop(build_model(tiny), tmp_path, settings(freeze=freeze))
    with pytest.raises(UsageError, match="but the backbone has 2 layers"):
        loop.fit()
    assert loop.run.history() == []


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "progressive", "stages": []},
        {"kind": "progressive", "stages": [{"epochs": 0, "top": 1}]},
        {"kind": "progressive", "stages": [{"epochs": 1, "top": -1}]},
        {"kind": "progressive", "stages": [{"epochs": 1}]},
        {"kind": "bottom", "layers": -1},
        {"kind": "top", "layers": 1},
    ],
)
def test_what_no_recipe_can_mean(values):
    with pytest.raises(ValidationError):
        parsed(**values)


def test_the_lower_adapters_are_frozen_with_their_layers(tiny, tmp_path):
    model = build_model(tiny, adapter=LoraConfig(r=2))
    build_loop(model, tmp_path, settings(epochs=1, freeze={"kind": "bottom", "layers": 1})).fit()
    left = {name for name, p in model.named_parameters() if p.requires_grad and "heads." not in name}
    assert left
    assert all("layer.1." in name and "lora_" in name for name in left)
