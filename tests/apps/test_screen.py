from __future__ import annotations

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from overtone.apps import screen
from overtone.data.records import Record
from overtone.evaluation.compare import Difference, Flip, McNemar

LONG = "a-name-of-a-data-set-that-is-as-long-as-half-a-line/000001"


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80, soft_wrap=True)


def comparison(flips=()):
    return screen.Comparison(
        "accuracy",
        ("runs/[a]", "runs/b/:smile:"),
        (0.5, 0.75),
        Difference(0.25, 0.1, 0.4, 0.01),
        McNemar(1, 3, 0.6),
        flips,
    )


def test_a_name_is_never_cut_and_the_rest_folds(console):
    screen.rows(console, [{"name": LONG, "title": "word " * 20, "at": "/a/long/path" * 9}] * 2)
    shown = console.file.getvalue()
    assert shown.count(LONG) == 2
    assert "…" not in shown
    assert shown.count("word") == 40
    assert max(map(len, shown.splitlines())) <= 80


def test_cells_are_text(console):
    screen.table(console, ["id", "[b]text"], [("[red]1[/]", "[/] :smile:")], title="[t] :smile:")
    shown = console.file.getvalue()
    for part in ("[b]text", "[red]1[/]", "[/] :smile:", "[t] :smile:"):
        assert part in shown


def test_a_comparison_names_both_and_says_which_is_taken_from_which(console):
    comparison([Flip("[r]1", "joy", "[x]", "joy", fixed=True)]).show(console)
    shown = console.file.getvalue()
    assert "A  runs/[a]        accuracy 0.5000" in shown
    assert "B  runs/b/:smile:  accuracy 0.7500" in shown
    assert "B − A  +0.2500, 95% interval +0.1000 to +0.4000" in shown
    assert "right in only one: A 1, B 3" in shown
    assert "flips: 1 fixed, 0 broken" in shown
    assert "[r]1" in shown
    assert "[x]" in shown


def test_a_comparison_as_json():
    found = comparison([Flip("1", "a", "b", "a", fixed=True), Flip("2", "a", "a", "b", fixed=False)])
    assert found.as_dict() == {
        "metric": "accuracy",
        "a": 0.5,
        "b": 0.75,
        "difference": [0.25, 0.1, 0.4],
        "mcnemar": {"only_a": 1, "only_b": 3, "p": 0.6},
        "fixed": 1,
        "broken": 1,
    }


def test_json_has_no_nan():
    assert json.loads(screen.as_json({"a": [float("nan"), float(np.float64(1.5))]})) == {"a": [None, 1.5]}


def test_a_data_set_is_read_no_further_than_it_is_shown(console):
    def records():
        yield Record("s/1", "[bold]one[/] :smile:", {"emotion": "[joy]"}, source="s")
        raise AssertionError("one row was asked for")

    keys = ("title", "licence", "url", "citation", "sizes", "notes")
    card = SimpleNamespace(**{key: f"[{key}]" for key in keys})
    screen.data_set(console, card, records(), 1)
    shown = console.file.getvalue()
    for part in ("licence [licence]", "[bold]one[/] :smile:", "[joy]", "s/1"):
        assert part in shown
    screen.data_set(console, card, records(), 0)


def test_findings_are_named(console):
    screen.findings(console, {"versions": {"python": "3"}, "weights": "[x] " + "p/" * 60})
    shown = console.file.getvalue()
    assert '{"python": "3"}' in shown
    assert "[x]" in shown
    assert max(map(len, shown.splitlines())) <= 80
