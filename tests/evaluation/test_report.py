from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from overtone.breakdown import per_label, per_number, rare
from overtone.data.leakage import Leak
from overtone.data.split import DataReport
from overtone.errors import RunError
from overtone.evaluation.compare import McNemar, System, interval, standings
from overtone.evaluation.findings import (
    Cascade,
    EdgeCases,
    Evidence,
    Licence,
    Origin,
    Report,
    Training,
    best_baseline,
    verdict,
)
from overtone.evaluation.markdown import escape
from overtone.evaluation.plots import Curve
from overtone.evaluation.report import markdown, pictures, write

COUNTS = {
    "train": {"joy": {"tweets": 1200, "comments": 7}, "fear": {"tweets": 30}},
    "validation": {"joy": {"tweets": 4}, "fear": {}},
    "test": {"joy": {"tweets": 4}, "fear": {"comments": 2}},
}
DATA = DataReport(
    rows={"train": 1237, "validation": 4, "test": 6},
    counts=COUNTS,
    left_out={"tweets: label not among the task's": 12},
    leaks=(Leak("a", "train", "b", "test", 1.0, True), Leak("c", "train", "d", "test", 0.9, False)),
    dropped={"train": 2, "validation": 0, "test": 0},
    licence="CC BY-NC 4.0",
    commercial=False,
)
HISTORY = [
    {"step": 10, "loss": 2.0},
    {"step": 20, "validation": {"loss": 1.8, "emotion.macro_f1": 0.5}, "best": True},
]
ORIGIN = Origin(
    "Eight emotions.",
    "overtone run emotion --set train.epochs=5",
    7,
    {"commit": "abc", "date": "2025-01-02", "hardware": "2 cores Y, 8 GB", "versions": {"torch": "2.13"}},
)


def evidence(make, skill=3.0, metric=None, **more):
    model = System("emotion", make(1, skill=skill))
    numbers = model.predictions.kind == "regression"
    baselines = [System("majority", make(2, skill=0.0)), System("tfidf", make(3, skill=1.5))]
    metric = metric or ("pearson" if numbers else "accuracy")
    shown = [metric, "ccc", "mae"] if numbers else [metric, "macro_f1", "ece"]
    found = standings(model, baselines, shown, seed=7, resamples=200)
    return Evidence(**{"task": "emotion", "data": DATA, **more}, **told(metric, model, baselines, found))


def told(metric, model, baselines, found):
    return {"metric": metric, "model": model, "baselines": baselines, "standings": found}


def report(make, **more):
    training = Training(HISTORY, "emotion.macro_f1", 75.2, 88.3, 1000, 10, 2**30)
    licence = Licence("CC BY-NC 4.0", "Apache-2.0", commercial=False)
    first = more.pop("evidence", None) or evidence(make)
    parts = {"tasks": [first], "training": training, "licence": licence, **more}
    return Report(origin=ORIGIN, **parts)


def section(text, title):
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_verdict_is_better(single):
    said = verdict(evidence(single))
    assert said.startswith("emotion is better than its best baseline, tfidf: 0.")
    assert "on 120 test rows" in said
    assert "McNemar p < 0.001" in said


@pytest.mark.parametrize(("skill", "words"), [(1.3, "is not shown to differ from"), (0.2, "is worse than")])
def test_the_verdict_does_not_flatter(skill, words, single):
    assert words in verdict(evidence(single, skill))


@pytest.mark.parametrize(("skill", "words"), [(3.0, "is better than"), (0.2, "is worse than")])
def test_the_verdict_knows_the_direction_of_the_metric(skill, words, single):
    found = evidence(single, skill, "log_loss")
    assert words in verdict(found)
    assert best_baseline(found).name == "tfidf"


def test_a_report_without_a_baseline_is_refused(single, tmp_path):
    found = evidence(single)
    alone = dataclasses.replace(found, baselines=(), standings=found.standings[:1])
    with pytest.raises(RunError, match="no baseline row"):
        write(report(single, evidence=alone), tmp_path)
    assert not list(tmp_path.iterdir())
    unequal = dataclasses.replace(found, standings=found.standings[:2])
    with pytest.raises(RunError, match="no baseline row"):
        markdown(report(single, evidence=unequal))


OWN = {
    "single_label": ["By label", "Learning, confusion and confidence", "Flips against tfidf"],
    "multi_label": ["By label", "Learning and confidence", "Flips against tfidf"],
    "estimates": ["By number", "Learning and errors", "Rows farthest off"],
}


def titles(text, depth=2):
    return [line[depth + 1 :] for line in text.splitlines() if line.startswith("#" * depth + " ")]


