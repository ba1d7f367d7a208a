"""EmpatheticDialogues and ESConv: small files of our own in their formats, and the real ones."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby

import pytest

from overtone.apps.chat import licence_line
from overtone.data import conversations
from overtone.data.chat import _check
from overtone.data.conversations import ConversationsConfig, turns
from overtone.data.fetch import catalogue, verify
from overtone.data.leakage import LeakageConfig
from overtone.data.records import Source
from overtone.data.rows import json_rows
from overtone.data.sources import empathetic_dialogues, esconv
from overtone.data.sources.empathetic_dialogues import EmpatheticDialoguesSource
from overtone.data.sources.esconv import EsconvSource
from overtone.data.split import SPLITS
from overtone.errors import DataError

TOLD = {
    "conv_id": "hit:9_conv:1",
    "emotion": "proud",
    "situation": "My daughter, nine, repaired the clock.",
    "utterances": [
        {"speaker": "speaker", "text": "My daughter repaired  our clock.", "auto_label": "joyful"},
        {"speaker": "listener", "text": "How old is your clockmaker?", "auto_label": "questioning"},
        {"speaker": "speaker", "text": "Nine!", "auto_label": "proud"},
        {"speaker": "listener", "text": "She has clever hands, your girl.", "auto_label": "acknowledging"},
        {"speaker": "speaker", "text": "I am.", "auto_label": "proud"},
    ],
}
HELPED = {
    "id": "train-0007",
    "problem_type": "Sleep Problems",
    "dialog": [
        {"text": "Hello, what is wrong?", "speaker": "sys", "strategy": "Question"},
        {"text": "I lie awake.", "speaker": "usr", "rating": None},
        {"text": "All night.", "speaker": "usr", "rating": "2"},
        {"text": "Such long dark hours.", "speaker": "sys", "strategy": "Reflection of feelings"},
        {"text": "Since which night?", "speaker": "sys", "strategy": "Question"},
        {"text": "Since May.", "speaker": "usr", "rating": "5"},
        {"text": "Try to read a little.", "speaker": "sys", "strategy": "Providing Suggestions"},
        {"text": "I will.", "speaker": "usr", "rating": "4"},
    ],
}
REJECTED = {
    "problem_type": "job crisis",
    "dialog": [
        {"speaker": "speaker", "annotation": {}, "content": "They closed\n our mill.\n"},
        {"speaker": "listener", "annotation": {"strategy": "Questions"}, "content": "ok\n"},
        {"speaker": "speaker", "annotation": {"feedback": "1"}, "content": "Well."},
        {"speaker": "listener", "annotation": {"strategy": "Direct Guidance"}, "content": "Find another."},
    ],
}


def put(folder, train=(), valid=(), test=()):
    for name, rows in (("train", train), ("valid", valid), ("test", test)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def said(record):
    return [(turn.role, turn.text) for turn in turns(record)]


def test_a_listener_is_the_assistant(tmp_path):
    alone = {**TOLD, "conv_id": "hit:9_conv:2", "utterances": TOLD["utterances"][:1]}
    rows = list(EmpatheticDialoguesSource().build().records(put(tmp_path, [TOLD], [alone], [TOLD])))
    assert [(row.id, row.split) for row in rows] == [
        ("empathetic_dialogues/hit:9_conv:1", "train"),
        ("empathetic_dialogues/hit:9_conv:2", "validation"),
        ("empathetic_dialogues/hit:9_conv:1", "test"),
    ]
    assert said(rows[0]) == [
        ("user", "My daughter repaired our clock."),
        ("assistant", "How old is your clockmaker?"),
        ("user", "Nine!"),
        ("assistant", "She has clever hands, your girl."),
    ]
    assert rows[0].targets["emotion"] == "proud"
    assert rows[0].group == rows[1].group == "my daughter nine repaired the clock"
    # Nothing is answered, so that a recipe leaves it out and counts it.
    assert (said(rows[1]), rows[1].text) == ([], "")


def test_what_a_model_labelled_is_not_read(tmp_path):
    (row,) = empathetic_dialogues.records(put(tmp_path, [TOLD]))
    bare = [{k: v for k, v in turn.items() if k != "auto_label"} for turn in TOLD["utterances"]]
    assert [row] == list(empathetic_dialogues.records(put(tmp_path, [{**TOLD, "utterances": bare}])))


def test_utterances_in_a_row_are_one_turn_with_the_first_strategy(tmp_path):
    (row,) = EsconvSource().build().records(put(tmp_path, [HELPED]))
    assert (row.id, row.split) == ("esconv/train-0007", "train")
    assert said(row) == [
        ("user", "Hello."),
        ("assistant", "Hello, what is wrong?"),
        ("user", "I lie awake.\nAll night."),
        ("assistant", "Such long dark hours.\nSince which night?"),
        ("user", "Since May."),
        ("assistant", "Try to read a little."),
    ]
    strategies = ("Question", "Reflection of feelings", "Providing Suggestions")
    assert row.targets["strategy"] == ("", strategies[0], "", strategies[1], "", strategies[2])
    # A rating is about what the supporter said before it, and the last one's turn is left out.
    assert row.targets["rating"] == ("", "2", "", "5", "", "4")
    assert row.targets["problem"] == "sleep problems"


def test_a_failed_conversation_has_the_same_form(tmp_path):
    (tmp_path / "failed.json").write_text(json.dumps([REJECTED]), encoding="utf-8")
    (row,) = esconv.failed(tmp_path)
    assert (row.id, row.split) == ("esconv/failed-000", "train")
    assert said(row) == [
        ("user", "They closed our mill."),
        ("assistant", "ok"),
        ("user", "Well."),
        ("assistant", "Find another."),
    ]
    assert row.targets["strategy"] == ("", "Question", "", "Providing Suggestions")
    assert row.targets["rating"] == ("", "1", "", "")


def turn_changed(row, key, number, **changes):
    changed = [dict(turn) for turn in row[key]]
    changed[number] |= changes
    return {**row, key: changed}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**TOLD, "emotion": "prod"}, "line 2: 'prod' is not an emotion.*did you mean 'proud'"),
        ({**TOLD, "situation": 3}, "line 2: 'situation' is int, not text"),
        ({**TOLD, "utterances": []}, "line 2: 'utterances' is not a list of utterances"),
        ({**TOLD, "utterances": ["hello"]}, "line 2: 'utterances' is not a list of utterances"),
        ({"emotion": "proud"}, "line 2: no 'conv_id'"),
        (turn_changed(TOLD, "utterances", 1, speaker="speaker"), "turn 2: it is the listener's"),
        (turn_changed(TOLD, "utterances", 1, speaker="lister"), "turn 2: 'lister'.*mean 'listener'"),
        (turn_changed(TOLD, "utterances", 2, text=" "), "line 2, turn 3: 'text' is empty"),
    ],
)
def test_a_broken_dialogue_is_named(tmp_path, row, problem):
    with pytest.raises(DataError, match=rf"(?s)train\.jsonl.*{problem}"):
        list(empathetic_dialogues.records(put(tmp_path, [TOLD, row])))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**HELPED, "dialog": "hello"}, "line 2: 'dialog' is not a list of utterances"),
        ({"id": "a", "dialog": HELPED["dialog"]}, "line 2: no 'problem_type'"),
        (turn_changed(HELPED, "dialog", 0, strategy="Questions"), "turn 1: 'Questions'.*mean 'Question'"),
        (turn_changed(HELPED, "dialog", 0, speaker="bot"), "turn 1: 'bot' is not a side"),
        (turn_changed(HELPED, "dialog", 1, rating="6"), "turn 2: '6' is not a rating"),
        (turn_changed(HELPED, "dialog", 1, rating=5), "turn 2: '5' is not a rating"),
        (turn_changed(HELPED, "dialog", 3, text=""), "turn 4: 'text' is empty"),
    ],
)
def test_a_broken_support_conversation_is_named(tmp_path, row, problem):
    with pytest.raises(DataError, match=rf"(?s)train\.jsonl.*{problem}"):
        list(esconv.records(put(tmp_path, [HELPED, row])))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (turn_changed(REJECTED, "dialog", 1, annotation=None), "item 1, turn 2: no 'annotation'"),
        (turn_changed(REJECTED, "dialog", 1, annotation={"strategy": "Advice"}), "turn 2: 'Advice' is not"),
        (turn_changed(REJECTED, "dialog", 2, annotation={"feedback": "9"}), "turn 3: '9' is not a rating"),
    ],
)
def test_a_broken_failed_conversation_is_named(tmp_path, row, problem):
    (tmp_path / "failed.json").write_text(json.dumps([row]), encoding="utf-8")
    with pytest.raises(DataError, match=rf"(?s)failed\.json.*{problem}"):
        list(esconv.failed(tmp_path))


@pytest.mark.parametrize("module", [empathetic_dialogues, esconv], ids=lambda module: module.CARD.name)
def test_a_missing_file_is_named(tmp_path, module):
    put(tmp_path)
    (tmp_path / "valid.jsonl").unlink()
    with pytest.raises(DataError, match=r"valid\.jsonl is missing"):
        list(module.records(tmp_path))
    assert catalogue()[module.CARD.name].card is module.CARD


def test_a_run_on_both_is_not_for_commercial_use(tmp_path, monkeypatch):
    other = {
        **TOLD,
        "conv_id": "hit:9_conv:3",
        "utterances": [
            {"speaker": "speaker", "text": "The ferry to the island did not come at all."},
            {"speaker": "listener", "text": "Where did everybody sleep?"},
        ],
    }
    sources = {
        "empathetic_dialogues": Source(
            empathetic_dialogues.CARD,
            lambda _: empathetic_dialogues.records(put(tmp_path, [TOLD], [other])),
        ),
        "esconv": Source(esconv.CARD, lambda _: esconv.records(put(tmp_path, [HELPED]))),
    }
    monkeypatch.setattr(conversations, "_opened", lambda choice: (sources[choice.kind], tmp_path))
    config = ConversationsConfig(sources=[{"kind": "empathetic_dialogues"}, {"kind": "esconv"}])
    found = conversations.prepare(config, LeakageConfig(), seed=7)
    assert found.report.rows == {"train": 2, "validation": 1, "test": 0}
    assert (found.report.licence, found.report.commercial) == (
        "CC-BY-NC-4.0 and CC-BY-NC-4.0, for academic research only",
        False,
    )
    assert all(each["commercial"] is False for each in found.fingerprints.values())
    shown = licence_line({"data": found.report.licence, "weights": "MIT", "commercial": False})
    assert shown == f"not for commercial use (data: {found.report.licence}; weights: MIT)"


def test_the_dialogues_are_as_published(data_root):
    folder = data_root / "empathetic_dialogues"
    verify(empathetic_dialogues.CARD, folder)
    assert (folder / "emotions.txt").read_text(encoding="utf-8").split() == list(empathetic_dialogues.LABELS)
    rows = list(empathetic_dialogues.records(folder))
    assert len({row.id for row in rows}) == len(rows) == 24_856
    assert Counter(row.split for row in rows) == empathetic_dialogues.CARD.sizes
    emotions = Counter(row.targets["emotion"] for row in rows)
    assert (len(emotions), emotions["surprised"], emotions["faithful"]) == (32, 1_278, 478)
    assert (emotions.most_common()[0][0], emotions.most_common()[-1][0]) == ("surprised", "faithful")
    raw = [
        turn["text"]
        for name in ("train", "valid", "test")
        for path in [folder / f"{name}.jsonl.gz"]
        for _, row in json_rows(path if path.exists() else path.with_suffix(""))
        for turn in row["utterances"]
    ]
    assert len(raw) == 107_247
    assert not any("_comma_" in text or "&#" in text or "&amp" in text for text in raw)
    left_out = [row for row in rows if not row.text]
    assert len(left_out) == 3
    for row in rows:
        if row.text:
            _check(turns(row))
    # As many turns as utterances, but for the speaker's last where nobody answers it.
    unanswered = len(raw) - sum(len(turns(row)) for row in rows)
    assert unanswered == 3_656 + 607 + 458
    places = {name: {row.group for row in rows if row.split == name} for name in SPLITS}
    assert not places["test"] & (places["train"] | places["validation"])
    assert not places["train"] & places["validation"]


def test_the_support_conversations_are_as_published(data_root):
    folder = data_root / "esconv"
    verify(esconv.CARD, folder)
    listed = (folder / "strategies.txt").read_text(encoding="utf-8").splitlines()
    assert listed == list(esconv.LABELS)
    rows = list(esconv.records(folder))
    assert len({row.id for row in rows}) == len(rows) == 1_300
    assert Counter(row.split for row in rows) == esconv.CARD.sizes
    raw = [
        esconv.utterances(row, place)
        for name in ("train", "valid", "test")
        for path in [folder / f"{name}.jsonl.gz"]
        for place, row in json_rows(path if path.exists() else path.with_suffix(""))
    ]
    every = [each for whole in raw for each in whole]
    assert len(every) == 38_365
    assert Counter(each.strategy for each in every if each.role == "assistant") == {
        "Question": 3_801,
        "Others": 3_341,
        "Providing Suggestions": 2_954,
        "Affirmation and Reassurance": 2_827,
        "Self-disclosure": 1_713,
        "Reflection of feelings": 1_436,
        "Information": 1_215,
        "Restatement or Paraphrasing": 1_089,
    }
    for row, whole in zip(rows, raw, strict=True):
        found = turns(row)
        _check(found)
        assert [turn.role for turn in found] == ["user", "assistant"] * (len(found) // 2)
        supporters = [
            list(each) for role, each in groupby(whole, lambda one: one.role) if role == "assistant"
        ]
        assert row.targets["strategy"][1::2] == tuple(each[0].strategy for each in supporters)
        assert [turn.text.split("\n") for turn in found[1::2]] == [
            [one.text for one in each] for each in supporters
        ]


def test_strategies_of_one_turn_mostly_differ(data_root):
    """Why a card says so, and what is lost by taking the first."""
    runs = [
        [each.strategy for each in side]
        for place, row in json_rows(next((data_root / "esconv").glob("train.jsonl*")))
        for role, side in groupby(esconv.utterances(row, place), lambda one: one.role)
        if role == "assistant"
    ]
    several = [run for run in runs if len(run) > 1]
    differ = [run for run in several if len(set(run)) > 1]
    assert (len(runs), len(several), len(differ)) == (10_679, 1_842, 1_488)
    assert "mostly differ" in esconv.CARD.notes


def test_the_failed_conversations_are_as_described(data_root):
    rows = list(esconv.failed(data_root / "esconv"))
    assert len({row.id for row in rows}) == len(rows) == 196
    assert {label for row in rows for label in row.targets["strategy"]} == {*esconv.LABELS, ""}
    for row in rows:
        _check(turns(row))


def test_both_are_divided_without_a_leak(data_root):
    config = ConversationsConfig(sources=[{"kind": "empathetic_dialogues"}, {"kind": "esconv"}])
    found = conversations.prepare(config, LeakageConfig(), seed=7)
    assert found.report.leaks == ()
    assert found.report.left_out == {"empathetic_dialogues: nothing is asked and answered": 3}
    assert found.report.rows == {"train": 19_516 + 910, "validation": 2_778 + 195, "test": 2_559 + 195}
    assert found.report.commercial is False
