"""Fit the crisis detector on labelled conversations, and find its thresholds without any held-out set.

Every conversation is scored by members that have seen neither it nor one that is worded like it: grouped,
stratified folds. On those scores a logistic regression makes log-odds a probability (Platt 1999), and the
threshold is the highest that still finds the wanted share of those at risk. Then both members are fitted on
all of it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from overtone.data.crisis import KINDS, CrisisCase
from overtone.data.leakage import near_pairs
from overtone.inference.crisis_detector import FILE, Fitted, Rule
from overtone.inference.crisis_encoder import ADAPTER, BODY, HEADS, Understanding
from overtone.inference.crisis_views import View, views
from overtone.inference.crisis_words import Words
from overtone.models import adapters, store, weights
from overtone.models.model import EncoderModel
from overtone.run import Run, write_atomic, write_json
from overtone.scores import Bools, Floats, Ints
from overtone.training import losses
from overtone.training.loop import Loop, TrainConfig, TrainingData
from overtone.training.optim import CosineSchedule, OptimConfig
from overtone.training.stopping import EarlyStopping
from overtone.training.tasks import Task

SEED = 7

FOLDS = 3

ALIKE = 0.35
"""Jaccard similarity of word sets from which two conversations are never on two sides of a fold."""

RECALL = 0.97
"""Share of those at risk that the threshold must find, by fits that know less than the shipped one."""

TRAIN = TrainConfig(
    epochs=10,
    batch_size=16,
    optim=OptimConfig(lr=1.5e-3, head_lr=2e-3),
    schedule=CosineSchedule(warmup_steps=50),
    early_stopping=EarlyStopping(metric="epoch", patience=1),
)
"""How the encoder is fitted; every epoch is done, since nothing is held out that could choose one."""

LOSS = losses.CrossEntropyConfig(label_smoothing=0.05)

Splits = list[tuple[Ints, Ints]]
"""Of each fold, the rows that are learnt from and those that are scored."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Conversations as the members see them.

    Args:
        views: the last window of each message with what was said before, N of them.
        kinds: N kinds.
        crisis: whether somebody is at risk, (N,).
        groups: conversations that are worded alike share one, (N,).
    """

    views: tuple[View, ...]
    kinds: tuple[str, ...]
    crisis: Bools
    groups: Ints

    def take(self, rows: Ints) -> tuple[list[View], list[str]]:
        """The views and kinds of some rows."""
        return [self.views[row] for row in rows], [self.kinds[row] for row in rows]


def look(cases: Sequence[CrisisCase]) -> Looked:
    """Conversations as the members see them; of a long message, its last window."""
    n = len(cases)
    pairs = near_pairs([case.text for case in cases], ALIKE)
    rows, columns = ([pair[side] for pair in pairs] for side in (0, 1))
    graph = coo_matrix((np.ones(len(pairs)), (rows, columns)), shape=(n, n))
    return Looked(
        tuple(views(case.turns)[-1] for case in cases),
        tuple(case.kind for case in cases),
        np.array([case.crisis for case in cases]),
        connected_components(graph, directed=False)[1].astype(np.int64),
    )


def folds(looked: Looked) -> Splits:
    """Three folds, each with its share of every kind."""
    made = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED)
    return list(made.split(np.zeros(len(looked.kinds)), looked.kinds, looked.groups))


def kinds_left_out(looked: Looked) -> Iterator[tuple[str, Ints, Ints]]:
    """Each kind with the rows of all others, and its own."""
    names = np.array(looked.kinds)
    for kind in KINDS:
        yield kind, np.flatnonzero(names != kind), np.flatnonzero(names == kind)


def by_words(looked: Looked, learnt: Ints, scored: Ints) -> Floats:
    """Log-odds by the words of the scored rows, from a member that has seen the learnt ones alone."""
    odds, _ = Words.fit(*looked.take(learnt)).outputs(looked.take(scored)[0])
    return odds


def by_understanding(looked: Looked, learnt: Ints, scored: Ints) -> Floats:
    """The same by the encoder; takes minutes.

    Raises:
        WeightsError: the encoder's weights are not at hand.
    """
    odds, _ = Understanding(tuned(*looked.take(learnt))).outputs(looked.take(scored)[0])
    return odds


def tuned(looks: Sequence[View], kinds: Sequence[str]) -> EncoderModel:
    """Fit the encoder's adapter and heads on N views; every epoch is done, and the last one is kept.

    Raises:
        WeightsError: the encoder's weights are not at hand.
    """
    torch.manual_seed(SEED)
    model = store.build(BODY, ADAPTER, HEADS)
    kind = torch.tensor([KINDS.index(name) for name in kinds])
    at_risk = torch.tensor([float(CrisisCase("", name, ()).crisis) for name in kinds]).long()
    targets = {"kind": kind, "crisis": at_risk}
    tasks = [
        Task(name, "classification", losses.build(LOSS, targets[name], HEADS[name][1]), 1.0) for name in HEADS
    ]
    encoded = model.body.encode([view.text for view in looks], [view.context for view in looks])
    done = iter(range(1, TRAIN.epochs + 1))
    with tempfile.TemporaryDirectory() as folder:
        Loop(
            model,
            tasks,
            TrainingData(encoded, targets),
            lambda _: {"epoch": float(next(done))},  # so the last epoch is the best one
            TRAIN,
            Run(Path(folder)),
            SEED,
            directions={"epoch": 1},
        ).fit()
    return model


def rule(odds: Floats, crisis: Bools) -> Rule:
    """How log-odds become a probability, and the highest threshold that finds enough of those at risk.

    Args:
        odds: of conversations by members that did not see them, (N,).
        crisis: the truth, (N,).
    """
    model = LogisticRegression(C=1e6).fit(odds[:, None], crisis)
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    ranked = np.sort(odds[crisis])
    lowest = int((1 - RECALL) * len(ranked))  # of those at risk, as many are missed
    made = Rule(slope=slope, offset=offset, threshold=0.5)
    return made.model_copy(update={"threshold": float(made.probabilities(ranked)[lowest])})


def weight(understood: Floats, words: Floats, crisis: Bools) -> float:
    """How much the words count beside the encoder: by logistic regression on unseen scores; 0 at least."""
    model = LogisticRegression(C=1e6).fit(np.column_stack([understood, words]), crisis)
    first, second = model.coef_[0]
    return max(0.0, float(second / first))


def fingerprint(cases: Sequence[CrisisCase]) -> str:
    """SHA-256 of conversations and their kinds."""
    rows = [[case.id, case.kind, [[turn.role, turn.text] for turn in case.turns]] for case in cases]
    return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()


def settle(cases: Sequence[CrisisCase], understood: Floats, words: Floats) -> Fitted:
    """Weight and thresholds from cross-validated log-odds.

    Args:
        cases: N conversations.
        understood: log-odds by encoders that did not see them, (N,).
        words: the same by the words, (N,).
    """
    crisis = np.array([case.crisis for case in cases])
    counts = weight(understood, words, crisis)
    return Fitted(
        words_weight=counts,
        joined=rule(understood + counts * words, crisis),
        words=rule(words, crisis),
        data=fingerprint(cases),
    )


def build(cases: Sequence[CrisisCase], fitted: Fitted, folder: Path) -> None:
    """Fit both members on all conversations and write the detector into a folder; takes minutes.

    Raises:
        WeightsError: the encoder's weights are not at hand.
        RunError: the folder could not be written.
    """
    looked = look(cases)
    everything = looked.take(np.arange(len(cases)))
    save_encoder(tuned(*everything), folder)
    Words.fit(*everything).save(folder)
    write_json(folder / FILE, fitted.model_dump())


def save_encoder(model: EncoderModel, folder: Path) -> None:
    """Write the adapter and the heads; the tokenizer is that of the weights.

    Raises:
        RunError: the folder could not be written.
    """
    adapters.save(model.body, folder, weights.CATALOGUE[BODY.weights].hub)
    heads = {name: tensor.detach().cpu().contiguous() for name, tensor in model.heads.state_dict().items()}
    write_atomic(folder / "heads.safetensors", safetensors.torch.save(heads))
