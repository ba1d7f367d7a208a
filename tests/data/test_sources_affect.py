"""The data sets of the affect recipe: small files of our own in their formats, and the real ones."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise

import pytest
from pydantic import ValidationError

from overtone.data.fetch import catalogue, verify
from overtone.data.sources import (
    banking77,
    clinc150,
    dailydialog,
    emobank,
    hate_offensive,
    politeness,
)
from overtone.data.sources.clinc150 import Clinc150Source
from overtone.data.sources.dailydialog import DailyDialogSource
from overtone.data.sources.politeness import PolitenessSource
from overtone.errors import DataError

EMOBANK = "id,split,V,A,D,text"
TWEETS = ",count,hate_speech,offensive_language,neither,class,tweet"
DIALOGUES = "Utterance,Dialogue_Act,Emotion,Dialogue_ID"
REQUEST = {"id": "1", "community": "Wikipedia", "text": "why?", "scores": [9], "normalized_score": -1.5}
QUERIES = {
    "train": [["what is due", "bill_due"]],
    "val": [["my balance", "balance"]],
    "test": [],
    "oos_train": [["who won", "oos"]],
    "oos_val": [],
    "oos_test": [["how tall is a tree", "oos"]],
}


def put(folder, name, *lines):
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def dialogues(tmp_path):
    """A folder in the format of SILICONE: two dialogues in one file, one of the same number in the other."""
    put(
        tmp_path,
        "silicone_dyda_dev.csv",
        DIALOGUES,
        '"hello , you",question,happiness,1',
        "fine .,inform,no emotion,1",
        "go on .,directive,anger,1",
        "i will .,commissive,no emotion,2",
        "good .,inform,surprise,2",
    )
    put(tmp_path, "silicone_dyda_test.csv", DIALOGUES, "who ?,question,fear,1", "me .,inform,no emotion,1")
    return tmp_path


def test_emobank_rows(tmp_path):
    put(tmp_path, "emobank.csv", EMOBANK, 'a_1,dev,1.0,5,3.25,"He said: ""go, now"""')
    (row,) = emobank.records(tmp_path)
    assert (row.id, row.text, row.split) == ("emobank/a_1", 'He said: "go, now"', "validation")
    assert row.targets == {"vad": (1.0, 5.0, 3.25)}


def test_hate_offensive_rows(tmp_path):
    put(
        tmp_path,
        "labeled_data.csv",
        TWEETS,
        "0,3,0,0,3,2,you &amp; me &#128514;",
        '7,3,2,1,0,0,"one, two"',
        "9,6,0,6,0,1,three",
    )
    assert [(row.id, row.text, row.targets["safety"]) for row in hate_offensive.records(tmp_path)] == [
        ("hate_offensive/0", "you & me \N{FACE WITH TEARS OF JOY}", "neither"),
        ("hate_offensive/7", "one, two", "hate"),
        ("hate_offensive/9", "three", "offensive"),
    ]


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        ("well&#44 why?", "well, why?"),
        ("over 1&#44000 and 1&#442&#443", "over 1,000 and 1,2,3"),
        ("&#343000 miles&#34", '"3000 miles"'),
        ("yes&mdash&#58no", "yes\N{EM DASH}no"),
        ("&#12375&#58", "\N{HIRAGANA LETTER SI}"),
        ("see &lt;url&gt; of <person>", "see <url> of <person>"),
        ("ae&i, Q&A: 5", "ae&i, Q&A: 5"),
    ],
)
def test_politeness_entities(found, meant):
    assert politeness.decoded(found) == meant


def test_politeness_is_split_by_community(tmp_path):
    put(tmp_path, "wikipedia.jsonl", json.dumps(REQUEST))
    put(tmp_path, "stack-exchange.jsonl", json.dumps({**REQUEST, "normalized_score": 1}))

    def rows(**settings):
        found = PolitenessSource(**settings).build().records(tmp_path)
        return [(row.id, row.source, row.split, row.targets) for row in found]

    assert rows() == [
        ("politeness/wikipedia-00000", "politeness-wikipedia", "test", {"style": (-1.5,)}),
        ("politeness/stack-exchange-00000", "politeness-stack-exchange", "train", {"style": (1.0,)}),
    ]
    assert [split for _, _, split, _ in rows(test_community="stack-exchange")] == ["train", "test"]
    with pytest.raises(ValidationError, match="test_community"):
        PolitenessSource(test_community="reddit")


