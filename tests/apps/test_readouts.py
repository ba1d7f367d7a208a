from __future__ import annotations

import builtins
import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.text import Text
from scipy.special import expit, softmax

from overtone import cli, system
from overtone.apps import readouts
from overtone.inference.classify import Reader
from overtone.inference.decisions import DecisionLog
from overtone.inference.readout import Answer, Readout
from overtone.models import store
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.run import Run
from overtone.system import System
from overtone.training.tasks import Reading
from toys import sentences

FEELINGS = ("joy", "sadness", "anger", "fear", "calm", "neutral")
ACTS = ("inform", "question", "directive", "commissive")
NUMBERS = ("valence", "arousal")
MEAN, SCALE = np.array([3.0, -20.0]), np.array([0.5, 40.0])
TEXTS = [text for text, _ in sentences(40)]

SAMPLE = Readout(
    {
        "emotion": Answer(
            "multilabel",
            {
                "anger": 0.71,
                "sad[/]ness": 0.34,
                "fear": 0.22,
                "joy": 0.11,
                "calm": 0.1,
                "love": 0.09,
                "hm": 0.0,
            },
            ("anger", "love"),
        ),
        "vad": Answer(
            "regression",
            {"valence": 2.3, "arousal": 3.0, "dominance": 9.0, "odd": -1.0},
            (),
            {"valence": (3.0, 0.35), "arousal": (3.0, 0.3), "dominance": (3.0, 1.0), "odd": (3.0, 1.0)},
        ),
        "act": Answer("classification", {"ask": 0.6, "tell": 0.3, "do": 0.1, "be": 0.0}, ("ask",)),
    }
)


@pytest.fixture(scope="module")
def reader(tiny):
    """A head of each kind on a random body; the thresholds split the texts, and one head reads a context."""
    torch.manual_seed(3)
    head = HeadConfig(hidden=(), dropout=0.0)
    sizes = {"emotion": FEELINGS, "vad": NUMBERS, "intent": ACTS}
    config = EncoderConfig(weights=str(tiny), dropout=0.0)
    model = store.build(config, None, {task: (head, len(names)) for task, names in sizes.items()}).eval()
    readings = {
        "emotion": Reading("multilabel", FEELINGS),
        "vad": Reading("regression", NUMBERS, mean=MEAN, scale=SCALE),
        "intent": Reading("classification", ACTS, context=True),
    }
    upper = np.quantile(Reader(model, readings).values(TEXTS)["emotion"], 0.7, axis=0)
    readings["emotion"] = Reading("multilabel", FEELINGS, thresholds=upper)
    return Reader(model, readings)


