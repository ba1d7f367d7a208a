"""The member of the crisis detector that understands: an encoder with an adapter, and two heads.

One head tells the kind of conversation, one whether somebody is at risk; what was said before is read as the
first of a pair. Kinds teach more than a yes or a no, since what makes an idiom harmless differs from what
makes a nurse's question harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.special import logsumexp

from overtone.data.crisis import KINDS, NEED_OF, NEEDS
from overtone.inference.crisis_views import View
from overtone.inference.embed import bf16_is_fast
from overtone.models import store
from overtone.models.adapters import LoraConfig
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.models.model import EncoderModel
from overtone.scores import Floats

BODY = EncoderConfig(weights="minilm-l6", max_length=512)
"""What reads; a view of words is shorter, one of signs alone may not be."""

ADAPTER = LoraConfig(r=8, alpha=16.0, dropout=0.05, targets="all-linear")
"""What is trained of it: small enough to ship."""

HEADS = {
    "kind": (HeadConfig(hidden=(), dropout=0.1), len(KINDS)),
    "crisis": (HeadConfig(hidden=(), dropout=0.1), 2),
}
"""Head → its config and how many outputs it has."""

BATCH = 32
"""Views that are read together."""

_AT_RISK = np.array([kind in NEED_OF for kind in KINDS])
_NEED = np.array([[NEED_OF.get(kind) == need for need in NEEDS] for kind in KINDS], dtype=np.float64)


class Understanding:
    """The fitted member.

    Args:
        model: in evaluation mode, on the CPU or a GPU.
    """

    def __init__(self, model: EncoderModel) -> None:
        self.model = model.eval()

    @torch.inference_mode()
    def outputs(self, views: Sequence[View]) -> tuple[Floats, Floats]:
        """Log-odds that somebody is at risk, (N,), and how likely each need then is, (N, 5).

        The log-odds are the mean of what the two heads say.
        """
        texts = [view.text or " " for view in views]
        encoded = self.model.body.encode(texts, [view.context for view in views])
        device = next(self.model.parameters()).device
        kinds, risks = [], []
        for start in range(0, len(views), BATCH):
            inputs, mask = encoded.pad(range(start, min(start + BATCH, len(views))))
            found = self.model(inputs.to(device), mask.to(device))
            kinds.append(found["kind"].double().cpu().numpy())
            risks.append(found["crisis"].double().cpu().numpy())
        kind, risk = np.concatenate(kinds), np.concatenate(risks)
        return log_odds(kind, risk), needs(kind)

    @classmethod
    def load(cls, folder: Path) -> Understanding:
        """Read a saved member; in bf16 where the machine multiplies it, which moves log-odds by hundredths.

        Raises:
            RunError: a file is missing, damaged or of another shape.
            WeightsError: the encoder's weights are not at hand.
        """
        model = store.load(folder, BODY, HEADS)
        return cls(model.to(torch.bfloat16) if bf16_is_fast() else model)


def log_odds(kind: Floats, risk: Floats) -> Floats:
    """Logits of the kinds, (N, 25), and of no and yes, (N, 2), as one log-odds a row, (N,)."""
    of_kinds = logsumexp(kind[:, _AT_RISK], axis=1) - logsumexp(kind[:, ~_AT_RISK], axis=1)
    mean: Floats = (of_kinds + risk[:, 1] - risk[:, 0]) / 2
    return mean


def needs(kind: Floats) -> Floats:
    """Logits of the kinds, (N, 25), as how likely each need is if somebody is at risk, (N, 5)."""
    at_risk = kind[:, _AT_RISK]
    shares = np.exp(at_risk - logsumexp(at_risk, axis=1, keepdims=True))
    made: Floats = shares @ _NEED[_AT_RISK]
    return made
