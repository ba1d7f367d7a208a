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
from overtone.evaluation.results import Figure, Results
from overtone.evaluation.study import LEVEL, Finding, Measure, Verdict, verdict
from overtone.run import write_atomic

SAID: dict[Verdict, str] = {
    "helps": "Helped",
    "no difference shown": "Did not help (no difference shown)",
    "hurts": "Hurt",
}
"""What the verdict on an arm is called."""

MEANT = {
    "mean": "`mean` is over the tasks, of each one's own metric.",
    "gap": "`gap` is that mean on training rows less the one on test rows.",
    "train.seconds": "`train.seconds` holds what was computed of frozen layers and not kept by earlier runs.",
}
"""What a page says of figures that do not speak for themselves."""


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

    Of every measure and arm: the mean over seeds, ``.deviation`` over seeds, and, but for the arm that the
    others are compared with, ``.difference`` with its interval and Holm's ``.p``, or of a cost ``.ratio``.
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
        if found.difference is not None:
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
    for measure in design.measures:
        for arm in design.arms:
            name = f"study.{design.name}.{arm}.{measure.name}"
            if name not in known:
                continue
            gain, ratio = known.get(f"{name}.difference"), known.get(f"{name}.ratio")
            difference, p, said = None, None, None
            if gain is not None and gain.low is not None and gain.high is not None:
                difference = Interval(gain.value, gain.low, gain.high)
                p = known[f"{name}.p"].value
                said = verdict(gain.value, p, higher_is_better=measure.higher_is_better)
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
    panels, names = _panels(design, cells(design, results))
    save(forest(panels, names, design.against), folder / f"{design.name}.png")
    path = folder / f"{design.name}.md"
    write_atomic(path, page(design, results))
    return path


def _panels(design: Design, found: Mapping[tuple[str, str], Cell]) -> tuple[list[Panel], list[str]]:
    """The picture's panels, and the names of their lines from top to bottom.

    A panel is of one measure and has a line an arm. Where arms lack tasks most lines would be empty; then a
    line is of one arm and measure, and a panel holds all of one direction.
    """
    mine = [cell for cell in found.values() if cell.difference is not None]
    if not design.partial:
        panels = [
            Panel(each.name, each.higher_is_better, [_dot(c, c.arm) for c in mine if c.measure == each])
            for each in design.measures
            if each.terms
        ]
        return panels, [arm for arm in design.arms if arm != design.against]
    names = {(cell.arm, cell.measure.name): f"{cell.arm}: {cell.measure.name}" for cell in mine}
    panels = []
    for higher in (True, False):
        dots = [
            _dot(cell, names[cell.arm, cell.measure.name])
            for cell in mine
            if cell.measure.higher_is_better == higher
        ]
        if dots:
            panels.append(Panel("difference", higher, dots))
    return panels, list(names.values())


def _dot(cell: Cell, name: str) -> Dot:
    assert cell.difference is not None
    assert cell.verdict is not None
    return Dot(name, cell.difference, cell.verdict)


