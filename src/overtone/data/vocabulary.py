"""Tokenizers for models trained from scratch: byte, character, word, BPE, and pretrained WordPiece."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from overtone.config import Config
from overtone.data.batches import Encoded
from overtone.errors import DataError
from overtone.run import write_atomic

END = "<|endoftext|>"
"""The piece that ends a document. Written in a text it is ordinary characters, never this piece."""

UNKNOWN = "<unk>"
"""The piece of what a character or word vocabulary lacks."""

FILE = "tokenizer.json"
"""The file that a folder's tokenizer is in, in the format of the ``tokenizers`` library."""

BYTES = 256
"""Pieces that a vocabulary of bytes has before the end-of-text piece."""

_CHUNK = 1024  # texts encoded at once: enough for every thread, and little memory
_PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))
_BYTE_OF = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(BYTES + place): byte
    for place, byte in enumerate(byte for byte in range(BYTES) if byte not in _PRINTABLE)
}
# GPT-2's names for the bytes, which a byte-level tokenizer spells its pieces with: a printable byte is its
# own Latin-1 character, and the others are counted on from U+0100 (Radford et al. 2019).


@dataclass(frozen=True, slots=True)
class Piece:
    r"""One piece of a text that was cut.

    Args:
        id: its number, 0..V-1.
        text: what it covers of the text; the bytes of a part of a character are spelt ``\xe2``.
        known: whether the vocabulary has it; else it counts as ``UNKNOWN``.
    """

    id: int
    text: str
    known: bool


class Vocabulary:
    """A tokenizer without special marks around a text, and with an end-of-text piece.

    Args:
        backend: of the ``tokenizers`` library; it is changed: nothing is put around a text or cut from it,
            and it gets an end-of-text piece where it has none.
    """

    def __init__(self, backend: Tokenizer) -> None:
        backend.no_truncation()
        backend.no_padding()
        backend.post_processor = processors.Sequence([])
        backend.add_special_tokens([END])  # one that is there already keeps its id
        backend.encode_special_tokens = True  # a text that spells END does not end there
        self.backend = backend
        self.end_id = backend.get_vocab()[END]
        model = json.loads(backend.to_str())["model"]
        unknown = model.get("unk_token")
        self.unknown_id: int | None = model.get("unk_id") if unknown is None else backend.token_to_id(unknown)

    def __len__(self) -> int:
        """V, how many pieces there are, with the end-of-text piece."""
        return int(self.backend.get_vocab_size())

    def __eq__(self, other: object) -> bool:
        """Whether the other cuts every text alike, with the same ids."""
        return isinstance(other, Vocabulary) and self.backend.to_str() == other.backend.to_str()

    __hash__ = None  # type: ignore[assignment]  # the backend can be changed

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The ids of N texts in one flat array; nothing is cut off, and no end-of-text piece is added."""
        rows: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = [np.zeros(0, dtype=np.int64)]
        for start in range(0, len(texts), _CHUNK):
            found = self.backend.encode_batch_fast(texts[start : start + _CHUNK], add_special_tokens=False)
            rows += (np.array(row.ids, dtype=np.int64) for row in found)
        offsets = np.cumsum([len(row) for row in rows], dtype=np.int64)
        return Encoded(np.concatenate(rows), offsets, self.end_id, 0)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, without end-of-text pieces; an unknown piece is written as its name.

        Ids that stop inside a character give U+FFFD there.
        """
        kept = [int(number) for number in ids if number != self.end_id]
        return str(self.backend.decode(kept, skip_special_tokens=False))

    def pieces(self, text: str) -> list[Piece]:
        """How a text is cut, piece by piece."""
        found = self.backend.encode(text, add_special_tokens=False)
        bounds = [(0, 0), *found.offsets, (len(text), len(text))]
        made = []
        for place, (number, token) in enumerate(zip(found.ids, found.tokens, strict=True), start=1):
            start, end = bounds[place]
            # Pieces of bytes that share a character all claim the whole of it: tell their bytes instead.
            shared = start < bounds[place - 1][1] or end > bounds[place + 1][0]
            raw = bytes(_BYTE_OF.get(sign, 0) for sign in token)
            shown = raw.decode("utf-8", errors="backslashreplace") if shared else text[start:end]
            made.append(Piece(number, shown, number != self.unknown_id))
        return made

    def save(self, folder: Path) -> None:
        """Write the tokenizer into a folder, whole or not at all.

        Raises:
            RunError: the folder could not be written.
        """
        write_atomic(folder / FILE, self.backend.to_str(pretty=True))


