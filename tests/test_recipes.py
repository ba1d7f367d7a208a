from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from importlib.util import find_spec

import pytest

from eq_questions import question
from overtone import (
    chat_model,
    dispatch,
    embedder_model,
    eq_exam,
    kinds,
    pipeline,
    proof,
    recipe,
    seq2seq_model,
    system,
)
from overtone.data.chat import Turn
from overtone.data.records import Splits
from overtone.data.sources import (
    banking77,
    clinc150,
    dailydialog,
    emobank,
    goemotions,
    hate_offensive,
    politeness,
)
from overtone.data.split import SPLITS
from overtone.errors import UsageError
from overtone.run import Run, read_json
from toys import chat, language, write_answers, write_chat, write_documents

ROWS = {"train": 12, "validation": 12, "test": 4}
"""Rows a label that are kept of each split."""


def small(prepared, targets):
    """The same data with a few rows a label, or a few rows where what is learnt are numbers."""
    splits = {}
    for task, target in targets.items():
        cut = {}
        for name, most in ROWS.items():
            seen, kept = Counter(), []
            for row in prepared.splits[task][name]:
                value = row.targets[target]
                label = value if isinstance(value, str) else value[0]
                label = label if isinstance(label, str) else len(kept) // (2 * most)
                if seen[label] < most:
                    seen[label] += 1
                    kept.append(row)
            cut[name] = tuple(kept[:160])
        splits[task] = Splits(**cut)
    unlabelled = {task: rows[:40] for task, rows in prepared.unlabelled.items()}
    return dataclasses.replace(prepared, splits=splits, unlabelled=unlabelled)


DIVIDED = {}
"""Data settings → their rows: most variants of a system are of the same rows."""


@pytest.fixture(autouse=True)
def divide_once(monkeypatch):
    """Look for leaks once in each set of rows, not once a recipe."""
    real = pipeline.divide

    def divide(resolved):
        setting = repr(resolved.rows_setting)
        if setting not in DIVIDED:
            DIVIDED[setting] = real(resolved)
        return DIVIDED[setting]

    monkeypatch.setattr(pipeline, "divide", divide)


def trained(name, overrides, folder):
    """A recipe trained for a few steps, evaluated and reported."""
    resolved = recipe.load(name, ["train.epochs=1", "evaluate.resamples=100", *overrides])
    run = Run(folder / name)
    with run.lock():
        pipeline.begin(resolved, run, overwrite=False)
        prepared = small(
            pipeline.prepare(resolved, run), {name: task.data.target for name, task in resolved.tasks.items()}
        )
        pipeline.train(resolved, prepared, run)
        proof.prove(resolved, prepared, run)
    return resolved, run


def check(resolved, run):
    """What every run of a reader leaves, and that it can be loaded and asked."""
    report = (run.folder / "report.md").read_text()
    kinds_of = {task.kind for task in resolved.tasks.values()}
    assert ("tfidf" if kinds_of == {"regression"} else "majority") in report  # numbers have no majority
    check_folder(run)
    loaded = system.load(run.folder)
    readout = loaded.read(["what a lovely day"])[0]
    for name, task in resolved.tasks.items():
        assert set(readout.heads[name].scores) == set(task.data.labels)
    if not loaded.decides:
        return
    assert set(loaded.classify("what a lovely day").scores) == set(loaded.labels)
    many = loaded.classify(["one", "two words", "😀", ""])
    assert len(many) == 4
    if loaded.cascade is not None:
        assert many[3].source == "noise"


def check_folder(run):
    """What every run leaves."""
    assert "Against the baselines" in (run.folder / "report.md").read_text()
    html = (run.folder / "report.html").read_text()
    # A quoted text may name an address; nothing that the page itself is made of may.
    made = "".join(re.findall(r"<style.*?</style>|<script.*?</script>|<[^>]*>", html, re.DOTALL))
    assert "://" not in made.replace("http://www.w3.org", "")
    facts = json.loads(run.manifest.read_text())
    assert facts["fit"]["steps"] > 0
    assert facts["licence"]["weights"]


def test_the_demo_recipe(tmp_path, minilm, monkeypatch):
    monkeypatch.delenv("OVERTONE_DATA", raising=False)  # the embedded default needs nothing from outside
    resolved, run = trained("emotion-mini", [], tmp_path)
    check(resolved, run)
    assert "Edge cases" in (run.folder / "report.md").read_text()
    assert json.loads(run.manifest.read_text())["licence"]["commercial"]


OF_KIND = {
    kind: sorted(name for name in recipe.shipped() if kinds.kind_of(name) == kind) for kind in kinds.KINDS
}
ON_PUBLIC_DATA = sorted(set(OF_KIND[kinds.READER]) - {"emotion-mini"})


