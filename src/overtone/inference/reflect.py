"""Think before speaking: what is felt, what is needed and how to help, kept beside the reply.

The two steps: heads read the conversation and say emotion and strategy, the model says in a few words what is
needed; then the reply is written with the style told. What the model says is checked, and where it does not
hold, the need that goes with the strategy stands in its place. The reflection is never a part of the reply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

WORDS = 16
"""Words of a need at most."""

QUESTION = "In a few words: what does this person need most right now?"
"""What the model is asked for a need."""

NEEDS: Mapping[str, str] = {
    "Affirmation and Reassurance": "to hear that they are not alone and did not fail",
    "Information": "to know how such things usually go",
    "Others": "somebody who stays and listens",
    "Providing Suggestions": "a next step that is small enough to take",
    "Question": "room to say more",
    "Reflection of feelings": "to have the feeling named and taken seriously",
    "Restatement or Paraphrasing": "to know that they were understood",
    "Self-disclosure": "to hear from somebody who has been there",
}
"""Strategy → what somebody needs to whom it is the right answer."""

_SENTENCE = re.compile(r"[.!?\n]")
_LISTED = re.compile(r"^\s*(\d+[.)]|[-*•])\s")


@dataclass(frozen=True, slots=True)
class Guess:
    """The likeliest label of a head.

    Args:
        label: which.
        confidence: its probability, 0..1.
    """

    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Reflection:
    """What was thought before the reply.

    Args:
        emotion: what the other feels; None where no head says.
        strategy: how the reply is to help; None where no head says.
        needed: what the other needs, in a few words.
        own: whether the model said that itself, and it held.
    """

    emotion: Guess | None
    strategy: Guess | None
    needed: str
    own: bool

    @property
    def text(self) -> str:
        """The whole of it in one line."""
        felt = "" if self.emotion is None else f"They feel {self.emotion.label}. "
        helped = "" if self.strategy is None else f" I reply with: {self.strategy.label}."
        return f"{felt}They need {self.needed}.{helped}"


def reflect(emotion: Guess | None, strategy: Guess | None, said: str) -> Reflection:
    """Put together what the heads read and what the model said is needed, once that is checked.

    Args:
        emotion: of the emotion's head.
        strategy: of the strategy's head.
        said: the model's answer to ``QUESTION``.
    """
    own = holding(said)
    fallback = NEEDS["Others" if strategy is None else strategy.label]
    return Reflection(emotion, strategy, own or fallback, own is not None)


def holding(said: str) -> str | None:
    """A need as the model said it: one sentence of few words about the other; None where it is not one."""
    if _LISTED.match(said):
        return None
    sentence = _SENTENCE.split(said.strip(), maxsplit=1)[0].strip()
    lowered = sentence.lower()
    for opening in ("this person needs", "the person needs", "they need", "what they need is"):
        lowered = lowered.removeprefix(opening).strip(" :,")
    words = lowered.split()
    about_itself = {"i", "i'm", "me", "my", "you", "your"} & set(words)
    return " ".join(words) if 2 <= len(words) <= WORDS and not about_itself else None