def test_a_dialogue_begins_without_context(dialogues):
    rows = list(DailyDialogSource().build().records(dialogues))
    assert [(row.id, row.context, row.group, row.split) for row in rows] == [
        ("dailydialog/dev-1-1", None, "dev-1", "train"),
        ("dailydialog/dev-1-2", "hello , you", "dev-1", "train"),
        ("dailydialog/dev-1-3", "fine .", "dev-1", "train"),
        ("dailydialog/dev-2-1", None, "dev-2", "train"),
        ("dailydialog/dev-2-2", "i will .", "dev-2", "train"),
        ("dailydialog/test-1-1", None, "test-1", "test"),
        ("dailydialog/test-1-2", "who ?", "test-1", "test"),
    ]
    assert rows[0].targets == {"intent": "question", "emotion": "happiness"}
    assert all(row.context is None for row in DailyDialogSource(context=False).build().records(dialogues))


def test_a_dialogue_that_is_torn_apart(dialogues):
    with (dialogues / "silicone_dyda_dev.csv").open("a", encoding="utf-8") as file:
        file.write("and i .,inform,no emotion,1\n")
    with pytest.raises(DataError, match=r"dev\.csv, line 7: dialogue 1 goes on after another one"):
        list(dailydialog.records(dialogues))


def test_clinc150_with_and_without_out_of_scope(tmp_path):
    put(tmp_path, "data_full.json", json.dumps(QUERIES))

    def rows(**settings):
        found = Clinc150Source(**settings).build().records(tmp_path)
        return [(row.id, row.text, row.targets["intent"], row.split) for row in found]

    inside = [
        ("clinc150/train-00000", "what is due", "bill_due", "train"),
        ("clinc150/val-00000", "my balance", "balance", "validation"),
    ]
    assert rows() == inside
    assert rows(out_of_scope=True) == [
        *inside,
        ("clinc150/oos_train-00000", "who won", "oos", "train"),
        ("clinc150/oos_test-00000", "how tall is a tree", "oos", "test"),
    ]


def test_banking77_rows(tmp_path):
    put(tmp_path, "train.csv", "text,category", '"\nmy card,', '",reverted_card_payment?')
    put(tmp_path, "test.csv", "text,category", "where?,card_arrival")
    assert [(row.id, row.text, row.targets, row.split) for row in banking77.records(tmp_path)] == [
        ("banking77/train-00000", "\nmy card,\n", {"intent": "reverted_card_payment?"}, "train"),
        ("banking77/test-00000", "where?", {"intent": "card_arrival"}, "test"),
    ]


def request_with(**parts):
    return json.dumps({**REQUEST, **parts})


def queries_with(val):
    return json.dumps({**QUERIES, "val": val})


