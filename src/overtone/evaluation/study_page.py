"""A study told: its figures as they are committed, and the page, the picture and the index made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from overtone.errors import DataError
from overtone.evaluation.compare import Interval
from overtone.evaluation.forest import Dot, Panel, forest
from overtone.evaluation.markdown import escape, p_value, signed, table
from overtone.evaluation.plots import save
from overtone.evaluation.results import Figure, Results, _number
from overtone.evaluation.study import LEVEL, Finding, Measure, Verdict, verdict
from overtone.run import write_atomic


@dataclass(frozen=True, slots=True)
class Design:
    """What a study asks, and what was compared.

    Args:
        name: of its page and figures.
        question: that it asks.
        base: the recipe that the arms change.
        seeds: one run an arm and seed.
        against: the arm that the others are compared with.
        settings: of all arms, as the study file writes them.
        arms: arm → what it changes, likewise; in the order in which they are told.
        partial: the arms that lack tasks of the one that all are compared with.
        measures: the first that an arm has is its verdict.
    """

    name: str
    question: str
    base: str
    seeds: tuple[int, ...]
    against: str
    settings: tuple[str, ...]
    arms: Mapping[str, tuple[str, ...]]
    partial: tuple[str, ...]
    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One measure of one arm, as its page tells it.

    Args:
        arm: its name.
        measure: what was measured.
        value: the mean over seeds.
        deviation: the standard deviation over seeds.
        rows: that it is made of; None for a cost.
        difference: from the arm that all are compared with; None for that arm and for costs.
        p: Holm's p-value of "no difference"; None likewise.
        verdict: what that says.
        ratio: of a cost, to that arm's.
    """

    arm: str
    measure: Measure
    value: float
    deviation: float
    rows: int | None
    difference: Interval | None
    p: float | None
    verdict: Verdict | None
    ratio: float | None


def figures(design: Design, findings: Sequence[Finding]) -> list[Figure]:
    """What a study found, as it is committed.

    Of every arm and measure: the mean over seeds, ``.deviation`` over seeds, and, but for the arm that the
    others are compared with, ``.difference`` with its interval, ``.p`` after Holm, and ``.agreement`` of the
    seeds; of a cost its ``.ratio``.
    """
    base = {found.measure.name: found for found in findings if found.arm == design.against}
    judged = sum(found.difference is not None for found in findings)
    made = []
    for found in findings:
        measure, values = found.measure, np.array(found.values)
        name = f"study.{design.name}.{found.arm}.{measure.name}"
        made.append(Figure(name, float(values.mean()), n=found.rows or None, unit=measure.unit))
        deviation = float(values.std(ddof=1))
        made.append(Figure(f"{name}.deviation", deviation, n=len(values), unit=measure.unit))
        if found.difference is not None and found.agreement is not None:
            gain = found.difference
            made += [
                Figure(
                    f"{name}.difference",
                    gain.value,
                    gain.low,
                    gain.high,
                    n=found.rows,
                    unit=measure.unit,
                    against=design.against,
                ),
                Figure(f"{name}.p", gain.p, n=judged, unit="p", against=f"Holm over {judged} comparisons"),
                Figure(f"{name}.agreement", found.agreement, n=len(values)),
            ]
        elif found.arm != design.against and np.mean(base[measure.name].values):
            ratio = float(values.mean() / np.mean(base[measure.name].values))
            made.append(Figure(f"{name}.ratio", ratio, unit="ratio", against=design.against))
    return made


def cells(design: Design, results: Results) -> dict[tuple[str, str], Cell]:
    """The committed figures of a study by arm and measure.

    Raises:
        DataError: the arm that all are compared with has no figures there.
    """
    known = {figure.name: figure for figure in results.figures}
    found: dict[tuple[str, str], Cell] = {}
    for arm in design.arms:
        for measure in design.measures:
            name = f"study.{design.name}.{arm}.{measure.name}"
            if name not in known:
                continue
            gain, ratio = known.get(f"{name}.difference"), known.get(f"{name}.ratio")
            difference, p, said = None, None, None
            if gain is not None and gain.low is not None and gain.high is not None:
                difference = Interval(gain.value, gain.low, gain.high)
                p, agreement = known[f"{name}.p"].value, known[f"{name}.agreement"].value
                said = verdict(gain.value, p, agreement, higher_is_better=measure.higher_is_better)
            found[arm, measure.name] = Cell(
                arm,
                measure,
                known[name].value,
                known[f"{name}.deviation"].value,
                known[name].n,
                difference,
                p,
                said,
                None if ratio is None else ratio.value,
            )
    if not any(arm == design.against for arm, _ in found):
        raise DataError(
            f"the results are not of the study '{design.name}'",
            hint=f"overtone compare {design.name} makes them",
        )
    return found


