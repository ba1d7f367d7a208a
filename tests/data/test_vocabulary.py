from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from overtone.data import vocabulary
from overtone.data.vocabulary import (
    END,
    UNKNOWN,
    BpeVocabulary,
    ByteVocabulary,
    CharacterVocabulary,
    VocabularyConfig,
    WordPieceVocabulary,
    WordVocabulary,
)
from overtone.errors import DataError
from toys import sentences, write_tokenizer

TEXTS = [text for text, _ in sentences(60)] + ["Élan, naïveté — “quoted” 😀😀\n\ttabs and 1,234.5"]
TRAINED = {
    "byte": ByteVocabulary(),
    "character": CharacterVocabulary(size=40),
    "word": WordVocabulary(size=30),
    "bpe": BpeVocabulary(size=300),
}


@pytest.fixture(scope="module")
def made():
    """A vocabulary of each kind, made on the same texts."""
    return {kind: config.build(iter(TEXTS)) for kind, config in TRAINED.items()}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    write_tokenizer(folder)
    return folder


def ids_of(made, text):
    return made.encode([text]).flat.tolist()


@pytest.mark.parametrize("kind", ["byte", "bpe"])
@settings(max_examples=50)
@given(text=st.text())
def test_bytes_lose_nothing(made, kind, text):
    found = made[kind]
    assert found.decode(ids_of(found, text)) == text
    assert found.end_id not in ids_of(found, text)
    assert found.unknown_id is None


@settings(max_examples=50)
@given(text=st.text(alphabet="aehlnoprst.\n "))
def test_known_characters_lose_nothing(text):
    found = CharacterVocabulary().build(["the open shore\n plants.", text])
    assert found.decode(ids_of(found, text)) == text


@settings(max_examples=50)
@given(text=st.text())
def test_a_byte_is_a_piece(text):
    found = ByteVocabulary().build([])
    assert len(found) == 257
    assert len(ids_of(found, text)) == len(text.encode())


@pytest.mark.parametrize("kind", TRAINED)
def test_the_same_texts_make_the_same_tokenizer(made, kind):
    again = TRAINED[kind].build(list(TEXTS))
    assert again == made[kind]
    assert again.backend.to_str() == made[kind].backend.to_str()


