from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import overtone
from overtone import dispatch, kinds, language_model, system
from overtone.data import stream, vocabulary
from overtone.errors import DataError, RunError, TrainingError, UsageError
from overtone.evaluation import texts
from overtone.evaluation.language import nats
from overtone.evaluation.ngram import Ngram
from overtone.models import language as models
from overtone.run import Run, read_json
from toys import language, sentences, stopped_at, write_documents


def made(path, **changes):
    return kinds.parse(language(path, **changes), "test")


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    return write_documents(tmp_path_factory.mktemp("documents") / "texts.jsonl", 80)


@pytest.fixture(scope="module")
def run(documents, tmp_path_factory):
    """A finished run, with a second text to judge on."""
    folder = tmp_path_factory.mktemp("run")
    other = write_documents(folder / "other.jsonl", 5, seed=1)
    others = [{"kind": "table", "path": str(other)}]
    return dispatch.run(made(documents, evaluate={"others": others, "stride": 4}), Run(folder / "tongue"))


def splits(run):
    return language_model.divide(kinds.read(str(run.recipe))).splits


def test_what_a_run_leaves(run):
    for part in (
        "checkpoints/best/model.safetensors",
        "checkpoints/last/model.safetensors",
        "model/model.safetensors",
        "model/tokenizer.json",
        "evaluation/test/likelihood.jsonl",
        "evaluation/other/standings.json",
        "evaluation/samples.json",
        "plots/learning.png",
        "report.html",
    ):
        assert (run.folder / part).exists(), part
    facts, found = run.facts(), splits(run)
    rows = {"train": len(found.train), "validation": 16, "test": 16}
    assert facts["data"]["documents"]["rows"] == rows
    assert facts["tokens"]["train"]["documents"] == len(found.train)
    assert facts["tokens"]["train"]["bytes"] == sum(len(row.text.encode()) for row in found.train)
    windows = facts["tokens"]["train"]["tokens"] // 16
    assert facts["tokens"]["trained"] == 2 * windows * 16
    assert facts["fit"]["steps"] == 2 * -(-windows // 8)
    assert facts["tokens"]["per_second"] > 0
    assert facts["licence"]["weights"] == "trained from scratch"
    assert set(facts["fingerprints"]) == {"texts", "other"}
    report = (run.folder / "report.md").read_text()
    assert "ngram-3" in report
    assert "### other" in report


def test_the_vocabulary_is_of_the_training_documents_alone(run):
    own = vocabulary.BpeVocabulary(size=300).build([row.text for row in splits(run).train])
    assert vocabulary.load(run.model) == own


def test_the_figures_are_those_of_the_model_that_is_kept(run):
    """Counted again from the files: the stream, the best weights, and an n-gram of the training stream."""
    loaded, rows = overtone.load(run.folder), splits(run)
    streams = {
        name: stream.build(loaded.vocabulary, [row.text for row in rows[name]])
        for name in ("train", "validation", "test")
    }
    found = texts.read(run.evaluation / "test" / "likelihood.jsonl", "test")
    total = nats(loaded.reader, streams["test"].ids, 16, 4)
    assert found.nats["tongue"].sum() == pytest.approx(total, rel=1e-5)
    ngram = Ngram(streams["train"].ids, len(loaded.vocabulary), 3)
    assert found.nats["ngram-3"].sum() == pytest.approx(ngram.nats(streams["test"].ids), rel=1e-6)
    (standing, other) = read_json(run.evaluation / "test" / "standings.json")
    bits = total / np.log(2) / streams["test"].bytes
    assert standing["figures"]["bits_per_byte"]["value"] == pytest.approx(bits, rel=1e-5)
    gain = bits - other["figures"]["bits_per_byte"]["value"]
    assert other["gain"]["value"] == pytest.approx(gain, abs=1e-6)
    validated = [row["validation"] for row in run.history() if "validation" in row]
    best = nats(loaded.reader, streams["validation"].ids, 16) / np.log(2) / streams["validation"].bytes
    assert min(row["bits_per_byte"] for row in validated) == pytest.approx(best, rel=1e-5)
    assert run.facts()["fit"]["best"] == pytest.approx(best, rel=1e-5)
    assert set(validated[0]) == {"loss", "perplexity", "bits_per_character", "bits_per_byte"}


def test_stopped_and_run_again(documents, tmp_path, monkeypatch):
    """The same weights and figures as the run that nobody stopped."""
    recipe = made(documents, name="stopped")
    whole = dispatch.run(recipe, Run(tmp_path / "whole" / "stopped"))
    again = Run(tmp_path / "again" / "stopped")
    with stopped_at(monkeypatch, 6):
        dispatch.run(recipe, again)
    assert not language_model.finished(again)
    dispatch.run(recipe, again)
    for part in ("model/model.safetensors", "evaluation/test/likelihood.jsonl", "evaluation/samples.json"):
        assert (again.folder / part).read_bytes() == (whole.folder / part).read_bytes(), part
    with pytest.raises(RunError, match="is finished"):
        dispatch.run(recipe, again)
    with pytest.raises(RunError, match="another recipe"):
        dispatch.run(made(documents, name="stopped", window=8), again)


def test_other_documents_are_refused_once_something_is_trained(tmp_path):
    path = write_documents(tmp_path / "texts.jsonl", 40)
    recipe, run = made(path), Run(tmp_path / "run")
    with run.lock():
        language_model.begin(recipe, run, overwrite=False)
        language_model.train(recipe, language_model.prepare(recipe, run), run)
    write_documents(path, 40, seed=1)
    with pytest.raises(RunError, match="the data changed since this run began: texts"):
        dispatch.run(recipe, run)


def test_too_little_text_is_said(tmp_path):
    path = write_documents(tmp_path / "texts.jsonl", 3)
    with pytest.raises(DataError, match="has no window of 128 and its next token"):
        dispatch.run(made(path, window=128), Run(tmp_path / "run"))
    with pytest.raises(DataError, match="no room for 256 bytes"):
        dispatch.run(made(path, vocabulary={"kind": "bpe", "size": 256}), Run(tmp_path / "small"))


def test_a_fit_that_diverges_is_said(documents, tmp_path, monkeypatch):
    monkeypatch.setattr(language_model, "nats", lambda *args, **named: 1e9)  # its perplexity is no number
    recipe = made(documents, train={"early_stopping": {"metric": "perplexity"}})
    with pytest.raises(TrainingError, match="'perplexity' of the validation rows is inf"):
        dispatch.run(recipe, Run(tmp_path / "run"))


def test_loaded_it_continues_texts(run):
    loaded = overtone.load(run.folder)
    said = loaded.generate("the day", max_tokens=12, seed=3)
    assert said
    assert said == loaded.generate("the day", max_tokens=12, seed=3)
    assert said == "".join(loaded.stream("the day", max_tokens=12, seed=3))
    assert said != loaded.generate("the day", max_tokens=12, seed=4)
    greedy = loaded.generate("the day", max_tokens=3, temperature=0)
    ids = [loaded.vocabulary.end_id, *loaded.vocabulary.encode(["the day"]).flat.tolist()]
    for _ in range(3):
        with torch.no_grad():
            scores = loaded.reader.logits(loaded.reader(torch.tensor([ids], device=loaded.device)))
        ids.append(int(scores[0, -1].argmax()))
    assert "the day" + greedy == loaded.vocabulary.decode(ids)
    assert loaded.licence["weights"] == "trained from scratch"
    with pytest.raises(UsageError, match="did you mean 'temperature'"):
        loaded.generate("the day", temperatur=0.5)


def test_whole_characters_alone_are_streamed(run, monkeypatch):
    loaded = overtone.load(run.folder)
    tokens = loaded.vocabulary.encode(["é💥!"]).flat.tolist()
    assert len(tokens) > 3  # never seen, so they are spelt in bytes
    monkeypatch.setattr("overtone.inference.generate.stream", lambda *_: iter([[token] for token in tokens]))
    assert list(loaded.stream("the day")) == ["é", "💥", "!"]
    monkeypatch.setattr("overtone.inference.generate.stream", lambda *_: iter([[tokens[0]], [None]]))
    assert list(loaded.stream("")) == ["\ufffd"]  # it stopped inside a character


def test_loaded_it_scores_texts(run):
    loaded = overtone.load(run.folder)
    known, odd, empty = loaded.score([sentences(1)[0][0], "zq" * 20, ""])
    assert known.bits_per_byte < odd.bits_per_byte
    ids = stream.build(loaded.vocabulary, ["zq" * 20]).ids
    assert odd.nats == pytest.approx(nats(loaded.reader, ids, 16, 4))
    assert (odd.tokens, odd.bytes, odd.characters) == (len(ids) - 1, 40, 40)
    assert odd.perplexity == pytest.approx(np.exp(odd.nats / odd.tokens))
    assert empty.tokens == 1
    assert np.isnan(empty.bits_per_byte)
    assert np.isnan(empty.bits_per_character)
    assert loaded.score([]) == []


def test_a_run_whose_parts_do_not_fit_is_said(documents, tmp_path):
    run = Run(tmp_path / "run")
    dispatch.run(made(documents), run)
    facts = run.model / "language.json"
    facts.write_text(json.dumps({"vocabulary": 7}))
    with pytest.raises(RunError, match="the model was trained with 7"):
        overtone.load(run.folder)
    facts.write_text("{")
    with pytest.raises(RunError, match="damaged"):
        overtone.load(run.folder)
    facts.unlink()
    with pytest.raises(RunError, match="not a trained run"):
        overtone.load(run.folder)
    (run.model / models.FILE).unlink()


def test_the_verbs(run, documents, tmp_path, typed):
    code, said, _ = typed(
        "generate", run.folder, "the day", "--max-tokens", 5, "--seed", 3, "--temperature", 0.5
    )
    assert code == 0
    expected = overtone.load(run.folder).generate("the day", max_tokens=5, seed=3, temperature=0.5)
    assert said == "the day" + expected + "\n"
    code, said, _ = typed("generate", run.folder, "the day", "--max-tokens", 5, "--json")
    answer = json.loads(said)
    assert (code, answer["prompt"], answer["max_tokens"], answer["seed"]) == (0, "the day", 5, 7)
    code, said, _ = typed("evaluate", run.folder, "--json")
    assert code == 0
    assert json.loads(said)["test"][1]["name"] == "ngram-3"
    (tmp_path / "mine.yaml").write_text(made(documents).to_yaml())
    code, said, _ = typed("data", "show", tmp_path / "mine.yaml")
    assert code == 0
    assert '"test": 16' in said
    code, said, _ = typed("data", "schema", "language")
    assert json.loads(said)["title"] == "LanguageRecipe"
    code, _, told = typed("train", tmp_path / "mine.yaml", "--runs", tmp_path)
    assert code == 0, told
    assert language_model.finished(Run(tmp_path / "tongue"))


def test_verbs_that_make_no_sense_are_refused(run, typed, tmp_path):
    for words, said in (
        (("classify", run.folder, "a text"), "is no run that reads texts"),
        (("evaluate", run.folder, "--with", tmp_path), "is not a trained run"),
        (("compare", run.folder, run.folder), "no task in common"),
        (("export", run.folder), "is a recipe of kind 'language'"),
        (("data", "schema", "langauge"), "no kind of recipe 'langauge'"),
    ):
        code, _, told = typed(*words)
        assert code in (1, 2), words
        assert said in " ".join(told.split()), words


def test_a_reader_is_no_language_model(minilm):
    with pytest.raises(UsageError, match="is no language model"):
        system.load_language(system.shipped())
