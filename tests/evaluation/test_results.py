from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from datetime import UTC, datetime

import pytest

from overtone.errors import DataError, RunError
from overtone.evaluation import results
from overtone.evaluation.results import (
    Figure,
    Results,
    environment,
    load_results,
    render,
    table,
    update_page,
    write_results,
)

FIGURES = (
    Figure("emotion-6.test.accuracy", 0.927, 0.915, 0.938, 2000, against="published best 0.930"),
    Figure("emotion.cascade.risk_kept", 19, n=20, unit="count of 20"),
    Figure("classify.throughput.ratio", 4.214, 4.1, 4.3, unit="ratio"),
    Figure("classify.throughput.ours", 1234.5, unit="texts/s", against="a | b"),
)


def made():
    return Results(
        "python benchmarks/x.py", "0123456789abcdef", "2025-01-02", 7, "2 cores Y, 8 GB", {}, FIGURES
    )


def test_results_survive_the_disk(tmp_path):
    path = tmp_path / "emotion.json"
    written = write_results(path, "python benchmarks/emotion.py", 7, FIGURES)
    assert load_results(path) == written
    value = json.loads(path.read_text())
    assert list(value) == ["command", "commit", "date", "seed", "hardware", "versions", "figures"]
    assert value["figures"][0] == {
        "name": "emotion-6.test.accuracy",
        "value": 0.927,
        "low": 0.915,
        "high": 0.938,
        "n": 2000,
        "unit": "share",
        "against": "published best 0.930",
    }
    assert value["figures"][1] == {
        "name": "emotion.cascade.risk_kept",
        "value": 19,
        "n": 20,
        "unit": "count of 20",
    }


def test_the_environment_is_read_from_the_machine():
    found = environment()
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert found["commit"].removesuffix("+dirty") in {head.stdout.strip(), "unknown"}
    assert found["date"] == datetime.now(UTC).date().isoformat()
    assert found["versions"]["numpy"]
    cores, word, *_ = found["hardware"].split()
    assert int(cores) > 0
    assert word == "cores"
    assert found["hardware"].count("GB") == 1


def test_outside_a_repository_the_commit_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    assert environment()["commit"] == "unknown"


