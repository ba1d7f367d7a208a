"""Tokens a second of tuning a decoder with LoRA: our loop beside TRL's SFTTrainer, with and without packing.

SmolLM2-135M-Instruct in bf16, adapters of rank 16 on its seven projections with a dropout of 0.05, the
trained questions of `deaf-knowledge` with their answers, one epoch in batches of 8. Every side runs in a
process of its own, in turn, so that its peak memory is its own. Tokens are real ones: padding is not counted.
TRL is told what to learn as prompt and completion, so that it learns the answers alone, as ours does; the
rest is as it comes, in `trl` with nothing else changed, in `trl-packed` with packing, and in `trl-kept`
without the checkpointing of activations, which it does by default and which takes time to save memory.

Needs TRL, which the extra `dev` brings.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import peft
import torch

from overtone import chat_model, chat_prompt, kinds, memory
from overtone.chat_model import Validation
from overtone.chat_prompt import framed
from overtone.chat_recipe import ChatRecipe
from overtone.data import chat, conversations
from overtone.data.chat import Chat, Turn
from overtone.data.records import Record
from overtone.evaluation.results import Figure, write_results
from overtone.models import causal, decoder, weights
from overtone.models.answers import HEAD
from overtone.models.causal import CausalBody, ChatModel
from overtone.run import Run
from overtone.training.answer_loss import AnswerLoss
from overtone.training.loop import Loop, TrainingData
from overtone.training.tasks import Task

RESULTS = Path(__file__).parent / "results" / "decoder.json"
SEED = 7
BATCH = 8
RATE = 1e-3
SIDES = ("ours", "trl", "trl-packed", "trl-kept")
HALVES = 2
"""Ours reads a step in two halves, as the recipe does, which takes less memory; TRL reads it whole."""
PACK = 512


def recipe_of(rows: int, stored: str = "bf16") -> ChatRecipe:
    """The second stage by itself, one epoch, its frozen weights stored as named."""
    found = kinds.read(
        "tutor-knowledge",
        [
            "start=null",
            "grounding=null",
            "data.sources=[{kind: deaf-knowledge}]",
            "train.epochs=1",
            f"train.batch_size={BATCH // HALVES}",
            f"train.accumulation={HALVES}",
            f"train.optim.lr={RATE}",
            "train.schedule.warmup_steps=0",
            f"train.checkpoint_every={10 * rows}",
            f"body.stored={stored}",
        ],
    )
    assert isinstance(found, ChatRecipe)
    return found


def data_of(recipe: ChatRecipe, rows: int) -> tuple[list[Record], list[Record]]:
    """Questions to learn, and the recipe's validation to judge by, which asks for few of the same facts."""
    splits = chat_model.divide(recipe).splits
    return list(splits.train[:rows]), list(splits.validation)


def judged(recipe: ChatRecipe, body: CausalBody, held_out: Sequence[Record]) -> float:
    """Nats a token of the answers to judge by, with the weights as they are."""
    rows = chat.collect(chat_prompt.encoded(recipe, body.tokenizer, held_out), 0)
    body.eval()
    return Validation(rows)(ChatModel(body))["loss"]


def ours(recipe: ChatRecipe, train: Sequence[Record], held_out: Sequence[Record]) -> dict[str, float]:
    """Fit with the loop."""
    torch.manual_seed(SEED)
    model = causal.build(recipe.body, recipe.adapter)
    chats: list[Chat] = chat_prompt.encoded(recipe, model.body.tokenizer, train)
    rows = chat.collect(chats, 0, recipe.pack)
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            model=model,
            tasks=[Task(HEAD, "classification", AnswerLoss(rows), 1.0)],
            data=TrainingData(rows, {HEAD: torch.arange(len(chats))}),
            validate=lambda _: {"loss": 0.0},
            config=recipe.train,
            run=Run(Path(folder)),
            seed=SEED,
        )
        begun = time.perf_counter()
        loop.fit()
        seconds = time.perf_counter() - begun
    return {
        "seconds": seconds,
        "tokens": int(rows.lengths.sum()),
        "weights": memory.held(model.body),
        "loss": judged(recipe, model.body, held_out),
    }


