"""What each encoder costs on this machine, and with a short training what it is worth."""

from __future__ import annotations

import copy
import ctypes
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from overtone.errors import UsageError, did_you_mean
from overtone.evaluation.compare import Interval
from overtone.evaluation.results import environment
from overtone.models import encoder, weights
from overtone.models.body import States
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import Head, HeadConfig
from overtone.run import Run, read_json, write_json

LENGTH = 32
"""Tokens a sample: a text of some twenty words."""

BATCH = {"cpu": 8, "cuda": 64}
"""Samples a batch, by device."""

LABELS = 8
"""Outputs of the head that is trained with the encoder."""

ROUNDS = 3
SPAN = 0.1
"""Seconds that a measurement lasts at least; small encoders read several batches in it."""

MODES = ("read-bf16", "read-fp32", "train-bf16", "train-fp32")
"""Reading as `classify` does; training as the loop does: forward, backward, clipping, AdamW on all of it."""

RECIPE = "emotion-mini"
"""The recipe whose test accuracy is given: it needs no data but the shipped sentences."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast an encoder is in one mode.

    Args:
        per_second: samples a second, the median of the rounds.
        ratio: times the speed of the first encoder, which is measured in turn with it: the median.
        low: the smallest ratio of a round.
        high: the largest.
    """

    per_second: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Backbone:
    """One encoder on this machine.

    Args:
        name: in the catalogue, or a folder.
        at_hand: whether its own weights were there; else they are random, in its real configuration.
        parameters: how many are read and trained; the published pooler is not among them.
        hidden: D, the width of the states.
        layers: how many.
        weights_mb: what its fp32 weights take, in MB (10⁶ bytes).
        reading_mb: the most memory while it reads a batch in fp32, weights included, in MB; None where the
            system does not tell.
        training_mb: the same of a training step in fp32: gradients and AdamW's moments included.
        batch: samples a batch.
        length: tokens a sample.
        rates: mode → speed.
        accuracy: on the test rows of ``RECIPE``; None where it was not trained.
    """

    name: str
    at_hand: bool
    parameters: int
    hidden: int
    layers: int
    weights_mb: float
    reading_mb: float | None
    training_mb: float | None
    batch: int
    length: int
    rates: Mapping[str, Rate]
    accuracy: Interval | None = None


def chosen(only: Sequence[str]) -> list[str]:
    """The encoders to measure: those named, or all of the catalogue.

    Raises:
        UsageError: a name is neither an encoder's nor a folder with one.
    """
    known = [name for name, each in weights.CATALOGUE.items() if each.architecture is not None]
    for name in only:
        if name not in known and not (Path(name) / "config.json").exists():
            raise UsageError(f"no encoder is named '{name}'", hint=did_you_mean(name, known))
    return list(dict.fromkeys(only)) or known


def steps(names: Sequence[str]) -> int:
    """How many steps ``measure`` reports for these."""
    return len(names) * (1 + ROUNDS)


def measure(names: Sequence[str], step: Callable[[str], None]) -> Iterator[Backbone]:
    """Measure encoders one after the other, each in turn with the first, which stays in memory.

    Args:
        names: from ``chosen``.
        step: called with the encoder's name at the beginning of each of the ``steps``.

    Raises:
        WeightsError: weights that are at hand cannot be read.
    """
    first: _Subject | None = None
    for name in names:
        step(name)
        subject = _Subject(name)
        reading, training = subject.warm_up()
        found: dict[str, list[tuple[float, float]]] = {mode: [] for mode in MODES}
        for _ in range(ROUNDS):
            step(name)
            for mode in MODES:
                rate = subject.rate(mode)
                found[mode].append((rate, 1.0 if first is None else rate / first.rate(mode)))
        yield Backbone(
            name=name,
            at_hand=subject.at_hand,
            parameters=subject.parameters,
            hidden=int(subject.config.hidden_size),
            layers=int(subject.config.num_hidden_layers),
            weights_mb=subject.weights_mb,
            reading_mb=reading,
            training_mb=training,
            batch=subject.batch,
            length=subject.length,
            rates={mode: _rate(rounds) for mode, rounds in found.items()},
        )
        first = first or subject
        del subject  # before the next one is built


def _rate(rounds: Sequence[tuple[float, float]]) -> Rate:
    """Samples a second and ratios of the rounds, in short."""
    speeds, ratios = zip(*rounds, strict=True)
    return Rate(statistics.median(speeds), statistics.median(ratios), min(ratios), max(ratios))


