from __future__ import annotations

import gzip
import io
import json
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from overtone.apps import stream
from overtone.errors import DataError, RunError, UsageError
from overtone.inference.decisions import Decision, DecisionLog, Step
from overtone.inference.readout import VERSION, Answer, Readout


def decide(rows):
    return [Decision("joy", 0.9, {"joy": 0.9}, "primary", (Step("primary", "joy", 0.9, ""),)) for _ in rows]


def read(rows):
    """A read-out whose number is the length of what was said before, and -1 where that is nothing."""
    lengths = [-1.0 if before is None else float(len(before)) for _, before in rows]
    return [Readout({"n": Answer("regression", {"length": length}, ())}) for length in lengths]


def written(texts, output, **more):
    rows = ((text, None) for text in texts)
    return stream.classify(decide, rows, output, Console(file=io.StringIO()), **more)


def parsed(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def stdin(monkeypatch):
    def give(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    return give


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.JSONL", "a.jsonl.gz", "a.ndjson.gz"])
def test_json_rows_are_known_by_the_name(tmp_path, name):
    content = b'{"text": "one"}\n\n{"text": "two\\nlines", "id": 3}\n'
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert list(stream.rows(tmp_path / name)) == [("one", None), ("two\nlines", None)]
    assert stream.count(tmp_path / name) == 2


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a"])
def test_else_a_line_is_a_text(tmp_path, name):
    content = "é\r\n\n{}\u2028x".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert list(stream.rows(tmp_path / name)) == [("é", None), ("", None), ("{}\u2028x", None)]


def test_what_was_said_before_is_optional(tmp_path):
    path = tmp_path / "a.jsonl"
    contexts = ["", "  ", None, "Why?\nWhy not?", " é "]
    lines = [{"text": "Because.", "context": context} for context in contexts]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"context": "x", "text": ""}]))
    assert list(stream.rows(path)) == [
        *[("Because.", None)] * 3,
        ("Because.", "Why?\nWhy not?"),
        ("Because.", " é "),
        ("", "x"),
    ]
    assert stream.count(path) == 6


@pytest.mark.parametrize(
    "line",
    [
        '{"text": null}',
        '{"text": 3}',
        '{"txet": "a"}',
        "[]",
        '"a"',
        "{",
        "[" * 100_000,
        '{"text": "\\ud800"}',
        '{"text": "a", "context": 3}',
        '{"text": "a", "context": ["b"]}',
        '{"text": "a", "context": "\\udc00"}',
    ],
)
def test_a_row_without_a_text_is_named(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "fine"}}\n{line}\n')
    with pytest.raises(DataError, match=r"a\.jsonl, line 2"):
        list(stream.rows(path))
    with pytest.raises(DataError, match="line 2"):
        stream.count(path)


def test_standard_input_is_read_as_a_file_is(stdin):
    stdin("\ufeffone\r\ntwo\u2028\n".encode())
    assert list(stream.rows(None)) == [("one", None), ("two\u2028", None)]
    assert stream.count(None) is None
    stdin(b"fine\nnot \xff\n")
    with pytest.raises(DataError, match="standard input, line 2: not UTF-8"):
        list(stream.rows(None))
    stdin(b"x" * ((1 << 20) + 1))
    with pytest.raises(DataError, match="longer than the limit"):
        list(stream.rows(None))


def test_no_file_and_a_folder(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="is not a file"):
            list(stream.rows(path))


def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert stream.count(pipe) is None


def test_files_must_differ(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "hard").hardlink_to(tmp_path / "a")
    stream.check_apart(tmp_path / "a", tmp_path / "b", None)
    for other in ("a", "link", "hard", "../" + tmp_path.name + "/a"):
        with pytest.raises(UsageError, match="one file"):
            stream.check_apart(tmp_path / "a", None, tmp_path / other)


def test_decisions_are_written_in_order_over_chunks(tmp_path):
    texts = [f"text {i} é" for i in range(stream.CHUNK * 2 + 3)]
    target = tmp_path / "new" / "out.jsonl"
    log = tmp_path / "log.jsonl"
    assert written(texts, target, total=len(texts), journal=DecisionLog(log)) == len(texts)
    assert [row["text"] for row in parsed(target)] == texts
    assert parsed(target)[0]["label"] == "joy"
    assert len(parsed(log)) == len(texts)


def test_a_line_begins_with_the_text_and_the_version(tmp_path):
    written(["hm"], tmp_path / "decisions")
    line = parsed(tmp_path / "decisions")[0]
    assert list(line) == ["text", "version", *Decision.__dataclass_fields__]
    assert line["version"] == VERSION == 1
    given = [("hm", None), ("so?", "hm")] * stream.CHUNK
    console = Console(file=io.StringIO())
    assert stream.classify(read, iter(given), tmp_path / "readouts", console) == len(given)
    lines = parsed(tmp_path / "readouts")
    assert [(line["text"], line.get("context")) for line in lines] == given
    for line, (_, before) in zip(lines, given, strict=True):
        length = -1.0 if before is None else float(len(before))
        assert list(line) == ["text", *([] if before is None else ["context"]), "version", "heads"]
        assert line["version"] == VERSION
        assert line["heads"] == {"n": {"kind": "regression", "values": {"length": length}}}


def test_the_log_of_readouts_holds_no_text(tmp_path):
    log = tmp_path / "log.jsonl"
    console = Console(file=io.StringIO())
    stream.classify(read, iter([("secret", "hidden")]), tmp_path / "o", console, journal=DecisionLog(log))
    assert "secret" not in log.read_text()
    assert "hidden" not in log.read_text()
    (line,) = parsed(log)
    assert set(line) == {"time", "heads", "length"}
    assert line["heads"] == {"n": {"kind": "regression", "values": {"length": 6.0}}}
    assert line["length"] == len("secret")


def test_the_texts_are_never_all_in_memory(tmp_path):
    taken = 0

    def source():
        nonlocal taken
        for i in range(stream.CHUNK * 3):
            taken += 1
            yield str(i), None

    def watch(rows):
        assert taken <= int(rows[-1][0]) + 1
        return decide(rows)

    stream.classify(watch, source(), tmp_path / "out", Console(file=io.StringIO()))
    assert taken == stream.CHUNK * 3


@pytest.mark.parametrize("failure", [DataError("line 600"), KeyboardInterrupt()])
def test_nothing_half_written_takes_the_place_of_the_old(tmp_path, failure):
    target = tmp_path / "out.jsonl"
    target.write_text("old")

    def source():
        yield from map(str, range(stream.CHUNK + 1))
        raise failure

    with pytest.raises(type(failure)):
        written(source(), target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    written(["a"], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(parsed(tmp_path / "real")) == 1


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for target in (tmp_path, tmp_path / "file" / "out", tmp_path / ("n" * 300)):
        with pytest.raises(RunError, match="could not write"):
            written(["a"], target)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_and_a_device():
    with pytest.raises(RunError, match="No space left"):
        written(["a"], Path("/dev/full"))
    assert written(["a"], Path(os.devnull)) == 1
    assert not Path(os.devnull).is_file()


def test_a_reader_that_left_is_no_error(monkeypatch, capfd):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        written(["a"] * 10_000, None)
        monkeypatch.undo()
    assert capfd.readouterr().err == ""


def test_the_progress_has_a_total_and_the_time_left(tmp_path):
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=100)
    stream.classify(decide, iter([("a", None)] * 7), tmp_path / "out", console, total=7)
    assert "7/7" in drawn.getvalue()
    assert "0:00:0" in drawn.getvalue()
