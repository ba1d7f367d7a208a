from __future__ import annotations

import json
import sys

import pytest

from overtone import cli


@pytest.fixture
def overtone(monkeypatch, capsys):
    """Run a command line in this process: its exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["overtone", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    monkeypatch.setattr(cli, "out", cli.Console(soft_wrap=True, width=200))
    monkeypatch.setattr(cli, "err", cli.Console(stderr=True, soft_wrap=True, width=200))
    return call


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory, tiny, table):
    path = tmp_path_factory.mktemp("recipes") / "moods.yaml"
    path.write_text(
        f"""
name: moods
description: A tiny run on a table of one's own.
data:
  sources: [{{kind: table, path: {table}}}]
  labels: [joy, sadness, anger]
  split: {{kind: seeded, validation: 0.4, test: 0.2}}
body: {{weights: {tiny}}}
train:
  epochs: 2
  batch_size: 16
  optim: {{lr: 0.01, head_lr: 0.01}}
  schedule: {{kind: cosine, warmup_steps: 2}}
evaluate: {{resamples: 100}}
cascade: {{risk: 0.5, sarcasm: false}}
"""
    )
    return path


@pytest.fixture(scope="module")
def moods(tmp_path_factory, recipe_file):
    """A trained and evaluated run, made by the command line."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["overtone", "run", str(recipe_file), "--runs", str(runs)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert not stop.value.code
    return runs / "moods"


def test_a_run_leaves_what_the_design_says(moods):
    for name in ("recipe.yaml", "manifest.json", "metrics.jsonl", "report.md", "report.html"):
        assert (moods / name).stat().st_size > 0
    for name in ("checkpoints", "model", "evaluation", "plots"):
        assert any((moods / name).iterdir())


def test_the_manifest_holds_the_command_as_typed(moods):
    facts = json.loads((moods / "manifest.json").read_text())
    assert facts["command"].startswith("overtone run ")
    assert facts["command"].endswith(str(moods.parent))
    assert facts["fit"]["steps"] == 2 * -(-facts["data"]["rows"]["train"] // 16)


def test_a_finished_run_is_not_overwritten(overtone, moods, recipe_file):
    code, _, err = overtone("run", recipe_file, "--runs", moods.parent)
    assert code == 1
    assert "is finished" in err
    assert "--overwrite" in err


def test_another_recipe_does_not_take_the_folder(overtone, moods, recipe_file):
    code, _, err = overtone("run", recipe_file, "--runs", moods.parent, "--set", "seed=8")
    assert code == 1
    assert "another recipe" in err


def test_a_misspelt_key_is_wrong_usage(overtone, recipe_file):
    code, _, err = overtone("run", recipe_file, "--set", "train.epoch=1")
    assert code == 2
    assert "did you mean 'epochs'" in err


def test_an_unknown_recipe_is_wrong_usage(overtone):
    code, _, err = overtone("run", "emotoin-mini")
    assert code == 2
    assert "emotion-mini" in err


def test_classify_arguments_show_bars(overtone, moods):
    code, out, _ = overtone("classify", moods, "happy sunny laugh")
    assert code == 0
    assert "happy sunny laugh" in out
    assert "█" in out


def test_classify_a_file_gives_one_json_line_a_text(overtone, moods, tmp_path):
    source, target = tmp_path / "in.txt", tmp_path / "out.jsonl"
    texts = ["happy glad smile", "", "rage shout furious", "naïve café 😡"]
    source.write_text("\n".join(texts) + "\n", encoding="utf-8")
    code, _, err = overtone("classify", moods, "--file", source, "--output", target)
    assert code == 0
    rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == texts
    assert rows[1]["source"] == "noise"
    assert "wrote 4 decisions" in err


def test_classify_jsonl_reads_the_text_column(overtone, moods, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "happy"}\n{"text": "lonely tears"}\n')
    code, out, _ = overtone("classify", moods, "--file", source)
    assert code == 0
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["happy", "lonely tears"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b'{"text": "a"}\n{"txet": 1}\n', "line 2"), (b'{"text"\n', "line 1"), (b"\xff\xfe\n", "UTF-8")],
)
def test_classify_names_the_broken_line(overtone, moods, tmp_path, content, complaint):
    source = tmp_path / "in.jsonl"
    source.write_bytes(content)
    code, _, err = overtone("classify", moods, "--file", source)
    assert code == 1
    assert complaint in err


def test_the_decision_log_holds_no_text_unless_asked(overtone, moods, tmp_path):
    log = tmp_path / "log.jsonl"
    overtone("classify", moods, "happy secret", "--log", log)
    assert "secret" not in log.read_text()
    overtone("classify", moods, "happy secret", "--log", log, "--log-text")
    assert "secret" in log.read_text()


def test_a_folder_that_is_no_run(overtone, tmp_path):
    code, _, err = overtone("evaluate", tmp_path)
    assert code == 2
    assert "not a trained run" in err


def test_compare_a_run_with_its_baseline(overtone, moods):
    code, out, _ = overtone(
        "compare", moods / "evaluation" / "majority.jsonl", moods, "--metric", "macro_f1", "--json"
    )
    assert code == 0
    found = json.loads(out)
    low, high = found["difference"][1:]
    assert low <= found["b"] - found["a"] <= high


def test_evaluate_again_gives_the_same_figures(overtone, moods):
    before = (moods / "evaluation" / "test.jsonl").read_text()
    code, out, _ = overtone("evaluate", moods, "--json")
    assert code == 0
    assert json.loads(out)["accuracy"] >= 0
    assert (moods / "evaluation" / "test.jsonl").read_text() == before


def test_lists(overtone):
    code, out, _ = overtone("data", "list", "--json")
    assert code == 0
    assert "goemotions" in {row["name"] for row in json.loads(out)}
    code, out, _ = overtone("weights", "list", "--json")
    assert code == 0
    assert "minilm-l6" in {row["name"] for row in json.loads(out)}
    code, out, _ = overtone("data", "schema")
    assert code == 0
    assert "properties" in json.loads(out)


def test_show_a_data_set(overtone):
    code, out, _ = overtone("data", "show", "overtone-emotions", "--rows", "2")
    assert code == 0
    assert "licence" in out
    code, _, err = overtone("data", "show", "goemotion")
    assert code == 2
    assert "did you mean 'goemotions'" in err


def test_a_truncated_model_is_named(overtone, moods, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(moods, broken)
    heads = broken / "model" / "heads.safetensors"
    heads.write_bytes(heads.read_bytes()[:-10])
    code, _, err = overtone("classify", broken, "hello")
    assert code == 1
    assert "damaged" in err
