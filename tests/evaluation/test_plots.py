from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex

from overtone.breakdown import per_label, per_number
from overtone.errors import DataError
from overtone.evaluation import plots, plots_numbers, plots_run
from overtone.evaluation.compare import Difference
from overtone.inference.decisions import Decision, Statistics
from overtone.scores import aurc

HISTORY = [
    {"step": 10, "epoch": 0.5, "loss": 2.0, "lr": 1e-4},
    {"step": 20, "epoch": 1.0, "loss": None, "lr": 1e-4},
    {"step": 20, "epoch": 1, "validation": {"loss": 1.8, "emotion.macro_f1": 0.5}, "best": True},
    {"step": 30, "epoch": 1.5, "loss": 1.0, "lr": 1e-4},
    {"step": 40, "epoch": 2, "validation": {"loss": 1.5, "emotion.macro_f1": 0.4}, "best": False},
]


def texts(axes):
    return {text.get_text() for text in axes.texts}


def size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def test_learning_curves_show_what_was_logged():
    left, right = plots_run.learning_curves(HISTORY, "emotion.macro_f1").axes
    assert left.lines[0].get_xydata().tolist() == [[10, 2.0], [30, 1.0]]
    assert left.lines[1].get_xydata().tolist() == [[20, 1.8], [40, 1.5]]
    assert texts(left) == {"training", "validation"}
    assert right.lines[0].get_xydata().tolist() == [[20, 0.5], [40, 0.4]]
    assert texts(right) == {"best 0.500"}


def test_learning_by_task_shows_each_tasks_losses_and_metric():
    rows = [
        {"step": 10, "loss": 2.0, "losses": {"vad": 1.0}},
        {"step": 20, "loss": 1.5, "losses": {"vad": 0.5, "mood": 2.0}},
        {"step": 20, "validation": {"mean": 0.4, "vad.ccc": 0.3, "mood.macro_f1": 0.5}, "best": True},
        {"step": 40, "validation": {"mean": 0.3, "vad.ccc": 0.2, "mood.macro_f1": 0.4}, "best": False},
    ]
    tasks = {"mood": "macro_f1", "vad": "ccc"}
    left, right = plots_run.learning_by_task(rows, "mean", tasks).axes
    assert [line.get_xydata().tolist() for line in left.lines] == [[[20, 2.0]], [[10, 1.0], [20, 0.5]]]
    assert texts(left) == {"mood", "vad"}
    drawn = [line.get_xydata().tolist() for line in right.lines if len(line.get_xydata()) > 1]
    assert drawn == [[[20, 0.5], [40, 0.4]], [[20, 0.3], [40, 0.2]], [[20, 0.4], [40, 0.3]]]
    assert texts(right) == {"mood macro_f1", "vad ccc", "mean, best 0.400"}
    colour = {text.get_text().split()[0]: to_hex(text.get_color()) for text in right.texts}
    assert {text.get_text(): to_hex(text.get_color()) for text in left.texts}.items() <= colour.items()
    _, right = plots_run.learning_by_task(rows, "vad.ccc", tasks).axes
    assert texts(right) == {"mood macro_f1", "vad ccc, best 0.300"}


@pytest.mark.parametrize("n", [120, 900])
def test_estimates_stand_against_the_truth_on_equal_axes(n, numbers):
    p = numbers(n=n)
    panels = plots_numbers.estimated(p).axes
    for panel, row, gold, decided in zip(panels, per_number(p), p.gold.T, p.decided.T, strict=True):
        assert panel.get_title(loc="left") == row.label
        assert texts(panel) == {f"r {row.pearson:.3f}\nCCC {row.ccc:.3f}\nmean error {row.mae:.3f}"}
        assert panel.get_xlim() == panel.get_ylim()
        low, high = panel.get_xlim()
        assert low < min(gold.min(), decided.min())
        assert high > max(gold.max(), decided.max())
        if n == 120:
            assert panel.lines[0].get_xydata() == pytest.approx(np.column_stack([gold, decided]))
        else:
            assert len(panel.lines) == 1
            assert len(panel.collections[0].get_array()) > 50


def test_numbers_without_spread_and_numbers_for_more_than_one_line_are_drawn(numbers, tmp_path):
    p = numbers()
    still = dataclasses.replace(p, gold=np.full_like(p.gold, 2.0), decided=np.full_like(p.gold, 2.0))
    plots.save(plots_numbers.estimated(still), tmp_path / "still.png")
    five = dataclasses.replace(
        p, labels=tuple("abcde"), gold=np.tile(p.gold[:, :1], 5), decided=np.tile(p.decided[:, :1], 5)
    )
    assert [panel.get_visible() for panel in plots_numbers.estimated(five).axes] == [True] * 5 + [False]


def test_a_label_with_few_rows_bears_a_dagger(single):
    p = single(n=200)
    axes = plots.label_f1({"model": dataclasses.replace(p, gold=np.minimum(p.gold, 1))}).axes[0]
    names = {label.get_text() for label in axes.get_yticklabels()}
    assert {"anger (0)†", "fear (0)†"} < names
    assert sum("†" in name for name in names) == 2


