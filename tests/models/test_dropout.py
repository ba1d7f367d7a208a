"""Against what dropout is: a share of zeros, the mean kept, nothing when not training."""

from __future__ import annotations

import pytest
import torch

from overtone.models.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_its_share_and_its_mean(share):
    torch.manual_seed(0)
    found = Dropout(share)(torch.ones(7, 33, 1001))  # not a multiple of eight
    kept = found != 0
    assert (~kept).float().mean() == pytest.approx(share, abs=0.004)
    assert found.mean() == pytest.approx(1, abs=0.02)
    assert found[kept].unique().numel() == 1
    # Each of the eight entries of a draw has the same chance.
    columns = kept.flatten()[: 8 * 28000].view(-1, 8).float().mean(0)
    assert torch.allclose(columns, torch.tensor(1 - share), atol=0.01)


def test_neighbours_do_not_depend_on_each_other():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(200_000)) != 0).float()
    for apart in (1, 4, 8):
        both = (kept[:-apart] * kept[apart:]).mean()
        assert both == pytest.approx(0.25, abs=0.005)


def test_off_where_nothing_is_dropped():
    values = torch.randn(3, 5)
    assert Dropout(0.5).eval()(values) is values
    assert Dropout(0.0)(values) is values


def test_the_gradient_is_that_of_what_is_kept():
    torch.manual_seed(0)
    values = torch.randn(100, requires_grad=True)
    found = Dropout(0.25)(values)
    found.sum().backward()
    assert torch.equal(values.grad != 0, found != 0)
    assert torch.allclose(values.grad[found != 0], torch.tensor(1 / 0.75))


def test_the_precision_and_the_seed_are_kept():
    values = torch.ones(64, dtype=torch.bfloat16)
    torch.manual_seed(3)
    first = Dropout(0.3)(values)
    torch.manual_seed(3)
    assert torch.equal(first, Dropout(0.3)(values))
    assert first.dtype == torch.bfloat16
    assert repr(Dropout(0.25)) == "Dropout(share=0.250)"
