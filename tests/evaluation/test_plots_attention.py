from __future__ import annotations

import numpy as np
import pytest

from overtone.evaluation import plots, plots_attention


@pytest.mark.parametrize(("asked", "said"), [(3, 2), (1, 1), (120, 90)])
def test_a_row_is_a_piece_of_the_answer(asked, said, tmp_path):
    weights = np.random.default_rng(0).dirichlet(np.ones(asked), said)
    names = [f"$asked_{n}" for n in range(asked)], [f"said {n}" for n in range(said)]
    figure = plots_attention.attention(weights, *names)
    axes = figure.axes[0]
    assert np.asarray(axes.images[0].get_array()) == pytest.approx(weights)
    assert axes.images[0].get_clim() == (0, 1)
    assert [each.get_text() for each in axes.get_xticklabels()] == names[0]
    assert [each.get_text() for each in axes.get_yticklabels()] == names[1]
    plots.save(figure, tmp_path / "attention.png")
    assert (tmp_path / "attention.png").stat().st_size > 1000
