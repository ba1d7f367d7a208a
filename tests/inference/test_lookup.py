"""Facts that are looked up: scores written out by hand, and the disk."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookups import FACTS, UNKNOWN, Bag, fact, fitted
from overtone.data.records import Record
from overtone.errors import DataError, RunError
from overtone.inference import lookup, lookup_fit
from overtone.inference.embed import EmbedderConfig
from overtone.inference.lookup import Fact, LookupConfig, fact_of


def cosine(one, other):
    one, other = Counter(one.split()), Counter(other.split())
    norms = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return sum(one[word] * other[word] for word in one) / norms


def share(question, text, texts, k1=0.9, b=0.4):
    """BM25 from its definition over the sum of the idf, the most that it can come to."""
    documents = [each.split() for each in texts]
    average = sum(map(len, documents)) / len(documents)
    scored = most = 0.0
    for word in question.split():
        holders = sum(word in document for document in documents)
        idf = math.log(1 + (len(documents) - holders + 0.5) / (holders + 0.5))
        count = text.split().count(word)
        most += idf
        scored += idf * count / (count + k1 * (1 - b + b * len(text.split()) / average))
    return scored / most


@pytest.mark.parametrize("question", ["when does the boat run", "the the boat", "night zeppelin", "is"])
def test_a_score_is_the_weighted_sum_of_three_features(question):
    made = fitted()
    texts = [" ".join([*each.questions, each.answer]) for each in FACTS]
    scores = {}
    for each, text in zip(FACTS, texts, strict=True):
        features = cosine(question, each.answer), cosine(question, text), share(question, text, texts)
        assert all(0 <= feature < 1 for feature in features)
        scores[each] = sum(w * x for w, x in zip(made.fitted.weights, features, strict=True))
    (hit,) = made.find([question])
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    assert hit.near == tuple(ranked[:3])
    assert hit.score == pytest.approx(scores[ranked[0]], rel=1e-5)
    assert hit.fact == (ranked[0] if hit.score >= made.fitted.threshold else None)


def test_a_word_that_no_fact_holds_makes_a_fact_less_likely():
    one, other, none, empty = fitted().find(["ferry", "ferry zeppelin", "zeppelin", ""])
    assert one.fact is not None
    assert one.fact.id == other.near[0].id == "ferry"
    assert one.score > other.score > none.score == empty.score == 0
    assert none.fact is empty.fact is None
    assert len(none.near) == 3


def test_the_best_fact_fits_from_the_threshold_on():
    made = fitted()
    (hit,) = made.find(["boat"])
    for threshold, expected in ((hit.score, hit.near[0]), (np.nextafter(hit.score, np.inf), None)):
        made.fitted = made.fitted.model_copy(update={"threshold": threshold})
        assert made.find(["boat"])[0].fact == expected


QUESTIONS = ("when is the boat", "bread at night", "who closes the doors at six", "mail", "snow and zeppelin")


@given(order=st.permutations(FACTS), asked=st.permutations(QUESTIONS))
def test_the_order_of_facts_and_questions_does_not_count(order, asked):
    made, other = fitted(), fitted(order)
    assert other.fitted == made.fitted
    hits = dict(zip(asked, other.find(asked), strict=True))
    assert [hits[question] for question in QUESTIONS] == made.find(QUESTIONS)


def test_of_equal_facts_the_lower_id_comes_first():
    twins = [fact(name, "a b", "a c", answer="a") for name in ("two", "four", "one", "three")]
    (hit,) = fitted([*twins, fact("x", "x y", "x z", answer="x")]).find(["a"])
    assert [near.id for near in hit.near] == ["four", "one", "three"]


def test_questions_together_find_what_they_find_alone():
    made = fitted()
    for hit, question in zip(made.find(QUESTIONS), QUESTIONS, strict=True):
        (alone,) = made.find([question])
        assert (alone.fact, alone.near) == (hit.fact, hit.near)
        assert alone.score == pytest.approx(hit.score, rel=1e-12)
    assert made.find([]) == []


def test_it_is_the_same_from_disk(tmp_path):
    made = fitted()
    made.save(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [lookup.FILE, lookup.VECTORS]
    read = lookup.load(tmp_path / "model", made.embedder)
    assert (read.facts, read.fitted, read.config) == (made.facts, made.fitted, made.config)
    assert read.find(QUESTIONS) == made.find(QUESTIONS)


def test_the_config_names_the_embedder(tiny, tmp_path):
    config = LookupConfig(embedder=EmbedderConfig(weights=str(tiny), precision="fp32"))
    made = lookup_fit.fit(FACTS, UNKNOWN, config)
    made.save(tmp_path)
    assert lookup.load(tmp_path).find(QUESTIONS) == made.find(QUESTIONS)
    with pytest.raises(RunError, match=r"made with '.* tokens' \(32 dimensions\), and is asked with 'bag'"):
        lookup.load(tmp_path, Bag())


def edited(**changes):
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def flipped(path):
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (lookup.FILE, lambda path: path.unlink(), r"lookup\.json is missing"),
        (lookup.FILE, cut, r"lookup\.json is damaged"),
        (lookup.FILE, lambda path: path.write_text("[]"), r"lookup\.json is damaged"),
        (lookup.FILE, edited(facts=[{"id": "bread"}]), r"lookup\.json is damaged"),
        (lookup.FILE, edited(colour="red"), r"lookup\.json is damaged.*colour"),
        (lookup.VECTORS, lambda path: path.unlink(), r"lookup\.safetensors is missing"),
        (lookup.VECTORS, cut, r"lookup\.safetensors is damaged"),
        (lookup.VECTORS, flipped, r"lookup\.safetensors is damaged"),
    ],
)
def test_a_damaged_or_missing_file_is_named(name, damage, message, tmp_path):
    fitted().save(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(RunError, match=rf"(?s){message}") as caught:
        lookup.load(tmp_path, Bag())
    assert caught.value.hint


def test_files_of_two_lookups_do_not_go_together(tmp_path):
    fitted(FACTS[1:]).save(tmp_path)
    vectors = (tmp_path / lookup.VECTORS).read_bytes()
    fitted().save(tmp_path)
    (tmp_path / lookup.VECTORS).write_bytes(vectors)
    with pytest.raises(RunError, match="not what was written with"):
        lookup.load(tmp_path, Bag())
    fitted().save(tmp_path)
    path = tmp_path / lookup.FILE
    edited(facts=json.loads(path.read_text())["facts"][1:])(path)
    with pytest.raises(RunError, match="its facts are not those"):
        lookup.load(tmp_path, Bag())


def row(name, text, answer="a", *, source="own", group=None, **targets):
    return Record(name, text, {"answer": answer, **targets}, source, group=group)


def test_rows_of_one_group_are_wordings_of_one_fact():
    rows = [
        row("own/1", "Who?", "me", group="one", source="own"),
        row("own/2", "Where?", "here"),
        row("own/3", "who", "me", group="one"),  # the same but for case and punctuation
        row("own/4", "Which person?", "me", group="one"),
        row("other/1", "Who?", "you", group="one", source="other", **{"from": "a book"}),
        Record("talk/1", "Hello.\nHello!", {"roles": ("user", "assistant"), "turns": ("", "")}, "talk"),
    ]
    found = lookup.facts(rows)
    assert found == [
        Fact("own/one", ("Who?", "Which person?"), "me", ""),
        Fact("own/2", ("Where?",), "here", ""),
        Fact("other/one", ("Who?",), "you", ""),
    ]
    assert [fact_of(each) for each in rows[:3]] == ["own/one", "own/2", "own/one"]


def test_a_fact_says_where_it_is_from():
    (found,) = lookup.facts([Record("own/1", "Who?", {"answer": "me", "source": "a book"}, "own")])
    assert found.source == "a book"


@pytest.mark.parametrize("answer", ["", " ", None, ("a", "b")])
def test_an_answer_is_a_text(answer):
    with pytest.raises(DataError, match="row 'own/1' has no answer"):
        lookup.facts([row("own/1", "Who?", answer)])


def test_a_fact_with_two_answers_is_refused():
    rows = [row("own/1", "Who?", "me", group="one"), row("own/2", "Which?", "you", group="one")]
    with pytest.raises(DataError, match="'own/one' has two answers: 'me' and, in row 'own/2', 'you'"):
        lookup.facts(rows)
