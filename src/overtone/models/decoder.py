"""The causal body: the small decoder from its GGUF package, and the likelihood of words after a prompt."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedTokenizerBase

from overtone.cache import cache_folder
from overtone.data.batches import by_length
from overtone.errors import MissingExtraError
from overtone.models import weights
from overtone.scores import Floats

TOKENS = 2048
"""Padded tokens of a batch."""


@dataclass(frozen=True)
class Decoder:
    """A causal language model in evaluation mode.

    Args:
        model: maps ids and mask (B, T) to logits (B, T, V).
        tokenizer: its tokenizer.
    """

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase

    @torch.inference_mode()
    def score(self, prompts: Sequence[str], continuations: Sequence[str]) -> Floats:
        """Log-probability of each continuation after each prompt, (N, L), in nats.

        Prompt and continuation are tokenised apart, so a continuation has the same tokens after every prompt.
        """
        heads = [self.tokenizer(prompt)["input_ids"] for prompt in prompts]
        tails = [self.tokenizer(word, add_special_tokens=False)["input_ids"] for word in continuations]
        found = np.zeros((len(heads), len(tails)))
        # A prompt is read once for all first tokens; only longer continuations are read again with it.
        first = torch.tensor([tail[0] for tail in tails])
        for rows in _chunks([len(head) for head in heads]):
            shares = self._shares([heads[n] for n in rows])
            ends = torch.tensor([len(heads[n]) - 1 for n in rows])
            found[rows] = shares[torch.arange(len(rows)), ends][:, first].double().numpy()
        longer = [(n, k) for n in range(len(heads)) for k, tail in enumerate(tails) if len(tail) > 1]
        for rows in _chunks([len(heads[n]) + len(tails[k]) for n, k in longer]):
            texts = [heads[longer[row][0]] + tails[longer[row][1]] for row in rows]
            shares = self._shares(texts)
            for place, row in enumerate(rows):
                n, k = longer[row]
                begin = len(heads[n])
                steps = shares[place, begin : begin + len(tails[k]) - 1]  # the first token is known already
                found[n, k] += float(steps.gather(1, torch.tensor(tails[k][1:])[:, None]).sum())
        return found

    def _shares(self, texts: Sequence[list[int]]) -> Tensor:
        """Log-probabilities of every next token, (B, T, V), padded on the right."""
        length = max(map(len, texts))
        ids = torch.tensor([text + [0] * (length - len(text)) for text in texts])  # (B, T)
        mask = torch.tensor([[1] * len(text) + [0] * (length - len(text)) for text in texts])
        logits: Tensor = self.model(input_ids=ids, attention_mask=mask).logits
        return logits.float().log_softmax(dim=-1)


def _chunks(lengths: Sequence[int]) -> list[list[int]]:
    """Rows in batches of about ``TOKENS`` tokens, longest first."""
    return by_length(np.asarray(lengths, dtype=np.int64), TOKENS)


def load(name: str = "smollm2-135m-instruct") -> Decoder:
    """Load a decoder in bf16.

    A GGUF file is dequantised once and kept as safetensors in the cache folder; that takes a while.

    Raises:
        WeightsError: the weights are not at hand.
        MissingExtraError: reading GGUF needs the package ``gguf``.
    """
    folder = converted(weights.resolve(name))
    model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, use_safetensors=True
    )
    model.eval()
    return Decoder(model, AutoTokenizer.from_pretrained(folder))


def converted(folder: Path) -> Path:
    """A folder of weights as safetensors: itself, or where it holds a GGUF file, one that is made once.

    Raises:
        MissingExtraError: reading GGUF needs the package ``gguf``.
    """
    files = sorted(folder.glob("*.gguf"))
    return _dequantised(files[0]) if files else folder


def _key(file: Path) -> str:
    """What the cache knows a file by: many are called model.gguf, and one may be written anew."""
    known = file.stat()
    told = f"{file.resolve()} {known.st_size} {known.st_mtime_ns}"
    return f"{file.stem}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def _dequantised(file: Path) -> Path:
    """The folder with the safetensors form of a GGUF file, made if it is not there yet."""
    folder = cache_folder("weights") / _key(file)
    if (folder / "config.json").exists():
        return folder
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("gguf", "a decoder from a GGUF file") from error
    settings = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=settings, dtype=torch.float32
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # What is written is not quantised any more, and must not say that it is.
    for name, value in (("hf_quantizer", None), ("quantization_method", None), ("is_quantized", False)):
        setattr(model, name, value)
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(fresh)
    model.save_pretrained(fresh)
    fresh.rename(folder)
    return folder