def load(folder: Path) -> Vocabulary:
    """Read the tokenizer of a folder, one of these or any other that the ``tokenizers`` library reads.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing",
            hint="name the folder that a tokenizer was saved in, such as runs/NAME/model",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="make the tokenizer again") from error
    try:
        backend = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise DataError(f"{path} is damaged: {error}", hint="make the tokenizer again") from error
    return Vocabulary(backend)


class ByteVocabulary(Config):
    """Every byte of UTF-8 is a piece: 257 with the end of text. Loses nothing; needs no training."""

    kind: Literal["byte"] = "byte"

    def build(self, texts: Iterable[str]) -> Vocabulary:
        """The tokenizer; the texts are not looked at."""
        return _byte_level([], BYTES + 1)


class CharacterVocabulary(Config):
    """The most frequent characters (code points); any other is unknown and lost."""

    kind: Literal["character"] = "character"
    size: int = Field(512, description="pieces at most, with the end-of-text and the unknown one")

    def build(self, texts: Iterable[str]) -> Vocabulary:
        """The characters of the texts, most frequent first.

        Raises:
            DataError: the texts hold nothing, or ``size`` leaves no room for a character.
        """
        special = _special(self.size)
        counts = Counter(sign for text in _some(texts) for sign in text)
        kept = sorted(counts, key=lambda sign: (-counts[sign], sign))[: self.size - len(special)]
        pieces = {piece: number for number, piece in enumerate([*special, *kept])}
        backend = Tokenizer(models.WordLevel(pieces, unk_token=UNKNOWN))
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
        backend.decoder = decoders.Fuse()
        backend.add_special_tokens(special)
        return Vocabulary(backend)


class WordVocabulary(Config):
    r"""The most frequent words (``\w+``) and runs of signs; any other is unknown and lost, as are blanks."""

    kind: Literal["word"] = "word"
    size: int = Field(8000, description="pieces at most, with the end-of-text and the unknown one")

    def build(self, texts: Iterable[str]) -> Vocabulary:
        """The words of the texts, most frequent first; decoded, they have a blank between them.

        Raises:
            DataError: the texts hold nothing, or ``size`` leaves no room for a word.
        """
        backend = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        backend.pre_tokenizer = pre_tokenizers.Whitespace()
        special = _special(self.size)
        trainer = trainers.WordLevelTrainer(vocab_size=self.size, special_tokens=special, show_progress=False)
        backend.train_from_iterator(_some(texts), trainer=trainer)
        return Vocabulary(backend)


class BpeVocabulary(Config):
    """Byte-level byte-pair encoding, as GPT-2's (Sennrich et al. 2016; Radford et al. 2019). Loses nothing.

    A piece never goes beyond a word and the blank before it. What was never seen is spelt in bytes.
    """

    kind: Literal["bpe"] = "bpe"
    size: int = Field(2000, description="pieces at most, with the 256 bytes and the end-of-text one")

    def build(self, texts: Iterable[str]) -> Vocabulary:
        """Join the most frequent pair of pieces, again and again; a pair seen once is never joined.

        Raises:
            DataError: the texts hold nothing, or ``size`` leaves no room for the bytes.
        """
        if self.size <= BYTES:
            raise DataError(
                f"a BPE vocabulary of {self.size} pieces has no room for {BYTES} bytes and the end of text",
                hint=f"take a size of at least {BYTES + 1}",
            )
        return _byte_level(_some(texts), self.size)


class WordPieceVocabulary(Config):
    """The pieces of a pretrained encoder, with an end-of-text piece added; what they lack is unknown.

    They may lose case, accents and blanks, as the encoder's tokenizer does.
    """

    kind: Literal["wordpiece"] = "wordpiece"
    folder: Path = Field(description="the folder of the pretrained tokenizer, with its tokenizer.json")

    def build(self, texts: Iterable[str]) -> Vocabulary:
        """The tokenizer; the texts are not looked at.

        Raises:
            DataError: the folder has no tokenizer, a damaged one or one of another kind.
        """
        found = load(self.folder)
        if not isinstance(found.backend.model, models.WordPiece):
            raise DataError(
                f"{self.folder / FILE} is not a WordPiece tokenizer but {type(found.backend.model).__name__}",
                hint="name the folder of a BERT-like encoder",
            )
        return found


VocabularyConfig = Annotated[
    ByteVocabulary | CharacterVocabulary | WordVocabulary | BpeVocabulary | WordPieceVocabulary,
    Field(discriminator="kind"),
]
"""How texts are cut into pieces."""


def _some(texts: Iterable[str]) -> Iterator[str]:
    """The texts, of which one at least has to hold something."""
    empty = True
    for text in texts:
        empty = empty and not text.strip()
        yield text
    if empty:
        raise DataError(
            "there is no text to make a vocabulary of", hint="check the data with: overtone data show NAME"
        )


def _byte_level(texts: Iterable[str], size: int) -> Vocabulary:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer=trainer)
    return Vocabulary(backend)


def _special(size: int) -> list[str]:
    """The pieces that a vocabulary of characters or words starts with."""
    special = [END, UNKNOWN]
    if size <= len(special):
        raise DataError(
            f"a vocabulary of {size} pieces has no room beside {END} and {UNKNOWN}",
            hint=f"take a size of at least {len(special) + 1}",
        )
    return special
