"""How likely a tuned decoder finds right answers, and texts that have nothing to do with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from torch import Tensor

from overtone import chat_prompt
from overtone.chat_recipe import ForgottenConfig
from overtone.chat_system import ChatSystem
from overtone.data import chat, documents, stream
from overtone.data.batches import by_length, gathered
from overtone.data.chat import LEARNT, Chat
from overtone.data.conversations import Conversations
from overtone.data.records import Card, Record
from overtone.evaluation import texts
from overtone.evaluation.compare import Standing
from overtone.evaluation.language import token_nats
from overtone.evaluation.texts import Likelihoods
from overtone.models.body import States
from overtone.models.causal import CausalBody
from overtone.progress import step
from overtone.run import Run, write_json
from overtone.scores import Floats
from overtone.training.answer_loss import AnswerLoss

BASE = "base"
"""The decoder as it was before the fit."""

ANSWERS = "answers"
"""The right answers of the test conversations, as a text among others."""

LIKELY = "likelihood.jsonl"
"""What each system gives each text, in the folder of the text under ``evaluation``."""

TOKENS = 4096
"""Tokens of a batch."""


def keep(run: Run, found: Likelihoods, *, seed: int, resamples: int) -> tuple[Standing, ...]:
    """Write what each system gives each of the texts, and how the systems stand; the latter is returned."""
    folder = run.evaluation / found.text
    standings = texts.standings(found, seed=seed, resamples=resamples)
    texts.write(folder / LIKELY, found)
    write_json(folder / "standings.json", [asdict(each) for each in standings])
    return standings


def measured(system: ChatSystem, prepared: Conversations, exam: ForgottenConfig) -> Iterator[Likelihoods]:
    """What the run and the base give the right answers of the test, then each text of ``exam.general``."""
    if prepared.splits.test:
        yield of_answers(system, ANSWERS, prepared.splits.test)
    yield from forgotten(system, exam)


def forgotten(system: ChatSystem, exam: ForgottenConfig) -> Iterator[Likelihoods]:
    """What the run and the base give each text of ``exam.general``."""
    for choice in exam.general:
        yield _of_text(system, exam, *documents.judging(choice))


def of_answers(system: ChatSystem, name: str, rows: Sequence[Record]) -> Likelihoods:
    """What the run and the base give what the assistant says in conversations.

    Args:
        system: the run.
        name: of the text that these answers are.
        rows: the conversations.
    """
    tokenizer = system.body.tokenizer
    chats = chat_prompt.encoded(system.recipe, tokenizer, rows)
    said = [
        str(tokenizer.decode(np.array(each.ids)[np.array(each.trained)], skip_special_tokens=True))
        for each in chats
    ]
    with step(f"how likely {len(rows):,} right answers are"):
        tuned = _nats(system, chats)
        with system.body.without_adapter():
            base = _nats(system, chats)
    return Likelihoods(
        text=name,
        ids=tuple(row.id for row in rows),
        articles=tuple(row.group or row.id for row in rows),
        tokens=np.array([sum(each.trained) for each in chats]),
        characters=np.array([len(each) for each in said]),
        bytes=np.array([len(each.encode()) for each in said]),
        nats={system.run.name: tuned, BASE: base},
    )


@torch.inference_mode()
def _nats(system: ChatSystem, chats: Sequence[Chat]) -> Floats:
    """The negative log-likelihood of the trained tokens of each conversation, (N,)."""
    body, rows = system.body, chat.collect(chats, 0)
    loss, found = AnswerLoss(rows), np.zeros(len(chats))
    for batch in by_length(rows.lengths, TOKENS):
        ids, marks = (each.to(system.device) for each in rows.pad(batch))
        states = body(ids, marks)
        for place, row in enumerate(batch):
            scores = body.logits(states.hidden[place][(states.mask[place] & LEARNT) > 0])
            found[row] = float(loss.total(scores, torch.tensor([row])))
    return found


class _Plain:
    """A decoder as a reader of a stream: ids → states, states → scores.

    Args:
        body: the decoder.
    """

    def __init__(self, body: CausalBody) -> None:
        self.body = body
        self.logits = body.logits

    def __call__(self, ids: Tensor) -> Tensor:
        """Ids (B, T) → states (B, T, D)."""
        found: States = self.body(ids, torch.ones_like(ids)[..., None].expand(-1, -1, 2))
        return found.hidden


def _of_text(system: ChatSystem, exam: ForgottenConfig, card: Card, rows: Sequence[Record]) -> Likelihoods:
    """Whole documents from the first on, of ``exam.general_tokens`` at least where there are so many."""
    body = system.body
    kept, encoded, tokens = list[Record](), list[list[int]](), 0
    for row in rows:
        if tokens < exam.general_tokens:
            kept.append(row)
            encoded.append(body.tokenizer(row.text, add_special_tokens=False)["input_ids"])
            tokens += len(encoded[-1])
    made = stream.joined(gathered(encoded, system.end), system.end, [row.text for row in kept])
    told = partial(token_nats, _Plain(body), made.ids, exam.window, batch_size=8, device=str(system.device))
    with step(f"what was forgotten of {card.name}"):
        tuned = told()
        with body.without_adapter():
            base = told()
    return texts.likelihoods(card.name, kept, made, system.end, {system.run.name: tuned, BASE: base})
