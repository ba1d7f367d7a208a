from __future__ import annotations

import math

import numpy as np
import pytest

from overtone.data import stream
from overtone.data.records import Record
from overtone.data.vocabulary import ByteVocabulary
from overtone.errors import DataError
from overtone.evaluation import texts
from overtone.evaluation.texts import Likelihoods

BYTES = ByteVocabulary().build([])
ROWS = [
    Record("toy/0", "ab", {}, "toy", group="one"),
    Record("toy/1", "é", {}, "toy", group="one"),
    Record("toy/2", "xyz", {}, "toy"),
]


def scored(**nats):
    made = stream.build(BYTES, [row.text for row in ROWS])
    return texts.likelihoods(
        "toy", ROWS, made, BYTES.end_id, {k: np.array(v, float) for k, v in nats.items()}
    )


def test_tokens_belong_to_their_documents():
    found = scored(model=[1, 2, 3, 10, 20, 30, 100, 200, 300, 400], other=[1] * 10)
    assert found.ids == ("toy/0", "toy/1", "toy/2")
    assert found.articles == ("one", "one", "toy/2")
    assert found.tokens.tolist() == [3, 3, 4]  # with the end of each
    assert found.characters.tolist() == [2, 1, 3]
    assert found.bytes.tolist() == [2, 2, 3]
    assert found.nats["model"].tolist() == [6, 60, 1000]
    assert found.nats["other"].tolist() == [3, 3, 4]


def many(n=40, gap=0.2):
    """N documents of four articles each; the model is better by ``gap`` nats a byte, give or take."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(50, 200, n)
    other = sizes * (1.5 + 0.2 * rng.standard_normal(n))
    ids = tuple(f"toy/{i}" for i in range(n))
    articles = tuple(f"a{i // 4}" for i in range(n))
    nats = {"model": other - gap * sizes, "ngram-5": other}
    return Likelihoods("toy", ids, articles, sizes // 3, sizes, sizes, nats)


def test_the_measures_are_of_all_documents_together():
    found = many()
    model, ngram = texts.standings(found, seed=7, resamples=500)
    total = found.nats["model"].sum()
    assert model.figures["perplexity"].value == pytest.approx(math.exp(total / found.tokens.sum()))
    assert model.figures["bits_per_byte"].value == pytest.approx(total / math.log(2) / found.bytes.sum())
    assert model.figures["bits_per_character"] == model.figures["bits_per_byte"]  # ASCII
    assert model.gain is None
    # The difference is the same in every document, so the paired interval has no width.
    assert (ngram.gain.value, ngram.gain.low, ngram.gain.high) == pytest.approx([-0.2 / math.log(2)] * 3)
    assert ngram.gain.p < 0.01
    width = model.figures["bits_per_byte"].high - model.figures["bits_per_byte"].low
    assert width > 0.02


def test_the_interval_is_that_of_resampled_articles():
    """Against a bootstrap written out: articles are drawn, and all documents of each come along."""
    found = many()
    (model, _) = texts.standings(found, seed=7, resamples=4000)
    rng = np.random.default_rng(1)
    articles = np.array(found.articles)
    names = np.unique(articles)
    values = []
    for _ in range(2000):
        rows = np.concatenate([np.flatnonzero(articles == name) for name in rng.choice(names, len(names))])
        values.append(found.nats["model"][rows].sum() / math.log(2) / found.bytes[rows].sum())
    low, high = np.quantile(values, [0.025, 0.975])
    figure = model.figures["bits_per_byte"]
    assert (figure.low, figure.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_written_and_read(tmp_path):
    found = scored(model=range(10), other=[0.5] * 10)
    path = tmp_path / "likelihood.jsonl"
    texts.write(path, found)
    back = texts.read(path, "toy")
    assert (back.ids, back.articles, back.text) == (found.ids, found.articles, "toy")
    for name in ("tokens", "characters", "bytes"):
        assert np.array_equal(getattr(back, name), getattr(found, name))
    assert back.nats["model"].tolist() == found.nats["model"].tolist()
    more = back.beside({"third": found.nats["other"]})
    assert list(more.nats) == ["model", "other", "third"]
    for broken in ("", "{}\n", "no JSON\n"):
        path.write_text(broken)
        with pytest.raises(DataError, match="not a file of likelihoods"):
            texts.read(path, "toy")
