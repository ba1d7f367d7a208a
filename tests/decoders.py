"""A tiny decoder whose tokenizer merges, and runs that tune it: what the tests of an export export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM

from overtone import chat_model, kinds
from overtone.run import Run
from toys import chat, write_answers, write_chat

MERGES = [("t", "h"), ("th", "e"), ("i", "s"), ("Ġ", "is"), ("Ġ", "Ġ")]
SPARE = 3
"""Rows of the embeddings beyond the vocabulary."""


def write_merging(folder: Path, split: dict[str, Any] | None = None, **config: Any) -> Path:
    """The decoder of ``toys.write_chat`` with merges; ``split`` cuts texts, ``config`` changes the model."""
    write_chat(folder)
    file = folder / "tokenizer.json"
    state = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = state["model"]["vocab"]
    vocabulary.update({"".join(pair): len(vocabulary) + n for n, pair in enumerate(MERGES)})
    state["model"]["merges"] = [list(pair) for pair in MERGES]
    state["pre_tokenizer"] = split or state["pre_tokenizer"]
    file.write_text(json.dumps(state), encoding="utf-8")
    model = AutoModelForCausalLM.from_pretrained(folder, **config)
    model.resize_token_embeddings(len(vocabulary) + SPARE, mean_resizing=False)
    model.save_pretrained(folder)
    return folder


def tuned(folder: Path, **changes: Any) -> Run:
    """A run on it that was trained and not examined; ``changes`` are those of ``toys.chat``."""
    weights, answers = write_merging(folder / "weights"), write_answers(folder / "places.jsonl")
    recipe = kinds.parse(chat(weights, answers, **changes), "test")
    run = Run(folder / "guide")
    chat_model.begin(recipe, run, overwrite=False)
    chat_model.train(recipe, chat_model.prepare(recipe, run), run)
    return run
