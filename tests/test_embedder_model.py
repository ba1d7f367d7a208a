"""An embedder's run on a toy collection: what it leaves, that it goes on, and that it can be asked."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import safetensors.torch
import torch

import overtone
from overtone import dispatch, embedder_model, embedder_proof, kinds, system
from overtone.data import vocabulary as vocabularies
from overtone.data.vocabulary import BpeVocabulary
from overtone.embedder_model import Validation
from overtone.errors import MissingExtraError, RunError, UsageError
from overtone.evaluation.benchmarks.retrieval import Retrieved
from overtone.inference import own
from overtone.inference.own import TrainedEmbedder
from overtone.inference.search import Index
from overtone.run import Run, read_json
from toys import embedder, language, stopped_at, write_collection, write_documents

pytest.importorskip("bm25s")
pytest.importorskip("pytrec_eval")


def made(path, **changes):
    return kinds.parse(embedder(path, **changes), "test")


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("collection") / "mine")


@pytest.fixture(scope="module")
def run(collection, tmp_path_factory):
    """A finished run that has learnt its toys well."""
    recipe = made(collection, train={"epochs": 6}, negatives={"bm25": 1}, objective={"dimensions": [8]})
    return dispatch.run(recipe, Run(tmp_path_factory.mktemp("run") / "finder"))


@pytest.fixture(scope="module")
def tongue(tmp_path_factory):
    """The run of a language model."""
    folder = tmp_path_factory.mktemp("tongue")
    values = language(write_documents(folder / "texts.jsonl"), train={"epochs": 1})
    return dispatch.run(kinds.parse(values, "test"), Run(folder / "tongue"))


def test_what_a_run_leaves(run):
    for part in (
        "checkpoints/best/model.safetensors",
        "checkpoints/last/model.safetensors",
        "model/model.safetensors",
        "model/tokenizer.json",
        "model/embedder.json",
        "evaluation/test/retrieved.jsonl",
        "evaluation/test/standings.json",
        "evaluation/short/standings.json",
        "plots/learning.png",
        "plots/gains.png",
        "report.html",
    ):
        assert (run.folder / part).exists(), part
    facts = run.facts()
    rows = facts["data"]["questions"]["rows"]
    assert (rows["validation"], rows["test"]) == (10, 10)
    assert facts["licence"] == {"data": "not stated", "weights": "trained from scratch", "commercial": None}
    assert set(facts["fingerprints"]) == {"mine"}
    pieces = facts["pieces"]
    assert facts["model"]["parameters"] == facts["model"]["trainable"] == pieces * 16 + pieces
    report = (run.folder / "report.md").read_text()
    for said in ("| bm25 |", "finder + bm25", "### The first 5 questions", "10 questions to 60 passages"):
        assert said in report
    assert run.folder.joinpath("recipe.yaml").read_text() == kinds.read(str(run.recipe)).to_yaml()


def test_the_vocabulary_is_of_what_is_learnt_from(run):
    prepared = embedder_model.divide(kinds.read(str(run.recipe)))
    texts = own.as_read((*prepared.passages, *prepared.asked), folded=True)
    assert vocabularies.load(run.model) == BpeVocabulary(size=400).build(texts)


def test_the_figures_are_those_of_the_model_that_is_kept(run, collection):
    """Ranked again from the files, by a sort."""
    loaded = overtone.load(run.folder)
    assert isinstance(loaded, TrainedEmbedder)
    prepared = embedder_model.divide(kinds.read(str(run.recipe)))
    texts = [each.content for each in prepared.collection.passages]
    ids = [each.id for each in prepared.collection.passages]
    lines = (run.evaluation / "test" / embedder_proof.SCORES).read_text().splitlines()
    kept = {row["id"]: row for row in map(json.loads, lines)}
    found = {}
    for part, rows in (("test", prepared.splits.test), ("validation", prepared.splits.validation)):
        scores = loaded.encode([row.text for row in rows]) @ loaded.encode(texts).T
        places = [
            1 + [ids[at] for at in np.argsort(-each, kind="stable")].index(row.targets["passages"][0])
            for row, each in zip(rows, scores, strict=True)
        ]
        found[part] = [1 / place if place <= 10 else 0.0 for place in places]
    expected = {row.id.split("/")[1]: value for row, value in zip(prepared.splits.test, found["test"])}  # noqa: B905
    assert {id_: row["finder"] for id_, row in kept.items()} == pytest.approx(expected)
    (ours, bm25, _) = read_json(run.evaluation / "test" / "standings.json")
    assert ours["figures"]["mrr_10"]["value"] == pytest.approx(np.mean(found["test"]))
    assert ours["gain"] is None
    gain = np.mean([row["finder"] - row["bm25"] for row in kept.values()])
    assert bm25["gain"]["value"] == pytest.approx(gain)
    assert run.facts()["fit"]["best"] == pytest.approx(np.mean(found["validation"]), abs=1e-6)
    validated = [row["validation"] for row in run.history() if "validation" in row]
    assert set(validated[0]) == {"recall_10", "mrr_10"}
    short = read_json(run.evaluation / "short" / "standings.json")
    first = [kept[id_]["finder"] for id_ in sorted(kept)[:5]]
    assert short[0]["figures"]["mrr_10"]["value"] == pytest.approx(np.mean(first))


def test_it_learns(run):
    """A passage is found by words that it shares with the question, far above chance."""
    (ours, *_) = read_json(run.evaluation / "test" / "standings.json")
    assert ours["figures"]["recall_10"]["value"] > 0.5


def test_stopped_and_run_again(collection, tmp_path, monkeypatch):
    """The same weights and figures as the run that nobody stopped."""
    recipe = made(collection, name="stopped")
    whole = dispatch.run(recipe, Run(tmp_path / "whole" / "stopped"))
    again = Run(tmp_path / "again" / "stopped")
    with stopped_at(monkeypatch, 6):
        dispatch.run(recipe, again)
    assert not embedder_model.finished(again)
    dispatch.run(recipe, again)
    for part in ("model/model.safetensors", "evaluation/test/retrieved.jsonl"):
        assert (again.folder / part).read_bytes() == (whole.folder / part).read_bytes(), part
    with pytest.raises(RunError, match="is finished"):
        dispatch.run(recipe, again)
    with pytest.raises(RunError, match="another recipe"):
        dispatch.run(made(collection, name="stopped", max_length=32), again)


def test_taught_by_an_encoder(collection, tiny, tmp_path):
    """A teacher is learnt from, filters negatives, and has its row in the report."""
    teacher = {"weights": str(tiny), "max_length": 32, "precision": "fp32"}
    recipe = made(
        collection,
        teacher=teacher,
        objective={"contrastive": 0.5, "distillation": 1.0},
        negatives={"teacher": 1},
        train={"epochs": 1},
    )
    run = dispatch.run(recipe, Run(tmp_path / "finder"))
    names = [each["name"] for each in read_json(run.evaluation / "test" / "standings.json")]
    assert names == ["finder", "bm25", "finder + bm25", str(tiny)]
    assert run.facts()["licence"]["weights"] == f"trained from scratch, taught by {tiny}"


def test_a_missing_extra_is_said_before_anything_is_trained(collection, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(MissingExtraError, match="search"):
        dispatch.run(made(collection), Run(tmp_path / "finder"))
    assert not (tmp_path / "finder" / "recipe.yaml").exists()


def test_weights_of_a_bag_that_stay(collection, tmp_path):
    """They are not trained, and are still there when the run is loaded."""
    body = {"weights": "rarity", "width": 16}
    recipe = made(collection, body=body, train={"epochs": 1})
    run = Run(tmp_path / "finder")
    dispatch.run(recipe, run)
    facts = run.facts()
    assert facts["model"]["parameters"] - facts["model"]["trainable"] == facts["pieces"]
    loaded = own.load(run.model)
    passages = loaded.cutter(embedder_model.divide(recipe).passages)
    rare = embedder_model._idf(passages, facts["pieces"]).float()
    torch.testing.assert_close(loaded.model.body.weights.exp(), rare)


def test_it_starts_from_a_language_model(collection, tongue, tmp_path):
    changes = {"start": str(tongue.folder), "vocabulary": None}
    body = {"kind": "lstm", "width": 16, "layers": 1, "dropout": 0.0}
    values = embedder(collection, **changes, train={"epochs": 1, "optim": {"lr": 1e-12}})
    values["body"] = body
    run = dispatch.run(kinds.parse(values, "test"), Run(tmp_path / "finder"))
    assert vocabularies.load(run.model) == vocabularies.load(tongue.model)
    licence = run.facts()["licence"]
    assert licence["data"] == "not stated and the licence of your own data"
    assert licence["weights"] == f"trained from scratch as {tongue.folder}"
    began = safetensors.torch.load_file(tongue.model / "model.safetensors")
    for name, tensor in safetensors.torch.load_file(run.model / "model.safetensors").items():
        torch.testing.assert_close(tensor, began[name.removeprefix("reader.")], atol=1e-6, rtol=0)
    # One of another width, and no language model at all.
    values["body"] = {**body, "width": 8}
    with pytest.raises(RunError, match="not of this body and vocabulary"):
        dispatch.run(kinds.parse(values, "test"), Run(tmp_path / "narrow"))
    values["start"] = str(tmp_path)
    with pytest.raises(RunError, match="is not the run of a language model") as caught:
        dispatch.run(kinds.parse(values, "test"), Run(tmp_path / "none"))
    assert caught.value.hint == "train one with: overtone run language"
    assert not (tmp_path / "none" / "recipe.yaml").exists()


class Plane(torch.nn.Module):
    """An embedder whose vectors stand in a table."""

    device = torch.device("cpu")

    def __init__(self, rows):
        super().__init__()
        self.rows = torch.nn.functional.normalize(torch.tensor(rows), dim=1)
        self.body = type("Body", (), {"hidden_size": len(rows[0])})

    def forward(self, ids, mask):
        return {"vector": self.rows[ids[:, 0]]}


def texts(numbers):
    flat = np.array(numbers)
    return own.Encoded(flat, np.arange(len(flat) + 1), 0, 0)


def test_equals_are_placed_behind_the_others():
    """Twelve passages, of which the first ten are one vector; by hand."""
    model = Plane([[1.0, 0.0]] * 10 + [[0.0, 1.0], [-1.0, 0.0]] + [[1.0, 0.0], [0.0, 1.0], [-1.0, -0.1]])
    found = Validation(texts(range(12)), texts([12, 13, 14]), [(0, 3), (1, 10), (2, 0), (2, 10)])(model)
    # The first shares its place with nine others: the 10th. The second is alone at the top. Of the two that
    # answer the third, the better has only the twelfth passage before it.
    assert found == pytest.approx({"recall_10": 1.0, "mrr_10": (1 / 10 + 1 + 1 / 2) / 3})
    worse = Validation(texts(range(12)), texts([13]), [(0, 0)])(model)
    assert worse == {"recall_10": 0.0, "mrr_10": 0.0}  # behind passage 10 and among ten equals: the 11th


def test_the_first_questions_are_so_by_their_ids():
    whole = Retrieved(("a", "b", "c"), {"mrr_10": np.array([1.0, 0.5, 0.0])})
    part = embedder_proof.first(whole, 2)
    assert (part.ids, part.of("mrr_10").tolist()) == (("a", "b"), [1.0, 0.5])
    assert embedder_proof.first(whole, 9).ids == whole.ids


def test_an_index_of_its_vectors(run, collection, tmp_path, typed):
    place = tmp_path / "notes.index"
    code, said, told = typed("search", "index", collection, "--output", place, "--weights", run.folder)
    assert code == 0, told
    passage = embedder_model.divide(kinds.read(str(run.recipe))).collection.passages[3]
    asked = " ".join(passage.text.split()[:6])
    code, said, told = typed("search", "query", place, asked, "--mode", "dense", "--json")
    assert code == 0, told
    hits = json.loads(said)
    best = Index.open(place, overtone.load(run.folder)).query(asked, 5, "dense")
    assert [hit["passage"]["id"] for hit in hits] == [hit.passage.id for hit in best]
    loaded = overtone.load(run.folder)
    cosine = loaded.encode([asked])[0] @ loaded.encode([best[0].passage.content])[0]
    assert hits[0]["score"] == pytest.approx(float(cosine), abs=1e-5)


def test_the_verbs(run, collection, tmp_path, typed):
    code, said, told = typed("evaluate", run.folder, "--json")
    assert code == 0, told
    assert [each["name"] for each in json.loads(said)["test"]] == ["finder", "bm25", "finder + bm25"]
    (tmp_path / "mine.yaml").write_text(made(collection, train={"epochs": 1}).to_yaml())
    code, said, told = typed("data", "show", tmp_path / "mine.yaml")
    assert code == 0, told
    assert '"test": 10' in said
    code, said, _ = typed("data", "schema", "embedder")
    assert json.loads(said)["title"] == "EmbedderRecipe"
    code, _, told = typed("train", tmp_path / "mine.yaml", "--runs", tmp_path)
    assert code == 0, told
    assert embedder_model.finished(Run(tmp_path / "finder"))
    assert not (tmp_path / "finder" / "report.md").exists()


def test_verbs_that_make_no_sense_are_refused(run, typed):
    for words, said in (
        (("classify", run.folder, "a text"), "is no run that reads texts"),
        (("generate", run.folder, "a text"), "is no language model"),
        (("compare", run.folder, run.folder), "no task in common"),
        (("export", run.folder), "is a recipe of kind 'embedder'"),
    ):
        code, _, told = typed(*words)
        assert code in (1, 2), words
        assert said in " ".join(told.split()), words


def test_an_embedder_is_no_language_model(run):
    with pytest.raises(UsageError, match="is no language model"):
        system.load_language(run.folder)
