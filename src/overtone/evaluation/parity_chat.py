"""The gate for a tuned decoder's exported forms: each says what the run says, or it is refused."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from overtone.config import Config
from overtone.data import chat
from overtone.data.chat import LEARNT, Chat, Turns
from overtone.errors import DataError
from overtone.evaluation.parity import FILE
from overtone.evaluation.results import environment
from overtone.inference import export_chat
from overtone.inference.export_chat import FormName, Stored
from overtone.models.causal import CausalBody
from overtone.progress import step
from overtone.run import write_json


class Tolerance(Config):
    """How far a form may be from the run, over the tokens of its answers."""

    conversations: int = Field(
        48, ge=1, description="validation conversations that are compared at most, drawn by the run's seed"
    )
    mean: float = Field(
        0.01,
        gt=0,
        description="mean KL(run || form) of a token, in nats; of a small decoder, 8 bits cost a third of it",
    )
    most: float = Field(
        0.25,
        gt=0,
        description="the largest KL of one token, in nats; several times what 8 bits cost on a few hundred",
    )
    perplexity: float = Field(
        0.02,
        gt=0,
        description="how far the ratio of the answers' perplexities may be from 1; on a few hundred tokens, "
        "rounding alone moves it by half of that",
    )


@dataclass(frozen=True, slots=True)
class Check:
    """A conversation that is compared.

    Args:
        turns: all that the decoder reads, the last of them the assistant's.
        chat: the same in tokens, with those that the assistant says.
    """

    turns: Turns
    chat: Chat


@dataclass(frozen=True, slots=True)
class Judged:
    """A form after the gate.

    Args:
        form: ``merged`` or ``gguf``.
        conversations: that were compared.
        tokens: of their answers.
        mean: mean KL(run || form) a token, in nats.
        most: the largest.
        perplexity: that of the answers to the form, divided by that to the run.
        rewritten: conversations that its template writes otherwise.
        recut: conversations that its tokenizer cuts otherwise.
        faults: by what it fails.
    """

    form: FormName
    conversations: int
    tokens: int
    mean: float
    most: float
    perplexity: float
    rewritten: int
    recut: int
    faults: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the form may stand in for the run."""
        return not self.faults

    @property
    def sentence(self) -> str:
        """What was found, and by what it fails."""
        found = (
            f"{self.form}: KL {self.mean:.2g} a token, {self.most:.2g} at most, perplexity × "
            f"{self.perplexity:.4f}, on {self.tokens:,} tokens of {self.conversations:,} answers"
        )
        return f"{found}; passed" if self.passed else f"{found}; refused: {'; '.join(self.faults)}"

    def as_dict(self) -> dict[str, Any]:
        """The form as JSON values."""
        return {**asdict(self), "passed": self.passed}


def gate(
    reference: CausalBody,
    folder: Path,
    forms: Sequence[FormName],
    checks: Sequence[Check],
    tolerance: Tolerance,
    *,
    stored: Stored,
    facts: Mapping[str, Any],
) -> list[Judged]:
    """Read every form back, compare it with the run, remove those that differ, and write ``parity.json``.

    Args:
        reference: the run as it was evaluated, its adapter on.
        folder: of the forms.
        forms: those that were written.
        checks: at least one conversation.
        tolerance: how far a form may be from the run.
        stored: the type of the merged weights.
        facts: what else the file says, such as the licence.

    Returns:
        The forms in the order given, those that were refused among them.

    Raises:
        DataError: there is no conversation.
        RunError, WeightsError: a form cannot be read, or a file not be written.
    """
    if not checks:
        raise DataError("there are no conversations to compare on", hint="give the run validation rows")
    judged, hashes = list[Judged](), dict[str, str]()
    for form in forms:
        body = export_chat.read(folder, form, stored)
        body.to(next(reference.parameters()).device)
        with step(f"comparing {form} with the run"):
            judged.append(compare(form, reference, body, checks, tolerance))
        del body  # before the next one is read
    for each in judged:
        for path in export_chat.files(folder, each.form):
            if each.passed:
                hashes[path.relative_to(folder).as_posix()] = _hash(path)
            else:
                path.unlink()
        if not each.passed and each.form == "gguf":
            shutil.rmtree((folder / export_chat.GGUF).parent)
    told = {"version": 1, **environment(), **facts, "tolerance": tolerance.model_dump(), "sha256": hashes}
    write_json(folder / FILE, {**told, "forms": [each.as_dict() for each in judged]})
    return judged


