from __future__ import annotations

import numpy as np
import pytest
import torch

from overtone.data import exchanges
from overtone.data.vocabulary import END, UNKNOWN, WordVocabulary
from overtone.errors import DataError
from overtone.inference import answer as answers
from overtone.inference.answer import answer
from overtone.inference.beam import BeamConfig
from overtone.models.seq2seq import Seq2SeqBody, Seq2SeqConfig

QUESTIONS = ["who", "who signs what here", "", "nobody signs", "what what what"]


@pytest.fixture(scope="module")
def made():
    vocabulary = WordVocabulary(size=12).build(["who signs what here"])
    exchanges.add_marks(vocabulary)
    torch.manual_seed(1)
    body = Seq2SeqBody(Seq2SeqConfig(embedding=6, hidden=8), len(vocabulary)).eval().requires_grad_(False)
    body.output.weight.mul_(12)
    return body, vocabulary


@pytest.mark.parametrize("size", [1, 3])
def test_answers_come_in_order_and_do_not_depend_on_their_batch(size, made, monkeypatch):
    config = BeamConfig(size=size, max_tokens=6)
    together = answer(*made, QUESTIONS, 3, config)
    monkeypatch.setattr(answers, "TOKENS", 6)
    apart = answer(*made, QUESTIONS, 3, config)
    for question, one, other in zip(QUESTIONS, together, apart, strict=True):
        known = [UNKNOWN if word == "nobody" else word for word in question.split()[:3]]
        assert one.asked == other.asked == (*known, END)
        assert (one.text, one.said) == (other.text, other.said)
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.attention == pytest.approx(other.attention, abs=1e-5)
        assert one.attention.shape == (len(one.said), len(one.asked))
        assert one.attention.sum(axis=1) == pytest.approx(np.ones(len(one.said)))
        ended = one.said[-1] == END
        assert len(one.said) == 6 or ended
        assert one.text.split() == list(one.said[:-1] if ended else one.said)


def test_no_questions_have_no_answers(made):
    assert answer(*made, [], 3, BeamConfig()) == []


def test_a_vocabulary_without_marks_is_refused(made):
    plain = WordVocabulary(size=12).build(["who signs what here"])
    with pytest.raises(DataError, match="<sos>"):
        answer(made[0], plain, QUESTIONS, 3, BeamConfig())