@pytest.mark.parametrize("name", OF_KIND["language"])
def test_every_language_model_trains_and_reports(name, tmp_path, data_root):
    """On some hundred passages, with a model as shipped but for its width."""
    small = ["data.documents=400", "train.epochs=1", "body.width=32", "train.batch_size=128"]
    small += ["vocabulary.size=400", "evaluate.resamples=100", "evaluate.sampling.max_tokens=8"]
    resolved = kinds.read(name, small)
    run = Run(tmp_path / name)
    dispatch.run(resolved, run)
    check_folder(run)
    assert "ngram-5" in (run.folder / "report.md").read_text()
    facts = json.loads(run.manifest.read_text())
    assert facts["licence"] == {"data": "CC-BY-SA", "weights": "trained from scratch", "commercial": True}
    assert set(facts["fingerprints"]) == {"wikipassages", "wikitext2"}
    loaded = system.load(run.folder)
    assert loaded.generate("The", max_tokens=8) == loaded.generate("The", max_tokens=8)
    assert loaded.score(["The river."])[0].bits_per_byte > 0


def cut(prepared, questions=24, passages=300):
    """Questions and passages of a real collection, but few; each question keeps what answers it."""
    splits = Splits(*(prepared.splits[name][:questions] for name in ("train", "validation", "test")))
    rows = [row for name in ("train", "validation", "test") for row in splits[name]]
    wanted = {str(each) for row in rows for each in row.targets.get("passages", ())}
    whole = prepared.collection
    kept = [n for n, each in enumerate(whole.passages) if n < passages or each.id in wanted]
    place = {number: n for n, number in enumerate(kept)}
    ids = {whole.passages[n].id for n in kept}
    asked = {row.id.split("/")[1] for row in splits.test}
    judged = {
        name: {
            query: {p: score for p, score in answers.items() if p in ids}
            for query, answers in found.items()
            if name != "test" or query in asked
        }
        for name, found in whole.judgements.items()
    }
    pairs = [(q, place[p]) for q, p in prepared.pairs if p in place]
    left = sorted({q for q, _ in pairs})[:200]
    return dataclasses.replace(
        prepared,
        collection=dataclasses.replace(
            whole, passages=tuple(whole.passages[n] for n in kept), judgements=judged
        ),
        splits=splits,
        passages=tuple(prepared.passages[n] for n in kept),
        asked=tuple(prepared.asked[q] for q in left),
        pairs=tuple((left.index(q), p) for q, p in pairs if q in set(left)),
    )


@pytest.fixture(scope="module")
def natural_questions(data_root):
    """Real questions, few of them; leaks are looked for once."""
    pytest.importorskip("bm25s")
    pytest.importorskip("pytrec_eval")
    few = ["data.texts=[]", "data.passages=100", "data.sentences=1"]
    return cut(embedder_model.divide(kinds.read("embedder", few)))


@pytest.mark.parametrize("name", OF_KIND["embedder"])
def test_every_embedder_trains_and_reports(name, tmp_path, minilm, natural_questions, monkeypatch):
    """On few real questions, with a body as shipped but for its width, and a language model to start from."""
    small = ["train.epochs=1", "train.batch_size=64", "body.width=32", "evaluate.resamples=100"]
    small += ["train.precision=fp32", "evaluate.short=10", "teacher.max_length=32"]
    start = kinds.read(name).start
    if start is None:
        small += ["vocabulary.size=600"]
    else:
        began = tmp_path / start.name
        values = language(write_documents(tmp_path / "texts.jsonl"), train={"epochs": 1})
        values["body"] = {**kinds.read(start.name).body.model_dump(), "width": 32}
        dispatch.run(kinds.parse(values, "test"), Run(began))
        small += [f"start={began}", "max_length=64"]
    monkeypatch.setattr(embedder_model, "divide", lambda recipe: natural_questions)
    run = Run(tmp_path / name)
    dispatch.run(kinds.read(name, small), run)
    check_folder(run)
    standings = read_json(run.evaluation / "test" / "standings.json")
    assert [each["name"] for each in standings] == [name, "bm25", f"{name} + bm25", "minilm-l6"]
    loaded = system.load(run.folder)
    assert loaded.encode(["who wrote it"]).shape == (1, 32)
    facts = json.loads(run.manifest.read_text())
    assert facts["licence"]["weights"].startswith("trained from scratch")


