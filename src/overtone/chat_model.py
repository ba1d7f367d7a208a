"""A tuned decoder's way from conversations to a trained adapter, on one screen."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch

from overtone import chat_prompt, kinds, lineage
from overtone import claim as claims
from overtone.chat_recipe import ChatRecipe, DecoderRecipe
from overtone.chat_system import FACTS
from overtone.data import chat, conversations, preferences
from overtone.data.batches import by_length
from overtone.data.chat import Chat, Chats
from overtone.data.conversations import Conversations
from overtone.data.fetch import fingerprint
from overtone.data.records import Card
from overtone.data.split import allowed, most_restrictive
from overtone.data.text import fold
from overtone.errors import RunError
from overtone.inference import lexical, lookup, lookup_fit
from overtone.models import adapters, causal, weights
from overtone.models.answers import HEAD
from overtone.models.causal import ChatModel
from overtone.models.model import Model
from overtone.preference_recipe import PreferenceRecipe
from overtone.progress import step
from overtone.run import Run, write_json
from overtone.training.answer_loss import AnswerLoss
from overtone.training.loop import Fit, Loop, TrainingData
from overtone.training.tasks import Task

TOKENS = 8192
"""Tokens of a batch of validation conversations."""


def begin(recipe: DecoderRecipe, run: Run, *, overwrite: bool) -> None:
    """Claim the run's folder and write the resolved recipe.

    Raises:
        RunError: another recipe's run, or a finished one, stands there; or there is no run to start from.
        WeightsError: the decoder's weights are not at hand.
        MissingExtraError: facts are to be looked up, and what does it is not installed.
    """
    weights.resolve(recipe.body.weights)
    if isinstance(recipe, ChatRecipe) and recipe.grounding is not None:
        lexical.package()
    if recipe.start is not None and not finished(Run(recipe.start)):
        raise RunError(
            f"start: {recipe.start} is not the run of a tuned decoder",
            hint="train the first stage with: overtone run tutor-style",
        )
    claims.folder(recipe, run, overwrite=overwrite)


def finished(run: Run) -> bool:
    """Whether the run's model is trained and written."""
    return (run.model / FACTS).exists()


def divide(recipe: DecoderRecipe) -> Conversations:
    """The conversations, divided and checked; the same where only other settings differ.

    Raises:
        DataError: see ``conversations.prepare``.
    """
    with step("reading conversations, looking for leaks"):
        found = conversations.prepare(recipe.data, recipe.leakage, recipe.rows_seed)
    if isinstance(recipe, PreferenceRecipe) and recipe.pairs.own is not None:
        card = preferences.card(recipe.pairs.own)
        prints = {**found.fingerprints, card.name: fingerprint(card)}
        found = replace(found, cards=(*found.cards, card), fingerprints=prints)
    return found


def prepare(recipe: DecoderRecipe, run: Run) -> Conversations:
    """Read, divide and check the conversations, and note it in the manifest.

    Raises:
        DataError: see ``conversations.prepare``.
        RunError: something is trained already, and on other data; or the run to start from was trained on
            what is asked in the exam.
    """
    begun = time.perf_counter()
    prepared = divide(recipe)
    claims.refuse_other_data(prepared.fingerprints, run)
    cards, began = [*prepared.cards], ""
    if recipe.start is not None:
        _refuse_taught(Run(recipe.start), prepared)
        cards += _behind(Run(recipe.start))
        began = f", from {recipe.start}"
    data, commercial = most_restrictive(cards)
    known = weights.CATALOGUE.get(recipe.body.weights)
    licence = {
        "data": data,
        "weights": f"{recipe.body.weights} ({'not known' if known is None else known.licence}){began}",
        "commercial": allowed([commercial, None if known is None else known.commercial]),
    }
    claims.note_data(run, conversations.LABEL, prepared.report, prepared.fingerprints, licence, begun)
    return prepared


def _behind(start: Run) -> list[Card]:
    """The data sets behind a run to start from, and behind those that it started from."""
    earlier = kinds.read(str(start.recipe))
    above = getattr(earlier, "start", None)
    return [*lineage.cards(start.facts()), *([] if above is None else _behind(Run(above)))]


def _refuse_taught(start: Run, prepared: Conversations) -> None:
    """Refuse a first stage that was trained on what the exam asks.

    Raises:
        RunError: it was.
    """
    earlier = kinds.read(str(start.recipe))
    assert isinstance(earlier, DecoderRecipe)  # `begin` looked for the file of one
    taught = {fold(row.text) for row in divide(earlier).splits.train}
    count = sum(fold(row.text) in taught for row in prepared.splits.test)
    if count:
        raise RunError(
            f"{start.folder} was trained on {count:,} of the {len(prepared.splits.test):,} exam questions",
            hint="train it on the same `data` with the same `split_seed`",
        )
    if earlier.start is not None:
        _refuse_taught(Run(earlier.start), prepared)


