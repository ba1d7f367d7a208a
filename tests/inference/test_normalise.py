from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overtone.inference import normalise as module
from overtone.inference.normalise import draw_faces, is_noise, normalise, reveal


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("I am sooooo tired", "I am so tired"),
        ("GOOOOOD, reallllly cooool", "GOOD, really cool"),
        ("haaappppyyyy hellooooo yessss", "happy hello yes"),
        ("thx u, idk tbh", "thanks you, i do not know to be honest"),
        ("IDK, B4 RN", "i do not know, B4 RN"),
        ("@ann_b look https://a.b/c?d=1 and www.e.org!", "@user look http and http!"),
        ("Tom &amp; Jerry &#39;s &lt;b&gt; &#44 ok", "Tom & Jerry 's <b> , ok"),
        ("ｈｅｌｌｏ　𝓼𝓪𝓭 ﬁne", "hello sad fine"),
        ("h\u200bap\u200dp\u00ady\ufeff", "happy"),
        ("&amp;amp;lt;", "<"),
        ("broken \ud83d half", "broken half"),
        ("  two   spaces ", "two spaces"),
    ],
)
def test_what_is_undone(text, read):
    assert normalise([text]) == [read]


@pytest.mark.parametrize(
    "text",
    [
        "We went to the small hall in the well-lit street; all were still there.",
        "Don't you think it’s a fine day – or isn’t it…?",
        "Louis XIII, the KKK, AAA batteries, YYYY-MM-DD, 1000000 and www",
        "AT&T and R&D cost 50% of $3.50 (see a@b.com), 5 < 6 > 4",
        "The U.S. and a U-turn; Ur was a city, RN Smith a nurse, AF1 a plane.",
        "Café naïve, Straße, ½ litre, E = mc², Apple™, 20 °C",
        "Мама мыла раму. 我今天很高兴。 می‌خواهم हिन्दी ありがとう 감사합니다",
        "😀 stays, 👩🏾‍💻 too :) and ❤️",
        "wow!!! really?? hmm... no",
        "line one\nline two",
        "lol omg wtf",
    ],
)
def test_ordinary_text_comes_back_unchanged(text):
    assert normalise([text]) == [text]


def test_emoji_as_words_only_where_asked():
    assert normalise(["so 👍🏽😂 :)))"], emoji_words=True) == [
        "so thumbs up face with tears of joy slightly smiling face"
    ]
    assert normalise(["Apple™ ©"], emoji_words=True) == ["Apple™ ©"]
    assert normalise(["👩🏾‍💻!"], emoji_words=True) == ["woman technologist !"]


@settings(max_examples=300)
@given(st.text(), st.booleans())
def test_twice_is_once(text, emoji_words):
    once = normalise([text], emoji_words=emoji_words)
    assert normalise(once, emoji_words=emoji_words) == once


PIECES = [
    "sooo",
    "&am",
    "p;",
    "＆",
    "@",
    "user",
    "http",
    "://x",
    ":)",
    "<3",
    "u",
    " ",
    "idk",
    "😂",
    "\u200d",
    "KKKK",
    "!",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES)), st.booleans())
def test_twice_is_once_on_awkward_pieces(pieces, emoji_words):
    once = normalise(["".join(pieces)], emoji_words=emoji_words)
    assert normalise(once, emoji_words=emoji_words) == once


WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "while",
    "seven",
    "bottles",
    "of",
    "tea",
    "were",
    "still",
    "hot",
]


@settings(max_examples=100)
@given(st.lists(st.sampled_from(WORDS), min_size=1), st.sampled_from(list(".!?")))
def test_plain_sentences_stay(words, end):
    sentence = " ".join(words).capitalize() + end
    assert normalise([sentence]) == [sentence]


def test_typed_faces_need_room_around_them():
    assert draw_faces("fine :) really :-( <3") == "fine 🙂 really 🙁 ❤️"
    assert draw_faces(":'(((") == "😢"
    assert draw_faces("great!:D") == "great!😀"
    for text in ("ratio 3:0", "http://x", "(see note 8)", "a:b", "C:\\dir", "x<3y", "12:Data"):
        assert draw_faces(text) == text


@pytest.mark.parametrize(
    "text", ["", "   ", "\n\t", "...", "?!?!", "123 456", "-- * --", "@bob", "https://a.b", "™", "\u200b"]
)
def test_noise(text):
    assert is_noise(text)


@pytest.mark.parametrize("text", ["k", "好", "да", "😀", ":)", "<3", "@bob hi", "&lt;3", "ﾊ", "¯\\_(ツ)_/¯"])
def test_not_noise(text):
    assert not is_noise(text)


def test_tables_are_sound():
    slang = dict(module._pairs("slang.tsv"))
    assert len(slang) >= 150
    assert all(word == word.lower() and meaning for word, meaning in slang.items())
    # No expansion holds another abbreviation, so one pass is enough.
    assert not {word for meaning in slang.values() for word in meaning.split()} & set(slang)
    assert len(module._emoticons()[1]) >= 60
    assert all(any(a == b for a, b in itertools.pairwise(word)) for word in module._doubled())


def test_no_input_is_slow():
    awkward = [
        "a" * 100_000,
        "ab" * 50_000,
        "&" * 50_000,
        "@" * 50_000,
        ":" * 50_000,
        "aaab" * 20_000,
        "www." * 20_000,
    ]
    start = time.perf_counter()
    normalise(awkward)
    [is_noise(text) for text in awkward]
    assert time.perf_counter() - start < 4
    assert reveal("x") == "x"
