"""A tuned decoder as others read it: the adapter merged in, as transformers' folder and as a GGUF file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import safetensors
import torch

from overtone.errors import RunError, UsageError
from overtone.inference import gguf_file
from overtone.inference.gguf_file import About, Precision
from overtone.models import adapters, causal
from overtone.models.causal import CausalBody, DecoderConfig

FormName = Literal["merged", "gguf"]
Stored = Literal["fp32", "bf16"]
"""How merged weights are kept: as the run kept those below its adapter."""

FOLDER = "merged"
"""The folder in a run's ``model``."""

GGUF = Path("gguf") / "model.gguf"
"""In a folder of its own: beside a ``tokenizer.json``, transformers would read that instead of the file's."""


def storage(config: DecoderConfig) -> Stored:
    """How a run's weights are kept once its adapter is merged into them.

    Raises:
        UsageError: they were kept in 8 or 4 bits, which nothing can be added to exactly.
    """
    if config.stored == "fp32" or config.stored == "bf16":
        return config.stored
    raise UsageError(
        f"an adapter on weights that are kept as {config.stored} cannot be merged",
        hint="train the run with --set body.stored=bf16",
    )


def merged(config: DecoderConfig, folder: Path) -> CausalBody:
    """A decoder with its adapter merged into its weights, in fp32.

    Args:
        config: of the run.
        folder: the run's ``model``.

    Raises:
        UsageError: see ``storage``.
        RunError: the adapter is damaged.
        WeightsError: the decoder's weights are not at hand.
    """
    storage(config)
    body = causal.load(config)
    body.backbone.float()  # of bf16 weights, that is what the adapter was trained on
    adapters.load_merged(body, folder)
    return body


def write(body: CausalBody, folder: Path, stored: Stored, precision: Precision | None, about: About) -> None:
    """Write the weights in transformers' layout, tokenizer and template with them, and the GGUF file.

    Args:
        body: in fp32; it is left in the type that is stored.
        folder: an empty one.
        stored: of the safetensors alone.
        precision: of the GGUF file; None writes none.
        about: what that file says of itself.

    Raises:
        MissingExtraError, WeightsError: see ``gguf_file.write``.
    """
    if precision is not None:
        (folder / GGUF).parent.mkdir()
        gguf_file.write(body, folder / GGUF, precision, about)
    settings = body.causal.generation_config
    if settings is not None:
        known = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
        ends = [about.end, *(each for each in known if each not in (None, about.end))]
        settings.eos_token_id = ends if len(ends) > 1 else about.end
    body.backbone.to(torch.float32 if stored == "fp32" else torch.bfloat16)
    body.causal.save_pretrained(folder)
    body.tokenizer.save_pretrained(folder)


def read(folder: Path, form: FormName, stored: Stored) -> CausalBody:
    """A form as whoever takes it will read it.

    Raises:
        RunError: its file is missing or damaged.
        WeightsError: the same of the merged weights.
    """
    if form == "gguf":
        return gguf_file.read(folder / GGUF)
    return causal.load(DecoderConfig(weights=str(folder), stored=stored))


def files(folder: Path, form: FormName) -> list[Path]:
    """What a form is made of."""
    if form == "gguf":
        return [folder / GGUF]
    return sorted(path for path in folder.iterdir() if path.is_file())


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of this one once all went well; else the old one stays as it was.

    Yields:
        The new folder, empty.

    Raises:
        RunError: something could not be written.
    """
    fresh, old = (folder.with_name(f".{folder.name}.{what}") for what in ("new", "old"))
    try:
        for left in (fresh, old):  # by an export that was killed
            shutil.rmtree(left, ignore_errors=True)
        fresh.mkdir(parents=True)
        yield fresh
        for path in fresh.rglob("*"):  # safetensors are written for their owner alone
            if path.is_file():
                path.chmod(0o644)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, safetensors.SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RunError(
            f"could not write {folder}: {why}", hint="free some space, then export the run again"
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
