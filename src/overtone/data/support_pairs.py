"""Preferences from emotional support: what seekers rated, and what the authors of ESConv rejected.

Nobody was ever shown two replies to one context, so each pair borrows one of its replies from another
conversation about the same problem. What that means:

- A borrowed reply may be told by not fitting, whatever its worth. In ``rated`` the borrowed one is rejected,
  in ``failed`` it is chosen: train on both, and not fitting does not tell the better one.
- A rating is one seeker's, and often of more than the last turn.
- The nearest context is one with the same words, not one with the same need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from overtone.data.leakage import MINIMUM_WORDS, LeakageConfig, check
from overtone.data.preferences import Preference
from overtone.data.records import Record, Splits
from overtone.data.replies import Reply, known, replies
from overtone.data.text import fold, words
from overtone.errors import DataError

LIKED, DISLIKED = ("4", "5"), ("1", "2")
"""The ratings of replies that are taken for good, and for poor."""

RECENT = 3
"""Turns of a context, from its end, that are compared."""

LEAST = 0.4
"""Cosine of two contexts from which a reply to the one is taken to fit the other; below it, few do."""

Rows = Sequence[Record]


@dataclass(frozen=True, slots=True)
class _Said:
    """A reply with what is known of it."""

    id: str
    conversation: str
    problem: str
    strategy: str | None
    rating: str | None
    reply: Reply

    @property
    def recent(self) -> str:
        return "\n".join(turn.text for turn in self.reply.context[-RECENT:])


def rated(train: Rows) -> list[Preference]:
    """A reply that its seeker liked, over one that was disliked in another conversation.

    The context is that of the liked one: the nearest to the disliked one's among replies of the same strategy
    to the same problem, each of which is taken once. Contexts of fewer than ``MINIMUM_WORDS`` distinct words
    are left out: greetings are near each other whatever follows.

    Args:
        train: training conversations of ESConv.

    Raises:
        DataError: a conversation is not of the train split.
    """
    liked, disliked = _of(train, LIKED), _of(train, DISLIKED)
    return [
        _pair("rated", context=good, chosen=good, rejected=poor)
        for poor, good in _matched(disliked, liked, least=0.0, same_strategy=True)
    ]


def failed(
    train: Rows, poor: Rows, held: Rows, leakage: LeakageConfig, least: float = LEAST
) -> list[Preference]:
    """A reply that its seeker liked, over what a poor supporter said in the context of the poor one.

    Where a seeker liked a poor supporter's reply, it is not rejected. The chosen reply is that to the nearest
    context among those about the same problem, each of which is taken once. Contexts of fewer than
    ``MINIMUM_WORDS`` distinct words are left out.

    Args:
        train: training conversations of ESConv.
        poor: the conversations that its authors rejected, from ``esconv.failed``.
        held: validation and test rows; a poor conversation with a twin there is left out.
        leakage: what a twin is.
        least: cosine of the two contexts at least, 0..1.

    Raises:
        DataError: a conversation is not of the train split.
    """
    _refuse_held(poor)
    clean, _ = check(Splits(tuple(poor), (), tuple(held)), leakage.model_copy(update={"drop": True}))
    said = [each for each in _known(clean.train) if each.rating not in LIKED]
    return [
        _pair("failed", context=bad, chosen=good, rejected=bad)
        for bad, good in _matched(said, _of(train, LIKED), least=least, same_strategy=False)
    ]


def _refuse_held(rows: Rows) -> None:
    other = next((row for row in rows if row.split != "train"), None)
    if other is not None:
        raise DataError(
            f"'{other.id}' is not for training (its split: {other.split}), and pairs are",
            hint="give the train split alone",
        )


def _of(rows: Rows, ratings: Sequence[str]) -> list[_Said]:
    """The replies with one of these ratings."""
    _refuse_held(rows)
    return [each for each in _known(rows) if each.rating in ratings]


def _known(rows: Rows) -> list[_Said]:
    """Every reply whose context says enough to be compared."""
    said = [
        _Said(f"{row.id}-{reply.number}", row.id, str(row.targets["problem"]), strategy, rating, reply)
        for row in rows
        for reply, strategy, rating in zip(
            replies(row), known(row, "strategy"), known(row, "rating"), strict=True
        )
    ]
    return [each for each in said if len(set(words(each.recent))) >= MINIMUM_WORDS]


def _matched(
    asked: Sequence[_Said], offered: Sequence[_Said], *, least: float, same_strategy: bool
) -> list[tuple[_Said, _Said]]:
    """For each, in order, the nearest of another conversation that is left, at ``least`` so near."""
    if not asked or not offered:
        return []
    vectoriser = TfidfVectorizer(tokenizer=words, token_pattern=None, lowercase=False, sublinear_tf=True)
    there = vectoriser.fit_transform([each.recent for each in offered])
    near: NDArray[np.float64] = (vectoriser.transform([each.recent for each in asked]) @ there.T).toarray()
    problems, strategies, sources = (
        np.array([str(getattr(each, name)) for each in offered])
        for name in ("problem", "strategy", "conversation")
    )
    texts = np.array([fold(each.reply.text) for each in offered])
    left, found = np.ones(len(offered), dtype=bool), []
    for one, similar in zip(asked, near, strict=True):
        fits = left & (problems == one.problem) & (sources != one.conversation) & (similar >= least)
        fits &= texts != fold(one.reply.text)
        if same_strategy:
            fits &= strategies == str(one.strategy)
        if fits.any():
            best = int(np.where(fits, similar, -1.0).argmax())
            left[best] = False
            found.append((one, offered[best]))
    return found


def _pair(how: str, *, context: _Said, chosen: _Said, rejected: _Said) -> Preference:
    source, _, name = rejected.id.partition("/")
    return Preference(
        f"{source}/{how}-{name}",
        context.reply.context,
        chosen.reply.text,
        rejected.reply.text,
        source,
        (chosen.conversation, rejected.conversation),
    )
