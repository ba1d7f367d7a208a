"""What is frozen is computed once: the states of a body's frozen part, for every epoch and every run."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
import transformers
from torch import Tensor

from overtone.cache import cache_folder
from overtone.data.batches import Encoded, by_length
from overtone.models.body import States
from overtone.models.heads import last_token, mean_pool
from overtone.models.model import EncoderModel
from overtone.models.states import FrozenStates, Rows
from overtone.training import shelf

SLOW = 1.0
"""Seconds; what was computed faster than this is not worth a file."""

MEMORY = 4 * 2**30
"""Bytes that one process remembers; files that are mapped into memory count too."""

POOLED: dict[str, Callable[[States], Tensor]] = {
    "mean": mean_pool,
    "cls": lambda states: states.hidden[:, 0],
    "last": last_token,
}
"""The ways to pool that learn nothing: states (B, T, D) → (B, D)."""

_remembered: OrderedDict[str, Tensor] = OrderedDict()
"""States by their key, those of the longest ago first: what the runs of one process share."""


class StateCache:
    """Texts in, and the states of what is frozen out: from memory, else from disk, else computed.

    Args:
        model: whose body's frozen part is asked for.
    """

    def __init__(self, model: EncoderModel) -> None:
        self.model = model
        self.tell: Callable[[int, int], None] = lambda done, total: None
        """Called while it computes, with the texts done and all of them."""
        self._weights: tuple[int, str] | None = None

    def __call__(self, encoded: Rows, *, bf16: bool) -> FrozenStates | None:
        """What the model reads in place of these texts' ids.

        None where no layer is frozen, or its states would be more than the disk is to hold (``shelf.LIMIT``).
        Where the whole backbone is frozen and all heads pool alike, and without attention, a text is that one
        vector.

        Args:
            encoded: N texts, as ids.
            bf16: whether matrix products are in bf16, as in training. Then the states are kept in fp16:
                what that rounds off is less than what another order of the same products changes.
        """
        body = self.model.body
        if not body.frozen or not isinstance(encoded, Encoded) or not len(encoded):
            return None
        pooling = self._pooling()
        offsets = np.arange(len(encoded) + 1) if pooling else encoded.offsets
        dtype = torch.float16 if bf16 and not pooling else next(body.parameters()).dtype
        like = torch.empty(int(offsets[-1]), body.hidden_size, dtype=dtype, device="meta")
        if like.nbytes > shelf.LIMIT:
            return None
        key = self._key(encoded, pooling, bf16=bf16)
        found = _remembered.get(key)
        if found is None:
            path = cache_folder("states") / f"{key}.safetensors"
            found = shelf.read(path, like)
            if found is None:
                begun = time.perf_counter()
                found = self._compute(encoded, pooling, torch.empty_like(like, device="cpu"), bf16=bf16)
                if time.perf_counter() - begun > SLOW:
                    found = shelf.keep(path, found)
        _remember(key, found)
        return FrozenStates(found, offsets)

    def _pooling(self) -> str | None:
        """How every head makes one vector of a text, where that can be done beforehand."""
        if self.model.body.frozen != self.model.body.depth:
            return None
        kinds = {str(head.pooling) for head in self.model.heads.values()}
        return kinds.pop() if len(kinds) == 1 and kinds <= POOLED.keys() else None

    def _key(self, encoded: Encoded, pooling: str | None, *, bf16: bool) -> str:
        """A name for these states: of everything that they depend on."""
        facts = {
            "weights": self._fingerprint(),
            "ids": hashlib.sha256(encoded.flat.tobytes()).hexdigest(),
            "offsets": hashlib.sha256(encoded.offsets.tobytes()).hexdigest(),
            "pad": encoded.pad_id,
            "pooling": pooling,
            "bf16": bf16,
            "device": self.model.device.type,
            "versions": [torch.__version__, transformers.__version__],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def _fingerprint(self) -> str:
        """A hash of the frozen part: its settings, its depth and its weights."""
        body = self.model.body
        if self._weights is None or self._weights[0] != body.stage:
            tensors = {
                f"{place}.{name}": tensor
                for place, module in enumerate(body.at_rest())
                for name, tensor in module.state_dict().items()
            }
            settings = body.backbone.config.to_dict()  # type: ignore[union-attr, operator]
            kept = {name: value for name, value in settings.items() if not _says_nothing(name)}
            digest = hashlib.sha256(
                f"{body.frozen} {body.read} {json.dumps(kept, sort_keys=True, default=str)}".encode()
            )
            for name, tensor in sorted(tensors.items()):
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
            self._weights = (body.stage, digest.hexdigest())
        return self._weights[1]

    @torch.no_grad()
    def _compute(self, encoded: Encoded, pooling: str | None, flat: Tensor, *, bf16: bool) -> Tensor:
        """Run the frozen part over every text once, dropout off, and fill ``flat`` with its states."""
        body, device = self.model.body, self.model.device
        done = 0
        for rows in by_length(encoded.lengths):
            input_ids, mask = (tensor.to(device) for tensor in encoded.pad(rows))
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                hidden = body.bottom(input_ids, mask)  # (B, T, D)
            if pooling is None:
                places = [np.arange(encoded.offsets[row], encoded.offsets[row + 1]) for row in rows]
                flat[torch.from_numpy(np.concatenate(places))] = hidden[mask.bool()].to("cpu", flat.dtype)
            else:
                vectors = POOLED[pooling](States(hidden, mask))
                flat[torch.tensor(rows)] = vectors.to("cpu", flat.dtype)
            done += len(rows)
            self.tell(done, len(encoded))
        return flat


def _says_nothing(setting: str) -> bool:
    """Whether a backbone's setting leaves the states of its evaluation as they are."""
    return "dropout" in setting or setting in ("_name_or_path", "architectures", "transformers_version")


def _remember(key: str, states: Tensor) -> None:
    """Keep states for the next run of this process; those of the longest ago make room."""
    _remembered[key] = states
    _remembered.move_to_end(key)
    while len(_remembered) > 1 and sum(kept.nbytes for kept in _remembered.values()) > MEMORY:
        _remembered.popitem(last=False)