def trl(
    recipe: ChatRecipe, train: Sequence[Record], held_out: Sequence[Record], changes: Mapping[str, Any]
) -> dict[str, float]:
    """Fit with SFTTrainer; ``changes`` are those of its config."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    def messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
        return [{"role": turn.role, "content": turn.text} for turn in turns]

    torch.manual_seed(SEED)
    body = causal.load(recipe.body)
    told = [framed(conversations.turns(row), recipe.system) for row in train]
    rows = [{"prompt": messages(turns[:-1]), "completion": messages(turns[-1:])} for turns in told]
    adapter = recipe.adapter
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=body.causal,
            processing_class=body.tokenizer,
            train_dataset=Dataset.from_list(rows),
            peft_config=peft.LoraConfig(
                r=adapter.r,
                lora_alpha=int(adapter.alpha),
                lora_dropout=adapter.dropout,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
            args=SFTConfig(
                output_dir=folder,
                num_train_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=RATE,
                lr_scheduler_type="cosine",
                bf16=True,
                use_cpu=not torch.cuda.is_available(),
                seed=SEED,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                **{"max_length": recipe.body.max_length, **changes},
            ),
        )
        begun = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - begun
        tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
    body.backbone = trainer.model
    return {"seconds": seconds, "tokens": tokens, "loss": judged(recipe, body, held_out)}


def side(name: str, rows: int) -> dict[str, float]:
    """One side in this process."""
    recipe = recipe_of(rows)
    train, held_out = data_of(recipe, rows)
    decoder.converted(weights.resolve(recipe.body.weights))  # once, and not a part of what is timed
    changes: dict[str, dict[str, Any]] = {
        "trl": {},
        "trl-packed": {"packing": True, "max_length": PACK},
        "trl-kept": {"gradient_checkpointing": False},
    }
    found = ours(recipe, train, held_out) if name == "ours" else trl(recipe, train, held_out, changes[name])
    return {**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def apart(script: str, name: str, rows: int) -> dict[str, float]:
    """One side of a script in a process of its own.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, script, "--side", name, "--rows", str(rows)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {found['tokens'] / found['seconds']:.0f} tokens/s, loss {found['loss']:.3f}")
    return found


def figures(found: dict[str, list[dict[str, float]]]) -> list[Figure]:
    """The pace of each side, and ours over theirs, turn by turn."""
    pace = {name: [each["tokens"] / each["seconds"] for each in runs] for name, runs in found.items()}
    made = []
    parts = {"decoder.lora": "trl", "decoder.lora.packed": "trl-packed", "decoder.lora.kept": "trl-kept"}
    for part, other in parts.items():
        ratios = [mine / theirs for mine, theirs in zip(pace["ours"], pace[other], strict=True)]
        n = len(ratios)
        made.append(Figure(f"{part}.ratio", statistics.median(ratios), min(ratios), max(ratios), n, "ratio"))
    for name, runs in found.items():
        settings: dict[str, Any] = {"n": len(runs)}
        made += [
            Figure(
                f"decoder.{name}.tokens_per_second",
                statistics.median(pace[name]),
                unit="tokens/s",
                **settings,
            ),
            Figure(
                f"decoder.{name}.loss",
                statistics.mean(each["loss"] for each in runs),
                unit="nats",
                **settings,
            ),
            Figure(
                f"decoder.{name}.peak_memory", max(each["peak"] for each in runs) / 1e9, unit="GB", **settings
            ),
        ]
    return made


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=96, help="Questions that are learnt.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help="Only this one, in this process; prints JSON.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    if options.side is not None:
        print(json.dumps(side(options.side, options.rows)))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
    for _ in range(options.repeats):
        for name in SIDES:
            found[name].append(apart(__file__, name, options.rows))
    made = figures(found)
    command = f"python benchmarks/decoder.py --rows {options.rows} --repeats {options.repeats}"
    write_results(options.output, command, SEED, made)
    for each in made:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
