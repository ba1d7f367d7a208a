"""Language models from scratch: beside the n-gram and each other, and how fast the loop trains them.

Runs: of each body, finished runs of several seeds with the same `split_seed`. Their figures are means over
seeds, with intervals over articles. "Equal tokens" gives the validation figure after the last epoch that fits
into the tokens of the run that had least; a schedule that was made for more epochs has not come to its end
there. "Equal time" does the same with the seconds that the tokens take at the pace measured here, of which a
tenth more is let pass; so it needs the speed of both recipes in the same run.

Speed: our loop (the recipe's precision) and a plain fp32 PyTorch loop, in turns, on the same model, windows
and steps, each repeat with another seed: other first weights, the same for both, and rows in another order
for each. The difference of their final losses is the mean over repeats, from the least to the largest.
Operations a token are counted as 6 for each weight in a matrix product and 12 · layers · window ·
width for attention (Chowdhery et al. 2022, appendix B), over the rate of a product of 1024³ measured in the
same turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from overtone import kinds, language_model
from overtone.data import stream
from overtone.data.stream import Windows
from overtone.errors import DataError
from overtone.evaluation import texts
from overtone.evaluation.language import nats
from overtone.evaluation.results import Figure, write_results
from overtone.evaluation.texts import Likelihoods
from overtone.language_proof import SCORES
from overtone.language_recipe import LanguageRecipe
from overtone.models import language
from overtone.models.language import HEAD, LanguageModel, Reader
from overtone.models.transformer import TransformerConfig
from overtone.run import Run, read_json
from overtone.training import optim
from overtone.training.loop import Loop, TrainingData
from overtone.training.next_token import NextTokenLoss
from overtone.training.tasks import Task

RESULTS = Path(__file__).parent / "results" / "language.json"
SEED = 7
RESAMPLES = 2000
SIDE = 1024
SLACK = 0.1
"""How much longer a run may take and still count as equal in time."""
RECIPES = {"lstm": "language", "transformer": "language-transformer"}
"""Body → the recipe of it, whose speed is measured."""


@dataclass(frozen=True)
class Point:
    """A validation: tokens trained on until then, and its bits a byte."""

    tokens: int
    bits: float


def curve(run: Run) -> list[Point]:
    """The validations of a run."""
    recipe = kinds.read(str(run.recipe))
    assert isinstance(recipe, LanguageRecipe)
    windows: int = run.facts()["tokens"]["train"]["tokens"] // recipe.window
    size = recipe.train.batch_size * recipe.train.accumulation
    steps = -(-windows // size)

    def tokens(step: int) -> int:
        return (step // steps * windows + min(step % steps * size, windows)) * recipe.window

    return [
        Point(tokens(row["step"]), row["validation"]["bits_per_byte"])
        for row in run.history()
        if "validation" in row
    ]


def scored(run: Run, text: str) -> Likelihoods:
    """What a run and its n-gram give the documents of a text."""
    return texts.read(run.evaluation / text / SCORES, text)


def together(families: dict[str, list[Run]], text: str) -> Likelihoods:
    """The mean over seeds of each body, and the n-gram, on the same documents."""
    every = {name: [scored(run, text) for run in runs] for name, runs in families.items()}
    first = next(iter(every.values()))[0]
    if any(each.ids != first.ids for found in every.values() for each in found):
        raise DataError(
            "the runs were judged on different documents",
            hint="train them with one split_seed and one `data`",
        )
    nats_of = {
        name: np.mean([next(iter(each.nats.values())) for each in found], axis=0)
        for name, found in every.items()
    }
    (ngram,) = [name for name in first.nats if name.startswith("ngram-")]
    return Likelihoods(
        text,
        first.ids,
        first.articles,
        first.tokens,
        first.characters,
        first.bytes,
        {**nats_of, "ngram": first.nats[ngram]},
    )


def compared(families: dict[str, list[Run]], text: str) -> list[Figure]:
    """Each body on a text: bits a byte, perplexity, and paired differences from the n-gram and each other."""
    found, figures = together(families, text), []
    for standing in texts.standings(found, seed=SEED, resamples=RESAMPLES):
        for measure, unit in (("bits_per_byte", "bits"), ("perplexity", "perplexity")):
            each = standing.figures[measure]
            figures.append(
                Figure(
                    f"language.{standing.name}.{text}.{measure}",
                    each.value,
                    each.low,
                    each.high,
                    len(found.ids),
                    unit,
                )
            )
    for name, runs in families.items():
        for run in runs:
            alone = read_json(run.evaluation / text / "standings.json")[0]["figures"]["bits_per_byte"]
            seed = run.facts()["seed"]
            figures.append(
                Figure(
                    f"language.{name}.{text}.seed-{seed}.bits_per_byte",
                    **alone,
                    n=len(found.ids),
                    unit="bits",
                )
            )
    names = [*families, "ngram"]
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    for a, b in pairs:
        two = Likelihoods(
            text,
            found.ids,
            found.articles,
            found.tokens,
            found.characters,
            found.bytes,
            {a: found.nats[a], b: found.nats[b]},
        )
        gain = texts.standings(two, seed=SEED, resamples=RESAMPLES)[1].gain
        assert gain is not None
        figures.append(
            Figure(
                f"language.{a}-{b}.{text}.difference",
                gain.value,
                gain.low,
                gain.high,
                len(found.ids),
                "bits",
            )
        )
    return figures


def equal(families: Mapping[str, Sequence[Run]], pace: Mapping[str, float]) -> list[Figure]:
    """The bodies at equal tokens, and at equal training time by the tokens a second of each."""
    curves = {name: [curve(run) for run in runs] for name, runs in families.items()}
    whole = {name: min(points[-1].tokens for points in found) for name, found in curves.items()}
    tokens = min(whole.values())
    figures = [Figure("language.equal_tokens.tokens", tokens, unit="tokens")]
    bounds = {"equal_tokens": dict.fromkeys(curves, float(tokens))}
    if set(curves) <= set(pace):
        seconds = min(whole[name] / pace[name] for name in curves)
        figures.append(Figure("language.equal_time.seconds", seconds, unit="s"))
        bounds["equal_time"] = {name: (1 + SLACK) * seconds * pace[name] for name in curves}
    for setting, bound in bounds.items():
        for name, found in curves.items():
            reached = [[point for point in points if point.tokens <= bound[name]] for points in found]
            if not all(reached):
                print(f"{setting}: a run of {name} has no epoch that is so short")
                continue
            bits = [points[-1].bits for points in reached]
            part = f"language.{setting}.{name}"
            figures += [
                Figure(f"{part}.tokens", reached[0][-1].tokens, unit="tokens"),
                Figure(
                    f"{part}.validation.bits_per_byte",
                    statistics.mean(bits),
                    min(bits),
                    max(bits),
                    len(bits),
                    "bits",
                ),
            ]
    return figures


@dataclass(frozen=True)
class Work:
    """What both loops do: the same model, windows and steps.

    Args:
        recipe: with as many windows as the steps need in its one epoch.
        windows: to train on.
        held_out: a stream to judge on.
        vocabulary: V.
    """

    recipe: LanguageRecipe
    windows: Windows
    held_out: stream.Stream
    vocabulary: int

    def fresh(self) -> Reader:
        """The model that every fit begins with."""
        torch.manual_seed(self.recipe.seed)
        return language.build(self.recipe.body, self.vocabulary)

    def loss(self, reader: Reader) -> float:
        """Nats a token of the held-out stream."""
        device = str(next(reader.parameters()).device)
        found = nats(reader.eval(), self.held_out.ids, self.recipe.window, device=device)
        return found / self.held_out.targets

    @property
    def tokens(self) -> int:
        """Tokens that a fit trains on."""
        return len(self.windows.pieces) * self.recipe.window


def work_of(recipe: LanguageRecipe, steps: int) -> Work:
    """As many training windows as the steps need, and some tokens to judge on."""
    splits = language_model.divide(recipe).splits
    vocabulary = recipe.vocabulary.build([row.text for row in splits.train])
    train = stream.build(vocabulary, [row.text for row in splits.train])
    wanted = steps * recipe.train.batch_size
    windows = stream.windows(train.ids, recipe.window)[:wanted]
    if len(windows) < wanted:
        raise DataError(
            f"{len(windows):,} windows for {steps} steps", hint="take fewer --steps, or more documents"
        )
    held_out = stream.build(vocabulary, [row.text for row in splits.validation])
    return Work(recipe, Windows(windows), held_out, len(vocabulary))


def ours(work: Work) -> tuple[Reader, float]:
    """Fit with the loop: the model and the seconds of the whole fit, with its two checkpoints."""
    model = LanguageModel(work.fresh())
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            model=model,
            tasks=[Task(HEAD, "classification", NextTokenLoss(), 1.0)],
            data=TrainingData(work.windows, {HEAD: work.windows.targets}),
            validate=lambda _: {"loss": 0.0},
            config=work.recipe.train,
            run=Run(Path(folder)),
            seed=work.recipe.seed,
        )
        begun = time.perf_counter()
        loop.fit()
        return model.body.reader, time.perf_counter() - begun


def plain(work: Work) -> tuple[Reader, float]:
    """Fit in fp32 as a PyTorch tutorial would, with the same optimiser, schedule, clipping and batch size."""
    reader, config = work.fresh(), work.recipe.train
    pieces = torch.from_numpy(work.windows.pieces.copy())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    reader.to(device).train()
    torch.manual_seed(work.recipe.seed)
    begun = time.perf_counter()
    batches = DataLoader(TensorDataset(pieces), config.batch_size, shuffle=True)
    optimizer = torch.optim.AdamW(
        reader.parameters(),
        config.optim.lr,
        (config.optim.beta1, config.optim.beta2),
        weight_decay=config.optim.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: optim.multiplier(config.schedule, done, len(batches), optim.Plateau())
    )
    loss_of = nn.CrossEntropyLoss()
    for (batch,) in batches:
        ids = batch.to(device)
        logits = reader.logits(reader(ids[:, :-1]))
        loss = loss_of(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(reader.parameters(), config.clip)
        optimizer.step()
        schedule.step()
    return reader, time.perf_counter() - begun


def operations(recipe: LanguageRecipe, reader: Reader) -> float:
    """Floating-point operations of a training step, a token."""
    weights = sum(
        parameter.numel()
        for name, parameter in reader.named_parameters()
        if parameter.ndim > 1 and name not in ("embedding.weight", "position.weight")
    )
    if recipe.body.tied:  # the one matrix is the output layer's too
        weights += reader.embedding.weight.numel()
    attention = 0
    if isinstance(recipe.body, TransformerConfig):
        attention = 12 * recipe.body.layers * recipe.window * recipe.body.width
    return 6 * weights + attention


def rate(dtype: torch.dtype, repeats: int = 30) -> float:
    """Operations a second of a product of two square matrices, the median of some."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = (torch.randn(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(repeats + 3):  # the first ones warm up
        begun = time.perf_counter()
        (a @ b).sum().item()
        seconds.append(time.perf_counter() - begun)
    return 2 * SIDE**3 / statistics.median(seconds[3:])


