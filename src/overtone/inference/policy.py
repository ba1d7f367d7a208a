"""The crisis policy: it runs before and after generation, and nothing in a conversation can switch it off.

Before: a trained detector reads the conversation. Where somebody may be at risk, no generated text is said:
the answer is an acknowledgement that fits the need, the services of the country, and an invitation to go on.
After: a generated reply is looked at too, and replaced by that answer where it would do harm.

It reads the conversation as evidence and takes no instruction from it. It keeps nothing: no text, no count,
no log. It is no therapist and no emergency service; `docs/SAFETY.md` says what it is not for.

>>> from overtone.inference import policy
>>> guard = policy.load()
>>> verdict = guard.before(turns)
>>> reply = guard.respond(verdict) if verdict.crisis else guard.after(turns, generate(turns))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from overtone.data.chat import Turn
from overtone.data.crisis import Need
from overtone.errors import DataError
from overtone.inference import crisis_detector
from overtone.inference.crisis_detector import Detector
from overtone.inference.crisis_reply import harmful
from overtone.inference.crisis_resources import place

LOCALE = "US"
"""Whose services are named where nobody says otherwise."""

WITHOUT = (
    "warning: the crisis policy is off. Nobody who writes that they are in danger will be told where help "
    "is. Do not put people in front of this."
)
"""What is said at every start without the policy."""

WEAKER = (
    "warning: the crisis policy runs in its weaker form, by words alone, since the weights 'minilm-l6' are "
    "not at hand. Get them with: overtone weights fetch minilm-l6"
)
"""What is said at every start where the encoder's weights are not at hand."""

_ACKNOWLEDGE: Mapping[Need, str] = {
    "suicide": "Thank you for telling me. What you're carrying sounds very painful, and I'm glad that you "
    "said it here. You don't have to go through this alone, and I'd like you to be safe. If you may act on "
    "these thoughts, or are hurt already, please contact {emergency} now, and if you can, move away from "
    "anything that might hurt you and let somebody be near you.",
    "abuse": "I'm so sorry that this is happening, and thank you for trusting me with it. It is not your "
    "fault, and nobody has the right to hurt you or a child. If anyone is in danger now, please contact "
    "{emergency} as soon as it is safe to. If somebody may look at this device, it can be safer to use "
    "another one.",
    "poison": "I'm glad that you told me, and this matters right now: please contact {emergency} at once, or "
    "the poison service where there is one, even if nothing is felt yet. Don't wait and see. If you can, "
    "keep the packet or bottle at hand to say what it was, and stay with somebody.",
    "violence": "Thank you for saying this out loud. It sounds like more anger or fear than anyone can hold "
    "alone, and telling it is a step that keeps people safe, you as well. If somebody may get hurt, please "
    "move away from them and from anything that could be used to hurt, and contact {emergency} now.",
    "someone": "It's good that you are paying attention, and that you're not looking away. You don't have "
    "to carry this by yourself. If their life may be in danger now, please contact {emergency} and say "
    "where they are. If you can be with them safely, stay, listen, and ask them directly whether they think "
    "of suicide; asking does not put the idea into anyone's head.",
}

_INVITE: Mapping[Need, str] = {
    "suicide": "I'm here, and I'd like to go on listening. Is somebody with you at the moment?",
    "abuse": "I'm here to go on talking, at your pace. Are you somewhere safe at this moment?",
    "poison": "Please make that contact first. I'm still here: is somebody with you?",
    "violence": "I'm here and will go on listening. Where are you now, and is anybody with you?",
    "someone": "I'm here for you too, since this is a lot. What do you know about where they are right now?",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy makes of a conversation.

    Args:
        crisis: whether somebody may be at risk now.
        probability: how likely that is, 0..1.
        need: what help would be for.
    """

    crisis: bool
    probability: float
    need: Need


@dataclass(frozen=True, slots=True)
class CrisisPolicy:
    """Stands before and after a generator.

    Args:
        detector: what scores conversations.
        locale: whose services are named, such as ``US`` or ``en-GB``; set by whoever runs it, never by a
            conversation.
    """

    detector: Detector
    locale: str = LOCALE

    def before(self, turns: Sequence[Turn]) -> Verdict:
        """Look at a conversation before anything is generated.

        Args:
            turns: all of it; system's turns are not looked at, and turns after the user's last neither.

        Raises:
            DataError: the user says nothing in it.
        """
        if not any(turn.role == "user" for turn in turns):
            raise DataError("there is no message of the user to look at", hint="give the whole conversation")
        probability, need = self.detector.probability(turns)
        # Put so that what is no number counts as a crisis.
        return Verdict(not probability < self.detector.rule.threshold, probability, need)

    def respond(self, verdict: Verdict, locale: str | None = None) -> str:
        """What is said in a crisis: an acknowledgement, where help is, and an invitation to go on.

        Args:
            verdict: of ``before``; its need decides what is said.
            locale: of another country than the policy's.

        Raises:
            UsageError: it is not a locale.
        """
        there = place(self.locale if locale is None else locale)
        lines = "\n".join(f"- {line}" for line in there.of(verdict.need))
        first = _ACKNOWLEDGE[verdict.need].format(emergency=there.emergency)
        listed = f"These people can help:\n- Emergency: {there.emergency}\n{lines}".rstrip()
        return f"{first}\n\n{listed}\n\n{_INVITE[verdict.need]}"

    def after(self, turns: Sequence[Turn], reply: str, locale: str | None = None) -> str:
        """The reply, or what is said instead: in a crisis always, else where the reply would do harm.

        Args:
            turns: the conversation, without the reply.
            reply: what was generated.
            locale: see ``respond``.

        Raises:
            DataError: the user says nothing in it.
            UsageError: it is not a locale.
        """
        verdict = self.before(turns)
        return self.respond(verdict, locale) if verdict.crisis or harmful(reply) else reply


def load(locale: str = LOCALE) -> CrisisPolicy:
    """The policy with the shipped detector.

    Raises:
        UsageError: it is not a locale.
        RunError: a file of the detector or the services is missing or damaged.
    """
    place(locale)  # a wrong one is an error now, not in the first crisis
    return CrisisPolicy(crisis_detector.load(), locale)


def notice(policy: CrisisPolicy | None) -> str | None:
    """What whoever starts a server must read at every start; None where all is well."""
    if policy is None:
        return WITHOUT
    return WEAKER if policy.detector.weaker else None
