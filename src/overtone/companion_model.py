"""A companion's way from conversations to a trained adapter and its heads, on one screen."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from overtone import chat_model, chat_prompt, companion_prompt
from overtone.chat_prompt import framed
from overtone.companion_prompt import LABELS
from overtone.companion_recipe import SAFETY, CompanionRecipe
from overtone.data import chat, crisis
from overtone.data.batches import by_length
from overtone.data.chat import COMPARED, LEARNT, Chat, Chats, Turn
from overtone.data.conversations import Conversations
from overtone.data.records import MISSING, Record
from overtone.evaluation.benchmarks import replies
from overtone.inference.converse import Speaker
from overtone.models import store
from overtone.models.answers import HEAD
from overtone.models.causal import CausalBody, ChatModel
from overtone.models.model import Model
from overtone.models.turns import Kept, TurnHead
from overtone.progress import step
from overtone.run import Run
from overtone.training import losses
from overtone.training.answer_loss import AnswerLoss
from overtone.training.loop import Fit, Loop, TrainingData
from overtone.training.losses import Loss
from overtone.training.tasks import Task
from overtone.training.turn_loss import KeptLoss, TurnLoss

TOKENS = 8192
"""Tokens of a batch of validation conversations."""


@dataclass(frozen=True)
class Validation:
    """The conversations that choose the best step.

    Args:
        rows: of the validation split.
        heard: the heads.
    """

    rows: Chats
    heard: Sequence[str]

    @torch.inference_mode()
    def __call__(self, model: Model) -> dict[str, float]:
        """Nats a token of the replies as ``loss``, and the accuracy of each head over what is known."""
        objective, total = AnswerLoss(self.rows), 0.0
        right, known = (dict.fromkeys(self.heard, 0) for _ in range(2))
        for batch in by_length(self.rows.lengths, TOKENS):
            ids, marks = self.rows.pad(batch)
            outputs = model(ids.to(model.device), marks.to(model.device))
            total += float(objective.total(outputs[HEAD], torch.tensor(batch)))
            for name in self.heard:
                wanted = self.rows.labels(name, batch)
                there = wanted != MISSING
                right[name] += int((outputs[name].argmax(-1).cpu() == wanted)[there].sum())
                known[name] += int(there.sum())
        accuracies = {f"{name}.accuracy": right[name] / max(known[name], 1) for name in self.heard}
        return {"loss": total / int(self.rows.counts.sum()), **accuracies}


def begin(recipe: CompanionRecipe, run: Run, *, overwrite: bool) -> None:
    """Claim the run's folder and write the resolved recipe.

    Raises:
        RunError, WeightsError: see ``chat_model.begin``.
        MissingExtraError: what measures replies is not installed.
    """
    if recipe.exam.replies:
        replies.packages()
    chat_model.begin(recipe, run, overwrite=overwrite)


def train(recipe: CompanionRecipe, prepared: Conversations, run: Run) -> Fit:
    """Put an adapter and heads on the decoder, fit them on the objective, and write their best step.

    Raises:
        DataError: a conversation that the template does not take, or nothing to learn.
        RunError: the adapter or the heads to start from are damaged or of another shape.
        WeightsError: the decoder's weights are not at hand.
        TrainingError: see ``Loop.fit``.
    """
    body = chat_model.started(recipe).body
    model = ChatModel(body, heads(recipe, body))
    if recipe.start is not None and (Run(recipe.start).model / store.HEADS).exists():
        store.load_heads(model.heads, Run(recipe.start).model)
    tokenizer, objective = body.tokenizer, recipe.objective
    with step("cutting conversations into tokens"):
        learnt = companion_prompt.encoded(recipe, tokenizer, prepared.splits.train)
        learnt += companion_prompt.told(recipe, tokenizer, prepared.splits.train)
        choosing = companion_prompt.encoded(recipe, tokenizer, chosen(recipe, prepared.splits.validation))
    kept = base_replies(recipe, body) if SAFETY in objective.weights() else []
    everywhere = COMPARED if SAFETY in objective.weights() and objective.compared == "all" else 0
    fill = chat_prompt.filler(tokenizer, chat.end_of_turn(tokenizer))
    purposes = [LEARNT | everywhere] * len(learnt) + [COMPARED] * len(kept)
    rows = chat.collect([*learnt, *kept], fill, recipe.pack, purposes)
    loop = Loop(
        model=model,
        tasks=[
            Task(name, "classification", _loss(name, recipe, rows), weight)
            for name, weight in objective.weights().items()
        ],
        data=TrainingData(rows, dict.fromkeys(objective.weights(), torch.arange(len(purposes)))),
        validate=Validation(chat.collect(choosing, fill, recipe.pack), objective.heard),
        config=recipe.train,
        run=run,
        seed=recipe.seed,
        directions={f"{name}.accuracy": 1 for name in objective.heard},
    )
    fit = loop.fit()
    if loop.accelerator.is_main_process:
        store.save_heads(model.heads, run.model)
        run.note(safety_prompts=len(kept))
        parts = {"train": learnt, **({"safety": kept} if kept else {}), "validation": choosing}
        chat_model.write(recipe, model, run, parts, fit)
    loop.accelerator.wait_for_everyone()
    return fit


def heads(recipe: CompanionRecipe, body: CausalBody) -> dict[str, TurnHead | Kept]:
    """Fresh heads beside that of the replies, drawn from torch's random state."""
    objective = recipe.objective
    found: dict[str, TurnHead | Kept] = {
        name: TurnHead(objective.head, body.hidden_size, len(LABELS[name])) for name in objective.heard
    }
    return {**found, SAFETY: Kept(body.logits)} if SAFETY in objective.weights() else found


def chosen(recipe: CompanionRecipe, rows: Sequence[Record]) -> list[Record]:
    """``choose`` validation conversations of each data set at most, drawn by the seed of the rows."""
    chance, found = random.Random(f"{recipe.rows_seed}/choose"), list[Record]()
    for source in sorted({row.source for row in rows}):
        there = [row for row in rows if row.source == source]
        found += chance.sample(there, min(recipe.choose, len(there)))
    return found


def base_replies(recipe: CompanionRecipe, body: CausalBody) -> list[Chat]:
    """What the base, without the adapter, replies to safety prompts: what is to be kept.

    The prompts are conversations with somebody at risk, of what the crisis policy was trained on.
    """
    asked = [case.turns for case in crisis.read_cases(crisis.TRAIN) if case.crisis]
    asked = random.Random(f"{recipe.seed}/safety").sample(asked, min(recipe.objective.prompts, len(asked)))
    speaker = Speaker(body.eval(), tuned=False)
    with step(f"the base replies to {len(asked):,} safety prompts"):
        said = speaker.answers(
            [framed(turns, recipe.system) for turns in asked],
            temperature=0,
            max_tokens=recipe.objective.prompt_tokens,
        )
    return [
        companion_prompt.unheard(recipe, body.tokenizer, [*turns, Turn("assistant", text)], "last")
        for turns, text in zip(asked, said, strict=True)
        if text.strip()
    ]


def _loss(name: str, recipe: CompanionRecipe, rows: Chats) -> Loss:
    if name == HEAD:
        return AnswerLoss(rows)
    if name == SAFETY:
        return KeptLoss(rows)
    known: Tensor = rows.labels(name, range(len(rows.lengths)))
    return TurnLoss(rows, name, losses.build(recipe.objective.loss, known, len(LABELS[name])))
