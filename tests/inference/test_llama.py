"""An exported decoder spoken by llama.cpp: the same answers as PyTorch's, and what it refuses."""

from __future__ import annotations

import io
import sys

import pytest
from transformers import AutoTokenizer

from decoders import tuned
from overtone import chat_system, exporting, kinds, system
from overtone.data.chat import Turn
from overtone.errors import MissingExtraError, RunError, UsageError
from overtone.evaluation.parity_chat import Tolerance
from overtone.inference.converse import checked
from overtone.inference.llama import LlamaSpeaker

pytest.importorskip("xllamacpp", reason="the extra llama is not installed")

ASKED = [Turn("user", "where is the harbour?")]
OTHERS = [ASKED, [Turn("user", "who is there?")], [*ASKED, Turn("assistant", "there"), Turn("user", "why?")]]
GREEDY = {"temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    run = tuned(tmp_path_factory.mktemp("tuned"), body={"stored": "fp32"})
    told = exporting.export_decoder(run, "f32", Tolerance())
    assert all(each.passed for each in told)
    return run


@pytest.fixture(scope="module")
def both(exported):
    recipe = kinds.read(str(exported.recipe))
    return chat_system.load(exported, recipe), chat_system.load_exported(exported, recipe)


def test_it_says_what_pytorch_says(both):
    ours, theirs = both
    for turns in OTHERS:
        said = "".join(ours.reply(turns, grounded=False, **GREEDY))
        assert said
        assert "".join(theirs.reply(turns, grounded=False, **GREEDY)) == said


def test_many_answers_are_those_of_each(both):
    _, theirs = both
    alone = ["".join(theirs.reply(turns, grounded=False, **GREEDY)) for turns in OTHERS]
    questions = [turns[-1].text for turns in OTHERS[:2]]
    assert [said.text for said in theirs.answer(questions, grounded=False, **GREEDY)] == [
        text.strip() for text in alone[:2]
    ]


def test_draws_are_of_the_seed_and_the_settings(both):
    _, theirs = both

    def drawn(**settings):
        return "".join(theirs.reply(ASKED, grounded=False, max_tokens=20, **settings))

    assert drawn(seed=3) == drawn(seed=3) != drawn(seed=4)
    assert drawn(seed=3, top_k=1) == drawn(seed=4, top_k=1) == drawn(temperature=0)
    assert drawn(seed=3, top_p=1e-6) == drawn(temperature=0)
    with pytest.raises(UsageError, match="sampling"):
        drawn(warmth=2)


def test_an_answer_ends_before_a_stop_and_where_nobody_listens(both):
    _, theirs = both
    whole = "".join(theirs.reply(ASKED, grounded=False, **GREEDY))
    stop = whole[len(whole) // 2 :][:2]
    assert "".join(theirs.reply(ASKED, grounded=False, stop=[stop], **GREEDY)) == whole[: whole.index(stop)]
    pieces = theirs.reply(ASKED, grounded=False, **GREEDY)
    first = next(pieces)
    pieces.close()
    assert whole.startswith(first)
    assert "".join(theirs.reply(ASKED, grounded=False, **GREEDY)) == whole


def test_a_special_token_ends_an_answer(both):
    """Also one that is not the end of a turn, as in PyTorch's answers."""
    speaker = both[1]._speaker(True)
    start = speaker._tokenizer.convert_tokens_to_ids("<|im_start|>")
    asked = speaker._request([5, 6, 7], checked(GREEDY, speaker.max_length), 0)
    told = speaker._server.handle_completions({**asked, "logit_bias": [[start, 100.0]]})
    assert told["choices"][0]["text"] == ""
    assert told["choices"][0]["finish_reason"] == "stop"
    assert told["usage"]["completion_tokens"] == 1


def test_a_long_conversation_loses_its_oldest_turns(exported):
    merged = exported.model / "merged"
    speaker = LlamaSpeaker(merged / "gguf" / "model.gguf", AutoTokenizer.from_pretrained(merged), 64)
    assert "".join(speaker.reply([*OTHERS[2][:2], *OTHERS[2][:2], *ASKED], **GREEDY))
    assert speaker.forgotten == 4


def test_what_is_missing_is_said(exported, both, tmp_path, monkeypatch):
    _, theirs = both
    with pytest.raises(UsageError, match="adapter merged"):
        list(theirs.reply(ASKED, tuned=False, grounded=False))
    damaged = tmp_path / "model.gguf"
    damaged.write_bytes((exported.model / "merged" / "gguf" / "model.gguf").read_bytes()[:5000])
    with pytest.raises(RunError, match=r"llama\.cpp cannot read"):
        LlamaSpeaker(damaged, AutoTokenizer.from_pretrained(exported.model / "merged"), 64)
    with pytest.raises(UsageError, match="no tuned decoder"):
        system.load_exported_chat(system.shipped())
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingExtraError, match="extra 'llama'"):
        system.load_exported_chat(exported.folder)


def test_the_verb(exported, monkeypatch, typed):
    def told(*words):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"where is the harbour?\n")))
        return typed("chat", exported.folder, *words)

    settings = ("--temperature", "0", "--max-tokens", "12", "--top-p", "0.9", "--stop", "zebra")
    code, out, err = told(*settings, "--engine", "llama.cpp")
    assert code == 0, err
    assert out.strip()
    assert told(*settings)[1] == out
    code, _, err = told("--engine", "llama.cpp", "--compare")
    assert code == 2
    assert "add --engine torch" in err


def test_what_goes_wrong_inside_is_no_empty_answer(both, monkeypatch):
    class Broken:
        def handle_completions(self, request, take=None):
            raise RuntimeError("out of slots")

    class Refusing:
        def handle_completions(self, request, take=None):
            said = {"code": 500, "message": "no room"}
            return said if take is None else take(said)

    speaker = both[1]._speaker(True)
    for server, why in ((Broken(), "out of slots"), (Refusing(), "no room")):
        monkeypatch.setattr(speaker, "_server", server)
        with pytest.raises(RunError, match=why):
            list(speaker.reply(ASKED))
        with pytest.raises(RunError, match=why):
            speaker.answers([ASKED])
