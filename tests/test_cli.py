from __future__ import annotations

import errno
import io
import json
import shutil
import sys
from importlib.metadata import version

import pytest
from rich.console import Console

from overtone import cli, doctor, system


@pytest.fixture
def overtone(monkeypatch, typed):
    """Type a command on a wide screen."""
    monkeypatch.setattr(cli, "out", Console(soft_wrap=True, width=200))
    monkeypatch.setattr(cli, "err", Console(stderr=True, soft_wrap=True, width=200))
    return typed


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory, tiny, table):
    path = tmp_path_factory.mktemp("recipes") / "moods.yaml"
    path.write_text(
        f"""
name: moods
description: A tiny run on a table of one's own.
tasks:
  emotion:
    kind: classification
    data:
      sources: [{{kind: table, path: {table}}}]
      labels: [joy, sadness, anger]
      split: {{kind: seeded, validation: 0.4, test: 0.2}}
    head: {{hidden: [], dropout: 0.1}}
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
    assert facts["fit"]["steps"] == 2 * -(-facts["data"]["emotion"]["rows"]["train"] // 16)


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
        "compare",
        moods / "evaluation" / "emotion" / "majority.jsonl",
        moods,
        "--metric",
        "macro_f1",
        "--json",
    )
    assert code == 0
    found = json.loads(out)["emotion"]
    low, high = found["difference"][1:]
    assert low <= found["b"] - found["a"] <= high


def test_evaluate_again_gives_the_same_figures(overtone, moods):
    before = (moods / "evaluation" / "emotion" / "test.jsonl").read_text()
    code, out, _ = overtone("evaluate", moods, "--json")
    assert code == 0
    assert json.loads(out)["emotion"]["accuracy"] >= 0
    assert (moods / "evaluation" / "emotion" / "test.jsonl").read_text() == before


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
    code, out, _ = overtone("data", "show", "overtone-emotions", "--rows", "0")
    assert code == 0
    assert "overtone-emotions/0" not in out
    assert overtone("data", "show", "overtone-emotions", "--rows", "-1")[0] == 2
    code, _, err = overtone("data", "show", "goemotion")
    assert code == 2
    assert "did you mean 'goemotions'" in err


def test_show_a_recipe_whose_name_a_data_set_has(overtone, recipe_file, tmp_path, monkeypatch):
    code, out, _ = overtone("data", "show", recipe_file, "--set", "tasks.emotion.data.split.test=0.4")
    assert code == 0
    assert "leaks between splits" in out
    assert out != overtone("data", "show", recipe_file)[1]
    monkeypatch.chdir(tmp_path)
    shutil.copy(recipe_file, tmp_path / "overtone-emotions")
    assert "licence Apache-2.0" in overtone("data", "show", "overtone-emotions")[1]
    assert "leaks between splits" in overtone("data", "show", "overtone-emotions", "--recipe")[1]
    code, _, err = overtone("data", "show", "overtone-emotions", "--set", "seed=8")
    assert code == 2
    assert "--recipe" in err


def test_lists_cut_no_name_on_a_narrow_screen(overtone, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for verb, names in (
        (("data", "list"), ("overtone-emotions", "sarcasm_headlines")),
        (("weights", "list"), ("smollm2-135m-instruct",)),
        (("recipes",), ("emotion-distilbert-r16", "goemotions-28")),
    ):
        code, out, _ = overtone(*verb)
        assert code == 0
        assert all(name in out for name in names)
        assert "…" not in out


def test_the_version(overtone):
    assert overtone("--version")[:2] == (0, f"overtone {version('overtone')}\n")


def test_doctor_gives_pure_json(overtone, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda console: {"cores": 2, "ratio": float("nan")})
    code, out, _ = overtone("doctor", "--json")
    assert code == 0
    assert json.loads(out) == {"cores": 2, "ratio": None}
    assert "cores" in overtone("doctor")[1]


def test_compare_says_which_is_taken_from_which(overtone, moods):
    code, out, _ = overtone("compare", moods / "evaluation" / "emotion" / "majority.jsonl", moods)
    assert code == 0
    assert f"A  {moods / 'evaluation' / 'emotion' / 'majority.jsonl'}" in out
    assert f"B  {moods}" in out
    assert "B − A" in out


def test_classify_says_what_it_reads(overtone, moods, tmp_path):
    code, _, err = overtone("classify", moods, "happy")
    assert code == 0
    assert f"reads {moods}" in err
    assert "not known to be for commercial use (data: the licence of your own data;" in err
    bound = tmp_path / "bound"
    shutil.copytree(moods, bound)
    facts = json.loads((bound / "manifest.json").read_text())
    for allowed, said in (
        (True, ""),
        (False, "not for commercial use (data: for [research]; weights: MIT)"),
    ):
        facts["licence"] = {"commercial": allowed, "data": "for [research]", "weights": "MIT"}
        (bound / "manifest.json").write_text(json.dumps(facts))
        _, _, err = overtone("classify", bound, "happy")
        assert err.splitlines()[1:] == ([said] if said else [])


@pytest.fixture
def shipped(moods, monkeypatch):
    """The run of these tests in place of the classifier that ships with the package."""
    monkeypatch.setattr(system, "shipped", lambda: moods)


@pytest.mark.parametrize("text", ["word " * 96, "x" * 480, "yes / no", "", "nul\0byte", "[bold]:smile:"])
def test_a_first_word_that_is_a_text(overtone, shipped, text):
    code, out, err = overtone("classify", text, "--json")
    assert code == 0
    assert json.loads(out)["text"] == text
    assert "ships with the package" in err


@pytest.mark.parametrize("word", ["runs/none", "./none", "folder"])
def test_a_first_word_that_is_no_run(overtone, shipped, tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    code, out, err = overtone("classify", word, "happy")
    assert code == 2
    assert out == ""
    assert f"{word} is not a run's folder" in err


def test_without_the_shipped_classifier(overtone, tmp_path, monkeypatch):
    monkeypatch.setattr(system, "shipped", lambda: tmp_path)
    code, _, err = overtone("classify", "happy")
    assert code == 1
    assert 'overtone classify runs/emotion-mini "…"' in err


def test_classify_refuses_what_does_not_go_together(overtone, moods, tmp_path):
    source = tmp_path / "in.txt"
    source.write_text("happy\n")
    for arguments, complaint in (
        (["a text", "--file", source], "two sources"),
        (["a text", "--log-text"], "needs --log"),
        (["--file", source, "--output", source], "one file"),
        (["--file", source, "--log", source], "one file"),
    ):
        code, _, err = overtone("classify", moods, *arguments)
        assert code == 2
        assert complaint in err
    assert source.read_text() == "happy\n"


@pytest.mark.parametrize("given", [[], ["--file", "-"]])
def test_classify_standard_input(overtone, moods, monkeypatch, given):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("happy é\r\n\n".encode())))
    code, out, _ = overtone("classify", moods, *given)
    assert code == 0
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["happy é", ""]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"happy\n\xff\n")))
    code, _, err = overtone("classify", moods, *given)
    assert code == 1
    assert "line 2: not UTF-8" in err


def test_training_again_says_that_it_is_done(overtone, moods, recipe_file, tmp_path):
    shutil.copytree(moods, tmp_path / "moods")
    (tmp_path / "moods" / "report.md").unlink()
    code, _, err = overtone("train", recipe_file, "--runs", tmp_path)
    assert code == 0
    assert "is trained already" in err
    assert "wrote" not in err


def test_a_run_that_goes_on_keeps_its_name(overtone, moods):
    code, _, err = overtone("run", moods, "--name", "other")
    assert code == 2
    assert "--name" in err


@pytest.mark.parametrize("name", ["../out", "a/b", "Upper", "", ".hidden", "a\n"])
def test_a_name_is_one_that_a_recipe_could_have(overtone, recipe_file, tmp_path, name):
    for verb in ("run", "train"):
        code, _, err = overtone(verb, recipe_file, "--runs", tmp_path / "runs", "--name", name)
        assert code == 2
        assert "not a run's name" in err
    assert not (tmp_path / "runs").exists()


def test_a_folder_with_a_recipe_alone_is_no_run_to_go_on_with(overtone, recipe_file, tmp_path):
    shutil.copy(recipe_file, tmp_path / "recipe.yaml")
    code, _, err = overtone("run", tmp_path)
    assert code == 2
    assert "no recipe" in err


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/[y]"),
            1,
            "error /x/[y]: No space left on device\n",
        ),
        (OSError("first line\nsecond line"), 1, "error first line\n"),
    ],
)
def test_what_ends_a_command_is_one_line(overtone, monkeypatch, failure, code, said):
    def fail(console):
        raise failure

    monkeypatch.setattr(doctor, "examine", fail)
    assert overtone("doctor") == (code, "", said)


def test_a_truncated_model_is_named(overtone, moods, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(moods, broken)
    heads = broken / "model" / "heads.safetensors"
    heads.write_bytes(heads.read_bytes()[:-10])
    code, _, err = overtone("classify", broken, "hello")
    assert code == 1
    assert "damaged" in err
