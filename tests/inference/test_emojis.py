from __future__ import annotations

import emoji
import numpy as np
import pytest

from overtone.inference.emojis import LABELS, feeling, read, symbols, table
from overtone.inference.normalise import draw_faces

CASES = {
    "joy": [
        "😀",
        "😂🤣",
        "😊",
        "🎉",
        "🥳🎂🎈",
        "🏆🥇",
        "👏👏",
        "😎🏖️",
        "🌈☀️",
        "💃🕺",
        "😹",
        "😆!!!",
        "😁 😁 😁",
        ":)",
        ":D",
    ],
    "sadness": ["😢", "😭😭😭", "💔", "😞", "😔🌧️", "🥀", "😿", "☹️", "🙁", "⚰️😢", ":(", "T_T"],
    "anger": ["😠", "😡🤬", "👿", "💢", "🖕🏽", "😤", "😾", "🙄", "🙎🏿‍♀️", ">:("],
    "fear": ["😱", "😨😰", "👻", "🕷️🕸️", "🧟", "🚪👻", "😟", "🚨", "💣😱", "🙀"],
    "love": ["❤️", "😍", "🥰😘", "💕💞", "💏", "🫶🏾", "❤️‍🔥", "👩‍❤️‍💋‍👩", "💌", "😻", "<3", "🖤", "👩🏻‍❤️‍👨🏿"],
    "surprise": ["😮", "😲", "🤯", "😳", "⁉️", "🫢", "😯😯"],
    "neutral": [
        "🚗",
        "📎",
        "💻🖥️",
        "😐",
        "😶",
        "🤔",
        "🇫🇷",
        "⚽",
        "🍞",
        "1️⃣",
        "🔧🔩",
        "🐌",
        "☕📰",
        "🕒",
        "🚌🚏",
        "🤷‍♂️",
        "🧻",
    ],
    "disgust": ["🤢", "🤮", "💩", "🪳", "🤢🍔", "🐀"],
}


@pytest.mark.parametrize(
    ("text", "label"), [(text, label) for label, texts in CASES.items() for text in texts]
)
def test_emoji_alone(text, label):
    reading = read([draw_faces(text)], LABELS)
    assert reading.has_emoji[0]
    assert reading.emoji_only[0]
    assert LABELS[reading.distribution[0].argmax()] == label


def test_the_table_is_sound_and_wide():
    known = table()
    assert len(known) >= 260
    for symbol, (strength, weights) in known.items():
        assert emoji.emoji_count(symbol) == 1
        assert 0 < strength <= 1
        assert weights.sum() == pytest.approx(1)
    # Every label is the reading of several emoji.
    best = [LABELS[weights.argmax()] for _, weights in known.values()]
    assert min(best.count(label) for label in LABELS) >= 10


def test_every_emoji_has_a_feeling():
    for symbol, facts in emoji.EMOJI_DATA.items():
        strength, weights = feeling(symbol)
        assert 0 < strength <= 1, facts["en"]
        assert weights.sum() == pytest.approx(1)
        assert np.all(weights >= 0)


def test_shades_and_gender_do_not_matter():
    pairs = [("👍", "👍🏿"), ("🤦", "🤦🏻‍♀️"), ("❤", "❤️"), ("🧛", "🧛🏽‍♂️"), ("😮‍💨", "😮‍💨"), ("🏴‍☠", "🏴‍☠️")]
    for one, other in pairs:
        assert feeling(one)[0] == feeling(other)[0]
        assert np.array_equal(feeling(one)[1], feeling(other)[1])
    assert LABELS[feeling("😮‍💨")[1].argmax()] != LABELS[feeling("😮")[1].argmax()]


def test_unlisted_emoji_are_read_from_their_names():
    assert "🥻" not in table()
    assert LABELS[feeling("🥻")[1].argmax()] == "neutral"
    assert "💆🏽‍♂️" not in table()
    assert "👩‍❤️‍👩" not in table()  # listed without its variation selector
    assert LABELS[feeling("👩‍❤️‍👩")[1].argmax()] == "love"


def test_a_face_outweighs_things_by_hand():
    # 👻 has strength 0.7 and fear 0.9; 🚪 strength 0.05 and neutral 1.
    reading = read(["🚪👻"], LABELS)
    assert reading.distribution[0, LABELS.index("fear")] == pytest.approx(0.7 * 0.9 / 0.75)
    assert reading.distribution[0, LABELS.index("neutral")] == pytest.approx(0.05 / 0.75)
    faces = read(["😢📎📎📎📎📎"], LABELS).distribution[0]
    assert faces.argmax() == LABELS.index("sadness")


def test_words_plain_text_and_order_of_labels():
    reading = read(["so happy 😢", "no emoji", "", "😢...!", "Apple™", "5€ ☕"], LABELS)
    assert reading.has_emoji.tolist() == [True, False, False, True, False, True]
    assert reading.emoji_only.tolist() == [False, False, False, True, False, False]
    assert reading.distribution[1] == pytest.approx(np.full(8, 1 / 8))
    back = read(["😢🎉"], LABELS[::-1]).distribution[0]
    assert back == pytest.approx(read(["😢🎉"], LABELS).distribution[0][::-1])


def test_labels_that_a_model_lacks_drop_out():
    six = ("sadness", "joy", "love", "anger", "fear", "surprise")
    reading = read(["😢", "📎", "🤢", "😀📎"], six)
    assert reading.has_emoji.tolist() == [True, False, False, True]
    assert reading.distribution.sum(axis=1) == pytest.approx(np.ones(4))
    assert six[reading.distribution[3].argmax()] == "joy"
    assert not read(["😀"], ("spam", "ham")).has_emoji[0]
    assert read([], six).distribution.shape == (0, 6)


def test_symbols_come_whole():
    assert list(symbols("a 👩🏾‍💻 b ❤️🇫🇷 © 1️⃣")) == ["👩🏾‍💻", "❤️", "🇫🇷", "1️⃣"]
