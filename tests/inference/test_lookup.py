"""Facts that are looked up: scores written out by hand, what leaving out leaves, the threshold, the disk."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from overtone.data.fetch import locate
from overtone.data.records import Record
from overtone.data.sources import asl_signing, deaf_knowledge
from overtone.data.sources.deaf_knowledge import Unknown
from overtone.data.text import words
from overtone.errors import DataError, MissingExtraError, RunError
from overtone.evaluation.benchmarks.qa import token_f1
from overtone.inference import lookup
from overtone.inference.embed import EmbedderConfig
from overtone.inference.lookup import Fact, LookupConfig, fact_of, fit_threshold, fit_weights


class Bag:
    """An embedder that counts words: each has an axis of its own, from the first time that it is met."""

    def __init__(self, name="bag"):
        self.name = name
        self.dimensions = 64
        self.axes = {}
        self.asked = []

    def encode(self, texts, *, query=False, told=None):
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        self.asked += texts if query else []
        for row, text in enumerate(texts):
            for word in words(text):
                vectors[row, self.axes.setdefault(word, len(self.axes))] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def fact(name, *questions, answer):
    return Fact(name, questions, answer, f"source of {name}")


FACTS = (
    fact("bread", "when is bread baked", "who bakes at night", answer="bread is baked at night"),
    fact("ferry", "when does the ferry run", "is there a boat", answer="the ferry is a boat that runs daily"),
    fact("library", "when does the library close", answer="its doors are shut at six"),
    fact(
        "post",
        "where are letters sent",
        "how is mail posted",
        answer="letters and mail leave the post office",
    ),
)
UNKNOWN = tuple(
    Unknown(f"u{n}", "fit", "far", text)
    for n, text in enumerate(("is there snow", "who won the cup", "how tall is the tower"))
)


def fitted(facts=FACTS, unknown=UNKNOWN, **changes):
    return lookup.fit(facts, unknown, LookupConfig(**changes), Bag())


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


def apart(n):
    """N facts of which no two wordings or answers share a word."""
    return [fact(f"f{i}", f"a{i} b{i}", f"c{i} d{i}", answer=f"e{i} f{i}") for i in range(n)]


def test_a_wording_that_is_judged_is_in_no_text():
    made = fitted(apart(5))
    assert made.fitted.right == pytest.approx(1 / 5)  # all facts score 0, so the first is the best
    assert made.fitted.threshold == 0
    for each in apart(5):
        assert [hit.fact for hit in made.find(each.questions)] == [each, each]


def test_other_wordings_and_the_answer_are_left():
    by_answer = [fact(f"f{i}", f"a{i}", f"b{i}", answer=f"a{i} b{i}") for i in range(5)]
    by_wording = [fact(f"f{i}", f"a{i} b{i}", f"b{i} c{i}", answer=f"d{i}") for i in range(5)]
    assert fitted(by_answer).fitted.right == fitted(by_wording).fitted.right == 1


def test_a_fact_with_one_wording_is_taken_for_others_and_not_judged():
    pair = [fact(f"f{i}", f"a{i} b{i}", f"a{i} c{i}", answer=f"a{i}") for i in range(2)]
    assert fitted(pair).fitted.right == 1
    alike = fact("single", "c0 b0 a0", answer="b0 c0 a0")  # has all words of f0, and never loses one
    assert fitted([*pair, alike]).fitted.right == 2 / 4
    strange = fact("single", "x y", answer="z")  # could not be found by its answer
    assert fitted([*pair, strange]).fitted.right == 1


def test_where_no_fact_has_two_wordings_answers_alone_are_judged():
    told = [fact(f"f{i}", f"a{i} b{i}", answer=f"a{i}") for i in range(4)]
    assert fitted(told).fitted.right == 1
    hidden = [fact(f"f{i}", f"a{i} b{i}", answer=f"c{i}") for i in range(4)]
    assert fitted(hidden).fitted.right == 1 / 4
    assert [hit.fact for hit in fitted(hidden).find(["b2 a2"])] == [hidden[2]]


def test_many_wordings_are_thinned_out(monkeypatch):
    many = [fact(f"f{i}", f"a{i} b{i}", f"a{i} c{i}", answer=f"a{i}") for i in range(12)]
    monkeypatch.setattr(lookup, "ENOUGH", 7)
    made = fitted(many)
    assert len(made.embedder.asked) == 7 + len(UNKNOWN)
    assert made.fitted.right == 1
    assert [hit.near[0] for hit in made.find([f"c{i}" for i in range(12)])] == many


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
def test_weights_are_where_the_slope_of_the_loss_is_nought(l2):
    features = np.array([[[1.0, 0.5], [0.0, 0.5]]] * 3)  # the second feature tells nothing
    found = fit_weights(features, np.zeros(3, dtype=np.int64), l2)
    # −log σ(w) + l2 w², by its derivative
    expected = brentq(lambda w: 2 * l2 * w - 1 / (1 + math.exp(w)), 0, 50)
    np.testing.assert_allclose(found, [expected, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("gold", [[0, 0], [1, 0]])  # as often wrong as right, and always wrong
def test_a_feature_that_does_not_help_has_no_weight(gold):
    features = np.array([[[1.0], [0.0]], [[0.0], [1.0]]])
    assert fit_weights(features, np.array(gold), 1e-4) == pytest.approx([0], abs=1e-4)


@pytest.mark.parametrize(
    ("known", "unknown", "allowed", "expected"),
    [
        ((5, 6, 7, 8), (1, 2), 0.5, 3.5),  # apart: no known one is declined, though half might be
        ((1, 4, 6, 8), (0, 3, 5), 0.25, 3.5),  # 5 could only be declined with 4, which is one too many
        ((1, 4, 6, 8), (0, 3, 5), 0.5, 5.5),
        ((1, 4, 6, 8), (0, 3, 5), 0.24, 0.5),  # none of four is at most 0.24 of them
        ((4, 4, 6, 8), (3, 5), 0.25, 3.5),  # declining one 4 would decline both
        ((1, 2, 3), (9,), 0.4, 1),  # would decline known ones, and no unknown one
        ((4, 3, 2, 1), (), 0.5, 3),  # no unknown ones to weigh: as many as it may
        ((2,), (2, 3), 0.9, 2),
    ],
)
def test_the_threshold_by_hand(known, unknown, allowed, expected):
    assert fit_threshold(np.array(known, float), np.array(unknown, float), allowed) == expected


@given(
    known=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    unknown=st.lists(st.integers(0, 20), min_size=1, max_size=12),
    allowed=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]),
)
def test_no_other_threshold_is_better(known, unknown, allowed):
    def declined(threshold):
        return sum(s < threshold for s in unknown), -sum(s < threshold for s in known)

    found = declined(fit_threshold(np.array(known, float), np.array(unknown, float), allowed))
    others = [declined(each / 2) for each in range(-1, 43)]
    assert -found[1] <= allowed * len(known)
    assert found == max(other for other in others if -other[1] <= allowed * len(known))


def test_settings_are_heard():
    assert fitted(unknown=(), declined_known=0.5).fitted.threshold > fitted(unknown=()).fitted.threshold
    assert fitted(unknown=()).fitted.declined_unknown is None
    norms = [np.linalg.norm(fitted(l2=l2).fitted.weights) for l2 in (1e-4, 1e-2)]
    assert norms[0] > 2 * norms[1]


def test_the_fit_says_what_it_declines():
    made = fitted(declined_known=0.4)
    found = [hit.score < made.fitted.threshold for hit in made.find([each.text for each in UNKNOWN])]
    assert made.fitted.declined_unknown == sum(found) / len(UNKNOWN)
    assert made.fitted.declined_known <= 0.4


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
    made = lookup.fit(FACTS, UNKNOWN, config)
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
    fitted(apart(4)).save(tmp_path)
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


def test_without_bm25s_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    bag = Bag()
    with pytest.raises(MissingExtraError, match="BM25 needs the extra 'search'"):
        lookup.fit(FACTS, UNKNOWN, None, bag)
    assert not bag.axes  # before any text was read


@pytest.mark.parametrize(
    ("given_facts", "message"),
    [
        ((), "too few facts"),
        (FACTS[:1], "too few facts"),
        ((fact("a", answer="x"), fact("b", answer="y")), "too few facts"),
        ((*FACTS, FACTS[1]), "two facts are called 'ferry'"),
    ],
)
def test_what_cannot_be_fitted_is_refused(given_facts, message):
    with pytest.raises(DataError, match=message):
        fitted(given_facts)


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


def test_the_shipped_facts_are_found_in_other_words(minilm):
    rows = [
        record for module in (deaf_knowledge, asl_signing) for record in module.records(locate(module.CARD))
    ]
    unknown = list(deaf_knowledge.unknown(locate(deaf_knowledge.CARD)))
    taught = [record for record in rows if record.split == "train"]
    made = lookup.fit(lookup.facts(taught), [each for each in unknown if each.part == "fit"])

    held_out = [record for record in rows if record.split == "test"]
    hits = made.find([record.text for record in held_out])
    best = [hit.near[0] for hit in hits]
    gold = [str(record.targets["answer"]) for record in held_out]
    assert np.mean([each.id == fact_of(r) for each, r in zip(best, held_out, strict=True)]) >= 0.7
    assert np.mean([token_f1(each.answer, right) for each, right in zip(best, gold, strict=True)]) >= 0.7
    assert np.mean([hit.fact is None for hit in hits]) <= 0.2

    hits = made.find([record.text for record in taught])
    right = [hit.fact is not None and hit.fact.id == fact_of(r) for hit, r in zip(hits, taught, strict=True)]
    assert np.mean(right) >= 0.95

    hits = made.find([each.text for each in unknown if each.part == "test"])
    assert np.mean([hit.fact is None for hit in hits]) >= 0.7