def write(design: Design, results: Results, folder: Path) -> Path:
    """Write a study's page and picture, made of its committed figures alone.

    Returns:
        The page's path.

    Raises:
        DataError: the results are of another study.
        RunError: a file could not be written.
    """
    found = cells(design, results)
    panels = [
        Panel(measure.name, measure.higher_is_better, dots)
        for measure in design.measures
        if (dots := _dots(measure, found))
    ]
    arms = [arm for arm in design.arms if arm != design.against]
    save(forest(panels, arms, design.against), folder / f"{design.name}.png")
    path = folder / f"{design.name}.md"
    write_atomic(path, page(design, results))
    return path


def _dots(measure: Measure, found: Mapping[tuple[str, str], Cell]) -> list[Dot]:
    return [
        Dot(cell.arm, cell.difference, cell.verdict)
        for (_, name), cell in found.items()
        if name == measure.name and cell.difference is not None and cell.verdict is not None
    ]


def page(design: Design, results: Results) -> str:
    """A study's page in Markdown: the question, the verdict, the picture, every figure, how it was made.

    Raises:
        DataError: the results are of another study.
    """
    found = cells(design, results)
    parts = [
        f"# {escape(design.question)}",
        *verdicts(design, found),
        f"![Differences from {design.against}]({design.name}.png)",
        "## The figures",
        f"Mean over {len(design.seeds)} seeds ± standard deviation over seeds.",
        _values(design, found),
        f"## Differences from `{design.against}`",
        "With 95% intervals. A verdict stands beside those that chance does not explain.",
        _differences(design, found),
        "## How it was made",
        *_method(design, results, found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def verdicts(design: Design, found: Mapping[tuple[str, str], Cell]) -> list[str]:
    """The study's verdict in plain paragraphs: what helped, what did not, what hurt, and what it cost."""
    firsts = _firsts(design, found)
    names = list(dict.fromkeys(cell.measure.name for cell in firsts))
    judged = f"Judged by {_listed([f'`{name}`' for name in names])}, against `{design.against}`:"
    groups: dict[Verdict, str] = {
        "helps": "helped",
        "hurts": "hurt",
        "no difference shown": "did not help (no difference shown)",
    }
    told = []
    for kind, words in groups.items():
        group = [_told(cell) for cell in firsts if cell.verdict == kind]
        if group:
            told.append(f"**{words}**: {'; '.join(group)}")
    paragraphs = [f"{judged} {'. '.join(told)}." if told else f"{judged} nothing."]
    if not any(cell.verdict == "helps" for cell in firsts):
        paragraphs[0] = f"**Nothing that was tried helped.** {paragraphs[0]}"
    return [*paragraphs, _elsewhere(firsts, found), _transfer(design, found), _cost(design, found)]


def _firsts(design: Design, found: Mapping[tuple[str, str], Cell]) -> list[Cell]:
    """The cell of every arm that its verdict is about: its first measure with a difference."""
    firsts = []
    for arm in design.arms:
        mine = [found[arm, each.name] for each in design.measures if (arm, each.name) in found]
        firsts += [cell for cell in mine if cell.difference is not None][:1]
    return firsts


def _told(cell: Cell) -> str:
    """An arm and its difference, for a sentence."""
    assert cell.difference is not None
    gain = cell.difference
    return f"`{cell.arm}` {signed(gain.value)} ({signed(gain.low)} to {signed(gain.high)})"


def _elsewhere(firsts: Sequence[Cell], found: Mapping[tuple[str, str], Cell]) -> str:
    """What the other figures say."""
    others = [cell for cell in found.values() if cell.difference is not None and cell not in firsts]
    loud = [cell for cell in others if cell.verdict != "no difference shown"]
    if not others:
        return ""
    if not loud:
        return f"None of the other {len(others)} comparisons shows a difference."
    told = [f"`{cell.arm}` {cell.verdict} `{cell.measure.name}` ({_told_gain(cell)})" for cell in loud]
    return f"Of the other {len(others)} comparisons {len(loud)} show a difference: {'; '.join(told)}."


def _told_gain(cell: Cell) -> str:
    assert cell.difference is not None
    return signed(cell.difference.value)


def _transfer(design: Design, found: Mapping[tuple[str, str], Cell]) -> str:
    """Which tasks are better off alone, where arms keep only some tasks."""
    if not design.partial:
        return ""
    mine = [cell for cell in found.values() if cell.arm in design.partial and cell.difference is not None]
    harmed = [cell for cell in mine if cell.verdict == "helps"]
    gained = [cell for cell in mine if cell.verdict == "hurts"]
    parts = []
    if harmed:
        told = _listed([f"`{cell.measure.name}`" for cell in harmed])
        parts.append(f"**Negative transfer**: {told} is better when trained without the other tasks.")
    else:
        parts.append("No negative transfer is shown.")
    if gained:
        told = _listed([f"`{cell.measure.name}`" for cell in gained])
        parts.append(f"Training together helps {told}.")
    return " ".join(parts)


def _cost(design: Design, found: Mapping[tuple[str, str], Cell]) -> str:
    """Training time beside that of the arm that all are compared with."""
    told = [
        f"`{cell.arm}` {cell.ratio:.2f}"
        for cell in found.values()
        if cell.measure.name == "train.seconds" and cell.ratio is not None
    ]
    return f"Training time, as a multiple of `{design.against}`'s: {', '.join(told)}." if told else ""


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _values(design: Design, found: Mapping[tuple[str, str], Cell]) -> str:
    header = ["arm", *(f"`{measure.name}`" for measure in design.measures)]
    rows = []
    for arm in design.arms:
        row = [f"`{arm}`"]
        for measure in design.measures:
            cell = found.get((arm, measure.name))
            unit = measure.unit
            row.append(
                "" if cell is None else f"{_number(cell.value, unit)} ± {_number(cell.deviation, unit)}"
            )
        rows.append(row)
    return table(header, rows)


def _differences(design: Design, found: Mapping[tuple[str, str], Cell]) -> str:
    rows = []
    for cell in found.values():
        if cell.difference is None:
            continue
        gain = cell.difference
        better = "higher" if cell.measure.higher_is_better else "lower"
        rows.append(
            [
                f"`{cell.arm}`",
                f"`{cell.measure.name}`",
                better,
                signed(gain.value),
                f"{signed(gain.low)} to {signed(gain.high)}",
                p_value(1.0 if cell.p is None else cell.p),
                f"**{cell.verdict}**" if cell.verdict != "no difference shown" else "",
            ]
        )
    return table(["arm", "figure", "better", "difference", "95% interval", "p (Holm)", "verdict"], rows)


def _method(design: Design, results: Results, found: Mapping[tuple[str, str], Cell]) -> list[str]:
    """What the arms are, how intervals and verdicts are made, and what makes the page again."""
    arms = [[f"`{arm}`", _settings(changes)] for arm, changes in design.arms.items()]
    judged = sum(cell.difference is not None for cell in found.values())
    rows = {cell.measure.name: cell.rows for cell in found.values() if cell.rows}
    counts = ", ".join(f"`{name}` {n:,}" for name, n in rows.items())
    for_all = f", with {_settings(design.settings)}" if design.settings else ""
    seeds = _listed([str(seed) for seed in design.seeds])
    return [
        f"The base recipe is `{design.base}`{for_all}. "
        f"Each arm was trained with the seeds {seeds} on the same rows.",
        table(["arm", "changes"], arms),
        "Intervals resample rows and seeds together, the same for both arms. Their p-values are Holm's over "
        f"the {judged} comparisons of this page, so that the chance of one false verdict or more is at most "
        f"{LEVEL:.0%}. A verdict also needs every seed on its side, since {len(design.seeds)} seeds say little "
        f"of how seeds differ. No difference shown does not mean that there is none. Rows: {counts}.",
        f"Made by `{results.command}` at commit {results.commit[:12]} on {results.date}, "
        f"{results.hardware}, torch {results.versions.get('torch', 'unknown')}.",
    ]


def _settings(changes: Sequence[str]) -> str:
    return ", ".join(f"`{change}`" for change in changes) if changes else "nothing"


def index(studies: Sequence[tuple[Design, Results]]) -> str:
    """The list of studies, one line each with its verdict."""
    lines = ["# Studies", "What helps, and what does not. Each page is made from committed results.", ""]
    rows = []
    for design, results in studies:
        firsts = _firsts(design, cells(design, results))
        told = {
            kind: ", ".join(f"`{cell.arm}`" for cell in firsts if cell.verdict == kind) or "–"
            for kind in ("helps", "no difference shown", "hurts")
        }
        rows.append([f"[{design.name}]({design.name}.md)", escape(design.question), *told.values()])
    lines.append(table(["study", "question", "helped", "did not help (no difference shown)", "hurt"], rows))
    return "\n".join(lines) + "\n"
