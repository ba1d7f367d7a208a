from __future__ import annotations

import re

import pytest

from overtone.errors import DataError
from overtone.evaluation import study_page
from overtone.evaluation.compare import Difference, Interval
from overtone.evaluation.forest import COLOUR, Dot, Panel, forest
from overtone.evaluation.results import Figure, load_results, write_results
from overtone.evaluation.study import Finding, Measure, Term
from overtone.evaluation.study_page import Design

MEAN = Measure("mean", (Term(1.0, "test", "mood", "accuracy"),), True, "score")
ECE = Measure("mood.ece", (Term(1.0, "test", "mood", "ece"),), False, "share")
SECONDS = Measure("train.seconds", (), False, "s")


def design(**changes):
    values = {
        "name": "losses",
        "question": "Does a *new* loss help?",
        "base": "moods",
        "seeds": (7, 11, 13),
        "against": "old",
        "settings": ("train.epochs=4",),
        "arms": {"old": (), "new": ("tasks.mood.loss.kind=focal",), "odd": ("read: dropout",)},
        "partial": (),
        "measures": (MEAN, ECE, SECONDS),
    }
    return Design(**{**values, **changes})


FINDINGS = (
    Finding("old", MEAN, (0.5, 0.6, 0.7), 90),
    Finding("new", MEAN, (0.7, 0.8, 0.9), 90, Difference(0.2, 0.1, 0.3, 0.004)),
    Finding("odd", MEAN, (0.5, 0.6, 0.61), 90, Difference(-0.03, -0.1, 0.04, 0.7)),
    Finding("old", ECE, (0.1, 0.1, 0.1), 90),
    Finding("new", ECE, (0.2, 0.2, 0.2), 90, Difference(0.1, 0.05, 0.15, 0.01)),
    Finding("odd", ECE, (0.09, 0.1, 0.1), 90, Difference(-0.003, -0.1, 0.09, 0.9)),
    Finding("old", SECONDS, (30.0, 31.0, 32.0), 0),
    Finding("new", SECONDS, (62.0, 61.0, 63.0), 0),
    Finding("odd", SECONDS, (31.0, 31.0, 31.0), 0),
)


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "study-losses.json"
    write_results(path, "overtone compare losses", 7, study_page.figures(design(), FINDINGS))
    return load_results(path)


def rows_of(page, header):
    """The cells of the table with that first header, by the first cells."""
    lines = page.split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {header} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_what_is_committed():
    figures = {figure.name: figure for figure in study_page.figures(design(), FINDINGS)}
    assert figures["study.losses.old.mean"].value == pytest.approx(0.6)
    assert figures["study.losses.old.mean.deviation"].value == pytest.approx(0.1)
    assert figures["study.losses.new.mean.difference"] == Figure(
        "study.losses.new.mean.difference", 0.2, 0.1, 0.3, n=90, unit="score", against="old"
    )
    assert figures["study.losses.new.mean.p"].value == 0.004
    assert "4 comparisons" in figures["study.losses.new.mean.p"].against
    assert figures["study.losses.new.train.seconds.ratio"].value == pytest.approx(2.0)
    assert not [name for name in figures if name.startswith("study.losses.old") and "difference" in name]
    assert not [name for name in figures if "seconds.difference" in name]


def test_the_page_says_what_the_json_says(results):
    page = study_page.page(design(), results)
    assert page.startswith("# Does a \\*new\\* loss help?\n")
    known = {figure.name: figure for figure in results.figures}
    values = {row[0].strip("`"): row[1:] for row in rows_of(page, "arm")}
    assert set(values) == {"old", "new", "odd"}
    for arm, cells in values.items():
        for measure, cell in zip((MEAN, ECE, SECONDS), cells, strict=True):
            shown = [float(number) for number in cell.split(" ± ")]
            name = f"study.losses.{arm}.{measure.name}"
            wanted = [known[name].value, known[f"{name}.deviation"].value]
            assert shown == pytest.approx(wanted, abs=0.051 if measure is SECONDS else 0.00051)
    differences = rows_of(page[page.index("## Differences") :], "arm")
    assert len(differences) == 4
    for arm, figure, better, value, interval, p, said, rows in differences:
        found = known[f"study.losses.{arm.strip('`')}.{figure.strip('`')}.difference"]
        assert better == {"`mean`": "higher", "`mood.ece`": "lower"}[figure]
        assert float(value) == pytest.approx(found.value, abs=0.00051)
        assert [float(x) for x in interval.split(" to ")] == pytest.approx(
            [found.low, found.high], abs=0.00051
        )
        assert float(p) == known[found.name.replace(".difference", ".p")].value
        assert said == {"`new` `mean`": "**helps**", "`new` `mood.ece`": "**hurts**"}.get(
            f"{arm} {figure}", ""
        )
        assert rows == "90"


