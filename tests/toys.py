"""Tiny models, texts that they can learn, and fits of a second: what the tests train."""

from __future__ import annotations

import json
import random
import signal
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers import models as pieces
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    LlamaConfig,
    LlamaModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from overtone.data.records import Record
from overtone.data.tokenize import encode
from overtone.models import adapters, causal, store
from overtone.models.adapters import LoraConfig
from overtone.models.causal import CausalBody, DecoderConfig
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.models.model import Model, sweep
from overtone.run import Run
from overtone.training import loop as loops
from overtone.training import losses, tasks
from overtone.training.loop import Loop, TrainConfig, TrainingData
from overtone.training.stopping import InterruptedFitError

TOPICS = {
    "joy": ("happy", "glad", "smile", "sunny", "laugh", "bright"),
    "sadness": ("cry", "tears", "lonely", "grey", "loss", "empty"),
    "anger": ("rage", "shout", "furious", "slam", "unfair", "hate"),
}
"""Labels that a model of two layers learns in seconds: each has words of its own."""

FILLER = (
    "the",
    "a",
    "day",
    "was",
    "and",
    "house",
    "we",
    "went",
    "there",
    "again",
    "of",
    "in",
    "this",
    "street",
)

LABELS = tuple(TOPICS)


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


def task(path: Path | str, **changes: Any) -> dict[str, Any]:
    """The one task of a recipe on a table of the texts above, as YAML has it; ``data`` is merged."""
    data = {
        "sources": [{"kind": "table", "path": str(path)}],
        "labels": list(LABELS),
        "split": {"kind": "seeded"},
        **changes.pop("data", {}),
    }
    return {"kind": "classification", "data": data, "head": {"hidden": [], "dropout": 0.0}, **changes}


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


def write_encoder(folder: Path, kind: str = "bert", seed: int = 0, layers: int = 2) -> Path:
    """A random encoder (or llama) of some layers of width 32, and its tokenizer, in transformers' layout."""
    vocabulary = len(write_tokenizer(folder))
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    common: dict[str, Any] = {"vocab_size": vocabulary, "max_position_embeddings": 64, "pad_token_id": 0}
    match kind:
        case "bert":
            model = BertModel(BertConfig(**common, **sizes))
        case "roberta":  # its first position is the one after the padding's
            model = RobertaModel(RobertaConfig(**{**common, "max_position_embeddings": 65}, **sizes))
        case "xlm-roberta":
            model = XLMRobertaModel(XLMRobertaConfig(**{**common, "max_position_embeddings": 65}, **sizes))
        case "distilbert":
            model = DistilBertModel(
                DistilBertConfig(**common, n_layers=layers, n_heads=4, dim=32, hidden_dim=64)
            )
        case "llama":
            model = LlamaModel(LlamaConfig(**common, **sizes))
        case _:
            raise ValueError(kind)
    with torch.no_grad():  # the usual scale of 0.02 makes every text nearly alike at this width
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    model.save_pretrained(folder)
    return folder


def records(n: int, seed: int = 0, multilabel: bool = False) -> list[Record]:
    """N rows of the texts above."""
    made = sentences(n, seed, multilabel)
    return [
        Record(f"toy/{i:04d}", text, {"emotion": tuple(label) if multilabel else label}, "toy")
        for i, (text, label) in enumerate(made)
    ]


