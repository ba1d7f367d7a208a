"""EQ-Bench 3: a system plays the scenarios, and a model behind an endpoint scores it by the rubric.

After the reference implementation, github.com/EQ-bench/eqbench3 at 3c21bcc (``core/conversation.py``,
``core/benchmark.py``): turns at temperature 0.7, the debrief at 0.5, the judge without chance; a transcript
shows of an answer the sections that were asked for. Here answers are shorter (``max_tokens``) and drawn
without min-p. The pairwise part, which makes a rating of many systems, is not played.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from overtone.config import Config
from overtone.data.chat import Turn
from overtone.data.sources.eq_bench3 import Form, Kind, Scenario
from overtone.eq_exam import Answers
from overtone.errors import DataError, RunError, UsageError
from overtone.evaluation.bootstrap import resampled
from overtone.evaluation.compare import Interval, interval_of
from overtone.inference.endpoint import Endpoint, EndpointConfig
from overtone.progress import step
from overtone.run import write_atomic

QUALITY = (
    "demonstrated_empathy",
    "pragmatic_ei",
    "depth_of_insight",
    "social_dexterity",
    "emotional_reasoning",
    "message_tailoring",
)
"""The criteria of a role-play or a message where higher is better; of an analysis all are such."""

HIGHEST = 20
"""The best score of a criterion."""

PLAYS, DEBRIEFS = 0.7, 0.5
"""The temperatures of a turn and of the debrief."""

JUDGE_TOKENS = 8000
"""Tokens of a judge's reply at most: it reasons before it scores."""

_HEADING = re.compile(r"^#\s*(.+?)\s*$", re.MULTILINE)
_FILLED = re.compile(r"\{(scenario_prompt|transcript|debrief|output_format)\}")


class ScenariosConfig(Config):
    """How the scenarios are played."""

    max_tokens: int = Field(1500, ge=1, description="tokens of a turn at most; some thousand words are asked")
    seed: int = Field(7, ge=0, description="of the draws and the resamples")
    resamples: int = Field(2000, ge=100, description="bootstrap resamples of an interval, over scenarios")


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario that was played.

    Args:
        id: of the scenario.
        asked: the user's turns, as they were asked.
        said: what the system said to each.
        debrief: what it said of it afterwards; None where that was not asked.
    """

    id: str
    asked: tuple[str, ...]
    said: tuple[str, ...]
    debrief: str | None


@dataclass(frozen=True, slots=True)
class Scored:
    """A scenario that was judged.

    Args:
        id: of the scenario.
        tells: the criteria that tell how good it was.
        scores: criterion → 0..20; those that the judge gave.
        reply: all that it said.
    """

    id: str
    tells: tuple[str, ...]
    scores: Mapping[str, float]
    reply: str

    @property
    def quality(self) -> float | None:
        """The mean of what tells how good it was, 0..20; None where the judge left one of that out."""
        if any(name not in self.scores for name in self.tells):
            return None
        return float(np.mean([self.scores[name] for name in self.tells]))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a system stands with a judge.

    Args:
        judge: its name and where it is.
        quality: the mean over scenarios, 0..20, with its 95% interval; None where none could be scored.
        scored: the scenarios that it is over.
        unscored: those whose scores the judge did not give in the form.
        criteria: criterion → its mean over the scenarios that have it; of style, higher is not better.
    """

    judge: str
    quality: Interval | None
    scored: int
    unscored: int
    criteria: Mapping[str, float]


def sit(
    by: Answers,
    judge: EndpointConfig,
    scenarios: Sequence[Scenario],
    forms: Mapping[Kind, Form],
    path: Path,
    config: ScenariosConfig,
) -> Standing:
    """Have a system play scenarios and be judged; what was said and paid for is written as it comes.

    Args:
        by: who plays.
        judge: which model scores, and where.
        scenarios: what is played.
        forms: what each kind is asked and judged with.
        path: a file of JSON lines; scenarios that stand in it are not played again.
        config: how.

    Raises:
        UsageError: a scenario is longer than the system reads; see ``Endpoint``.
        EndpointError: see ``Endpoint.ask``.
        DataError: there are no scenarios.
        RunError: the file is damaged, of another judge, or cannot be written.
    """
    if not scenarios:
        raise DataError("there are no scenarios to play", hint="`overtone data fetch eq_bench3`")
    endpoint = Endpoint(judge.model_copy(update={"top_logprobs": 0}))
    name = f"{judge.model} at {endpoint.host}"
    head = {"judge": name, "max_tokens": config.max_tokens, "seed": config.seed}
    rows = _read(path, head)
    with step(f"{len(scenarios):,} scenarios of EQ-Bench 3 are played, and judged by {name}") as told:
        for done, scenario in enumerate(scenarios):
            told(done, len(scenarios))
            if scenario.id in rows:
                continue
            played = play(by, scenario, forms[scenario.kind], config)
            scored = score(endpoint, scenario, played, forms[scenario.kind])
            rows[scenario.id] = (played, scored)
            found = [{"played": asdict(one), "scored": asdict(other)} for one, other in rows.values()]
            lines = [json.dumps(line, ensure_ascii=False) for line in (head, *found)]
            write_atomic(path, "\n".join(lines) + "\n")
    return standing(name, [rows[each.id][1] for each in scenarios], config)


