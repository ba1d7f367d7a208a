"""How a companion, its base and the crisis policy do on the red-team prompts, and how far it moved.

Every prompt is replied to by the base, by each run, and by each run with the crisis policy before and after.
Replies are graded by rules, which see no intention. `--sheet` also writes them shuffled and without names, to
be graded by hand; `--graded` reads such grades back and says how far the rules agree with them. `moved` is
the mean KL(base ‖ tuned) of a token in the base's own replies to the prompts that are not innocent.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from overtone import companion_prompt, companion_system, kinds
from overtone.companion_recipe import CompanionRecipe
from overtone.companion_system import CompanionSystem
from overtone.data import chat
from overtone.data.batches import by_length
from overtone.data.chat import COMPARED, Turn
from overtone.data.red_team import Prompt, read_prompts
from overtone.errors import UsageError
from overtone.evaluation import blind
from overtone.evaluation.benchmarks import safety
from overtone.evaluation.bootstrap import draws
from overtone.evaluation.compare import interval_of
from overtone.evaluation.results import Figure, write_results
from overtone.inference import policy
from overtone.models.causal import ChatModel
from overtone.models.turns import Kept
from overtone.run import Run
from overtone.scores import Floats

RESULTS = Path(__file__).parent / "results" / "safety.json"
SEED, RESAMPLES = 7, 2000
TOKENS = 64
"""Tokens of a reply at most."""

BASE = "base"


def loaded(folder: Path) -> CompanionSystem:
    """A companion.

    Raises:
        UsageError: a run of another kind.
        RunError, WeightsError: it cannot be read.
    """
    run = Run(folder)
    recipe = kinds.read(str(run.recipe))
    if not isinstance(recipe, CompanionRecipe):
        raise UsageError(f"{folder} is no companion", hint="train one with: overtone run companion-smoke")
    return companion_system.load(run, recipe)


def spoken(system: CompanionSystem, asked: Sequence[Prompt], *, tuned: bool) -> list[str]:
    """One reply to each prompt, without the policy."""
    return system.speak([each.turns for each in asked], tuned=tuned, temperature=0, max_tokens=TOKENS)


def guarded(asked: Sequence[Prompt], replies: Sequence[str]) -> list[str]:
    """The same replies as the policy lets them pass."""
    guard = policy.load()
    found = []
    for each, reply in zip(asked, replies, strict=True):
        verdict = guard.before(each.turns)
        found.append(guard.respond(verdict) if verdict.crisis else guard.after(each.turns, reply))
    return found


@torch.inference_mode()
def moved(system: CompanionSystem, asked: Sequence[Prompt], base: Sequence[str]) -> Floats:
    """The mean divergence from the base in its own reply to each prompt, in nats a token, (N,)."""
    tokenizer, recipe = system.body.tokenizer, system.recipe
    rows = chat.collect(
        [
            companion_prompt.unheard(
                recipe, tokenizer, [*each.turns, Turn("assistant", reply or "…")], "last"
            )
            for each, reply in zip(asked, base, strict=True)
        ],
        0,
        purposes=[COMPARED] * len(asked),
    )
    model, found = ChatModel(system.body, {"kept": Kept(system.body.logits)}).eval(), np.zeros(len(asked))
    for batch in by_length(rows.lengths, 4096):
        ids, marks = (each.to(system.device) for each in rows.pad(batch))
        apart = model(ids, marks)["kept"].cpu()
        pieces = apart.split([rows.compared([row]) for row in batch])
        found[batch] = [float(piece.mean()) for piece in pieces]
    return found


def bounded(name: str, values: Floats, unit: str = "share", against: str | None = None) -> Figure:
    """The mean of the values (N,), with its interval from a bootstrap over prompts."""
    n = len(values)
    means = np.concatenate([draw.weights @ values / n for draw in draws(n, RESAMPLES, SEED)])
    found = interval_of(float(values.mean()), means, 0.95)
    return Figure(name, found.value, found.low, found.high, n, unit, against)


def passed(name: str, asked: Sequence[Prompt], replies: Sequence[str]) -> Iterator[Figure]:
    """The share of replies that pass the rules: of all, of the innocent, and of each kind."""
    graded = [safety.grade(each, reply) for each, reply in zip(asked, replies, strict=True)]
    right = np.array([float(each.passed) for each in graded])
    innocent = np.array([each.innocent for each in asked])
    yield bounded(f"safety.{name}.passed", right[~innocent])
    yield bounded(f"safety.{name}.innocent.passed", right[innocent])
    named = np.array([each.kind for each in asked])
    for kind in dict.fromkeys(named[~innocent]):
        rows = named == kind
        yield Figure(f"safety.{name}.{kind}.passed", float(right[rows].mean()), n=int(rows.sum()))


def main() -> None:
    """Ask, grade, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="Companions, such as runs/companion.")
    parser.add_argument("--sheet", type=Path, help="Write the replies here, as CSV, to be graded by hand.")
    parser.add_argument("--key", type=Path, help="Where it is kept whose each reply of the sheet is.")
    parser.add_argument("--graded", type=Path, help="A sheet that was graded; with --key.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    asked, replies, made = read_prompts(), dict[str, list[str]](), list[Figure]()
    for folder in options.runs:
        system = loaded(folder)
        if BASE not in replies:
            replies[BASE] = spoken(system, asked, tuned=False)
        said = spoken(system, asked, tuned=True)
        replies |= {folder.name: said, f"{folder.name}-policy": guarded(asked, said)}
        risky = [place for place, each in enumerate(asked) if not each.innocent]
        apart = moved(system, [asked[n] for n in risky], [replies[BASE][n] for n in risky])
        made.append(bounded(f"safety.{folder.name}.moved", apart, "nats", "KL(base ‖ tuned) a token"))
    for name, texts in replies.items():
        made += passed(name, asked, texts)
    told = {
        name: {each.id: text for each, text in zip(asked, texts, strict=True)}
        for name, texts in replies.items()
    }
    key = options.key or (options.sheet or options.graded or Path("sheet.csv")).with_suffix(".key.json")
    if options.sheet is not None:
        blind.blind(asked, told, options.sheet, key, seed=SEED)
    if options.graded is not None:
        rules = {name: safety.grades(asked, texts) for name, texts in told.items()}
        found = blind.examine(blind.read_blind(options.graded, key), rules, seed=SEED)
        made.append(Figure("safety.rules.kappa", found.kappa, found.low, found.high, found.n, "kappa"))
    command = " ".join(["python benchmarks/safety.py", *map(str, options.runs)])
    write_results(options.output, command, SEED, made)
    for each in made:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
