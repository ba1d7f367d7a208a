"""Whether somebody in a conversation is at risk now: a trained detector of two members, tuned for recall.

One member understands (`crisis_encoder.py`), one knows words (`crisis_words.py`); their log-odds are joined.
Without the encoder's weights the words decide alone, with a threshold of their own, and the detector says so.
`crisis_fit.py` fits both; what is shipped was fitted on the shipped conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from pydantic import Field, ValidationError
from scipy.special import expit

from overtone.config import Config
from overtone.data.chat import Turn
from overtone.data.crisis import NEEDS, Need
from overtone.errors import RunError
from overtone.inference.crisis_encoder import BODY, Understanding
from overtone.inference.crisis_views import View, views
from overtone.inference.crisis_words import Words
from overtone.models import weights
from overtone.run import read_json
from overtone.scores import Floats

FILE = "detector.json"


class Rule(Config):
    """How log-odds become a probability, and from which probability on it is a crisis."""

    slope: float = Field(gt=0, description="probability = 1 / (1 + exp(−(slope · log-odds + offset)))")
    offset: float = Field(description="see slope")
    threshold: float = Field(gt=0, lt=1, description="probability from which it is a crisis")

    def probabilities(self, odds: Floats) -> Floats:
        """Log-odds (N,) as probabilities, (N,)."""
        made: Floats = expit(self.slope * odds + self.offset)
        return made


class Fitted(Config):
    """What the cross-validation on the training conversations found."""

    words_weight: float = Field(ge=0, description="how much the words' log-odds count beside the encoder's")
    joined: Rule = Field(description="of both members together")
    words: Rule = Field(description="of the words alone")
    data: str = Field(description="SHA-256 of the training conversations")


class Detector:
    """Scores conversations; it keeps nothing of them.

    Args:
        fitted: weights and thresholds.
        words: the member that knows words.
        understanding: the member that understands; None where its weights are not at hand.
    """

    def __init__(self, fitted: Fitted, words: Words, understanding: Understanding | None) -> None:
        self.fitted = fitted
        self.words = words
        self.understanding = understanding

    @property
    def weaker(self) -> bool:
        """Whether the words decide alone."""
        return self.understanding is None

    @property
    def rule(self) -> Rule:
        """The rule in force."""
        return self.fitted.words if self.weaker else self.fitted.joined

    def probability(self, turns: Sequence[Turn]) -> tuple[float, Need]:
        """How likely it is that somebody is at risk, 0..1, and what help would then be needed for.

        Of a long message every window is scored, and the gravest counts.
        """
        odds, needs = self.outputs(views(turns))
        gravest = int(odds.argmax())
        need = NEEDS[int(needs[gravest].argmax())]
        return float(self.rule.probabilities(odds)[gravest]), need

    def outputs(self, looks: Sequence[View]) -> tuple[Floats, Floats]:
        """Log-odds that somebody is at risk, (N,), and how likely each need then is, (N, 5)."""
        odds, needs = self.words.outputs(looks)
        if self.understanding is None:
            return odds, needs
        understood, needs = self.understanding.outputs(looks)
        return understood + self.fitted.words_weight * odds, needs


def shipped() -> Path:
    """The folder of the detector that ships with the package."""
    return Path(str(resources.files("overtone") / "pretrained" / "crisis"))


def load(folder: Path | None = None) -> Detector:
    """Read a detector; without the encoder's weights it is the weaker one.

    Args:
        folder: of a detector; None for the shipped one.

    Raises:
        RunError: a file is missing or damaged.
        WeightsError: the encoder's weights are there, and damaged.
    """
    folder = folder or shipped()
    try:
        fitted = Fitted.model_validate(read_json(folder / FILE))
    except ValidationError as error:
        raise RunError(f"{folder / FILE} is damaged: {error}", hint="install overtone again") from error
    words = Words.load(folder)
    there = weights.find(BODY.weights) is not None
    return Detector(fitted, words, Understanding.load(folder) if there else None)