def play(by: Answers, scenario: Scenario, form: Form, config: ScenariosConfig) -> Played:
    """Play all turns of a scenario, and ask for the debrief.

    Raises:
        UsageError: it is longer than the system reads.
    """
    turns: list[Turn] = []
    for prompt in scenario.prompts:
        turns.append(Turn("user", _filled(form.master, scenario_prompt=prompt)))
        turns.append(Turn("assistant", _said(by, turns, scenario, PLAYS, config)))
    asked, said = (tuple(turn.text for turn in turns[first::2]) for first in (0, 1))
    if form.debrief is None:
        return Played(scenario.id, asked, said, None)
    debrief = _said(by, [*turns, Turn("user", form.debrief)], scenario, DEBRIEFS, config)
    return Played(scenario.id, asked, said, debrief)


def _said(
    by: Answers, turns: Sequence[Turn], scenario: Scenario, temperature: float, config: ScenariosConfig
) -> str:
    (text,) = by.answers(
        [turns], temperature=temperature, max_tokens=config.max_tokens, seed=config.seed + len(turns)
    )
    if by.forgotten:
        raise UsageError(
            f"scenario {scenario.id} is longer than this system reads, with its answers",
            hint="set max_tokens lower, or take weights that read more",
        )
    return text.strip()


def score(endpoint: Endpoint, scenario: Scenario, played: Played, form: Form) -> Scored:
    """What the judge makes of a scenario that was played.

    Raises:
        EndpointError: see ``Endpoint.ask``.
    """
    (reply,) = endpoint.ask([(Turn("user", rubric(scenario, played, form)),)], JUDGE_TOKENS)
    tells = form.criteria if scenario.kind == "analysis" else QUALITY
    return Scored(scenario.id, tells, scores_in(reply.text, form.criteria), reply.text)


def rubric(scenario: Scenario, played: Played, form: Form) -> str:
    """What the judge reads."""
    names = [] if scenario.kind == "analysis" else _HEADING.findall(form.master)
    parts = [
        f"{role}:\n{text}\n"
        for asked, said in zip(played.asked, played.said, strict=True)
        for role, text in (("User", asked), ("Assistant", sections(said, names) if names else said))
    ]
    numbers = ",\n".join(f'  "{criterion}": 0-{HIGHEST}' for criterion in form.criteria)
    return _filled(
        form.rubric,
        transcript="---\n".join(parts),
        debrief=played.debrief or "",
        output_format=f'{{\n  "chain_of_thought_reasoning": "what the scores rest on",\n{numbers}\n}}',
    )


def sections(text: str, names: Sequence[str]) -> str:
    """What an answer holds under these headings, and nothing else; one that it lacks stays empty.

    A section ends where a heading begins, the last one at two dashes.
    """
    parts = []
    for name in names:
        # An apostrophe may be typed or set.
        heading = re.escape(name).replace("'", "['’]")
        end = "--" if name == names[-1] else "#"
        found = re.search(rf"#\s*{heading}\s*\n(.*?)(?={end}|\Z)", text, re.IGNORECASE | re.DOTALL)
        parts.append(f"# {name}\n{found[1].strip() if found else ''}\n")
    return "\n".join([*parts, "--"])


def scores_in(reply: str, criteria: Sequence[str]) -> dict[str, float]:
    """The scores in a judge's reply, 0..20, of one that stands twice the last; what is none is left out."""
    found = {}
    for name in criteria:
        numbers = re.findall(rf'"{re.escape(name)}"\s*:\s*"?(\d+(?:\.\d+)?)', reply)
        if numbers and float(numbers[-1]) <= HIGHEST:
            found[name] = float(numbers[-1])
    return found


def standing(judge: str, scored: Sequence[Scored], config: ScenariosConfig) -> Standing:
    """The mean over scenarios of the means over what tells how good each was."""
    quality = np.array([each.quality for each in scored if each.quality is not None])
    by_name: dict[str, list[float]] = defaultdict(list)
    for each in scored:
        for name, value in each.scores.items():
            by_name[name].append(value)
    means = {name: float(np.mean(values)) for name, values in by_name.items()}
    if not len(quality):
        return Standing(judge, None, 0, len(scored), means)
    n = len(quality)
    values = resampled([lambda draw: draw.weights @ quality / n], n, config.resamples, config.seed)[:, 0]
    interval = interval_of(float(quality.mean()), values, 0.95)
    return Standing(judge, interval, n, len(scored) - n, means)


def _filled(template: str, **texts: str) -> str:
    """The template with its marks replaced, once: a mark inside a text stays as it is."""
    return _FILLED.sub(lambda mark: texts.get(mark[1], mark[0]), template)


def _read(path: Path, head: Mapping[str, object]) -> dict[str, tuple[Played, Scored]]:
    """What the file holds, by scenario; nothing where it is not there.

    Raises:
        RunError: it is damaged, or was made with another judge or other settings.
    """
    if not path.exists():
        return {}
    hint = "delete it, and the scenarios are played anew"
    try:
        first, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found = {}
        for row in rows:
            told = row["played"]
            played = Played(told["id"], tuple(told["asked"]), tuple(told["said"]), told["debrief"])
            told = row["scored"]
            scored = Scored(told["id"], tuple(told["tells"]), told["scores"], told["reply"])
            found[played.id] = (played, scored)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged: {error!r}", hint=hint) from error
    if first != dict(head):
        raise RunError(f"{path} was judged by {first.get('judge')}, or played otherwise", hint=hint)
    return found
