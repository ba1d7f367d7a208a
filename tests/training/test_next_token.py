from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from overtone.data import stream
from overtone.data.batches import plan
from overtone.models import language
from overtone.models.language import LanguageModel
from overtone.models.lstm import LstmConfig
from overtone.models.transformer import TransformerConfig
from overtone.run import Run
from overtone.training import optim
from overtone.training.loop import Loop, TrainingData
from overtone.training.next_token import ROWS, NextTokenLoss
from overtone.training.stopping import InterruptedFitError
from overtone.training.tasks import Task
from toys import identical, parameters, settings

V = 12
BODIES = {
    "lstm": LstmConfig(width=8, layers=2, dropout=0.1),
    "transformer": TransformerConfig(width=8, layers=1, heads=2, dropout=0.1),
}
IDS = np.cumsum(np.random.default_rng(0).integers(1, 3, 400)) % V
"""A stream in which the next token is one of two."""


def loop_of(folder, kind="lstm", config=None, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    body = BODIES[kind].model_copy(update=changes.pop("body", {}))
    torch.manual_seed(0)
    windows = stream.Windows(stream.windows(IDS, 8))
    values = {
        "model": LanguageModel(language.build(body, V)),
        "tasks": [Task("next", "classification", NextTokenLoss(), 1.0)],
        "data": TrainingData(windows, {"next": windows.targets}),
        "validate": lambda model: {"loss": 1.0},
        "config": config or settings(epochs=1, optim={"lr": 0.01}),
        "run": Run(folder),
        "seed": 7,
    }
    return Loop(**{**values, **changes})


def test_the_sum_and_the_count_by_hand():
    scores = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0]]])  # probabilities 1/4, 3/4; 1/2, 1/2
    targets = torch.tensor([[1, 0]])
    loss = NextTokenLoss()
    assert float(loss.total(scores, targets)) == pytest.approx(math.log(4 / 3) + math.log(2))
    assert int(loss.count(targets)) == 2
    half = loss.total(scores.bfloat16(), targets)
    assert half.dtype == torch.float32


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-5), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)]
)
def test_the_sum_and_its_gradient_are_torchs(dtype, bound):
    """Over more rows than are worked on at once, and a last piece that is smaller."""
    torch.manual_seed(0)
    scores = (4 * torch.randn(3, ROWS - 20, 50)).to(dtype).requires_grad_()
    targets = torch.randint(0, 50, scores.shape[:2])
    found = NextTokenLoss().total(scores, targets) / 7
    (gradient,) = torch.autograd.grad(found, scores)
    theirs = nn.functional.cross_entropy(scores.float().transpose(1, 2), targets, reduction="sum") / 7
    (expected,) = torch.autograd.grad(theirs, scores)
    assert found.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert gradient.dtype == dtype
    assert torch.allclose(gradient, expected, atol=bound)


@pytest.mark.parametrize("kind", BODIES)
def test_four_small_batches_are_a_large_one(kind, tmp_path):
    found = []
    for size, pieces in ((8, 1), (2, 4)):
        config = settings(epochs=1, batch_size=size, accumulation=pieces, optim={"lr": 0.01})
        loop = loop_of(tmp_path / str(pieces), kind, config, body={"dropout": 0.0})
        loop.model.double()
        loop.fit()
        found.append(parameters(loop.model))
    for name, tensor in found[0].items():
        assert torch.allclose(tensor, found[1][name], atol=1e-9), name


def test_the_loop_is_a_plain_torch_loop(tmp_path):
    config = settings(epochs=1, clip=1e9, optim={"lr": 0.01, "weight_decay": 0.0})
    loop = loop_of(tmp_path, "lstm", config, body={"dropout": 0.0})
    torch.manual_seed(0)
    plain = language.build(BODIES["lstm"].model_copy(update={"dropout": 0.0}), V)
    loop.fit()
    pieces = torch.from_numpy(stream.windows(IDS, 8).copy())
    optimizer = torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=0.0)
    order = plan(np.full(len(pieces), 8), 8, 1, seed=7 * 100_003)
    for place, ((rows,),) in enumerate(zip(order, strict=True)):
        rate = optim.multiplier(config.schedule, place, len(order), optim.Plateau())
        optimizer.param_groups[0]["lr"] = 0.01 * rate
        batch = pieces[rows]
        loss = nn.functional.cross_entropy(plain.logits(plain(batch[:, :-1])).transpose(1, 2), batch[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, tensor in plain.state_dict().items():
        assert torch.allclose(tensor, loop.model.state_dict()[f"body.reader.{name}"], atol=1e-5), name


@pytest.mark.parametrize("kind", BODIES)
def test_bf16_is_close_and_leaves_an_fp32_model(kind, tmp_path):
    fits = {}
    for precision in ("fp32", "bf16"):
        config = settings(epochs=2, precision=precision, optim={"lr": 0.01})
        loop = loop_of(tmp_path / precision, kind, config, body={"dropout": 0.0})
        fits[precision] = loop.fit().final_loss
        assert all(parameter.dtype == torch.float32 for parameter in loop.model.parameters())
    assert fits["bf16"] == pytest.approx(fits["fp32"], abs=0.05)


@pytest.mark.parametrize("kind", BODIES)
def test_stopped_and_resumed_bit_for_bit(kind, tmp_path):
    config = settings(epochs=2, checkpoint_every=3, optim={"lr": 0.01})
    whole = loop_of(tmp_path / "whole", kind, config)
    expected = whole.fit()
    broken = loop_of(tmp_path / "broken", kind, config)
    real = broken._step

    def stop(*args):
        if broken.progress.step == 4:
            raise KeyboardInterrupt
        return real(*args)

    broken._step = stop
    with pytest.raises(KeyboardInterrupt):
        broken.fit()
    again = loop_of(tmp_path / "broken", kind, config)
    fit = again.fit()
    assert (fit.final_loss, fit.steps) == (expected.final_loss, expected.steps)
    assert identical(parameters(again.model), parameters(whole.model))


def test_what_can_be_learnt_is_learnt(tmp_path):
    """Two tokens may follow each, so no model can come below ln 2, and a good one comes near."""
    config = settings(epochs=40, optim={"lr": 0.03}, early_stopping={"metric": "loss", "patience": 40})
    loop = loop_of(tmp_path, "lstm", config, body={"dropout": 0.0}, validate=_falling())
    fit = loop.fit()
    assert math.log(2) * 0.8 < fit.final_loss < math.log(2) * 1.3


def _falling():
    """Every epoch counts as the best."""
    values = iter(range(100, 0, -1))
    return lambda model: {"loss": float(next(values))}


def test_ctrl_c_is_resumable(tmp_path, monkeypatch):
    import signal

    loop = loop_of(tmp_path)
    real = loop._step

    def interrupted(*args):
        if loop.progress.step == 2:
            signal.raise_signal(signal.SIGINT)
        return real(*args)

    loop._step = interrupted
    with pytest.raises(InterruptedFitError, match="stopped after step 3"):
        loop.fit()
    assert loop_of(tmp_path).fit().steps == 7