def speed(recipe: LanguageRecipe, steps: int, repeats: int) -> list[Figure]:
    """Our loop beside the plain one."""
    changes = {"epochs": 1, "checkpoint_every": 10 * steps}
    stopping = recipe.train.early_stopping.model_copy(update={"metric": "loss"})
    train = recipe.train.model_copy(update={**changes, "early_stopping": stopping})
    work = work_of(recipe.model_copy(update={"train": train}), steps)
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    losses: dict[str, list[float]] = {"ours": [], "plain": []}
    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    kinds_of = {"ours": recipe.train.precision, "plain": "fp32"}
    for repeat in range(repeats):
        turn = replace(work, recipe=work.recipe.model_copy(update={"seed": recipe.seed + repeat}))
        for name, fit in (("ours", ours), ("plain", plain)):
            reader, took = fit(turn)
            seconds[name].append(took)
            losses[name].append(turn.loss(reader))
            rates[name].append(rate(torch.bfloat16 if kinds_of[name] == "bf16" else torch.float32))
        print(f"{recipe.name}: {seconds['plain'][-1] / seconds['ours'][-1]:.2f}")
    ratios = [theirs / mine for mine, theirs in zip(seconds["ours"], seconds["plain"], strict=True)]
    pace = {name: work.tokens / statistics.median(each) for name, each in seconds.items()}
    part, n = f"{recipe.name}.train", work.tokens
    figures = [Figure(f"{part}.ratio", statistics.median(ratios), min(ratios), max(ratios), n, "ratio")]
    needed = operations(recipe, work.fresh())
    for name, kind in kinds_of.items():
        reached = statistics.median(rates[name])
        figures += [
            Figure(f"{part}.{name}.tokens_per_second", pace[name], n=n, unit="tokens/s"),
            Figure(f"{part}.{name}.loss", statistics.mean(losses[name]), n=repeats, unit="nats"),
            Figure(f"{part}.{name}.matmul_rate", reached / 1e9, unit="GFLOP/s", against=kind),
            Figure(f"{part}.{name}.matmul_share", needed * pace[name] / reached, unit="share", against=kind),
        ]
    apart = [mine - theirs for mine, theirs in zip(losses["ours"], losses["plain"], strict=True)]
    mean = statistics.mean(apart)
    return [
        *figures,
        Figure(
            f"{part}.loss.difference", mean, min(apart), max(apart), repeats, "nats", "plain, the same seed"
        ),
    ]