BROKEN = [
    (emobank, [], "line 1: the header is not id,split,V,A,D,text"),
    (emobank, ["id,split,V,A,text"], "line 1: the header is not id,split,V,A,D,text"),
    (emobank, ["split,id,V,A,D,text"], "line 1: the header is not"),
    (emobank, [EMOBANK, "a,dev,1,2,3"], "line 2: 5 cells"),
    (emobank, [EMOBANK, 'a,dev,1,2,3,"x'], "line 2: unexpected end of data"),
    (emobank, [EMOBANK, "a,val,1,2,3,x"], "line 2: 'val' is not a split"),
    (emobank, [EMOBANK, "a,dev,1,,3,x"], "line 2: 'A' holds '', which is not a number"),
    (emobank, [EMOBANK, "a,dev,1,2,nan,x"], "line 2: 'D' holds 'nan', which is not a number"),
    (emobank, [EMOBANK, "a,dev,5.1,2,3,x"], "line 2: 'V' is 5.1, outside 1 to 5"),
    (emobank, [EMOBANK, "a,dev,1,0.9,3,x"], "line 2: 'A' is 0.9, outside 1 to 5"),
    (hate_offensive, ["class,tweet"], "line 1: the header is not ,count,"),
    (hate_offensive, [TWEETS, "0,3,0,0,3,3,x"], "line 2: '3' is not a class"),
    (politeness, ["{"], "line 1: not JSON"),
    (politeness, ["[]"], "line 1: not a JSON object"),
    (politeness, [request_with(), '{"text": "x"}'], "line 2: not an object with a text and community"),
    (politeness, [request_with(text=4)], "line 1: not an object with a text"),
    (politeness, [request_with(rater="A1")], "line 1: not an object with"),
    (
        politeness,
        [request_with(normalized_score=None)],
        "line 1: 'normalized_score' holds None, which is not",
    ),
    (politeness, [request_with(normalized_score=float("nan"))], "line 1: 'normalized_score' holds nan"),
    (dailydialog, ["Utterance,Dialogue_Act"], "line 1: the header is not Utterance"),
    (dailydialog, [DIALOGUES, "x,informs,anger,1"], "line 2: 'informs' is not a dialogue act.*mean 'inform'"),
    (dailydialog, [DIALOGUES, "x,inform,neutral,1"], "line 2: 'neutral' is not an emotion"),
    (clinc150, ["{", '"train": ['], "not JSON .*line 2"),
    (clinc150, ["[" * 100_000], "not JSON"),
    (clinc150, ["[]"], "not an object with the lists train, val, test"),
    (clinc150, ['{"train": []}'], "not an object with the lists train, val, test"),
    (clinc150, [queries_with({})], "not an object with the lists"),
    (clinc150, [queries_with([["x"]])], "val, query 0: not a text and an intent"),
    (clinc150, [queries_with([[1, "balance"]])], "val, query 0: not a text and an intent"),
    (clinc150, [queries_with([["x", "uber"], ["y", "balnce"]])], "val, query 1: 'balnce' is.*mean 'balance'"),
    (clinc150, [queries_with([["x", "oos"]])], "val, query 0: 'oos' is not an intent"),
    (clinc150, [queries_with([["x", ["y"]]])], "val, query 0: .* is not an intent"),
    (banking77, ["text,label"], "line 1: the header is not text,category"),
    (banking77, ["text,category", "x,card_arival"], "line 2: 'card_arival' is.*mean 'card_arrival'"),
]


@pytest.mark.parametrize(("source", "lines", "message"), BROKEN)
def test_a_broken_file_names_the_place(tmp_path, source, lines, message):
    name = next(iter(source.CARD.files))
    put(tmp_path, name, *lines)
    with pytest.raises(DataError, match=rf"(?s){re.escape(name)}.*{message}") as caught:
        list(source.records(tmp_path))
    assert caught.value.hint


@pytest.mark.parametrize(
    "source",
    [emobank, hate_offensive, politeness, dailydialog, clinc150, banking77],
    ids=lambda s: s.CARD.name,
)
def test_a_missing_file(tmp_path, source):
    with pytest.raises(DataError, match=f"{next(iter(source.CARD.files))} is missing"):
        list(source.records(tmp_path))


def real(data_root, source):
    """The records of a data set whose files are those of its card."""
    folder = data_root / source.CARD.name
    verify(source.CARD, folder)
    rows = list(source.records(folder))
    assert len({row.id for row in rows}) == len(rows) == sum(source.CARD.sizes.values())
    return rows


def shared(rows, split, text=lambda row: row.text):
    """How many of a split's distinct texts stand in train."""
    train = {text(row) for row in rows if row.split == "train"}
    return len({text(row) for row in rows if row.split == split} & train)


def test_emobank_as_published(data_root):
    rows = real(data_root, emobank)
    assert Counter(row.split for row in rows) == {"train": 8062, "validation": 1000, "test": 1000}
    assert rows[0].text == 'Remember what she said in my last letter? "'
    assert rows[0].targets == {"vad": (3.0, 3.0, 3.2)}
    low, high = emobank.RANGE
    assert all(low <= number <= high for row in rows for number in row.targets["vad"])
    assert (shared(rows, "test"), shared(rows, "validation")) == (16, 20)