def test_another_process_with_other_threads_makes_the_same_tokenizer(made):
    program = (
        "import json, sys\n"
        "from overtone.data.vocabulary import BpeVocabulary, WordVocabulary\n"
        "texts = json.loads(sys.stdin.read())\n"
        "print(BpeVocabulary(size=300).build(texts).backend.to_str())\n"
        "print(WordVocabulary(size=30).build(texts).backend.to_str())\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(TEXTS),
        env={**os.environ, "RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.splitlines() == [made[kind].backend.to_str() for kind in ("bpe", "word")]


@pytest.mark.parametrize("kind", TRAINED)
def test_saved_and_read_again_it_is_equal(made, kind, tmp_path):
    made[kind].save(tmp_path)
    again = vocabulary.load(tmp_path)
    assert again == made[kind]
    assert len(again) == len(made[kind])
    assert (again.end_id, again.unknown_id) == (made[kind].end_id, made[kind].unknown_id)
    for text in (*TEXTS, END, f"a {UNKNOWN} b", ""):
        assert ids_of(again, text) == ids_of(made[kind], text)
    again.save(tmp_path)
    assert vocabulary.load(tmp_path) == made[kind]


def test_kinds_differ(made):
    assert made["byte"] != made["bpe"]
    assert made["byte"] != "byte"


@pytest.mark.parametrize("kind", TRAINED)
def test_the_end_of_text_is_a_piece_that_no_text_spells(made, kind):
    found = made[kind]
    assert found.backend.id_to_token(found.end_id) == END
    assert found.end_id not in ids_of(found, f"over {END} here")
    assert found.decode([found.end_id]) == ""


def test_texts_lie_one_after_the_other(made):
    encoded = made["bpe"].encode(["the house", "", "we went", *TEXTS * 30])
    assert len(encoded) == 3 + 30 * len(TEXTS)
    assert encoded.lengths[1] == 0
    assert encoded.flat[encoded.offsets[2] : encoded.offsets[3]].tolist() == ids_of(made["bpe"], "we went")
    assert encoded.pad_id == made["bpe"].end_id
    assert made["bpe"].encode([]).lengths.tolist() == []


def test_what_a_vocabulary_lacks_is_unknown(made):
    word = WordVocabulary(size=4).build(["the cat and the cat and a dog"])
    assert [piece.known for piece in word.pieces("the dog cat")] == [False, False, True]
    assert word.decode(ids_of(word, "and zebra")) == f"and {UNKNOWN}"
    character = CharacterVocabulary(size=4).build(["aabbc"])
    assert character.decode(ids_of(character, "abc")) == f"ab{UNKNOWN}"


def test_the_most_frequent_are_kept_and_ties_go_by_code_point():
    found = CharacterVocabulary(size=5).build(["ccc", "ab", "dd"])
    assert [found.backend.id_to_token(place) for place in range(5)] == [END, UNKNOWN, "c", "d", "a"]


def test_a_piece_says_what_it_covers(made):
    pieces = made["byte"].pieces("a é😀")
    assert [piece.text for piece in pieces[:4]] == ["a", " ", r"\xc3", r"\xa9"]
    assert [piece.text for piece in pieces[4:]] == [r"\xf0", r"\x9f", r"\x98", r"\x80"]
    assert [piece.text for piece in BpeVocabulary(size=259).build(["é é é"]).pieces("é")] == ["é"]
    text = "the lonely house was"
    for kind in ("character", "bpe"):
        assert "".join(piece.text for piece in made[kind].pieces(text)) == text


def test_no_piece_goes_over_a_word():
    found = BpeVocabulary(size=400).build(["of the house"] * 50)
    assert [piece.text for piece in found.pieces("of the house")] == ["of", " the", " house"]
    assert len(found) < 400  # there was nothing left to join


def test_a_pretrained_one_is_read_without_its_marks(pretrained):
    found = WordPieceVocabulary(folder=pretrained).build([])
    assert [piece.text for piece in found.pieces("Happy day §")] == ["Happy", "day", "§"]
    assert [piece.known for piece in found.pieces("Happy day §")] == [True, True, False]
    assert found.decode(ids_of(found, "happy day")) == "happy day"
    assert found.end_id == len(found) - 1
    long = "day " * 200  # the pretrained one reads 64 tokens
    assert len(ids_of(found, long)) == 200


def test_the_embedded_encoder_s_pieces(minilm):
    found = WordPieceVocabulary(folder=minilm).build([])
    assert [piece.text for piece in found.pieces("Tokenizers")] == ["Token", "izer", "s"]
    assert found.decode(ids_of(found, "Tokenizers are fun.")) == "tokenizers are fun."


def test_a_config_is_told_by_its_kind(pretrained):
    adapter = TypeAdapter(VocabularyConfig)
    assert adapter.validate_python({"kind": "bpe", "size": 512}) == BpeVocabulary(size=512)
    assert adapter.validate_python({"kind": "wordpiece", "folder": str(pretrained)}).folder == pretrained


@pytest.mark.parametrize(
    ("config", "texts", "message"),
    [
        (BpeVocabulary(size=256), TEXTS, r"256 pieces has no room for 256 bytes(?s:.*)at least 257"),
        (WordVocabulary(size=2), TEXTS, r"2 pieces has no room(?s:.*)at least 3"),
        (CharacterVocabulary(size=2), TEXTS, r"2 pieces has no room"),
        (BpeVocabulary(), [], "no text to make a vocabulary of"),
        (WordVocabulary(), ["", " \n"], "no text to make a vocabulary of"),
        (CharacterVocabulary(), iter(["  "]), "no text to make a vocabulary of"),
    ],
)
def test_what_cannot_be_made_is_said(config, texts, message):
    with pytest.raises(DataError, match=message):
        config.build(texts)


@pytest.mark.parametrize("content", [b"", b"{", b'{"model": 3}', b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(DataError, match=r"tokenizer\.json (is damaged|cannot be read)"):
        vocabulary.load(tmp_path)


def test_a_missing_file_and_a_wrong_kind_are_named(tmp_path, made):
    with pytest.raises(DataError, match=r"tokenizer\.json is missing"):
        vocabulary.load(tmp_path)
    made["bpe"].save(tmp_path)
    with pytest.raises(DataError, match="not a WordPiece tokenizer but BPE"):
        WordPieceVocabulary(folder=tmp_path).build([])
    with pytest.raises(DataError, match="is missing"):
        WordPieceVocabulary(folder=Path("nowhere")).build([])


def test_ids_are_in_the_vocabulary(made):
    for found in made.values():
        flat = found.encode(TEXTS).flat
        assert flat.dtype == np.int64
        assert 0 <= flat.min() <= flat.max() < len(found)
