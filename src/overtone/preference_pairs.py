"""Pairs of answers: where they are from, in tokens, and how likely a decoder finds them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from overtone import chat_prompt
from overtone.chat_prompt import framed
from overtone.data import chat, paired, preferences, support_pairs
from overtone.data.batches import by_length
from overtone.data.chat import Chat, Turn
from overtone.data.conversations import Conversations
from overtone.data.fetch import locate
from overtone.data.paired import PairedChats
from overtone.data.preferences import Preference
from overtone.data.sources import esconv
from overtone.errors import DataError
from overtone.models.answers import HEAD
from overtone.models.causal import ChatModel
from overtone.models.model import Model
from overtone.preference_recipe import PreferenceRecipe
from overtone.training.precision import Precision, products
from overtone.training.preference import likelihoods

TOKENS = 4096
"""Tokens of a batch that is only read."""


@dataclass(frozen=True, slots=True)
class Divided:
    """Pairs, in their three parts; one conversation's are in one part.

    Args:
        train: what is learnt from.
        validation: what chooses the best step.
        test: what judges.
    """

    train: tuple[Preference, ...]
    validation: tuple[Preference, ...]
    test: tuple[Preference, ...]


def pairs(recipe: PreferenceRecipe, prepared: Conversations) -> Divided:
    """The pairs of a recipe, drawn apart by the seed of the rows; all of ESConv's are of its training split.

    Raises:
        DataError: there are too few, or a file of the user's is wrong.
    """
    splits, wanted = prepared.splits, recipe.pairs
    train = [row for row in splits.train if row.source == esconv.CARD.name]
    found: list[Preference] = []
    if wanted.rated:
        found += support_pairs.rated(train)
    if wanted.failed:
        poor = list(esconv.failed(locate(esconv.CARD)))
        held = [*splits.validation, *splits.test]
        found += support_pairs.failed(train, poor, held, recipe.leakage)
    if wanted.own is not None:
        found += preferences.own(wanted.own)
    groups = _groups(found)
    random.Random(f"{recipe.rows_seed}/pairs").shuffle(groups)
    apart: dict[str, list[Preference]] = {}
    for name, share in (("test", wanted.test), ("validation", wanted.validation)):
        apart[name] = []
        while len(groups) > 1 and len(apart[name]) < max(1, share * len(found)):
            apart[name] += groups.pop()
    left = [each for group in groups for each in group]
    if not (left and apart["validation"] and apart["test"]):
        raise DataError(f"{len(found)} pairs are too few", hint="give a file of your own in pairs.own")
    return Divided(tuple(left), tuple(apart["validation"]), tuple(apart["test"]))


def _groups(found: Sequence[Preference]) -> list[list[Preference]]:
    """The pairs in groups, none of which shares a conversation with another."""
    names = sorted({name for each in found for name in each.groups})
    place = {name: number for number, name in enumerate(names)}
    links = [(place[each.groups[0]], place[other]) for each in found for other in each.groups]
    shape = (len(names), len(names))
    ones = np.ones(len(links))
    _, part = connected_components(coo_array((ones, tuple(zip(*links, strict=True))), shape), directed=False)
    made: dict[int, list[Preference]] = {}
    for each in found:
        made.setdefault(int(part[place[each.groups[0]]]), []).append(each)
    return list(made.values())


def encoded(recipe: PreferenceRecipe, model: ChatModel, found: Sequence[Preference]) -> PairedChats:
    """Pairs in tokens; what is compared is the last answer of each.

    Raises:
        DataError: a conversation that the template does not take.
    """
    tokenizer = model.body.tokenizer
    fill = chat_prompt.filler(tokenizer, chat.end_of_turn(tokenizer))
    better, worse = (
        [cut(recipe, model, each, getattr(each, side)) for each in found] for side in ("chosen", "rejected")
    )
    return paired.collect(better, worse, fill, recipe.pack)


def cut(recipe: PreferenceRecipe, model: ChatModel, each: Preference, answer: str) -> Chat:
    """A pair's context with one of its answers, in tokens."""
    turns = framed([*each.context, Turn("assistant", answer)], recipe.system)
    return chat.encode(model.body.tokenizer, turns, recipe.body.max_length, recipe.answers)


@torch.inference_mode()
def likely(model: Model, rows: PairedChats, precision: Precision = "fp32") -> Tensor:
    """The log-likelihood in nats of the better and of the worse answer of each pair, (N, 2), on the CPU.

    Args:
        model: in evaluation mode.
        rows: the pairs.
        precision: of the matrix products, as the fit has it.
    """
    found = torch.zeros(len(rows), 2)
    for batch in by_length(rows.lengths, TOKENS):
        ids, marks = rows.pad(batch)
        with products(model.device.type, precision):
            scores = model(ids.to(model.device), marks.to(model.device))[HEAD]
        said = likelihoods(scores, rows.wanted(batch).to(model.device), rows.counts_of(batch))
        found[batch] = said.view(2, -1).T.cpu()
    return found
