from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from overtone.data import conversations
from overtone.data.chat import Turn, _check
from overtone.data.conversations import ConversationsConfig
from overtone.data.leakage import LeakageConfig
from overtone.data.records import Card, Record
from overtone.data.sources.tutoring import TutoringSource
from overtone.data.split import SPLITS
from overtone.errors import DataError

CARD = Card("toy", "", "CC-BY-SA-4.0", True, "https://example.org", "", {})


def prepared(*sources, seed=7, leakage=None, **changes):
    config = ConversationsConfig(sources=sources, **changes)
    return conversations.prepare(config, leakage or LeakageConfig(), seed)


def qa(path, n, *, answers=None, word="pier"):
    """A file of N questions, by default each with an answer of its own."""
    rows = [
        {"question": f"What of {word} {i} and {i * i}?", "answer": f"{word} {i % (answers or n)}"}
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"kind": "qa", "path": path}


def toy(monkeypatch, rows):
    """Let a recipe's one data set have these rows, as if read from its files."""
    monkeypatch.setattr(
        conversations, "_opened", lambda choice: (conversations.Source(CARD, lambda folder: iter(rows)), ".")
    )
    monkeypatch.setattr(conversations, "unknown", lambda folder: iter(()))
    return {"kind": "deaf-knowledge"}


def fact(number, wording, split):
    return Record(
        f"toy/{number:03d}.{wording}",
        f"wording {wording} asks {number}",
        {"answer": f"a{number}"},
        "toy",
        split,
        group=f"f{number:03d}",
    )


def groups(rows):
    return {(row.source, row.group) for row in rows}