def test_code_that_was_changed_since_its_commit_is_dirty(monkeypatch, tmp_path):
    def git(*arguments):
        settings = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        made = subprocess.run(
            ["git", *settings, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return made.stdout.strip()

    file = tmp_path / "results.py"
    file.write_text("1\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    head = git("rev-parse", "HEAD")
    monkeypatch.setattr(results, "__file__", str(file))
    (tmp_path / "untracked").touch()
    assert environment()["commit"] == head
    file.write_text("2\n")
    assert environment()["commit"] == f"{head}+dirty"
    shown = table(dataclasses.replace(made(), commit=f"{head}+dirty"))
    assert f"commit {head[:12]}+dirty · " in shown


@pytest.mark.parametrize(
    "name", ["accuracy", "Emotion.test.accuracy", "a..b", "a.b.", "a.b.c d", "", "a.b.-c"]
)
def test_other_names_are_refused(name):
    with pytest.raises(DataError, match="does not name a figure"):
        Figure(name, 1.0)


def test_a_number_of_a_head_names_a_figure():
    for name in ("affect.vad.valence.pearson", "affect.vad.tfidf.valence.pearson.difference"):
        assert Figure(name, 0.8, 0.7, 0.9, 1000, unit="correlation").name == name


def test_malformed_figures_are_refused():
    with pytest.raises(DataError, match="not a finite number"):
        Figure("a.b.c", float("nan"))
    with pytest.raises(DataError, match="proper interval"):
        Figure("a.b.c", 1.0, low=0.5)
    with pytest.raises(DataError, match="proper interval"):
        Figure("a.b.c", 1.0, low=0.5, high=0.4)


def test_figures_have_their_own_names(tmp_path):
    with pytest.raises(DataError, match=r"'a\.b\.c' stands twice"):
        write_results(tmp_path / "x.json", "x", 1, [Figure("a.b.c", 1), Figure("a.b.c", 2)])
    with pytest.raises(DataError, match="no figures"):
        write_results(tmp_path / "x.json", "x", 1, [])
    assert not list(tmp_path.iterdir())


def test_the_table_is_as_it_should_be_read():
    assert table(made()).splitlines() == [
        "| figure | value (95% interval) | n | unit | beside |",
        "| --- | ---: | ---: | --- | --- |",
        "| `emotion-6.test.accuracy` | 0.927 (0.915 to 0.938) | 2,000 | share | published best 0.930 |",
        "| `emotion.cascade.risk_kept` | 19 | 20 | count of 20 |  |",
        "| `classify.throughput.ratio` | 4.214 (4.100 to 4.300) |  | ratio |  |",
        "| `classify.throughput.ours` | 1,234 |  | texts/s | a \\| b |",
        "",
        "`python benchmarks/x.py` · seed 7 · commit 0123456789ab · 2025-01-02 · 2 cores Y, 8 GB"
        " · torch unknown",
    ]


def test_the_readme_is_made_from_the_files(tmp_path):
    write_results(tmp_path / "emotion.json", "python benchmarks/emotion.py", 7, FIGURES[:1])
    readme = tmp_path / "README.md"
    readme.write_text("# X\n<!-- results:emotion -->\nold\n<!-- /results -->\ntail `\\1`\n")
    assert update_page(readme, tmp_path)
    text = readme.read_text()
    assert text.startswith("# X\n<!-- results:emotion -->\n| figure")
    assert text.endswith("\n<!-- /results -->\ntail `\\1`\n")
    assert "old" not in text
    assert not update_page(readme, tmp_path)
    assert render(text, tmp_path) == text


def test_a_page_may_show_some_figures(tmp_path):
    names = ("emotion.test.accuracy", "emotion.test.macro_f1", "emotion.tfidf.accuracy")
    write_results(tmp_path / "x.json", "x", 7, [Figure(name, 0.5) for name in names])

    def shown(names):
        text = render(f"<!-- results:x {names} -->\n<!-- /results -->", tmp_path)
        assert render(text, tmp_path) == text
        return re.findall(r"^\| `(.*?)`", text, re.MULTILINE)

    assert shown("*.accuracy") == [names[0], names[2]]
    assert shown("emotion.tfidf.accuracy emotion.test.*") == list(names)
    with pytest.raises(DataError, match=r"gives no figure 'emotion\.test\.acuracy'") as caught:
        shown("emotion.test.acuracy")
    assert "emotion.test.accuracy" in caught.value.hint


def test_a_page_may_show_every_command(tmp_path):
    for name in ("two", "one"):
        write_results(tmp_path / f"{name}.json", f"python {name}.py", 7, FIGURES[:1])
    text = render("<!-- results:every -->\n<!-- /results -->", tmp_path)
    assert re.findall(r"^\| `(\w+)` \| `(.*?)` \| 1 \|", text, re.MULTILINE) == [
        ("one", "python one.py"),
        ("two", "python two.py"),
    ]
    assert render(text, tmp_path) == text


def test_two_tables_in_one_text(tmp_path):
    for name in ("one", "two"):
        write_results(tmp_path / f"{name}.json", name, 7, [Figure(f"{name}.test.accuracy", 1)])
    text = "".join(f"<!-- results:{name} -->\n<!-- /results -->\nbetween\n" for name in ("one", "two"))
    lines = render(text, tmp_path).splitlines()
    assert lines.count("between") == 2
    assert sum("one.test.accuracy" in line for line in lines) == 1


@pytest.mark.parametrize(
    "text",
    [
        "<!-- results:x -->\n",
        "<!-- /results -->",
        "<!-- results:x -->\n<!-- results:x -->\n<!-- /results -->",
        "<!-- results:x --> inline <!-- /results -->",
    ],
)
def test_a_marker_without_its_partner_is_refused(text, tmp_path):
    write_results(tmp_path / "x.json", "x", 7, FIGURES)
    with pytest.raises(DataError, match="no partner"):
        render(text, tmp_path)


def test_unknown_and_damaged_results(tmp_path):
    write_results(tmp_path / "emotion.json", "x", 7, FIGURES)
    with pytest.raises(DataError, match="did you mean 'emotion'"):
        render("<!-- results:emotions -->\n<!-- /results -->", tmp_path)
    with pytest.raises(RunError, match="could not read"):
        update_page(tmp_path / "none.md", tmp_path)
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "extra.json").write_text(json.dumps({**dataclasses.asdict(made()), "mood": 1}))
    for name in ("list", "extra"):
        with pytest.raises(DataError, match="not a results file"):
            load_results(tmp_path / f"{name}.json")