def test_every_section_stands_in_the_report(anything):
    text = markdown(report(anything))
    assert titles(text) == [
        "Against the baselines",
        "By source",
        *OWN[anything.__name__],
        "Data and leakage",
        "Cost",
        "Licence",
        "Make it again",
    ]
    assert ("plots/confusion.png" in text) == (anything.__name__ == "single_label")
    assert ("McNemar" in text) == (anything.__name__ != "estimates")


def test_the_comparison_has_intervals_gains_and_tests(single):
    found = report(single)
    rows = section(markdown(found), "Against the baselines").splitlines()
    first = found.tasks[0].standings[0].figures["accuracy"]
    assert f"| **emotion** | {first.value:.3f} ({first.low:.3f}–{first.high:.3f}) |  |  |  |" in "\n".join(
        rows
    )
    tfidf = next(row for row in rows if row.startswith("| tfidf"))
    gain, test = found.tasks[0].standings[2].gain, found.tasks[0].standings[2].mcnemar
    assert (
        f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) | {test.only_b} : {test.only_a} |" in tfidf
    )
    assert any(row.startswith("| brier ↓ | squared error | 0.") for row in rows)


def test_each_source_has_its_figures(single):
    found = report(single)
    text = section(markdown(found), "By source")
    p = found.tasks[0].model.predictions
    right = sum(ok for ok, source in zip(p.correct, p.sources, strict=True) if source == "tweets") / 60
    assert f"| tweets | 60 | {right:.3f} (" in text
    assert "| comments | 60 | " in text


def test_flips_show_texts_as_they_are(single):
    shown = {f"r{i}": "so <b>odd</b> | `x`" for i in range(120)}
    text = section(markdown(report(single, evidence=evidence(single, texts=shown))), "Flips against tfidf")
    assert r"so \<b\>odd\</b\> \| \`x\`" in text
    fixed = text.split("### Broken")[0]
    assert len(re.findall(r"\n\| r\d", fixed)) == 10
    hidden = section(markdown(report(single)), "Flips against tfidf")
    assert "odd" not in hidden


def test_data_leakage_cost_and_command(single):
    text = markdown(report(single))
    data = section(text, "Data and leakage")
    assert "Rows: 1,237 train, 4 validation, 6 test." in data
    assert "2 rows had a twin in another split (1 the same text" in data
    assert "dropped: 2 from train, 0 from validation, 0 from test" in data
    assert "| joy | 1,200 | 7 | 4 | 0 | 4 | 0 |" in data
    assert "| all | 1,230 | 7 | 4 | 0 | 4 | 2 |" in data
    assert "| tweets: label not among the task's | 12 |" in data
    assert "teacher" not in data
    taught = dataclasses.replace(DATA, unlabelled=4321, unlabelled_leaks=DATA.leaks[:1])
    data = section(markdown(report(single, evidence=evidence(single, data=taught))), "Data and leakage")
    assert "labelled 4,321 more rows to train on" in data
    assert "were left out: 1." in data
    cost = section(text, "Cost")
    for row in ("1 min 15 s", "| rows a second | 88 |", "10 (1.00%)", "1.00 GiB", "2 cores Y, 8 GB"):
        assert row in cost
    assert "```sh\novertone run emotion --set train.epochs=5\n```" in text
    assert "Seed 7, commit abc, 2025-01-02. torch 2.13." in text


def test_a_licence_without_commercial_use_is_loud(single):
    text = markdown(report(single))
    assert "> **Not for commercial use.** This model was trained on data under: CC BY-NC 4.0." in text
    free = markdown(report(single, licence=Licence("CC-BY-4.0", "Apache-2.0", commercial=True)))
    assert "Not for commercial use" not in free
    assert "allow commercial use" in section(free, "Licence")


@pytest.mark.parametrize(("weights", "own"), [("Apache-2.0", "data"), ("unknown", "data and weights")])
def test_a_licence_that_is_not_known_is_said_to_be_so(single, weights, own):
    text = markdown(report(single, licence=Licence("the licence of your own data", weights, commercial=None)))
    assert "Not for commercial use" not in text
    said = section(text, "Licence")
    assert f"commercial use is unknown: check the licence of your own {own};" in said


def test_the_intervals_by_source_have_the_recipes_resamples(single, monkeypatch):
    asked = []

    def counted(*arguments, **settings):
        asked.append(settings["resamples"])
        return interval(*arguments, **settings)

    monkeypatch.setattr("overtone.evaluation.chapter.interval", counted)
    markdown(report(single, evidence=evidence(single, resamples=100)))
    assert asked[:2] == [100, 100]
    assert set(asked) == {100}


def test_beside_a_cascade_the_model_is_called_the_primary_alone(single):
    curve = Curve("cascade", np.array([0.9, 0.5]), np.array([True, False]))
    with_it = section(
        markdown(report(single, cascade=Cascade("a rule", 0.1, {}, [curve]))), "Against the baselines"
    )
    assert "| **emotion**, the primary alone | " in with_it
    assert "people get the cascade" in with_it
    without = section(markdown(report(single)), "Against the baselines")
    assert "primary" not in without
    assert "cascade" not in without


