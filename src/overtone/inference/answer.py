"""Questions answered by a model that reads the one and writes the other, with where it looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from overtone.data import exchanges
from overtone.data.batches import by_length
from overtone.data.vocabulary import Vocabulary
from overtone.inference import beam
from overtone.inference.beam import BeamConfig
from overtone.models.seq2seq import Seq2SeqBody
from overtone.scores import Floats

TOKENS = 2048
"""Padded tokens of a batch of questions, times the beams of each."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said to a question.

    Args:
        text: the answer.
        asked: the pieces of the question as they were read, S of them with the end.
        said: those of the answer, n of them; the last is the end, where it did end.
        attention: where it looked for each of them, (n, S); rows sum to 1.
        score: the beam's, in nats.
    """

    text: str
    asked: tuple[str, ...]
    said: tuple[str, ...]
    attention: Floats
    score: float


def answer(
    body: Seq2SeqBody, vocabulary: Vocabulary, questions: Sequence[str], max_tokens: int, config: BeamConfig
) -> list[Answer]:
    """Answer questions, those of even length together.

    Args:
        body: in evaluation mode.
        vocabulary: its own, with its marks.
        questions: N of them.
        max_tokens: kept of a question at most, as in training.
        config: how answers are searched; a beam of 1 is the greedy choice.

    Raises:
        DataError: the vocabulary has no marks.
    """
    marks = exchanges.marks_of(vocabulary)
    encoded = exchanges.ask(vocabulary, questions, max_tokens)
    device = next(body.parameters()).device
    answers: dict[int, Answer] = {}
    for rows in by_length(encoded.lengths, max(1, TOKENS // config.size)):
        ids, mask = encoded.pad(rows)
        with torch.inference_mode():
            state = body.begin(ids.to(device), mask.to(device))
        starts = torch.full((len(rows), 1), marks.start, device=device)
        found = beam.search(body, state, starts, config, marks.end)
        attention = found.state.attention.double().cpu().numpy()  # (B, n, S)
        for place, (row, made) in enumerate(zip(rows, found.ids, strict=True)):
            read = ids[place, : int(encoded.lengths[row])].tolist()
            said = [*made, marks.end][: attention.shape[1]]
            answers[row] = Answer(
                vocabulary.decode(made),
                _pieces(vocabulary, read),
                _pieces(vocabulary, said),
                attention[place, : len(said), : len(read)],
                float(found.scores[place]),
            )
    return [answers[row] for row in range(len(questions))]


def _pieces(vocabulary: Vocabulary, ids: Sequence[int]) -> tuple[str, ...]:
    return tuple(str(vocabulary.backend.id_to_token(number)) for number in ids)