def made(reader, folder):
    """A run of the reader, as it is on a disk: what the command line takes for one, and loads."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text("name: toy\n")
    licence = {"commercial": True, "data": "none", "weights": "none"}
    (folder / "manifest.json").write_text(json.dumps({"licence": licence}))
    return System(Run(folder), SimpleNamespace(), reader, None)


@pytest.fixture
def run(reader, tmp_path):
    return made(reader, tmp_path / "affect")


@pytest.fixture
def overtone(monkeypatch, typed, run):
    """Type `classify` of the run."""
    loaded = {run.run.folder: run}

    def call(*arguments, on=run):
        loaded[on.run.folder] = on
        return typed("classify", on.run.folder, *arguments)

    monkeypatch.setattr(system, "load", lambda folder: loaded[folder])
    monkeypatch.setattr(cli, "out", Console(soft_wrap=True, width=80))
    monkeypatch.setattr(cli, "err", Console(stderr=True, soft_wrap=True, width=200))
    return call


def expected(reader, texts, contexts=None):
    """The read-outs' JSON by hand, from the heads' raw outputs."""
    outputs = reader.outputs(texts, contexts)
    emotion, acts = expit(outputs["emotion"]), softmax(outputs["intent"], axis=1)
    numbers = outputs["vad"] * SCALE + MEAN
    limits = reader.readings["emotion"].thresholds
    found = []
    for row in range(len(texts)):
        feelings = dict(zip(FEELINGS, emotion[row].tolist(), strict=True))
        held = [name for name, limit in zip(FEELINGS, limits, strict=True) if feelings[name] >= limit]
        act = dict(zip(ACTS, acts[row].tolist(), strict=True))
        best = max(act, key=act.__getitem__)
        found.append(
            {
                "emotion": {
                    "kind": "multilabel",
                    "labels": sorted(held, key=feelings.__getitem__, reverse=True),
                    "scores": pytest.approx(feelings, abs=1e-6),
                },
                "vad": {
                    "kind": "regression",
                    "values": pytest.approx(dict(zip(NUMBERS, numbers[row].tolist(), strict=True)), abs=1e-6),
                },
                "intent": {
                    "kind": "classification",
                    "label": best,
                    "confidence": pytest.approx(act[best], abs=1e-6),
                    "scores": pytest.approx(act, abs=1e-6),
                },
            }
        )
    return found


def lines(output):
    return [json.loads(line) for line in output.splitlines()]


def test_these_texts_tell_the_heads_apart(reader):
    """What the tests below compare is not the same for all texts."""
    held = {tuple(found["emotion"]["labels"]) for found in expected(reader, TEXTS)}
    assert () in held
    assert len(held) > 5


def test_json_holds_what_all_heads_say(overtone, reader):
    code, out, _ = overtone("--json", *TEXTS)
    assert code == 0
    found = lines(out)
    assert all(list(line) == ["text", "version", "heads"] for line in found)
    assert [line["text"] for line in found] == TEXTS
    assert {line["version"] for line in found} == {1}
    assert [line["heads"] for line in found] == expected(reader, TEXTS)


def test_a_context_is_read_by_the_head_that_knows_it(overtone, reader):
    plain, said = lines(overtone("--json", *TEXTS)[1]), "we went there again ?"
    code, out, _ = overtone("--json", "--context", said, *TEXTS)
    assert code == 0
    found = lines(out)
    assert all(list(line) == ["text", "context", "version", "heads"] for line in found)
    assert {line["context"] for line in found} == {said}
    assert [line["heads"] for line in found] == expected(reader, TEXTS, [said] * len(TEXTS))
    for before, after in zip(plain, found, strict=True):
        assert before["heads"]["intent"] != after["heads"]["intent"]
        assert before["heads"]["emotion"]["labels"] == after["heads"]["emotion"]["labels"]
    assert lines(overtone("--json", "--context", " ", *TEXTS)[1]) == plain


def test_a_file_has_a_context_a_row(overtone, reader, tmp_path):
    contexts = [None if i % 3 else TEXTS[i - 1] for i in range(len(TEXTS))]
    rows = [
        {"text": t, **({} if c is None else {"context": c})} for t, c in zip(TEXTS, contexts, strict=True)
    ]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = overtone("--file", source, "--output", target)
    assert (code, out) == (0, "")
    assert f"wrote {len(TEXTS)} read-outs to" in err
    found = lines(target.read_text(encoding="utf-8"))
    assert [{k: v for k, v in line.items() if k in ("text", "context")} for line in found] == rows
    assert [line["heads"] for line in found] == expected(reader, TEXTS, contexts)


def test_a_context_that_no_head_reads_is_not_given_back(overtone, reader, tmp_path):
    alone = {name: r for name, r in reader.readings.items() if not r.context}
    deaf = made(Reader(reader.model, alone), tmp_path / "deaf")
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "happy day", "context": "we went"}\n')
    code, out, _ = overtone("--file", source, on=deaf)
    assert code == 0
    assert list(lines(out)[0]) == ["text", "version", "heads"]
    code, _, err = overtone("--context", "we went", "happy day", on=deaf)
    assert code == 2
    assert "--context: " in err
    assert "reads each text alone" in err


def test_one_head_of_labels_decides_and_one_of_numbers_is_read(overtone, reader, tmp_path):
    readings = reader.readings
    numbers = made(Reader(reader.model, {"vad": readings["vad"]}), tmp_path / "numbers")
    code, out, _ = overtone("--json", "happy day", on=numbers)
    assert code == 0
    outputs = numbers.reader.outputs(["happy day"])["vad"][0]
    values = dict(zip(NUMBERS, (outputs * SCALE + MEAN).tolist(), strict=True))
    assert lines(out)[0]["heads"] == {
        "vad": {"kind": "regression", "values": pytest.approx(values, abs=1e-6)}
    }
    assert overtone("--no-ask", "happy day", on=numbers)[0] == 2
    labels = made(Reader(reader.model, {"emotion": readings["emotion"]}), tmp_path / "labels")
    code, out, err = overtone("--json", "--no-ask", "happy day", on=labels)
    assert code == 0, err
    (line,) = lines(out)
    assert list(line)[:3] == ["text", "version", "label"]
    assert line["version"] == 1
    code, out, _ = overtone("happy day", on=labels)
    assert "by primary" in out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--no-backup", "text"], "--no-backup: "),
        (["--no-ask", "--no-sarcasm", "text"], "--no-sarcasm, --no-ask: "),
        (["--context", "hm"], "--context needs texts"),
        (["--context", "hm", "--file", "-"], "--context needs texts"),
    ],
)
def test_what_does_not_go_together(overtone, options, complaint):
    code, out, err = overtone(*options)
    assert (code, out) == (2, "")
    assert complaint in err


def test_a_step_that_is_asked_for_is_no_complaint(overtone):
    assert overtone("--backup", "--ask", "--json", "text")[0] == 0


def test_arguments_are_shown_with_all_heads(overtone, reader, tmp_path):
    log = tmp_path / "log.jsonl"
    code, out, _ = overtone("--log", log, *TEXTS[:2])
    assert code == 0
    for text, found in zip(TEXTS, expected(reader, TEXTS[:2]), strict=False):
        assert text in out
        for name in found["emotion"]["labels"]:
            assert f"▸ {name}" in out
    assert [line["heads"]["intent"]["label"] for line in lines(log.read_text())] == [
        found["intent"]["label"] for found in expected(reader, TEXTS[:2])
    ]
    assert TEXTS[0] not in log.read_text()


def drawn(width, readout=SAMPLE, text=None, **more):
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, **more)
    readouts.show(console, readout, text)
    return [line.rstrip() for line in Text.from_ansi(console.file.getvalue()).plain.splitlines()]


def test_the_screen_by_hand():
    assert drawn(60, text="so it [b]goes") == [
        "so it [b]goes",
        "",
        "  emotion  ▸ anger          71%  ━━━━━━━━━━━━━━━━━━━",
        "             sad[/]ness     34%  ━━━━━━━━━",
        "             fear           22%  ━━━━━━",
        "             joy            11%  ━━━",
        "           ▸ love            9%  ━━╸",
        "",
        "  vad        valence       2.30  ●────────────┼─────────────",
        "             arousal       3.00  ─────────────●─────────────",
        "             dominance     9.00  ─────────────┼────────────▶",
        "             odd          -1.00  ◀────────────┼─────────────",
        "",
        "  act      ▸ ask            60%  ━━━━━━━━━━━━━━━━",
        "             tell           30%  ━━━━━━━━",
        "             do             10%  ━━╸",
        "",
    ]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_no_line_is_too_long(width):
    plain = drawn(width)
    assert max(len(line) for line in plain) <= min(width, 80)
    for name in ("▸ anger", "▸ love", "▸ ask", "2.30", "-1.00"):
        assert name in "\n".join(plain)
    assert ("━" in "\n".join(plain)) == ("●" in "\n".join(plain)) == (width >= 40)
    assert drawn(width, force_terminal=True, color_system="truecolor") == plain


def test_long_names_fold_and_are_not_cut():
    name = "accept_the_reservation_of_a_table_for_two"
    found = drawn(60, Readout({"a_task_with_a_long_name": Answer("classification", {name: 1.0}, (name,))}))
    assert max(map(len, found)) <= 60
    assert "".join(line[24:42].strip() for line in found) == name


def test_no_label_that_holds():
    found = drawn(60, Readout({"tones": Answer("multilabel", {"a": 0.3, "b": 0.0}, ())}))
    assert [line.split() for line in found] == [
        ["tones", "▸", "none"],
        ["a", "30%", "━" * 9 + "╸"],
        ["b", "0%", "╸"],
        [],
    ]


@pytest.mark.parametrize("place", np.linspace(-1, 1, 31))
def test_a_gauge_is_a_ruler(place):
    drawn = readouts.gauge(place, 31).plain
    assert len(drawn) == 31
    assert drawn.index("●") == round((place + 1) * 15)


def test_numbers_without_a_usual_place_have_no_gauge():
    found = drawn(60, Readout({"size": Answer("regression", {"n": 123456.789}, ())}))
    assert found[0].split() == ["size", "n", "123456.79"]


@pytest.fixture
def talk(monkeypatch):
    """A conversation of typed lines: the rows that were read, and what the screen held."""

    def run(*typed, journal=None, context=True):
        waiting, asked = iter(typed), []

        def type_next(*_):
            line = next(waiting, EOFError)
            if not isinstance(line, str):
                raise line
            return line

        def read(rows):
            asked.extend(rows)
            return [SAMPLE] * len(rows)

        monkeypatch.setattr(builtins, "input", type_next)
        console = Console(file=io.StringIO(), width=100)
        readouts.converse(read, console, journal, context=context)
        return asked, console.file.getvalue()

    return run


def test_each_text_follows_the_one_before(talk):
    asked, screen = talk("How are you?", "  ", "Fine.", ":( really", ":new", "Fine.", ":q", "late")
    assert asked == [
        ("How are you?", None),
        ("Fine.", "How are you?"),
        (":( really", "Fine."),
        ("Fine.", None),
    ]
    assert "the reply to the one before" in screen
    assert ":new" in screen
    assert screen.count("▸ anger") == 4


def test_nothing_is_remembered_where_no_head_reads_it(talk):
    asked, screen = talk("one", "two", ":new", context=False)
    assert asked == [("one", None), ("two", None), (":new", None)]
    assert "before" not in screen
    assert ":new" not in screen.partition("▸")[0]


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_help_and_the_end(talk, end):
    asked, screen = talk(":help", end)
    assert asked == []
    assert all(command in screen for command in (":new", ":help", ":quit", ":q"))
    assert "forget what was said" in screen


def test_the_log_of_a_conversation_holds_no_text(talk, tmp_path):
    talk("a secret", "another", journal=DecisionLog(tmp_path / "log.jsonl"))
    written = (tmp_path / "log.jsonl").read_text()
    assert [line["heads"]["act"]["label"] for line in lines(written)] == ["ask", "ask"]
    assert "secret" not in written


def test_the_prompt_reads_as_a_file_does(overtone, reader, monkeypatch, tmp_path):
    """A conversation through the command line: its log is what the rows of a file give."""
    typed = iter([TEXTS[0], TEXTS[1]])

    def type_next(*_):
        return next(typed, ":q")

    monkeypatch.setattr(builtins, "input", type_next)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    code, out, _ = overtone("--log", tmp_path / "log.jsonl")
    assert code == 0
    assert "▸" in out
    first, second = lines((tmp_path / "log.jsonl").read_text())
    alone, after = expected(reader, TEXTS[:1])[0], expected(reader, TEXTS[1:2], TEXTS[:1])[0]
    for line, wanted in ((first, alone), (second, after)):
        assert line["heads"]["vad"]["values"] == pytest.approx(wanted["vad"]["values"].expected, abs=1e-6)
        assert line["heads"]["intent"]["label"] == wanted["intent"]["label"]
        assert line["heads"]["emotion"]["labels"] == wanted["emotion"]["labels"]