def test_every_conversation_is_in_one_split(tmp_path):
    own = qa(tmp_path / "facts.jsonl", 60)
    found = prepared(own, validation=0.2, test=0.1)
    every = [row.id for name in SPLITS for row in found.splits[name]]
    assert len(every) == len(set(every)) == 60
    assert found.report.rows == {"train": 42, "validation": 12, "test": 6}
    assert found.report.counts["test"] == {"conversations": {"facts": 6}}
    assert found.report.left_out == {}
    assert prepared(own, validation=0.2, test=0.1).splits == found.splits
    assert prepared(own, validation=0.2, test=0.1, seed=8).splits != found.splits
    assert set(found.fingerprints) == {"facts"} == {card.name for card in found.cards}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    st.integers(3, 20),
    st.integers(20, 60),
    st.floats(0.01, 0.4),
    st.floats(0.01, 0.4),
    st.integers(0, 99),
    st.one_of(st.none(), st.integers(20, 60)),
)
def test_no_group_is_in_two_splits(tmp_path, answers, n, validation, test, seed, most):
    own = qa(tmp_path / "facts.jsonl", n, answers=answers)
    config = {
        "validation": validation,
        "test": test,
        "seed": seed,
        "limits": {} if most is None else {"facts": most},
    }
    try:
        splits = prepared(own, **config).splits
    except DataError:  # only where fewer than three groups fit into so few conversations
        assume(most is None or most >= 3 * -(-n // answers))
        raise
    assert all(splits[name] for name in SPLITS)
    named = [name for split in SPLITS for name in groups(splits[split])]
    assert len(named) == len(set(named))
    sizes = Counter(i % answers for i in range(n))
    kept = sum(len(splits[name]) for name in SPLITS)
    assert kept <= (most or n)
    # Whole groups, so that more is held out than asked for by less than one of them.
    assert len(splits.test) < test * kept + max(sizes.values())


def test_a_data_set_is_divided_the_same_beside_another(tmp_path):
    one, two = qa(tmp_path / "one.jsonl", 40), qa(tmp_path / "two.jsonl", 30, word="lamp")
    alone, both = prepared(one).splits, prepared(two, one).splits
    for name in SPLITS:
        assert alone[name] == tuple(row for row in both[name] if row.source == "one")
        assert {row.source for row in both[name]} == {"one", "two"}


def test_a_data_set_of_two_groups_is_trained_on(tmp_path):
    one, two = qa(tmp_path / "one.jsonl", 40), qa(tmp_path / "two.jsonl", 2, word="lamp")
    counts = prepared(one, two).report.counts
    assert counts["train"]["conversations"]["two"] == 2
    assert "two" not in counts["validation"]["conversations"]


@pytest.mark.parametrize(("share", "chosen"), [(0.01, 1), (0.1, 2), (0.4, 8)])
def test_the_last_wording_of_some_facts_chooses(monkeypatch, share, chosen):
    rows = [fact(i, w, "test" if w == 2 else "train") for i in range(20) for w in range(3)]
    rows += [fact(i, 0, "train") for i in range(20, 25)]  # asked but once: never taken away
    found = prepared(toy(monkeypatch, rows), validation=share)
    splits = found.splits
    assert {row.id for row in splits.test} == {row.id for row in rows if row.split == "test"}
    assert len(splits.validation) == chosen
    assert all(row.id.endswith(".1") for row in splits.validation)
    assert groups(splits.validation) < groups(splits.train)
    assert len(splits.train) == 45 - chosen


def test_a_data_set_with_its_own_validation_keeps_it(monkeypatch):
    rows = [fact(i, w, split) for i in range(9) for w, split in enumerate(("train", "train", "validation"))]
    splits = prepared(toy(monkeypatch, rows)).splits
    assert [len(splits[name]) for name in SPLITS] == [18, 9, 0]


def test_an_official_test_is_never_drawn_away(monkeypatch):
    rows = [fact(i, w, "test" if w == 2 else "train") for i in range(20) for w in range(3)]
    found = prepared(toy(monkeypatch, rows), limits={"toy": 9})
    assert len(found.splits.test) == 20
    assert len(found.splits.train) + len(found.splits.validation) == 8  # four facts of two wordings
    assert found.report.left_out == {"toy: more than `limits`": 32}
    assert groups(found.splits.validation) < groups(found.splits.train)
    assert found.splits == prepared(toy(monkeypatch, rows), limits={"toy": 9}).splits
    assert found.splits != prepared(toy(monkeypatch, rows), limits={"toy": 9}, seed=8).splits


def test_a_held_out_question_is_not_trained_on(tmp_path):
    own = qa(tmp_path / "facts.jsonl", 60)
    before = prepared(own).splits
    held = before.test[0].text
    twin = qa(tmp_path / "twin.jsonl", 2, word="lamp")
    twin["path"].write_text(json.dumps({"question": held.upper(), "answer": "x"}) + "\n")
    found = prepared(own, twin)
    (leak,) = found.report.leaks
    assert (leak.row, leak.twin, leak.exact) == ("twin/000001", before.test[0].id, True)
    assert found.report.dropped == {"train": 1, "validation": 0, "test": 0}
    assert "twin" not in found.report.counts["train"]["conversations"]
    reported = prepared(own, twin, leakage=LeakageConfig(drop=False))
    assert len(reported.report.leaks) == 1
    assert reported.report.rows["train"] == len(before.train) + 1


def test_what_is_said_in_a_record():
    targets = {"roles": ("system", "user", "assistant"), "turns": ("Topic: a", "b?", "c.")}
    assert conversations.turns(Record("t/1", "Topic: a\nb?\nc.", targets, "t")) == [
        Turn("system", "Topic: a"),
        Turn("user", "b?"),
        Turn("assistant", "c."),
    ]
    asked = Record("t/2", "b?", {"answer": "c.", "source": "a book"}, "t")
    assert conversations.turns(asked) == [Turn("user", "b?"), Turn("assistant", "c.")]
    with pytest.raises(DataError, match=r"(?s)'t/3' is not a conversation.*emotion"):
        conversations.turns(Record("t/3", "b", {"emotion": "joy"}, "t"))


def test_a_lesson_without_an_answer_is_left_out_and_counted(tmp_path):
    said = [{"role": "Student", "text": "Why?"}, {"role": "Teacher", "text": "Look."}]
    rows = [{"background_info": {"topic": f"t{i}"}, "conversation": said} for i in range(9)]
    rows.append({"conversation": said[:1]})
    (tmp_path / "a.json").write_text(json.dumps(rows))
    found = prepared(
        {"kind": "education-dialogue", "path": tmp_path / "a.json"}, leakage=LeakageConfig(drop=False)
    )
    assert sum(found.report.rows.values()) == 9
    assert found.report.left_out == {"education-dialogue: nothing is asked and answered": 1}


def test_what_is_wrong_is_said(tmp_path):
    own = qa(tmp_path / "facts.jsonl", 30)
    with pytest.raises(DataError, match="'facts' is named twice"):
        prepared(own, own)
    with pytest.raises(DataError, match="validation split is empty"):
        prepared(qa(tmp_path / "two.jsonl", 2))
    for name in ("conversations_train1.json", "conversations_train1.json.gz"):
        said = [{"role": "Student", "text": "Why?"}, {"role": "Teacher", "text": "Look."}]
        content = json.dumps([{"conversation": said}]).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DataError, match="1 ids stand twice"):
        prepared({"kind": "education-dialogue", "path": tmp_path})
    with pytest.raises(ValidationError, match="qa"):
        ConversationsConfig(sources=[{"kind": "q"}])


def test_the_shipped_facts_stay_taught_and_examined():
    found = prepared({"kind": "deaf-knowledge"}, {"kind": "asl-signing"})
    assert found.report.rows == {"train": 1454, "validation": 16, "test": 240}
    assert found.report.leaks == ()
    assert (found.report.licence, found.report.commercial) == ("Apache-2.0", True)
    splits = found.splits
    taught, chosen = Counter(row.group for row in splits.train), {row.group for row in splits.validation}
    assert {row.group for row in splits.test} <= set(taught)
    assert {name.startswith("signing") for name in chosen} == {True, False}
    assert all(taught[name] == (2 if name.startswith("signing") else 4) for name in chosen)


def test_what_is_only_asked_about_teaches_nothing(tmp_path):
    own, other = qa(tmp_path / "facts.jsonl", 30), qa(tmp_path / "other.jsonl", 5, word="lake")
    alone = prepared(own)
    found = prepared(own, asked=[{"kind": "deaf-knowledge"}, other])
    assert (found.splits.train, found.splits.validation) == (alone.splits.train, alone.splits.validation)
    added = Counter(row.source for row in found.splits.test[len(alone.splits.test) :])
    assert added == {"deaf-knowledge": 240, "other": 5}
    assert found.report.left_out == {"deaf-knowledge: for training, and only asked about": 1200}
    assert len(found.unanswered) == 120
    with pytest.raises(DataError, match="'facts' is named twice"):
        prepared(own, asked=[own])


def test_the_tutoring_dialogues_are_divided_by_what_they_are_about(data_root):
    found = prepared(TutoringSource(), {"kind": "deaf-knowledge"})
    places = defaultdict(set)
    for name in SPLITS:
        for row in found.splits[name]:
            _check(conversations.turns(row))
            if row.source == "tutoring":
                places[row.group].add(name)
    assert all(len(where) == 1 for where in places.values())
    counts = {name: found.report.counts[name]["conversations"]["tutoring"] for name in SPLITS}
    assert sum(counts.values()) + sum(found.report.dropped.values()) == 2_623
    assert 131 <= counts["test"] <= 160  # a twentieth, and at most one group more
    assert found.report.licence == "CC-BY-SA-4.0 AND CC-BY-2.5"
    assert {part.partition("/")[0] for part in places} == {"book2dial", "mathdial", "cima"}


def test_a_limit_of_no_data_set(tmp_path):
    with pytest.raises(DataError, match="no data set 'fact'"):
        prepared(qa(tmp_path / "facts.jsonl", 20), limits={"fact": 9})


def test_the_unknown_questions_come_with_the_shipped_facts():
    found = prepared({"kind": "deaf-knowledge"})
    assert [len(found.unknown(part)) for part in ("fit", "test")] == [60, 60]
    known = {row.text for name in SPLITS for row in found.splits[name]}
    assert not known & {each.text for each in found.unanswered}
