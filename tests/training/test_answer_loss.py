from __future__ import annotations

import random

import pytest
import torch

from overtone.data import exchanges
from overtone.data.vocabulary import WordVocabulary
from overtone.inference.answer import answer
from overtone.inference.beam import BeamConfig
from overtone.models.answers import HEAD
from overtone.models.seq2seq import Seq2SeqBody, Seq2SeqConfig, Seq2SeqModel
from overtone.run import Run
from overtone.training.answer_loss import AnswerLoss
from overtone.training.loop import Loop, TrainingData
from overtone.training.tasks import Task
from toys import identical, parameters, settings

WORDS = "abcdefgh"


def texts(n, longest=3, seed=0):
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, longest))) for _ in range(n)]


def words():
    made = WordVocabulary(size=20).build([" ".join(WORDS)])
    exchanges.add_marks(made)
    return made


def loop_of(folder, config=None, n=40, **changes):
    """A loop in which the answer to every text is the text."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"embedding": 8, "hidden": 8, "layers": 2, "dropout": 0.3, "forcing_decay": 0.5}
    torch.manual_seed(0)
    vocabulary, asked = words(), texts(n)
    rows = exchanges.encode(vocabulary, asked, asked, 4)
    loop = Loop(
        model=Seq2SeqModel(Seq2SeqBody(Seq2SeqConfig(**{**sizes, **changes}), len(vocabulary))),
        tasks=[Task(HEAD, "classification", AnswerLoss(rows), 1.0)],
        data=TrainingData(rows, {HEAD: torch.arange(n)}),
        validate=lambda model: {"loss": -float(loop.progress.step)},  # every epoch counts as the best
        config=config or settings(epochs=2, optim={"lr": 0.01}),
        run=Run(folder),
        seed=7,
    )
    loop.model.body.epoch = lambda: loop.progress.epoch
    return loop


def test_the_sum_and_the_count_by_hand():
    rows = exchanges.encode(words(), ["a", "b"], ["a b", ""], 4)
    loss = AnswerLoss(rows)
    scores = torch.randn(4, 12)
    first, second = rows.wanted([0]).tolist(), rows.wanted([1]).tolist()
    assert [len(first), len(second)] == [3, 1]
    expected = sum(-scores[i].log_softmax(0)[token] for i, token in enumerate([*second, *first]))
    assert float(loss.total(scores, torch.tensor([1, 0]))) == pytest.approx(float(expected), rel=1e-5)
    assert int(loss.count(torch.tensor([1, 0]))) == 4
    assert int(loss.count(torch.tensor([1]))) == 1


def test_four_small_batches_are_a_large_one(tmp_path):
    found = []
    for size, pieces in ((8, 1), (2, 4)):
        config = settings(epochs=1, batch_size=size, accumulation=pieces, optim={"lr": 0.01})
        loop = loop_of(tmp_path / str(pieces), config, teacher_forcing=1.0, forcing_decay=1.0, dropout=0.0)
        loop.model.double()
        loop.fit()
        found.append(parameters(loop.model))
    for name, tensor in found[0].items():
        assert torch.allclose(tensor, found[1][name], atol=1e-6), name


def test_stopped_and_resumed_bit_for_bit(tmp_path):
    """In the second epoch, whose teacher forcing is another than the first's."""
    config = settings(epochs=3, checkpoint_every=2, optim={"lr": 0.01})
    whole = loop_of(tmp_path / "whole", config)
    expected = whole.fit()
    broken = loop_of(tmp_path / "broken", config)
    real = broken._step

    def stop(*args):
        if broken.progress.step == 9:
            raise KeyboardInterrupt
        return real(*args)

    broken._step = stop
    with pytest.raises(KeyboardInterrupt):
        broken.fit()
    again = loop_of(tmp_path / "broken", config)
    fit = again.fit()
    assert again.model.body.share == 0.5 * 0.5**3
    assert (fit.final_loss, fit.steps) == (expected.final_loss, expected.steps) == (expected.final_loss, 15)
    assert identical(parameters(again.model), parameters(whole.model))


def test_bf16_is_close_and_leaves_an_fp32_model(tmp_path):
    fits = {}
    for precision in ("fp32", "bf16"):
        config = settings(epochs=2, precision=precision, optim={"lr": 0.01})
        loop = loop_of(tmp_path / precision, config, teacher_forcing=1.0, forcing_decay=1.0, dropout=0.0)
        fits[precision] = loop.fit().final_loss
        assert all(parameter.dtype == torch.float32 for parameter in loop.model.parameters())
    assert fits["bf16"] == pytest.approx(fits["fp32"], abs=0.05)


def test_a_copy_is_learnt(tmp_path):
    config = settings(
        epochs=16, batch_size=16, optim={"lr": 0.01}, early_stopping={"metric": "loss", "patience": 99}
    )
    loop = loop_of(tmp_path, config, n=400, embedding=16, hidden=32, layers=1, dropout=0.0, forcing_decay=0.9)
    loop.fit()
    body, asked = loop.model.body.eval(), texts(60, seed=1)
    for size in (1, 3):
        found = answer(body, words(), asked, 4, BeamConfig(size=size, max_tokens=6))
        right = [each.text == text for each, text in zip(found, asked, strict=True)]
        assert sum(right) >= 54
