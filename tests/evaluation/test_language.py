from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from overtone.data import stream
from overtone.data.vocabulary import CharacterVocabulary
from overtone.errors import DataError, UsageError
from overtone.evaluation.language import nats, token_nats
from overtone.evaluation.ngram import Ngram
from overtone.models.lstm import LstmConfig, LstmModel
from overtone.models.transformer import TransformerConfig, TransformerModel

V = 20


def build(kind="lstm", width=16, vocabulary=V):
    torch.manual_seed(0)
    if kind == "lstm":
        model = LstmModel(LstmConfig(width=width, dropout=0.0), vocabulary)
    else:
        sizes = {"width": width, "layers": 2, "heads": 2, "dropout": 0.0}
        model = TransformerModel(TransformerConfig(**sizes), vocabulary)
    return model.eval()


def cost(model, context, token):
    """-log p of one token after its context."""
    with torch.no_grad():
        scores = model.logits(model(torch.tensor([context])))[0, -1]
    return float(functional.cross_entropy(scores[None], torch.tensor([token])))


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
@pytest.mark.parametrize(("length", "stride"), [(8, None), (8, 8), (8, 3), (8, 1), (29, None), (64, 5)])
def test_each_token_is_scored_once_with_its_context(kind, length, stride):
    model, ids = build(kind), np.random.default_rng(0).integers(0, V, 30)
    step = min(stride or length, length)
    expected, end, start = 0.0, 0, 0
    while end < 29:
        reach = min(start + length, 29)
        begin = max(reach - length, 0)  # the last window ends with the stream
        for place in range(end + 1, reach + 1):
            expected += cost(model, ids[begin:place].tolist(), int(ids[place]))
        end, start = reach, start + step
    for batch_size in (1, 3, 32):
        assert nats(model, ids, length, stride, batch_size) == pytest.approx(expected, rel=1e-5)


def test_what_cannot_be_scored_is_said():
    with pytest.raises(DataError, match="a stream of 1 tokens"):
        nats(build(), np.zeros(1, dtype=np.int64), 8)
    for stride in (0, 9):
        with pytest.raises(UsageError, match=f"a stride of {stride} does not fit windows of 8"):
            nats(build(), np.zeros(30, dtype=np.int64), 8, stride)


@pytest.mark.parametrize(("kind", "lr"), [("lstm", 3e-2), ("transformer", 1e-2)])
def test_it_learns_what_no_short_n_gram_knows(kind, lr):
    """What follows an a is told by the three letters before it, and by no fewer."""
    vocabulary = CharacterVocabulary().build(["abacabad"])
    train = stream.build(vocabulary, ["abacabad" * 40])
    model = build(kind, 32, len(vocabulary)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    pieces = stream.windows(train.ids, 24)
    for epoch in range(60):
        batch = torch.from_numpy(stream.shuffled(pieces, 7, epoch)[:8])
        scores = model.logits(model(batch[:, :-1]))
        loss = functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    short = Ngram(train.ids, len(vocabulary), 2).nats(train.ids)
    assert nats(model.eval(), train.ids, 24, 12) < 0.7 * short


@pytest.mark.parametrize("stride", [None, 3])
def test_every_token_has_its_own_cost(stride):
    model, ids = build(), np.random.default_rng(0).integers(0, V, 30)
    told = []
    found = token_nats(
        model, ids, 8, stride, batch_size=2, tell=lambda done, total: told.append((done, total))
    )
    assert found.shape == (29,)
    assert found.sum() == pytest.approx(nats(model, ids, 8, stride))
    assert found[0] == pytest.approx(cost(model, ids[:1].tolist(), int(ids[1])), rel=1e-5)
    assert found[7] == pytest.approx(cost(model, ids[:8].tolist(), int(ids[8])), rel=1e-5)
    assert told[-1][0] == told[-1][1] > 1