def test_hate_offensive_as_published(data_root):
    rows = real(data_root, hate_offensive)
    assert Counter(row.targets["safety"] for row in rows) == {
        "hate": 1430,
        "offensive": 19190,
        "neither": 4163,
    }
    assert rows[-1].id == "hate_offensive/25296"
    assert not any("&amp;" in row.text for row in rows)


def test_politeness_as_published(data_root):
    rows = real(data_root, politeness)
    assert Counter((row.source, row.split) for row in rows) == {
        ("politeness-wikipedia", "test"): 4353,
        ("politeness-stack-exchange", "train"): 6604,
    }
    assert rows[1].text == (
        "thanks very much for your edit to the <url> article. "
        "would you be interested in tackling the <url> of <url>?"
    )
    assert rows[1].targets == {"style": (1.313955,)}
    wikipedia = [row.text for row in rows if row.source == "politeness-wikipedia"]
    assert not any(re.search(r"&#\d", text) for text in wikipedia)
    assert all(ord(character) < 0xAC00 for text in wikipedia for character in text)  # 1&#44000 is no Hangul


def test_dailydialog_as_published(data_root):
    rows = real(data_root, dailydialog)
    assert Counter(row.split for row in rows) == dailydialog.CARD.sizes
    train = [row for row in rows if row.split == "train"]
    assert Counter(row.targets["intent"] for row in train) == {
        "inform": 3125,
        "question": 2244,
        "directive": 1775,
        "commissive": 925,
    }
    emotions = Counter(row.targets["emotion"] for row in train)
    assert (emotions["no emotion"], emotions["happiness"], emotions["disgust"]) == (7108, 684, 3)
    assert len({row.group for row in rows}) == sum(row.context is None for row in rows) == 2000
    for before, row in pairwise(rows):
        assert row.context == (before.text if before.group == row.group else None)
    seen = {row.text for row in train}
    assert sum(row.text in seen for row in rows if row.split == "test") == 497


def test_clinc150_as_published(data_root):
    rows = real(data_root, clinc150)
    domains = json.loads((data_root / "clinc150" / "domains.json").read_text(encoding="utf-8"))
    assert list(clinc150.LABELS) == [name for names in domains.values() for name in names]
    outside = Counter(row.split for row in rows if row.targets["intent"] == clinc150.OUT_OF_SCOPE)
    assert Counter(row.split for row in rows) - outside == {"train": 15000, "validation": 3000, "test": 4500}
    assert outside == {"train": 100, "validation": 100, "test": 1000}
    each = Counter((row.targets["intent"], row.split) for row in rows)
    assert {(each[name, "train"], each[name, "test"]) for name in clinc150.LABELS} == {(100, 30)}
    assert (shared(rows, "test"), shared(rows, "validation")) == (2, 3)


def test_banking77_as_published(data_root):
    rows = real(data_root, banking77)
    listed = json.loads((data_root / "banking77" / "categories.json").read_text(encoding="utf-8"))
    assert list(banking77.LABELS) == listed
    assert Counter(row.split for row in rows) == {"train": 10003, "test": 3080}
    each = Counter((row.targets["intent"], row.split) for row in rows)
    train = [each[name, "train"] for name in banking77.LABELS]
    assert (min(train), max(train)) == (35, 187)
    assert {each[name, "test"] for name in banking77.LABELS} == {40}
    assert shared(rows, "test", lambda row: row.text.strip().lower()) == 6


def test_the_catalogue_has_the_new_data_sets_and_their_licences():
    names = ("banking77", "clinc150", "dailydialog", "emobank", "hate_offensive", "politeness")
    cards = {name: catalogue()[name].card for name in names}
    assert {name: (card.licence.split()[0], card.commercial) for name, card in cards.items()} == {
        "banking77": ("CC-BY-4.0", True),
        "clinc150": ("CC-BY-3.0", True),
        "dailydialog": ("CC-BY-NC-SA-4.0", False),
        "emobank": ("CC-BY-SA-4.0", True),
        "hate_offensive": ("MIT", True),
        "politeness": ("LicenseRef-stanford-politeness", None),
    }
    for card in cards.values():
        assert set(card.downloads) in (set(card.files), set())
