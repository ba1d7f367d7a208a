"""A companion as people meet it: it reflects, replies, and the crisis policy stands before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from overtone.chat_system import Tutor
from overtone.companion_system import CompanionSystem
from overtone.data.chat import Turns
from overtone.inference.policy import CrisisPolicy
from overtone.inference.reflect import Reflection


class Listener:
    """What replies to people.

    A reply is given out whole, since the policy has to see all of it first.

    Args:
        system: a companion, which reflects; or another tuned decoder, which does not.
        policy: what stands before and after; None where whoever runs it takes that upon himself.
    """

    def __init__(self, system: Tutor, policy: CrisisPolicy | None) -> None:
        self.system = system
        self.policy = policy
        self.reflection: Reflection | None = None
        """What was thought before the last reply; None in a crisis, and of the base."""
        self.crisis = False
        """Whether the policy found somebody at risk before the last reply, which is then its own."""

    @property
    def beside(self) -> dict[str, Any]:
        """What stands beside the last reply.

        ``crisis``; ``emotion`` and ``strategy``, each with ``label`` and ``confidence``, and ``reflection``,
        which are None where nothing was thought.
        """
        thought = self.reflection
        return {
            "crisis": self.crisis,
            "emotion": None if thought is None or thought.emotion is None else asdict(thought.emotion),
            "strategy": None if thought is None or thought.strategy is None else asdict(thought.strategy),
            "reflection": None if thought is None else thought.text,
        }

    @property
    def licence(self) -> dict[str, Any]:
        """What it may be used for, see ``Tutor.licence``."""
        return self.system.licence

    @property
    def forgotten(self) -> int:
        """Turns of which the last ``reply`` did not read all; in a crisis none was generated."""
        return 0 if self.crisis else self.system.forgotten

    def reply(self, turns: Turns, *, tuned: bool = True, **settings: Any) -> Iterator[str]:  # noqa: ANN401
        """Reply to a conversation, in one piece.

        Args:
            turns: the last of them the user's.
            tuned: False replies as the decoder did before it was tuned, without a reflection.
            settings: see ``Tutor.reply``.

        Raises:
            UsageError, DataError: see ``Tutor.reply``.
        """
        self.reflection, self.crisis = None, False
        if self.policy is not None and (verdict := self.policy.before(turns)).crisis:
            self.crisis = True
            yield self.policy.respond(verdict)
            return
        if tuned and isinstance(self.system, CompanionSystem):
            found = self.system.respond(turns, **settings)
            self.reflection, text = found.reflection, found.text
        else:
            text = "".join(self.system.reply(turns, tuned=tuned, **settings)).strip()
        yield text if self.policy is None else self.policy.after(turns, text)