def few(prepared, train=24):
    """Of each split some rows, from all data sets."""

    def thinned(rows, most):
        return rows[:: max(1, len(rows) // most)][:most]

    splits = {"train": train, "validation": 6, "test": 6}
    rows = {name: thinned(prepared.splits[name], most) for name, most in splits.items()}
    return dataclasses.replace(prepared, splits=Splits(**rows), unanswered=prepared.unanswered[:8])


@pytest.mark.parametrize("name", OF_KIND["chat"])
def test_every_tutor_trains_and_reports(name, tmp_path, minilm, data_root, monkeypatch):
    """On a few real conversations, with a small random decoder, and a first stage to start from."""
    pytest.importorskip("bm25s")
    kind = "qwen3" if "qwen3" in kinds.read(name).body.weights else "llama"
    weights = write_chat(tmp_path / "weights", kind=kind)
    small = ["train.epochs=1", f"body.weights={weights}", "exam.resamples=100", "exam.sampling.max_tokens=4"]
    small += ["exam.general_tokens=200", "body.max_length=512"]
    small += ["body.stored=bf16"] if find_spec("bitsandbytes") is None else []
    start = kinds.read(name).start
    if start is not None:
        path = write_answers(tmp_path / "facts.jsonl")
        adapter = {"r": 16, "alpha": 32}
        values = chat(weights, path, name=start.name, train={"epochs": 1}, adapter=adapter)
        dispatch.run(kinds.parse(values, "test"), Run(tmp_path / start.name))
        small += [f"start={tmp_path / start.name}"]
    real = chat_model.divide
    monkeypatch.setattr(
        chat_model, "divide", lambda recipe: few(real(recipe)) if recipe.name == name else real(recipe)
    )
    run = Run(tmp_path / name)
    dispatch.run(kinds.read(name, small), run)
    check_folder(run)
    facts = json.loads(run.manifest.read_text())
    mask = facts["mask"]["train"]
    assert mask["ended"] >= round(1 - mask["cut"] / mask["conversations"], 4)  # as it is written
    report = (run.folder / "report.md").read_text()
    assert "### wikitext2" in report
    loaded = system.load(run.folder)
    assert "### Unknown questions" in report
    assert (loaded.lookup is not None) == (loaded.recipe.grounding is not None)
    assert len(loaded.answer(["Who are you?", "What is a sign?"], max_tokens=4, temperature=0)) == 2


@pytest.fixture(scope="module")
def supporters(data_root):
    """Few real conversations of listeners and as many of supporters; leaks are looked for once."""
    whole = chat_model.divide(kinds.read("companion"))
    parts = [
        few(dataclasses.replace(whole, splits=of_source(whole.splits, card.name)), 80) for card in whole.cards
    ]
    rows = {name: [row for part in parts for row in part.splits[name]] for name in SPLITS}
    return dataclasses.replace(whole, splits=Splits(**rows))


def of_source(splits, source):
    return Splits(*(tuple(row for row in splits[name] if row.source == source) for name in SPLITS))


@pytest.mark.parametrize("name", OF_KIND["companion"])
def test_every_companion_trains_and_reports(name, tmp_path, supporters, monkeypatch):
    """On a few real conversations, with a small random decoder; of EQ-Bench one question."""
    pytest.importorskip("bitsandbytes")
    kind = "qwen2" if "qwen2" in kinds.read(name).body.weights else "llama"
    small = [f"body.weights={write_chat(tmp_path / 'weights', kind=kind)}", "exam.resamples=100", "choose=4"]
    small += ["exam.general_tokens=200", "body.max_length=160", "exam.sampling.max_tokens=4"]
    small += ["exam.conversations=2", "exam.replies=2", "exam.openers=1", "objective.prompt_tokens=4"]
    monkeypatch.setattr(chat_model, "divide", lambda recipe: supporters)
    monkeypatch.setattr(eq_exam, "questions", lambda config: (question(),))
    run = Run(tmp_path / name)
    resolved = kinds.read(name, small)
    dispatch.run(resolved, run)
    check_folder(run)
    assert json.loads(run.manifest.read_text())["licence"]["commercial"] is False
    assert ("EQ-Bench" in (run.folder / "report.md").read_text()) == (resolved.exam.eq_bench is not None)
    loaded = system.load(run.folder)
    assert tuple(loaded.heads) == resolved.objective.heard
    assert loaded.respond([Turn("user", "My dog has died.")], max_tokens=4).reflection.needed


@pytest.mark.parametrize(
    "changes",
    [
        ["train.precision=fp16"],
        ["body.half=fp16"],
        ["body.stored=bf16", "train.precision=fp16"],
    ],
)
def test_two_kinds_of_half_precision_are_not_mixed(changes):
    with pytest.raises(UsageError, match=r"what is frozen is in (bf16|fp16)"):
        kinds.read("companion", changes)
    assert kinds.read("companion", [*changes, "body.stored=fp32", "body.half=bf16"])


@pytest.mark.parametrize("name", OF_KIND["preference"])
def test_every_run_on_preferences_trains_and_reports(name, tmp_path, data_root, monkeypatch):
    """On the real pairs of a part of the conversations, with a small random decoder to start from."""
    pytest.importorskip("bitsandbytes")
    weights = write_chat(tmp_path / "weights")
    values = chat(weights, write_answers(tmp_path / "facts.jsonl"), train={"epochs": 1})
    values["adapter"] = {"r": 16, "alpha": 32, "targets": "all-linear"}
    dispatch.run(kinds.parse({**values, "name": "first"}, "test"), Run(tmp_path / "first"))
    small = [f"body.weights={weights}", f"start={tmp_path / 'first'}", "train.epochs=1", "exam.resamples=100"]
    small += ["exam.general_tokens=200", "body.max_length=160", "data.limits.esconv=200"]
    run = Run(tmp_path / name)
    dispatch.run(kinds.read(name, small), run)
    check_folder(run)
    assert min(json.loads(run.manifest.read_text())["pairs"].values()) > 0


@pytest.mark.parametrize("name", OF_KIND["seq2seq"])
def test_every_recurrent_tutor_trains_and_reports(name, tmp_path, minilm, monkeypatch):
    """On a few of the shipped questions, with a body as shipped but for its width."""
    small = ["train.epochs=1", "body.embedding=16", "body.hidden=16", "exam.resamples=100"]
    small += ["exam.beam.max_tokens=6"]
    real = seq2seq_model.divide
    monkeypatch.setattr(seq2seq_model, "divide", lambda recipe: few(real(recipe)))
    run = Run(tmp_path / name)
    dispatch.run(kinds.read(name, small), run)
    check_folder(run)
    (said,) = system.load(run.folder).answer(["What is a sign?"])
    assert said.attention.shape == (len(said.said), len(said.asked))


@pytest.fixture
def stand_ins(tiny, tiny_distilbert, tiny_llama):
    return {"distilbert": tiny_distilbert, "minilm-l12": tiny, "smollm2-135m-instruct": tiny_llama}


@pytest.mark.parametrize("name", ON_PUBLIC_DATA)
def test_every_recipe_trains_and_reports(name, tmp_path, minilm, data_root, stand_ins):
    """What no package carries, or not one of every machine, is stood in for by a tiny one of its kind."""
    body = recipe.load(name).body
    overrides = [f"body.weights={stand_ins[body.weights]}"] if body.weights in stand_ins else []
    overrides += [] if body.states is None else ["body.states=[0, 1, 2]"]
    taught = [task for task, config in recipe.load(name).tasks.items() if config.teacher is not None]
    if taught:  # one teacher stands in for those that the recipe names
        _, teacher = trained("affect-duo", [], tmp_path)
        overrides += [f"tasks.{task}.teacher.runs=[{teacher.folder}]" for task in taught]
    resolved, run = trained(name, overrides, tmp_path)
    check(resolved, run)
    facts = json.loads(run.manifest.read_text())
    kinds = {source.kind for task in resolved.tasks.values() for source in task.data.sources}
    assert (facts["licence"]["commercial"] is False) == bool(kinds & {"emotion", "dailydialog"})


def test_no_recipe_on_pooled_data_starts_from_another_run():
    for name in OF_KIND[kinds.READER]:
        known = ("minilm-l6", "minilm-l12", "distilbert", "smollm2-135m-instruct")
        assert recipe.load(name).body.weights in known


def test_the_pooled_recipes_share_their_test_rows(data_root):
    """Variants of one system are compared on the same rows, so they need the same split."""
    splits = [pipeline.divide(recipe.load(name)).splits["emotion"] for name in ("emotion", "emotion-full")]
    assert splits[0].test == splits[1].test


@pytest.mark.parametrize(
    ("name", "task", "module"),
    [
        ("affect", "vad", emobank),
        ("affect", "safety", hate_offensive),
        ("affect", "style", politeness),
        ("affect", "intent", dailydialog),
        ("affect-clinc", "intent", clinc150),
        ("affect-banking", "intent", banking77),
    ],
)
def test_a_recipe_lists_the_labels_of_its_data(name, task, module):
    assert recipe.load(name).tasks[task].data.labels == tuple(module.LABELS)


def test_the_eleven_emotions_are_those_of_the_table():
    assert set(recipe.load("affect").tasks["emotion"].data.labels) == set(goemotions.AFFECT.values())