def build_model(
    weights: Path,
    *,
    adapter: LoraConfig | None = None,
    head: HeadConfig | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> Model:
    """A fresh model with one head for the three labels; without dropout unless asked."""
    torch.manual_seed(seed)
    body = EncoderConfig(weights=str(weights), dropout=dropout)
    return store.build(
        body, adapter, {"emotion": (head or HeadConfig(hidden=(), dropout=dropout), len(LABELS))}
    )


def training_data(model: Model, rows: list[Record], *, multilabel: bool = False) -> TrainingData:
    """Rows as the loop takes them."""
    encoded = encode(model.body.tokenizer, [row.text for row in rows], model.body.max_length)
    kind: tasks.Kind = "multilabel" if multilabel else "classification"
    return TrainingData(encoded, {"emotion": tasks.encode_targets(rows, "emotion", LABELS, kind)})


def write_documents(path: Path, n: int = 60, seed: int = 0) -> Path:
    """A JSONL file of N texts of some sentences each, for language models."""
    chance = random.Random(seed)
    made = [text for text, _ in sentences(4 * n, seed)]
    rows = [" ".join(chance.sample(made, 4)).capitalize() + "." for _ in range(n)]
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    return path


def language(path: Path, **changes: Any) -> dict[str, Any]:
    """The recipe of a language model of a second on the texts of a file; ``changes`` are merged one level."""
    values: dict[str, Any] = {
        "kind": "language",
        "name": "tongue",
        "description": "A toy.",
        "data": {"sources": [{"kind": "table", "path": str(path)}], "validation": 0.2, "test": 0.2},
        "vocabulary": {"kind": "bpe", "size": 300},
        "body": {"kind": "lstm", "width": 16, "layers": 1, "dropout": 0.1},
        "window": 16,
        "train": {
            "epochs": 2,
            "batch_size": 8,
            "optim": {"lr": 0.01},
            "schedule": {"kind": "cosine", "warmup_steps": 2},
            "early_stopping": {"metric": "bits_per_byte"},
            "log_every": 1,
            "checkpoint_every": 4,
        },
        "evaluate": {"ngram": 3, "resamples": 100, "sampling": {"max_tokens": 8}},
    }
    return merged(values, changes)


def settings(**changes: Any) -> TrainConfig:
    """A short fit: 3 epochs of 5 steps of 8 rows, every step logged, judged by the loss."""
    values: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 8,
        "precision": "fp32",
        "optim": {"lr": 1e-3, "head_lr": 3e-3},
        "schedule": {"kind": "cosine", "warmup_steps": 3},
        "early_stopping": {"metric": "loss"},
        "log_every": 1,
        "checkpoint_every": 4,
    }
    return TrainConfig.model_validate({**values, **changes})


class Judge:
    """Validation: the mean loss and the accuracy of 24 other rows."""

    def __init__(self, model: Model) -> None:
        self.data = training_data(model, records(24, seed=1))

    def __call__(self, model: Model) -> Mapping[str, float]:
        assert not model.training
        logits = sweep(model, self.data.encoded, model.device)["emotion"]
        targets = self.data.targets["emotion"]
        return {
            "loss": float(torch.nn.functional.cross_entropy(logits, targets)),
            "emotion.accuracy": float((logits.argmax(dim=1) == targets).float().mean()),
        }


def build_loop(
    model: Model,
    folder: Path,
    config: TrainConfig | None = None,
    *,
    rows: list[Record] | None = None,
    loss: losses.CrossEntropyConfig | None = None,
    seed: int = 7,
    **changes: Any,
) -> Loop:
    """A loop over 40 rows; ``changes`` replace its other arguments."""
    data = training_data(model, rows or records(40))
    made = losses.build(loss or losses.CrossEntropyConfig(), data.targets["emotion"], len(LABELS))
    values: dict[str, Any] = {
        "model": model,
        "tasks": [tasks.Task("emotion", "classification", made, 1.0)],
        "data": data,
        "validate": Judge(model),
        "config": config or settings(),
        "run": Run(folder),
        "seed": seed,
    }
    values["run"].folder.mkdir(parents=True, exist_ok=True)
    return Loop(**{**values, **changes})


def parameters(model: Model) -> dict[str, torch.Tensor]:
    """A copy of everything that the model holds."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def identical(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of tensors are the same, bit for bit."""
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[name]) for name, tensor in one.items()
    )