def measured(options: argparse.Namespace) -> Sequence[Figure]:
    """All that was asked for."""
    figures: list[Figure] = []
    families = {name: [Run(folder) for folder in getattr(options, name)] for name in RECIPES}
    families = {name: runs for name, runs in families.items() if runs}
    pace = {}
    for name, recipe_name in RECIPES.items():
        if recipe_name in options.recipes:
            recipe = kinds.read(recipe_name, options.set)
            assert isinstance(recipe, LanguageRecipe)
            found = speed(recipe, options.steps, options.repeats)
            pace[name] = next(each.value for each in found if each.name.endswith("ours.tokens_per_second"))
            figures += found
    if families:
        for text in options.texts:
            figures += compared(families, text)
        figures += equal(families, pace)
    return figures


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lstm", nargs="*", type=Path, default=[], help="Finished runs, one a seed.")
    parser.add_argument("--transformer", nargs="*", type=Path, default=[], help="The same.")
    parser.add_argument("--texts", nargs="*", default=["test", "wikitext2"], help="What they were judged on.")
    parser.add_argument(
        "--recipes", nargs="*", default=list(RECIPES.values()), choices=RECIPES.values(), help="For speed."
    )
    parser.add_argument("--set", nargs="*", default=[], help="Changes to these recipes.")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    figures = measured(options)
    runs = [
        f"--{name} {' '.join(map(str, getattr(options, name)))}" for name in RECIPES if getattr(options, name)
    ]
    speed = [f"--steps {options.steps}", f"--repeats {options.repeats}"]
    write_results(options.output, " ".join(["python benchmarks/language.py", *runs, *speed]), SEED, figures)
    for each in figures:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