def test_the_verdict_in_words(results):
    told = study_page.told(design(), study_page.cells(design(), results))
    assert "Judged by `mean`, against `old`." in told
    assert "**Helped**: `new` +0.200 (+0.100 to +0.300)." in told
    assert "**Did not help (no difference shown)**: `odd` -0.030" in told
    assert "**Hurt**" not in told
    assert "`new` hurts `mood.ece` (+0.100)" in told
    assert "Training time as a multiple of `old`'s: `new` 2.00, `odd` 1.00." in told
    assert "transfer" not in told
    page = study_page.page(design(), results)
    assert "`mean` is over the tasks" in page
    assert "`gap` is" not in page
    assert "Nothing" not in told


def test_where_nothing_helps_the_page_begins_with_that(tmp_path):
    findings = [each for each in FINDINGS if each.arm != "new"]
    results = write_results(tmp_path / "r.json", "x", 7, study_page.figures(design(), findings))
    two = design(arms={"old": (), "odd": ("read: dropout",)})
    told = study_page.told(two, study_page.cells(two, results))
    assert told.startswith("**Nothing that was tried helped.**")
    assert "None of the other 1 comparisons shows a difference." in told


def test_negative_transfer_is_flagged(tmp_path):
    one, two = (
        Measure(f"{task}.accuracy", (Term(1.0, "test", task, "accuracy"),), True, "share")
        for task in ("mood", "tone")
    )
    asked = design(
        against="together",
        arms={"together": (), "mood-alone": ("tasks: mood",), "tone-alone": ("tasks: tone",)},
        partial=("mood-alone", "tone-alone"),
        measures=(one, two),
    )
    findings = [
        Finding("together", one, (0.5, 0.5, 0.5), 90),
        Finding("mood-alone", one, (0.7, 0.7, 0.7), 90, Difference(0.2, 0.1, 0.3, 0.004)),
        Finding("together", two, (0.5, 0.5, 0.5), 90),
        Finding("tone-alone", two, (0.3, 0.3, 0.3), 90, Difference(-0.2, -0.3, -0.1, 0.004)),
    ]
    results = write_results(tmp_path / "r.json", "x", 7, study_page.figures(asked, findings))
    page = study_page.page(asked, results)
    assert "**Negative transfer** in `mood.accuracy`: better when trained without the other tasks." in page
    assert "The other tasks help `tone.accuracy`." in page
    assert "**Helped**: `mood-alone` in `mood.accuracy` +0.200" in page
    values = {row[0]: row[1:] for row in rows_of(page, "arm")}
    assert values["`mood-alone`"] == ["0.700 ± 0.000", ""]
    panels, lines = study_page._panels(asked, study_page.cells(asked, results))
    assert lines == ["mood-alone: mood.accuracy", "tone-alone: tone.accuracy"]
    assert [[dot.line for dot in panel.dots] for panel in panels] == [lines]


def test_page_picture_and_index(results, tmp_path):
    page = study_page.write(design(), results, tmp_path / "docs")
    assert page.read_text() == study_page.page(design(), results)
    assert (tmp_path / "docs" / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r"!\[.*\]\(losses\.png\)", page.read_text())
    index = study_page.index([(design(), results)])
    row = rows_of(index, "study")[0]
    assert row == ["[losses](losses.md)", "Does a \\*new\\* loss help?", "`new`", "`odd`", "–"]


def test_results_of_another_study_are_refused(results):
    with pytest.raises(DataError, match="not of the study 'heads'") as caught:
        study_page.page(design(name="heads"), results)
    assert "overtone compare heads" in caught.value.hint


def test_the_picture_holds_every_difference():
    dots = [
        Dot("new", Interval(0.2, 0.1, 0.3), "helps"),
        Dot("odd", Interval(-0.1, -0.2, 0.0), "no difference shown"),
    ]
    figure = forest([Panel("mean", True, dots), Panel("mood.$ece$", False, dots[:1])], ["new", "odd"], "old")
    first, second = figure.axes[:2]
    assert (first.get_xlabel(), second.get_xlabel()) == ("better →", "← better")
    assert [label.get_text() for label in first.get_yticklabels()] == ["odd", "new"]
    drawn = {
        (round(line.get_xdata()[0], 6), line.get_ydata()[0]): line
        for line in first.lines
        if line.get_marker() == "o"
    }
    assert set(drawn) == {(0.2, 1), (-0.1, 0)}
    assert drawn[0.2, 1].get_markerfacecolor() == COLOUR["helps"]
    assert drawn[-0.1, 0].get_markerfacecolor() == "white"
    low, high = first.get_xlim()
    assert low == pytest.approx(-high)
    assert high > 0.3
    assert sum(line.get_marker() == "o" for line in second.lines) == 1
