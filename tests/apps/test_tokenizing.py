from __future__ import annotations

import io
import json
from functools import partial

import pytest
from rich.console import Console

from overtone import cli
from overtone.apps import tokenizing
from overtone.data import fetch
from overtone.data.records import Card, Record, Source
from overtone.data.vocabulary import ByteVocabulary, WordVocabulary
from toys import sentences, write_tokenizer


@pytest.fixture
def overtone(monkeypatch, typed):
    """Type `data tokenize` on a wide screen."""
    card = Card("toy", "Toy", "CC0-1.0", True, "https://example.org", "", {}, shipped=True)
    source = Source(card, lambda _: (Record(str(i), t, {}, "toy") for i, (t, _) in enumerate(sentences(50))))
    monkeypatch.setattr(fetch, "catalogue", lambda: {"toy": source})

    wide = {"soft_wrap": True, "width": 200}
    for module in (cli, tokenizing):
        monkeypatch.setattr(module, "out", Console(**wide), raising=False)
        monkeypatch.setattr(module, "err", Console(stderr=True, **wide))
    return partial(typed, "data", "tokenize")


def test_bytes_need_no_data(overtone):
    code, out, _ = overtone("--kind", "byte", "né b")
    assert code == 0
    assert out.splitlines() == [r"n|\xc3|\xa9|·|b", "5 pieces"]


def test_one_is_made_on_a_data_set_saved_and_read_again(overtone, tmp_path):
    code, out, err = overtone("--size", 320, "--train-on", "toy", "--save", tmp_path, "the lonely house")
    assert code == 0, err
    assert "reads toy in" in err
    assert f"wrote {tmp_path / 'tokenizer.json'}" in err
    for named in (tmp_path, tmp_path / "tokenizer.json"):
        code, again, err = overtone(named, "the lonely house")
        assert (code, again) == (0, out)
        assert f"reads {tmp_path / 'tokenizer.json'}" in err


def test_a_run_s_tokenizer_is_found(overtone, tmp_path):
    write_tokenizer(tmp_path / "runs" / "one" / "model")
    code, out, _ = overtone(tmp_path / "runs" / "one", "Happy §")
    assert code == 0
    assert out.splitlines() == ["Happy|§", "2 pieces, 1 of them unknown"]


def test_a_corpus_is_measured(overtone):
    code, out, _ = overtone("--kind", "byte", "--corpus", "toy", "--json")
    found = json.loads(out)
    texts = [text for text, _ in sentences(50)]
    assert code == 0
    assert found["corpus"]["tokens"] == found["corpus"]["bytes"] == sum(map(len, texts))
    assert found["corpus"]["tokens_a_word"] == sum(map(len, texts)) / sum(len(t.split()) for t in texts)
    assert found["texts"] == []
    code, out, _ = overtone("--kind", "word", "--size", 12, "--train-on", "toy", "--corpus", "toy", "a")
    assert code == 0
    for measure in ("tokens a word", "bytes a token", "share unknown", "vocabulary used"):
        assert measure in out


def test_json_has_every_piece(overtone):
    _, out, _ = overtone("--kind", "word", "--train-on", "toy", "the zebra ", "--json")
    (text,) = json.loads(out)["texts"]
    assert [(piece["text"], piece["known"]) for piece in text["pieces"]] == [("the", True), ("zebra", False)]
    assert text["exact"] is False
    _, out, _ = overtone("--kind", "byte", "é", "--json")
    assert json.loads(out)["texts"][0]["exact"] is True
    assert json.loads(out)["size"] == 257


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "there is nothing to cut"),
        (["--kind", "byte", "--size", "9", "a"], 2, "a vocabulary of bytes has its size"),
        (["--train-on", "toyy", "a"], 2, "did you mean 'toy'"),
        (["--kind", "byte", "--corpus", "toyy"], 2, "no data set 'toyy'"),
        (["--size", "100", "--train-on", "toy", "a"], 1, "at least 257"),
        (["--kind", "words", "a"], 2, "words"),
    ],
)
def test_what_is_wrong_is_said(overtone, arguments, code, message):
    found, _, err = overtone(*arguments)
    assert (found, message in err) == (code, True)


def test_a_folder_without_a_tokenizer_is_named(overtone, tmp_path):
    code, _, err = overtone(tmp_path, "a")
    assert code == 2
    assert "has no tokenizer.json" in err
    ByteVocabulary().build([]).save(tmp_path)
    code, _, err = overtone(tmp_path, "--size", 9, "a")
    assert code == 2
    assert "has its size" in err


def test_a_long_text_is_no_path(overtone):
    code, out, _ = overtone("--kind", "byte", "a" * 5000)
    assert code == 0
    assert "5000 pieces" in out


def coloured():
    """A terminal with colours, written down."""
    return Console(
        record=True, file=io.StringIO(), force_terminal=True, color_system="standard", soft_wrap=True
    )


def test_neighbours_have_other_colours_and_blanks_show():
    console = coloured()
    found = WordVocabulary(size=5).build(["one two one two one two three"])
    tokenizing.show(console, found.pieces("one two three"))
    tokenizing.show(console, ByteVocabulary().build([]).pieces("a b\nc\t"))
    told = console.export_text(styles=True, clear=False)
    assert "\x1b[30;46mone\x1b[0m\x1b[30;43mtwo\x1b[0m" in told
    plain = console.export_text()
    assert "a·b⏎\nc⇥\n" in plain
    assert "|" not in plain


def test_an_unknown_piece_is_red():
    console = coloured()
    tokenizing.show(console, WordVocabulary(size=4).build(["one two one two"]).pieces("one six"))
    assert "\x1b[37;41msix\x1b[0m" in console.export_text(styles=True)