def page(design: Design, results: Results) -> str:
    """A study's page in Markdown: the question, the verdict, the picture, every figure, how it was made.

    Raises:
        DataError: the results are of another study.
    """
    found = cells(design, results)
    parts = [
        f"# {escape(design.question)}",
        told(design, found),
        f"![Differences from {design.against}]({design.name}.png)",
        "## The figures",
        f"Mean over {len(design.seeds)} seeds ± standard deviation over seeds.",
        _values(design, found),
        f"## Differences from `{design.against}`",
        "A verdict stands beside the differences that chance does not explain.",
        _differences(found),
        "## How it was made",
        *_method(design, results, found),
        "[All studies](README.md)",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def told(design: Design, found: Mapping[tuple[str, str], Cell]) -> str:
    """The verdict in a plain paragraph: what helped, what did not, what hurt, and what it cost."""
    firsts = _firsts(design, found)
    names = list(dict.fromkeys(cell.measure.name for cell in firsts))
    sentences = [f"Judged by {_listed([f'`{name}`' for name in names])}, against `{design.against}`."]
    for kind, words in SAID.items():
        group = [_arm_told(cell, len(names) > 1) for cell in firsts if cell.verdict == kind]
        if group:
            sentences.append(f"**{words}**: {'; '.join(group)}.")
    if not any(cell.verdict == "helps" for cell in found.values()):
        sentences.insert(0, "**Nothing that was tried helped.**")
    sentences += [_transfer(design, found), _elsewhere(firsts, found), _cost(design, found)]
    return " ".join(filter(None, sentences))


def _firsts(design: Design, found: Mapping[tuple[str, str], Cell]) -> list[Cell]:
    """The cell of every arm that its verdict is about: its first measure with a difference."""
    firsts = []
    for arm in design.arms:
        mine = [found[arm, each.name] for each in design.measures if (arm, each.name) in found]
        firsts += [cell for cell in mine if cell.difference is not None][:1]
    return firsts


def _arm_told(cell: Cell, with_figure: bool) -> str:
    """An arm and its difference, for a sentence."""
    assert cell.difference is not None
    gain = cell.difference
    figure = f" in `{cell.measure.name}`" if with_figure else ""
    return f"`{cell.arm}`{figure} {signed(gain.value)} ({signed(gain.low)} to {signed(gain.high)})"


def _elsewhere(firsts: Sequence[Cell], found: Mapping[tuple[str, str], Cell]) -> str:
    """What the other figures say."""
    others = [cell for cell in found.values() if cell.difference is not None and cell not in firsts]
    loud = [
        f"`{cell.arm}` {cell.verdict} `{cell.measure.name}` ({signed(cell.difference.value)})"
        for cell in others
        if cell.verdict != "no difference shown" and cell.difference is not None
    ]
    if not others:
        return ""
    if not loud:
        return f"None of the other {len(others)} comparisons shows a difference."
    return f"Of the other {len(others)} comparisons, these show a difference: {'; '.join(loud)}."


def _transfer(design: Design, found: Mapping[tuple[str, str], Cell]) -> str:
    """Which tasks are better off alone, where arms lack tasks."""
    mine = [cell for cell in found.values() if cell.arm in design.partial and cell.difference is not None]
    if not mine:
        return ""
    harmed = [f"`{cell.measure.name}`" for cell in mine if cell.verdict == "helps"]
    gained = [f"`{cell.measure.name}`" for cell in mine if cell.verdict == "hurts"]
    sentences = [
        f"**Negative transfer** in {_listed(harmed)}: better when trained without the other tasks."
        if harmed
        else "No negative transfer is shown."
    ]
    if gained:
        sentences.append(f"The other tasks help {_listed(gained)}.")
    return " ".join(sentences)


def _cost(design: Design, found: Mapping[tuple[str, str], Cell]) -> str:
    """Training time beside that of the arm that all are compared with."""
    ratios = [
        f"`{cell.arm}` {cell.ratio:.2f}"
        for cell in found.values()
        if cell.measure.name == "train.seconds" and cell.ratio is not None
    ]
    return f"Training time as a multiple of `{design.against}`'s: {', '.join(ratios)}." if ratios else ""


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _values(design: Design, found: Mapping[tuple[str, str], Cell]) -> str:
    """Every arm's figures; empty where an arm lacks the task."""
    rows = []
    for arm in design.arms:
        mine = [found.get((arm, measure.name)) for measure in design.measures]
        rows.append([f"`{arm}`", *("" if cell is None else _value(cell) for cell in mine)])
    return table(["arm", *(f"`{measure.name}`" for measure in design.measures)], rows)


def _value(cell: Cell) -> str:
    decimals = 0 if cell.measure.unit.startswith("count") else 1 if cell.rows is None else 3
    return f"{cell.value:,.{decimals}f} ± {cell.deviation:,.{decimals}f}"


def _differences(found: Mapping[tuple[str, str], Cell]) -> str:
    """Every difference with its interval, p-value and verdict."""
    rows = []
    for cell in found.values():
        if cell.difference is None or cell.p is None:
            continue
        gain = cell.difference
        rows.append(
            [
                f"`{cell.arm}`",
                f"`{cell.measure.name}`",
                "higher" if cell.measure.higher_is_better else "lower",
                signed(gain.value),
                f"{signed(gain.low)} to {signed(gain.high)}",
                p_value(cell.p),
                f"**{cell.verdict}**" if cell.verdict != "no difference shown" else "",
                f"{cell.rows:,}",
            ]
        )
    header = ["arm", "figure", "better", "difference", "95% interval", "p (Holm)", "verdict", "rows"]
    return table(header, rows)


def _method(design: Design, results: Results, found: Mapping[tuple[str, str], Cell]) -> list[str]:
    """What the arms are, how intervals and verdicts are made, and what makes the page again."""
    judged = sum(cell.difference is not None for cell in found.values())
    for_all = f", with {_changed(design.settings)}" if design.settings else ""
    seeds = _listed([str(seed) for seed in design.seeds])
    return [
        f"The base recipe is `{design.base}`{for_all}. "
        f"Each arm was trained with the seeds {seeds} on the same rows.",
        table(["arm", "what it changes"], [[f"`{arm}`", _changed(it)] for arm, it in design.arms.items()]),
        " ".join(said for name, said in MEANT.items() if any(name == each.name for each in design.measures)),
        "A difference is the mean over seeds of two runs with the same seed on the same rows. Its 95% "
        f"interval takes in how rows and seeds scatter, and how little {len(design.seeds)} seeds tell. The "
        f"p-values are Holm's over the {judged} differences of this page: where no arm differs, one false "
        f"verdict or more has a chance of about {LEVEL:.0%}. No difference shown does not mean that there is "
        "none.",
        f"Made by `{results.command}`, commit {results.commit[:12]}, {results.date}, {results.hardware}, "
        f"torch {results.versions.get('torch', 'unknown')}.",
    ]


def _changed(changes: Sequence[str]) -> str:
    return ", ".join(f"`{change}`" for change in changes) or "nothing"


def index(studies: Sequence[tuple[Design, Results]]) -> str:
    """The list of studies in Markdown, a line each with its verdict.

    Raises:
        DataError: the results are of another study.
    """
    rows = []
    for design, results in studies:
        firsts = _firsts(design, cells(design, results))
        verdicts = [
            ", ".join(f"`{cell.arm}`" for cell in firsts if cell.verdict == kind) or "–" for kind in SAID
        ]
        rows.append([f"[{design.name}]({design.name}.md)", escape(design.question), *verdicts])
    head = "# Studies\n\nWhat helps and what does not, each beside the arm that the page names."
    return f"{head}\n\n{table(['study', 'question', *SAID.values()], rows)}\n"