@dataclass(frozen=True)
class Validation:
    """The conversations that choose the best step.

    Args:
        rows: of the validation split.
    """

    rows: Chats

    @torch.inference_mode()
    def __call__(self, model: Model) -> dict[str, float]:
        """Nats a trained token as ``loss``."""
        objective, total = AnswerLoss(self.rows), 0.0
        for batch in by_length(self.rows.lengths, TOKENS):
            ids, marks = self.rows.pad(batch)
            # Without a name the scores are gone before the next batch has its own.
            total += float(
                objective.total(
                    model(ids.to(model.device), marks.to(model.device))[HEAD], torch.tensor(batch)
                )
            )
        return {"loss": total / int(self.rows.counts.sum())}


def train(recipe: ChatRecipe, prepared: Conversations, run: Run) -> Fit:
    """Put an adapter into the decoder, fit it on the answers, and write its best step.

    Raises:
        DataError: a conversation that the template does not take, or nothing to learn.
        RunError: the adapter to start from is damaged or of another shape.
        WeightsError: the decoder's weights are not at hand.
        TrainingError: see ``Loop.fit``.
    """
    model = started(recipe)
    tokenizer = model.body.tokenizer
    end = chat.end_of_turn(tokenizer)
    with step("cutting conversations into tokens"):
        chats = {
            "train": chat_prompt.encoded(recipe, tokenizer, prepared.splits.train)
            + chat_prompt.grounded(recipe, tokenizer, prepared.splits.train),
            "validation": chat_prompt.encoded(recipe, tokenizer, prepared.splits.validation),
        }
    rows = {
        name: chat.collect(each, chat_prompt.filler(tokenizer, end), recipe.pack)
        for name, each in chats.items()
    }
    loop = Loop(
        model=model,
        tasks=[Task(HEAD, "classification", AnswerLoss(rows["train"]), 1.0)],
        data=TrainingData(rows["train"], {HEAD: torch.arange(len(chats["train"]))}),
        validate=Validation(rows["validation"]),
        config=recipe.train,
        run=run,
        seed=recipe.seed,
    )
    fit = loop.fit()
    if loop.accelerator.is_main_process:
        if recipe.grounding is not None:
            with step("learning to look facts up"):
                facts = lookup.facts([*prepared.splits.train, *prepared.splits.validation])
                lookup_fit.fit(facts, prepared.unknown("fit"), recipe.grounding.lookup).save(run.model)
        write(recipe, model, run, chats, fit)
    loop.accelerator.wait_for_everyone()
    return fit


def started(recipe: DecoderRecipe) -> ChatModel:
    """The decoder with its adapter, fresh or that of the run to start from.

    Raises:
        RunError, WeightsError: see ``train``.
    """
    torch.manual_seed(recipe.seed)
    with step(f"loading {recipe.body.weights}"):
        model = causal.build(recipe.body, recipe.adapter)
    if recipe.start is not None:
        adapters.restore(model.body, Run(recipe.start).model)
    return model


def write(
    recipe: DecoderRecipe, model: ChatModel, run: Run, chats: Mapping[str, Sequence[Chat]], fit: Fit
) -> None:
    """Write the adapter, note in the manifest what was learnt and how fast, and say that the model is whole.

    Args:
        recipe: of the run.
        model: after the fit.
        run: where to.
        chats: part → the conversations in tokens; all but ``validation`` were fitted.
        fit: what it came to.
    """
    tokenizer = model.body.tokenizer
    end = chat.end_of_turn(tokenizer)
    hub = weights.CATALOGUE.get(recipe.body.weights)
    adapters.save(model.body, run.model, recipe.body.weights if hub is None else hub.hub)
    fitted = [each for name, part in chats.items() if name != "validation" for each in part]
    read = round(fit.rows_per_second * fit.seconds) / len(fitted)
    tokens = sum(len(each.ids) for each in fitted)
    run.note(
        fit=asdict(fit),
        model=model.sizes(),
        mask={name: chat.proof(tokenizer, each, end) for name, each in chats.items()},
        tokens={"trained": round(read * tokens), "per_second": round(read * tokens / fit.seconds, 1)},
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
    write_json(run.model / FACTS, {"end_of_turn": end, "system": recipe.system})
