from __future__ import annotations

import io

import pytest
from rich.console import Console

from overtone.apps import bench_backbones
from overtone.backbones import MODES, Backbone, Rate
from overtone.evaluation.compare import Interval


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=80, soft_wrap=True)


def row(name, *, at_hand=True, accuracy=None, peak=3456.7):
    rates = {mode: Rate(1234.5 + i, 0.25, 0.2, 0.3) for i, mode in enumerate(MODES)}
    return Backbone(name, at_hand, 277_453_056, 768, 12, 1109.8, peak, peak, 8, 32, rates, accuracy)


def test_every_figure_is_shown(console):
    rows = [row("minilm-l6", accuracy=Interval(0.5, 0.4, 0.6)), row("xlm-roberta", at_hand=False, peak=None)]
    bench_backbones.show(console, rows)
    shown = console.file.getvalue()
    for text in ("277.5M", "12 × 768", "its own", "random", "1,110", "3,457", "unknown", "1,236 (0.25×)"):
        assert text in shown, text
    assert "0.500 (0.400 to 0.600)" in shown
    assert "8 × 32 tokens (× is to minilm-l6)" in shown
    assert "xlm-roberta is not at hand; get it with: overtone weights fetch xlm-roberta" in shown
    assert "minilm-l6 is not at hand" not in shown
    assert "…" not in shown


def test_the_tables_fit_on_a_narrow_screen(console):
    rows = [row("xtremedistil-l6", at_hand=False)]
    bench_backbones.show(console, rows)
    shown = console.file.getvalue()
    *tables, command = shown.splitlines()
    assert max(map(len, tables)) <= 80
    assert command.endswith("overtone weights fetch xtremedistil-l6")  # whole, to be copied
    for word in ("parameters", "weights", "train-bf16"):
        assert word in shown
    assert "accuracy" not in shown


def test_a_bar_is_for_terminals(console):
    with bench_backbones.progress(console, 2) as step:
        step("minilm-l6")
        step("minilm-l6")
    assert console.file.getvalue() == ""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    with bench_backbones.progress(terminal, 2) as step:
        step("minilm-l6")
    assert "measuring minilm-l6" in terminal.file.getvalue()
