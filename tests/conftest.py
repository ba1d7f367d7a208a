from __future__ import annotations

import json
import os
import random
import string
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# The models of these tests are so small that a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers import models as pieces
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from overtone.models import weights

TOPICS = {
    "joy": ("happy", "glad", "smile", "sunny", "laugh", "bright"),
    "sadness": ("cry", "tears", "lonely", "grey", "loss", "empty"),
    "anger": ("rage", "shout", "furious", "slam", "unfair", "hate"),
}
"""Labels that a model of two layers learns in seconds: each has words of its own."""

FILLER = ("the", "a", "day", "was", "and", "house", "we", "went", "there", "again", "of", "in", "this", "street")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of public data sets; the test is skipped where it is not at hand."""
    root = os.environ.get("OVERTONE_DATA")
    if not root:
        pytest.skip("OVERTONE_DATA is not set")
    folder = Path(root)
    if not folder.is_dir():
        pytest.fail(f"OVERTONE_DATA names {folder}, which does not exist")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the embedded encoder; the test is skipped where its package is not installed."""
    try:
        return weights.resolve("minilm-l6")
    except weights.WeightsError as error:
        pytest.skip(str(error))


def write_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of the words above and the letters, so that no text is out of its reach."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = string.ascii_lowercase + string.digits + ".,!?'"
    words = [word for topic in TOPICS.values() for word in topic]
    vocabulary = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *words, *FILLER])
    backend = Tokenizer(pieces.WordPiece({piece: i for i, piece in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_encoder(folder: Path, kind: str = "bert", seed: int = 0) -> Path:
    """A random encoder of two layers of width 32, with its tokenizer, in transformers' layout."""
    vocabulary = len(write_tokenizer(folder))
    torch.manual_seed(seed)
    match kind:
        case "bert":
            sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
            model = BertModel(BertConfig(vocab_size=vocabulary, max_position_embeddings=64, **sizes))
        case "roberta":
            sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
            settings = RobertaConfig(vocab_size=vocabulary, max_position_embeddings=66, pad_token_id=0, **sizes)
            model = RobertaModel(settings)
        case "distilbert":
            settings = DistilBertConfig(
                vocab_size=vocabulary, max_position_embeddings=64, n_layers=2, n_heads=4, dim=32, hidden_dim=64
            )
            model = DistilBertModel(settings)
        case _:
            raise ValueError(kind)
    with torch.no_grad():  # the usual scale of 0.02 makes every text nearly alike at this width
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny random encoder of the kind asked for: bert, roberta or distilbert."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_encoder(tmp_path_factory.mktemp("weights") / kind, kind)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def tiny(encoder_folder: Callable[[str], Path]) -> Path:
    """The folder of a tiny random BERT."""
    return encoder_folder("bert")


def sentences(n: int, seed: int = 0, multilabel: bool = False) -> list[tuple[str, str | list[str]]]:
    """N texts of different lengths with their label, or their one or two labels."""
    chance = random.Random(seed)
    labels = list(TOPICS)
    made: list[tuple[str, str | list[str]]] = []
    for i in range(n):
        label = labels[i % len(labels)]
        held = [label, labels[(i + 1) % len(labels)]] if multilabel and chance.random() < 0.4 else [label]
        words = [word for name in held for word in chance.choices(TOPICS[name], k=2)]
        words += chance.choices(FILLER, k=chance.randint(2, 12))
        chance.shuffle(words)
        made.append((" ".join(words), held if multilabel else label))
    return made


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL file of 150 texts with one label each."""
    path = tmp_path_factory.mktemp("table") / "moods.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": label}) + "\n" for t, label in sentences(150)))
    return path


@pytest.fixture(scope="session")
def table_multilabel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL file of 150 texts with one or two labels each."""
    path = tmp_path_factory.mktemp("table") / "mixed.jsonl"
    rows = sentences(150, multilabel=True)
    path.write_text("".join(json.dumps({"text": t, "label": label}) + "\n" for t, label in rows))
    return path