def compare(
    form: FormName, reference: CausalBody, body: CausalBody, checks: Sequence[Check], tolerance: Tolerance
) -> Judged:
    """A form beside the run, on the same conversations."""
    divergences, before, after = _differences(reference, body, checks)
    mean, most = float(divergences.mean()), float(divergences.max())
    change = float((after - before).mean())
    perplexity = math.exp(change) if change < 700 else math.inf
    tokenizers = (reference.tokenizer, body.tokenizer)
    rewritten = recut = 0
    for each in checks:
        texts = [_written(tokenizer, each.turns) for tokenizer in tokenizers]
        rewritten += texts[0] != texts[1]
        ids = [tokenizer(texts[0], add_special_tokens=False)["input_ids"] for tokenizer in tokenizers]
        recut += ids[0] != ids[1]
    found = {  # what is not finite is a fault as well
        f"mean KL {mean:.2g}, may be {tolerance.mean:g}": not mean <= tolerance.mean,
        f"largest KL {most:.2g}, may be {tolerance.most:g}": not most <= tolerance.most,
        f"perplexity × {perplexity:.4f}, may be off by {tolerance.perplexity:g}": not abs(perplexity - 1)
        <= tolerance.perplexity,
        f"its chat template writes {rewritten:,} of {len(checks):,} conversations otherwise": rewritten > 0,
        "its chat template is another": reference.tokenizer.chat_template != body.tokenizer.chat_template,
        f"its tokenizer cuts {recut:,} of {len(checks):,} conversations otherwise": recut > 0,
    }
    return Judged(
        form=form,
        conversations=len(checks),
        tokens=len(divergences),
        mean=mean,
        most=most,
        perplexity=perplexity,
        rewritten=rewritten,
        recut=recut,
        faults=tuple(what for what, wrong in found.items() if wrong),
    )


@torch.inference_mode()
def _differences(
    reference: CausalBody, body: CausalBody, checks: Sequence[Check]
) -> tuple[Tensor, Tensor, Tensor]:
    """KL(run || form) at each of the M tokens of the answers, its nats to the run, and to the form, (M,)."""
    rows = chat.collect([each.chat for each in checks], 0)
    found = list[tuple[Tensor, Tensor, Tensor]]()
    for row in range(len(checks)):  # one at a time: the scores of a vocabulary are many
        ids, marks = rows.pad([row])
        wanted = rows.wanted([row])[:, None]
        run, other = (_shares(each, ids, marks) for each in (reference, body))
        if run.shape != other.shape:  # of another vocabulary: nothing is to be compared
            infinite = torch.full((len(wanted),), math.inf)
            found.append((infinite, torch.zeros_like(infinite), infinite))
            continue
        divergence = (run.exp() * (run - other)).sum(dim=-1)
        found.append((divergence, -run.gather(1, wanted)[:, 0], -other.gather(1, wanted)[:, 0]))
    divergences, before, after = (torch.cat(each) for each in zip(*found, strict=True))
    return divergences, before, after


def _shares(body: CausalBody, ids: Tensor, marks: Tensor) -> Tensor:
    """The log-probabilities where an answer is said, (M, V), in fp32 on the CPU."""
    device = next(body.parameters()).device
    states = body(ids.to(device), marks.to(device))
    return body.logits(states.hidden[(states.mask & LEARNT) > 0]).float().log_softmax(dim=-1).cpu()


def _written(tokenizer: PreTrainedTokenizerBase, turns: Turns) -> list[str]:
    """A conversation, and the prompt of its answer; nothing where the template does not take it."""
    try:
        return [chat.render(tokenizer, turns), chat.render(tokenizer, turns[:-1], ask=True)]
    except DataError:
        return []


def _hash(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