class _Subject:
    """An encoder, its bf16 copy, a head and an optimiser, with one batch of random tokens.

    Args:
        name: in the catalogue, or a folder.
    """

    def __init__(self, name: str) -> None:
        gc.collect()
        _return_free_memory()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.batch, self.length = BATCH[self.device], LENGTH
        self.at_hand = weights.find(name) is not None
        if self.at_hand:
            body = encoder.build(EncoderConfig(weights=name, max_length=LENGTH))
            self.length = body.max_length
            self.backbone: nn.Module = copy.deepcopy(body.backbone)  # a file is mapped, and read when used
        else:
            self.backbone = random_backbone(name)
        self.backbone.to(self.device)
        self.config: PretrainedConfig = self.backbone.config  # type: ignore[assignment]
        self.head = Head(HeadConfig(), int(self.config.hidden_size), LABELS).to(self.device)
        shape, lowest = (self.batch, self.length), int(self.config.pad_token_id or 0) + 1  # no padding
        pieces = int(getattr(self.config, "vocab_size", sys.maxunicode))  # CANINE reads every code point
        self.ids = torch.randint(lowest, pieces, shape).to(self.device)
        self.mask = torch.ones_like(self.ids)
        self.gold = torch.randint(LABELS, (self.batch,), device=self.device)
        self.trained = [*self.backbone.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-5, fused=True)
        self.fast: nn.Module | None = None

    @property
    def parameters(self) -> int:
        """How many the encoder has."""
        return sum(p.numel() for p in self.backbone.parameters())

    @property
    def weights_mb(self) -> float:
        """What its weights take, in MB."""
        return sum(p.numel() * p.element_size() for p in self.backbone.parameters()) / 1e6

    def warm_up(self) -> tuple[float | None, float | None]:
        """Run each mode once, as first runs are slower; the most memory of both in fp32, in MB."""
        grown = _growth(lambda: self.run("read-fp32")), _growth(lambda: self.run("train-fp32"))
        for mode in ("read-bf16", "train-bf16"):
            self.run(mode)
        reading, training = (None if more is None else self.weights_mb + more for more in grown)
        return reading, training

    def run(self, mode: str) -> None:
        """Read the batch, or train on it, once."""
        training, bf16 = mode.startswith("train"), mode.endswith("bf16")
        self.backbone.train(training)
        if training:
            self._train(bf16=bf16)
        else:
            self._read(bf16=bf16)
        if self.device == "cuda":
            torch.cuda.synchronize()

    @torch.inference_mode()
    def _read(self, *, bf16: bool) -> None:
        if bf16 and self.fast is None:
            self.fast = copy.deepcopy(self.backbone).to(torch.bfloat16)
        model = self.fast if bf16 and self.fast is not None else self.backbone
        model(input_ids=self.ids, attention_mask=self.mask)

    def _train(self, *, bf16: bool) -> None:
        with torch.autocast(self.device, torch.bfloat16, enabled=bf16):
            hidden = self.backbone(input_ids=self.ids, attention_mask=self.mask).last_hidden_state
            outputs = self.head(States(hidden, self.mask))
        loss = nn.functional.cross_entropy(outputs.float(), self.gold)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def rate(self, mode: str) -> float:
        """Samples a second."""
        begun, done = time.perf_counter(), 0
        while True:
            self.run(mode)
            done += self.batch
            seconds = time.perf_counter() - begun
            if seconds >= SPAN:
                return done / seconds


def random_backbone(name: str) -> PreTrainedModel:
    """An encoder of the catalogue in its real configuration, with random weights and without its pooler."""
    architecture = weights.CATALOGUE[name].architecture
    assert architecture is not None
    config = AutoConfig.for_model(architecture.kind, **architecture.settings())
    backbone: PreTrainedModel
    backbone = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # type: ignore[assignment]  # as `encoder.load` does
    return backbone


def _return_free_memory() -> None:
    """Hand what was freed back to the system, where libc can: else the next encoder grows into it unseen."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _growth(work: Callable[[], None]) -> float | None:
    """By how many MB this process grew at most while it worked; None where the system does not tell."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    # What was freed, but is still held by the allocator, would be taken again without growth.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = _resident("VmRSS")
    except OSError:
        work()
        return None
    work()
    return max(0, _resident("VmHWM") - before) / 1e6


def _resident(what: str) -> int:
    """A line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))


def with_accuracy(row: Backbone) -> Backbone:
    """The row with the test accuracy of ``RECIPE`` on its encoder; unchanged where its weights are random.

    Raises:
        KeyboardInterrupt: stopped while training; the run is not kept.
        OvertoneError: whatever is wrong, and what to do next.
    """
    from overtone import pipeline
    from overtone import recipe as recipes
    from overtone.training.stopping import InterruptedFitError

    if not row.at_hand:
        return row
    changes = [f"body.weights={row.name}", "cascade=null", "evaluate.baselines=[majority]"]
    recipe = recipes.load(RECIPE, changes)
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = pipeline.run(recipe, Run(Path(folder) / recipe.name))
        except InterruptedFitError as error:  # it would say how to go on, in a folder that is not kept
            raise KeyboardInterrupt from error
        (task,) = recipe.tasks
        model = read_json(run.evaluation / task / "standings.json")[0]
    return replace(row, accuracy=Interval(**model["figures"]["accuracy"]))


def write(path: Path, rows: Sequence[Backbone]) -> None:
    """Write the rows as JSON, with the machine that they were measured on.

    Raises:
        RunError: the file could not be written.
    """
    facts = {**environment(), "threads": torch.get_num_threads(), "rounds": ROUNDS}
    write_json(path, {**facts, "backbones": [asdict(row) for row in rows]})