def test_long_curves_are_smoothed_over_the_raw_one():
    rows = [{"step": step, "loss": 1 + step % 2} for step in range(100)]
    left, _ = plots_run.learning_curves(rows, "emotion.macro_f1").axes
    raw, smooth = (line.get_ydata() for line in left.lines)
    assert len(raw) == len(smooth) == 100
    assert smooth[50:].std() < raw[50:].std() / 3
    assert smooth[0] == raw[0]
    assert smooth[9] == pytest.approx(np.mean(raw[5:10]))


def test_confusion_shows_counts_and_shares(single):
    p = single(n=40)
    figure = plots.confusion_matrix(p)
    cells = [text.get_text() for text in figure.axes[0].texts]
    counts = [cell for cell in cells if "%" not in cell]
    assert sum(map(int, counts)) == 40
    assert len(cells) == 2 * len(counts)


def test_confusion_of_many_labels_shows_counts_alone_and_of_very_many_none(single):
    p = single(n=40)
    for width, expected in ((14, True), (40, False)):
        labels = tuple(f"label {i}" for i in range(width))
        wide = dataclasses.replace(p, labels=labels, probabilities=np.eye(width)[p.decided])
        cells = texts(plots.confusion_matrix(wide).axes[0])
        assert bool(cells) == expected
        assert not any("%" in cell for cell in cells)


def test_confusion_needs_one_label_a_row(multi):
    with pytest.raises(DataError):
        plots.confusion_matrix(multi())


def test_reliability_shows_every_claim(make):
    p = make(n=80)
    above, below = plots.reliability_diagram(p).axes
    claims = 80 * (4 if p.multilabel else 1)
    assert sum(bar.get_height() for bar in below.patches) == claims
    assert any(text.startswith("ECE 0.") for text in texts(above))


def test_risk_coverage_names_each_curve_and_the_stated_risk(single):
    p = single()
    curves = [plots.Curve(name, p.confidence, p.correct) for name in ("one", "two", "three")]
    axes = plots.risk_coverage_curves(curves, 0.1).axes[0]
    area = aurc(p.confidence, p.correct)
    assert texts(axes) == {
        "stated risk 10%",
        *(f"{name}\nAURC {area:.3f}" for name in ("one", "two", "three")),
    }
    # The three curves are one, so their names would lie on each other.
    ends = sorted(text.xy[1] for text in axes.texts if "AURC" in text.get_text())
    assert np.diff(ends).min() > 0.05 * np.diff(axes.get_ylim())[0]
    assert len(plots.risk_coverage_curves(curves).axes[0].lines) == 3


def test_label_f1_is_sorted_and_has_every_baseline(make):
    p, other = make(1, skill=2.0), make(2)
    figure = plots.label_f1({"model": p, "tfidf": other, "probe": other})
    axes = figure.axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == sorted(row.f1 for row in per_label(p))
    assert len(axes.lines) == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["model", "tfidf", "probe"]
    assert (
        len({to_hex(line.get_color()) for line in axes.lines} | {to_hex(axes.patches[0].get_facecolor())})
        == 3
    )


def test_a_saved_figure_has_two_pixels_a_point_of_the_screen(single, tmp_path):
    figure = plots.confusion_matrix(single())
    path = tmp_path / "plots" / "x.png"
    plots.save(figure, path)
    width, height = figure.get_size_inches()
    assert size(path) == (round(width * 200), round(height * 200))
    first = path.read_bytes()
    plots.save(plots.confusion_matrix(single()), path)
    assert path.read_bytes() == first


def test_odd_names_are_drawn_as_they_are(single, numbers, tmp_path):
    p = dataclasses.replace(single(), labels=("$x_1$", "喜び", "🫠", "a\\b_c$"))
    for name, figure in (
        ("confusion", plots.confusion_matrix(p)),
        ("labels", plots.label_f1({"$m$": p, "$b^$": p})),
        ("risk", plots.risk_coverage_curves([plots.Curve("$", p.confidence, p.correct)], 0.1)),
        ("learning", plots_run.learning_curves(HISTORY, "$a^$.macro_f1")),
        ("tasks", plots_run.learning_by_task(HISTORY, "$m^", {"$a$": "b_", "喜$": "c"})),
        ("gains", plots_run.gains([plots_run.Gain("$a$", "b over $x^", Difference(0.1, 0, 0.2, 0.5))])),
        ("numbers", plots_numbers.estimated(dataclasses.replace(numbers(), labels=("$a^$", "b", "🫠")))),
    ):
        plots.save(figure, tmp_path / f"{name}.png")
    assert len(list(tmp_path.iterdir())) == 7


def test_nothing_of_pyplot_is_touched():
    code = "import sys, overtone.evaluation.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("sources", [(), ("primary",), ("primary", "ask", "noise", "backup")])
def test_statistics_of_a_session(sources, tmp_path):
    statistics = Statistics()
    for source in sources:
        label = None if source == "noise" else "joy"
        statistics.add([Decision(label, 0.5, {}, source, ())])
    figure = plots.decision_statistics(statistics)
    plots.save(figure, tmp_path / "stats.png")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Mean confidence so far",
        "Labels",
        "Decided by",
    ]
    assert len(figure.axes[2].patches) == len(set(sources))


def test_a_loss_that_was_logged_once_is_seen():
    history = [{"step": 20, "losses": {"answer": 3.1}}, {"step": 23, "validation": {"loss": 3.2}}]
    left, _ = plots_run.learning_by_task(history, "loss", {"answer": None}).axes
    assert [line.get_marker() for line in left.lines] == ["o"]
