"""A decoder that chooses: how likely each of some texts is to follow, and nothing is read twice."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import permutations

import numpy as np
import torch

from overtone.data import chat
from overtone.data.chat import Turns
from overtone.errors import DataError, UsageError, WeightsError
from overtone.models.causal import CausalBody, Past
from overtone.scores import Floats


class Chooser:
    """A decoder that tells how likely texts are as the next words of an answer that has begun.

    It remembers what it read: where the next answer begins alike, only the rest is read.

    Args:
        body: in evaluation mode; its weights stay as they are.
        tuned: False takes the adapter off while this one reads, and no longer.

    Raises:
        UsageError: the adapter is to be taken off and there is none.
    """

    def __init__(self, body: CausalBody, *, tuned: bool = True) -> None:
        if not tuned and not body.adapted:
            raise UsageError(
                "this model has no adapter that could be taken off", hint="leave tuned=False out"
            )
        self._body = body
        self._tuned = tuned
        self._device = next(body.parameters()).device
        self._read: list[int] = []
        self._past: Past | None = None

    def log_likelihoods(self, turns: Turns, begun: str, options: Sequence[str]) -> Floats:
        """How likely each option is to follow.

        Options are whole texts: ``1`` is not a part of ``10`` where both end with what follows a number, such
        as a line break.

        Args:
            turns: a conversation whose last turn is the user's.
            begun: what the assistant has said so far of its answer; may be empty.
            options: two texts or more, each other than the rest.

        Returns:
            Natural logarithms of probabilities, up to one number that all share, (K,).

        Raises:
            DataError: a turn holds a special token, there is no chat template, an option cannot be told from
                another, or all of it is more than the decoder reads.
            WeightsError: the decoder's scores are not numbers.
        """
        rows = self._encoded(turns, begun, options)
        # What all begin with is read once; at least one token of each is left.
        shared = _alike(rows)
        tails = [row[shared:] for row in rows]
        off = nullcontext() if self._tuned else self._body.without_adapter()
        with torch.inference_mode(), off:
            past = self._reread(rows[0][: shared - 1])
            found = self._scored(past, rows[0][shared - 1], tails)
        if not np.isfinite(found).all():
            raise WeightsError(
                "the scores of the decoder are not numbers",
                hint="are its weights damaged? Load them in fp32 or bf16",
            )
        return found

    def _encoded(self, turns: Turns, begun: str, options: Sequence[str]) -> list[list[int]]:
        tokenizer = self._body.tokenizer
        chat.prompt(tokenizer, turns)  # refuses what a conversation may not hold
        opened = chat.render(tokenizer, turns, ask=True) + begun
        rows = [list(tokenizer(opened + option, add_special_tokens=False)["input_ids"]) for option in options]
        longest = max(map(len, rows), default=0)
        if longest > self._body.max_length:
            raise DataError(
                f"a conversation with an answer of {longest:,} tokens is more than the "
                f"{self._body.max_length:,} that this decoder reads",
                hint="take a decoder that reads more",
            )
        begins = any(one[: len(other)] == other for one, other in permutations(rows, 2))
        if len(rows) < 2 or begins:
            raise DataError(
                f"the options {', '.join(map(repr, options))} cannot be told apart",
                hint="give two or more, none of which another begins with",
            )
        return rows

    def _reread(self, ids: Sequence[int]) -> Past | None:
        """What was read of these ids and no other; None of none."""
        past, self._past = self._past, None
        alike = _alike([self._read, ids])
        if past is None or not alike or (alike < len(self._read) and not past.can_be_cropped):
            alike, past = 0, None
        elif alike < len(self._read):
            past.crop(alike)
        if alike < len(ids):
            _, past = self._body.step(past, torch.tensor([ids[alike:]], device=self._device))
        self._read, self._past = list(ids), past
        return past

    def _scored(self, past: Past | None, last: int, tails: Sequence[Sequence[int]]) -> Floats:
        """The log-likelihood of each tail after what was read and one more token, (K,)."""
        width = max(map(len, tails))
        # What a row reads behind its own tokens is seen by none of them.
        read = [[last, *tail[:-1], *[last] * (width - len(tail))] for tail in tails]
        wanted = torch.zeros(len(tails), width, dtype=torch.long)
        counts = torch.zeros(len(tails), width, dtype=torch.bool)
        for row, tail in enumerate(tails):
            wanted[row, : len(tail)] = torch.tensor(tail)
            counts[row, : len(tail)] = True
        cache = None
        if past is not None:
            cache = copy.deepcopy(past.cache)
            cache.batch_repeat_interleave(len(tails))
        output = self._body.causal(
            input_ids=torch.tensor(read, device=self._device), past_key_values=cache, use_cache=True
        )
        shares = output.logits.float().log_softmax(dim=-1).cpu()  # (K, width, V)
        each = shares.gather(-1, wanted[..., None])[..., 0].double()
        found: Floats = torch.where(counts, each, 0.0).sum(dim=1).numpy()
        return found


def _alike(rows: Sequence[Sequence[int]]) -> int:
    """How many ids all rows begin with."""
    columns = enumerate(zip(*rows, strict=False))
    return next(
        (place for place, ids in columns if len(set(ids)) > 1), min((len(row) for row in rows), default=0)
    )