def test_a_run_that_was_resumed_says_so(single):
    resumed = [{"date": "2025-01-03", "commit": "def"}]
    origin = dataclasses.replace(ORIGIN, environment={**ORIGIN.environment, "resumed": resumed})
    text = markdown(dataclasses.replace(report(single), origin=origin))
    assert "Seed 7, commit abc, 2025-01-02; resumed at commit def, 2025-01-03. torch 2.13." in text


def test_the_cascade_and_the_edge_cases_stand_where_given(single):
    p = single()
    cascade = Cascade(
        "at most 10% wrong", 0.1, {"answered": "66%"}, [Curve("cascade", p.confidence, p.correct)]
    )
    edges = EdgeCases(
        {"emoji": 10, "sarcasm": 4},
        {"primary": {"emoji": 5, "sarcasm": 1}, "cascade": {"emoji": 9, "sarcasm": 2}},
        McNemar(1, 6, 0.125),
    )
    found = report(single, cascade=cascade, edges=edges)
    text = markdown(found)
    assert "The rule: at most 10% wrong." in section(text, "Cascade")
    assert "| answered | 66% |" in section(text, "Cascade")
    assert "| all | 14 | 6 (43%) | 11 (79%) |" in section(text, "Edge cases")
    assert "Right alone: cascade 6, primary 1 (McNemar p = 0.125)." in section(text, "Edge cases")
    assert "risk" in pictures(found)
    assert "risk" not in pictures(report(single))


def test_a_run_without_history_has_no_curves(single):
    training = Training([], "emotion.macro_f1", 0.5, 10.0, 100, 100, 2**20)
    found = report(single, training=training)
    assert "learning" not in pictures(found)
    assert "plots/learning.png" not in markdown(found)
    assert "| 0.5 s |" in markdown(found)


def test_labels_with_few_rows_are_marked_and_left_out_of_a_second_mean(single):
    found = report(single)
    p = found.tasks[0].model.predictions
    few = rare(p)
    assert few
    assert len(few) < len(p.labels)
    text = section(markdown(found), "By label")
    for row in per_label(p):
        assert f"| {row.label}{' †' if row.label in few else ''} | {row.support} |" in text
    rest = [row.f1 for row in per_label(p) if row.label not in few]
    table = text.split("† Fewer than 30 test rows")[1]
    assert f"the {len(rest)} without †" in table
    ours = next(line for line in table.splitlines() if line.startswith("| emotion"))
    assert f"{np.mean(rest):.3f} (" in ours.split("|")[3]
    assert f"{np.mean([row.f1 for row in per_label(p)]):.3f} (" in ours.split("|")[2]


def test_labels_with_rows_enough_are_not_marked(single):
    def larger(seed, skill):
        return single(seed, n=400, skill=skill)

    assert "†" not in markdown(report(larger))


def test_numbers_have_their_own_figures_errors_and_farthest_rows(numbers):
    found = report(numbers, evidence=evidence(numbers, texts={f"r{i}": f"text {i}" for i in range(120)}))
    text, p = markdown(found), found.tasks[0].model.predictions
    assert "difference of +0." in text.splitlines()[2]
    assert "; bootstrap p = 0.0" in text.splitlines()[2]
    own = section(text, "By number")
    rival = found.tasks[0].baselines[1].predictions
    for ours, theirs in zip(per_number(p), per_number(rival), strict=True):
        row = next(line for line in own.splitlines() if line.startswith(f"| {ours.label}"))
        assert f"| {ours.pearson:.3f} (" in row
        assert f"| {ours.ccc:.3f} (" in row
        assert row.endswith(f"| {ours.mae:.3f} | {theirs.pearson:.3f} | {theirs.ccc:.3f} |")
    assert "plots/numbers.png" in own
    error = p.decided[:, 0] - p.gold[:, 0]
    errors = section(text, "Learning and errors")
    assert f"| valence | {error.mean():+.3f} | {np.median(np.abs(error)):.3f} |" in errors
    assert f"| {p.decided[:, 0].std() / p.gold[:, 0].std():.0%} |" in errors
    distance = np.sqrt((((p.decided - p.gold) / p.gold.std(axis=0)) ** 2).mean(axis=1))
    far = section(text, "Rows farthest off")
    rows = [line for line in far.splitlines() if line.startswith("| r") and not line.startswith("| row")]
    assert [line.split(" | ")[0] for line in rows] == [f"| r{i}" for i in np.argsort(-distance)[:10]]
    worst = int(distance.argmax())
    assert f"| text {worst} |" in rows[0]
    assert f"| {', '.join(f'{x:.2f}' for x in p.gold[worst])} |" in rows[0]
    comparison = section(text, "Against the baselines")
    assert "| system | pearson | model's gain | p | ccc | mae |" in comparison
    assert "right alone" not in comparison.lower()