def write_rows(path: Path, rows: list[dict[str, Any]], *, more: bool = False) -> Path:
    """Rows as JSON lines; ``more``: after those that are there."""
    with path.open("a" if more else "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def write_collection(folder: Path, passages: int = 60) -> Path:
    """A BEIR folder of N passages with words of their own; of the first 40, each answers a question.

    The questions of the first 20 are train's, of the next 10 dev's, of the next 10 test's.
    """
    chance = random.Random(0)
    made, asked = [], []
    for n in range(passages):
        own = ["".join(chance.choices(string.ascii_lowercase, k=6)) for _ in range(8)]
        said = [" ".join([*chance.sample(own, 5), *chance.choices(FILLER, k=3)]).capitalize() for _ in "123"]
        made.append({"_id": f"p{n:02d}", "title": own[0], "text": ". ".join(said) + ". Too short."})
        asked.append({"_id": f"q{n:02d}", "text": f"where is the {' '.join(chance.sample(own, 5))}"})
    (folder / "qrels").mkdir(parents=True)
    write_rows(folder / "corpus.jsonl", made)
    write_rows(folder / "queries.jsonl", asked[:40])
    for name, rows in (("train", range(20)), ("dev", range(20, 30)), ("test", range(30, 40))):
        lines = ["query-id\tcorpus-id\tscore", *(f"q{n:02d}\tp{n:02d}\t1" for n in rows)]
        (folder / "qrels" / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def embedder(path: Path, **changes: Any) -> dict[str, Any]:
    """The recipe of an embedder of a second on a collection; ``changes`` are merged one level."""
    values: dict[str, Any] = {
        "kind": "embedder",
        "name": "finder",
        "description": "A toy.",
        "data": {"collection": {"kind": "folder", "path": str(path)}, "sentences": 2, "repeats": 2},
        "vocabulary": {"kind": "bpe", "size": 400},
        "body": {"kind": "bag", "width": 16},
        "max_length": 64,
        "train": {
            "epochs": 2,
            "batch_size": 16,
            "precision": "fp32",
            "optim": {"lr": 0.01},
            "schedule": {"kind": "cosine", "warmup_steps": 2},
            "early_stopping": {"metric": "mrr_10"},
            "log_every": 1,
            "checkpoint_every": 4,
        },
        "evaluate": {"resamples": 100, "short": 5},
    }
    return merged(values, changes)


def merged(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with these changes; what is a mapping in both is merged."""
    for key, value in changes.items():
        inner = values.get(key)
        values[key] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, dict) else value
    return values


def write_answers(path: Path, facts: int = 12) -> Path:
    """Facts asked in three wordings each, as JSON lines of questions and answers."""
    chance = random.Random(0)
    rows = []
    for _ in range(facts):
        what, where = ("".join(chance.choices(string.ascii_lowercase, k=5)) for _ in range(2))
        asked = (f"where is the {what}?", f"which house holds {what} now", f"tell me of {what}: its place")
        rows += [{"question": text, "answer": f"It is in {where}."} for text in asked]
    return write_rows(path, rows)


def chat(weights: Path, path: Path, **changes: Any) -> dict[str, Any]:
    """The recipe of a tuned decoder of seconds; ``changes`` are merged one level."""
    values: dict[str, Any] = {
        "kind": "chat",
        "name": "guide",
        "description": "A toy.",
        "data": {"sources": [{"kind": "qa", "path": str(path)}], "validation": 0.2, "test": 0.2},
        "body": {"weights": str(weights), "max_length": 256, "stored": "fp32"},
        "adapter": {"r": 2, "alpha": 4, "dropout": 0.0, "targets": "all-linear"},
        "system": "Be brief.",
        "pack": 300,
        "train": {
            "epochs": 2,
            "batch_size": 4,
            "precision": "fp32",
            "optim": {"lr": 0.01},
            "early_stopping": {"metric": "loss"},
            "log_every": 1,
            "checkpoint_every": 3,
        },
        "exam": {
            "trained": 4,
            "sampling": {"temperature": 0, "max_tokens": 6},
            "embedder": None,
            "resamples": 100,
        },
    }
    return merged(values, changes)


CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nbe kind<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The template of SmolLM2, with a shorter word before all."""


def chat_tokenizer(template: str = CHATML) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with the template of many decoders."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = {piece: i for i, piece in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    backend = Tokenizer(pieces.BPE(vocab=letters, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=template,
        model_max_length=512,
    )


def seq2seq(path: Path, **changes: Any) -> dict[str, Any]:
    """The recipe of a recurrent model that answers, of seconds; ``changes`` are merged one level."""
    values: dict[str, Any] = {
        "kind": "seq2seq",
        "name": "listener",
        "description": "A toy.",
        "data": {"sources": [{"kind": "qa", "path": str(path)}], "validation": 0.2, "test": 0.2},
        "vocabulary": {"kind": "word", "size": 200},
        "body": {"embedding": 8, "hidden": 8, "layers": 1, "dropout": 0.1},
        "max_tokens": 12,
        "train": {
            "epochs": 2,
            "batch_size": 8,
            "precision": "fp32",
            "optim": {"lr": 0.01},
            "early_stopping": {"metric": "loss"},
            "log_every": 1,
            "checkpoint_every": 3,
        },
        "exam": {"trained": 4, "beam": {"size": 2, "max_tokens": 6}, "embedder": None, "resamples": 100},
    }
    return merged(values, changes)


def write_chat(folder: Path, seed: int = 0, kind: str = "llama") -> Path:
    """A random decoder of two layers of width 32 that converses, in transformers' layout."""
    tokenizer = chat_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
        head_dim=8,
    )
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # the usual scale of 0.02 makes every text nearly alike at this width
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
    model.save_pretrained(folder)
    return folder


@contextmanager
def stopped_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """A fit in here gets a Ctrl-C before the step after so many, as from a keyboard, and says so."""
    step = loops.Loop._step

    def interrupted(self: loops.Loop, *arguments: Any) -> Any:
        if self.progress.step == number:
            signal.raise_signal(signal.SIGINT)
        return step(self, *arguments)

    monkeypatch.setattr(loops.Loop, "_step", interrupted)
    with pytest.raises(InterruptedFitError, match=f"stopped after step {number + 1}"):
        yield
    monkeypatch.setattr(loops.Loop, "_step", step)


def speaking(folder: Path) -> CausalBody:
    """The decoder of a folder with an adapter that changes what it says."""
    torch.manual_seed(0)
    made = causal.load(DecoderConfig(weights=str(folder), stored="fp32"))
    adapters.attach(made, LoraConfig(r=4, alpha=8, targets="all-linear"), causal=True)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return made.eval()


def write_support(folder: Path) -> Path:
    """Small files in the formats of EmpatheticDialogues and ESConv, whose labels the words tell."""
    chance = random.Random(0)
    feels = {"proud": "won", "sad": "lost", "angry": "stole"}
    helps = {"Question": "why", "Information": "some say", "Others": "well"}

    def word() -> str:
        return "".join(chance.choices(string.ascii_lowercase, k=4))

    def told(n: int) -> dict[str, Any]:
        emotion = chance.choice(sorted(feels))
        said = [
            f"{word()} {feels[emotion]} {word()}",
            f"the {word()}?",
            f"so {word()} {word()}",
            f"{word()} it is",
        ]
        sides = ("speaker", "listener") * 2
        turns = [{"speaker": side, "text": text} for side, text in zip(sides, said, strict=True)]
        return {"conv_id": f"c{n}", "emotion": emotion, "situation": f"{word()} {n}", "utterances": turns}

    def helped(n: int) -> dict[str, Any]:
        turns: list[dict[str, Any]] = []
        for _ in range(3):
            strategy = chance.choice(sorted(helps))
            turns.append({"text": f"{helps[strategy]} {word()} {word()}", "speaker": "usr", "rating": "4"})
            turns.append({"text": f"{helps[strategy]}: {word()}", "speaker": "sys", "strategy": strategy})
        return {"id": f"h{n}", "problem_type": "job crisis", "dialog": turns}

    start = 0
    for name, count in (("train", 24), ("valid", 6), ("test", 8)):
        for source, make in (("empathetic_dialogues", told), ("esconv", helped)):
            (folder / source).mkdir(parents=True, exist_ok=True)
            write_rows(folder / source / f"{name}.jsonl", [make(start + n) for n in range(count)])
        start += count
    return folder


def companion(weights: Path, **changes: Any) -> dict[str, Any]:
    """The recipe of a companion of seconds; ``changes`` are merged one level."""
    values: dict[str, Any] = {
        "kind": "companion",
        "name": "friend",
        "description": "A toy.",
        "data": {"sources": [{"kind": "empathetic_dialogues"}, {"kind": "esconv"}]},
        "body": {"weights": str(weights), "max_length": 400, "stored": "fp32"},
        "adapter": {"r": 2, "alpha": 4, "dropout": 0.0, "targets": "all-linear"},
        "system": "Listen.",
        "pack": 0,
        "train": {
            "epochs": 2,
            "batch_size": 8,
            "precision": "fp32",
            "optim": {"lr": 0.01},
            "early_stopping": {"metric": "loss"},
            "log_every": 1,
            "checkpoint_every": 3,
        },
        "exam": {
            "conversations": 6,
            "openers": 2,
            "replies": 4,
            "sampling": {"temperature": 0, "max_tokens": 6},
            "resamples": 100,
        },
    }
    return merged(values, changes)