@pytest.fixture
def several(single, multi, numbers):
    """A report of three tasks; the model is worse in the third, whose metric is better when lower."""
    tasks = [
        evidence(multi, task="mood", metric="macro_f1"),
        evidence(numbers, task="vad"),
        evidence(single, 0.2, task="safety|x", metric="log_loss"),
    ]
    history = [
        {"step": 10, "loss": 2.0, "losses": {"mood": 0.5, "vad": 1.0}},
        {"step": 20, "loss": 1.0, "losses": {"vad": 0.5, "safety|x": 0.7}},
        {"step": 20, "validation": {"loss": 1.8, "mean": 0.4, "vad.pearson": 0.5}, "best": True},
    ]
    return report(single, tasks=tasks, training=Training(history, "mean", 75.2, 88.3, 1000, 10, 2**30))


def test_a_report_of_several_tasks_opens_with_a_verdict_for_each(several):
    text = markdown(several)
    first = [line for line in text.splitlines() if line.startswith("- **")]
    assert [line.split("**")[1] for line in first] == ["mood", "vad", r"safety\|x"]
    assert "emotion is better than its best baseline, tfidf: " in first[0]
    assert "emotion is worse than its best baseline, tfidf: " in first[2]
    assert titles(text) == [
        "All tasks",
        "Learning",
        "mood",
        "vad",
        r"safety\|x",
        "Cost",
        "Licence",
        "Make it again",
    ]
    assert titles(text, 3)[:6] == [
        "Against the baselines",
        "By source",
        "By label",
        "Confidence",
        "Flips against tfidf",
        "Data and leakage",
    ]
    assert "Every metric" in titles(text, 4)


def test_several_tasks_stand_side_by_side(several):
    rows = section(markdown(several), "All tasks").splitlines()
    for each in several.tasks:
        row = next(line for line in rows if f"| **{escape(each.task)}** |" in line)
        mine, best = each.standings[0].figures[each.metric], each.standings[2]
        assert f"{mine.value:.3f} ({mine.low:.3f}–{mine.high:.3f})" in row
        assert f"| {best.figures[each.metric].value:.3f}, tfidf |" in row
        assert f"{best.gain.value:+.3f} ({best.gain.low:+.3f} to {best.gain.high:+.3f})" in row
    assert any("| log_loss ↓ |" in line for line in rows)


def test_the_pictures_of_several_tasks_bear_their_names(several):
    assert set(pictures(several)) == {
        "learning",
        "gains",
        "mood-labels",
        "mood-reliability",
        "vad-numbers",
        *(f"safety|x-{name}" for name in ("labels", "confusion", "reliability")),
    }


def test_a_gain_in_a_metric_that_is_better_when_lower_points_the_same_way(several):
    axes = pictures(several)["gains"].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["safety|x", "vad", "mood"]
    values = [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o"]
    best = [each.standings[2].gain.value for each in several.tasks]
    assert values == pytest.approx([-best[2], best[1], best[0]])
    assert values[0] < 0 < min(values[1:])


def test_a_metric_of_one_number_can_be_what_a_report_is_about(numbers):
    text = markdown(report(numbers, evidence=evidence(numbers, metric="valence.pearson")))
    assert " valence.pearson on 120 test rows" in text
    assert "The valence.pearson on each data set's test rows" in section(text, "By source")


def test_a_written_report_is_whole(anything, tmp_path):
    path = write(report(anything), tmp_path)
    made = path.read_text()
    pngs = {found.stem for found in (tmp_path / "plots").iterdir()}
    text = (tmp_path / "report.md").read_text()
    assert path == tmp_path / "report.html"
    assert all(f"(plots/{name}.png)" in text for name in pngs)
    assert made.count("data:image/png;base64,") == len(pngs) == text.count(".png)")
    assert made.count('alt=""') == 0
    assert "http" not in made.replace("http-equiv", "")


def test_a_written_report_of_several_tasks_is_whole(several, tmp_path):
    named = dataclasses.replace(several.tasks[2], task="safety")
    made = write(dataclasses.replace(several, tasks=[*several.tasks[:2], named]), tmp_path).read_text()
    pngs = {found.stem for found in (tmp_path / "plots").iterdir()}
    text = (tmp_path / "report.md").read_text()
    assert all(f"(plots/{name}.png)" in text for name in pngs)
    assert made.count("data:image/png;base64,") == len(pngs) == text.count(".png)") == 8
    assert made.count("<li>") == 3
