from __future__ import annotations

import builtins
import dataclasses
import json
import math

import pytest
import torch
from torch.nn import functional

from overtone.data.batches import plan
from overtone.errors import MissingExtraError, TrainingError, UsageError
from overtone.models.adapters import LoraConfig
from overtone.training.losses import CrossEntropyConfig
from overtone.training.stopping import EarlyStopping
from overtone.training.tasks import Task
from toys import (
    Judge,
    build_loop,
    build_model,
    identical,
    parameters,
    records,
    settings,
    training_data,
)

WEIGHTED = CrossEntropyConfig(class_weights=1.0, label_smoothing=0.1)


def fitted(tiny, folder, config=None, *, model=None, **changes):
    model = model or build_model(tiny)
    loop = build_loop(model, folder, config, **changes)
    return loop.fit(), parameters(model), loop


def losses_of(loop):
    return [row["loss"] for row in loop.run.history() if "loss" in row]


def close(one, other, tolerance):
    return max(float((one[name] - other[name]).abs().max()) for name in one) <= tolerance


@pytest.mark.parametrize("rows", [24, 22])
@pytest.mark.parametrize("loss", [CrossEntropyConfig(), WEIGHTED])
def test_accumulated_batches_are_one_batch(tiny, tmp_path, rows, loss):
    """4 × 1 equals 1 × 4, also where the last step is cut short and the classes are weighted."""
    found = {}
    for size, accumulation in ((1, 4), (2, 2), (4, 1)):
        config = settings(batch_size=size, accumulation=accumulation, epochs=2)
        model = build_model(tiny).double()  # AdamW makes a whole step of a gradient that is rounding alone
        found[size] = fitted(None, tmp_path / str(size), config, model=model, rows=records(rows), loss=loss)
    whole = found[4]
    for size in (1, 2):
        assert found[size][0].steps == whole[0].steps == 2 * math.ceil(rows / 4)
        assert losses_of(found[size][2]) == pytest.approx(losses_of(whole[2]), abs=1e-6)
        assert close(found[size][1], whole[1], 1e-6)


def test_the_loop_is_a_plain_torch_loop(tiny, tmp_path):
    """The same steps written by hand: mean cross-entropy, clipping, AdamW, warm-up and cosine."""
    config = settings(epochs=2, clip=0.5)
    _, ours, loop = fitted(None, tmp_path, config, model=build_model(tiny).double())

    model = build_model(tiny).double()
    data = training_data(model, records(40))
    heads = {id(p) for p in model.heads.parameters()}
    groups = [
        {
            "params": [p for p in model.parameters() if p.requires_grad and test(p)],
            "lr": lr,
            "weight_decay": wd,
        }
        for lr, wd, test in (
            (1e-3, 0.01, lambda p: id(p) not in heads and p.ndim > 1),
            (1e-3, 0.0, lambda p: id(p) not in heads and p.ndim == 1),
            (3e-3, 0.01, lambda p: id(p) in heads and p.ndim > 1),
            (3e-3, 0.0, lambda p: id(p) in heads and p.ndim == 1),
        )
    ]
    optimizer = torch.optim.AdamW(groups)
    peaks = [group["lr"] for group in groups]
    model.train()
    logged, step = [], 0
    for epoch in range(2):
        for rows in plan(data.encoded.lengths, 8, 1, seed=7 * 100_003 + epoch):
            factor = (step + 1) / 3 if step < 3 else 0.5 * (1 + math.cos(math.pi * (step - 3) / (10 - 3)))
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            ids, mask = data.encoded.pad(rows[0])
            loss = functional.cross_entropy(model(ids, mask)["emotion"], data.targets["emotion"][rows[0]])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            logged.append(float(loss.detach()))
            step += 1
    assert losses_of(loop) == pytest.approx(logged, abs=1e-6)
    best = loop.progress.best_step
    assert best == 10  # so the model that is left is the last one
    assert close(ours, parameters(model), 1e-6)


def test_a_fit_learns(tiny, tmp_path):
    fit, _, loop = fitted(
        tiny, tmp_path, settings(epochs=8, optim={"lr": 3e-3, "head_lr": 1e-2}), rows=records(80)
    )
    assert losses_of(loop)[0] > 1.0
    assert fit.final_loss < 0.5
    assert loop.validate(loop.model.eval())["emotion.accuracy"] > 0.8


def test_the_same_seed_is_the_same_fit(tiny, tmp_path):
    config = settings(epochs=2)
    runs = [
        fitted(tiny, tmp_path / str(i), config, model=build_model(tiny, dropout=0.1), seed=seed)
        for i, seed in enumerate((7, 7, 8))
    ]
    assert identical(runs[0][1], runs[1][1])
    assert not identical(runs[0][1], runs[2][1])
    rows = [
        [{k: v for k, v in row.items() if k != "rows_per_second"} for row in loop.run.history()]
        for _, _, loop in runs
    ]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


class NotANumber:
    """Cross-entropy that is not a number from some step on."""

    whole_step = False

    def __init__(self, after, value=math.nan):
        self.calls, self.after, self.value = 0, after, value

    def total(self, outputs, targets):
        self.calls += 1
        factor = 1.0 if self.calls <= self.after else self.value
        return functional.cross_entropy(outputs, targets, reduction="sum") * factor

    def count(self, targets):
        return torch.tensor(float(len(targets)))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run(tiny, tmp_path, value):
    model = build_model(tiny)
    bad = [Task("emotion", "classification", NotANumber(3, value), 1.0)]
    loop = build_loop(model, tmp_path, tasks=bad)
    with pytest.raises(TrainingError, match=r"the loss of 'emotion' is (nan|inf) at step 4") as caught:
        loop.fit()
    assert "lower train.optim.lr" in caught.value.hint
    logged = losses_of(loop)
    assert len(logged) == 3
    assert min(logged) > 0.1
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_a_gradient_that_is_no_number_touches_no_weight(tiny, tmp_path):
    """The loss is finite, its gradient is not: sqrt at 0."""

    class Sharp(NotANumber):
        def total(self, outputs, targets):
            self.calls += 1
            kink = (outputs * 0).sum().sqrt() if self.calls > self.after else 0.0
            return functional.cross_entropy(outputs, targets, reduction="sum") + kink

    model = build_model(tiny)
    loop = build_loop(model, tmp_path, tasks=[Task("emotion", "classification", Sharp(3), 1.0)])
    with pytest.raises(TrainingError, match="the norm of the gradient is nan at step 4"):
        loop.fit()
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_a_validation_figure_that_is_no_number_stops_the_run(tiny, tmp_path):
    loop = build_loop(build_model(tiny), tmp_path, validate=lambda model: {"loss": math.nan})
    with pytest.raises(TrainingError, match="'loss' of the validation rows is nan"):
        loop.fit()


def scripted(values, name="emotion.accuracy"):
    """Validation that reads its figures from a list."""
    left = iter(values)
    return lambda model: {name: next(left), "loss": 1.0}


@pytest.mark.parametrize(
    ("values", "epochs", "best_step"),
    [
        ([0.5, 0.6, 0.7, 0.8, 0.9, 0.95], 6, 30),  # always a gain
        ([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 3, 5),  # two validations without one
        ([0.5, 0.505, 0.509, 0.6, 0.6, 0.6], 3, 5),  # less than the minimum above the best
        ([0.5, 0.4, 0.6, 0.5, 0.5, 0.9], 5, 15),  # a gain starts patience anew
    ],
)
def test_patience_ends_a_fit(tiny, tmp_path, values, epochs, best_step):
    stopping = {"metric": "emotion.accuracy", "patience": 2, "minimum_gain": 0.01}
    config = settings(epochs=6, early_stopping=stopping)
    fit, _, loop = fitted(tiny, tmp_path, config, validate=scripted(values))
    assert (fit.epochs, fit.best_step, fit.steps) == (epochs, best_step, epochs * 5)
    assert fit.best == values[best_step // 5 - 1]
    assert fit.stopped_early is (epochs < 6)
    gains = [row["best"] for row in loop.run.history() if "validation" in row]
    assert gains.index(True) == 0
    assert sum(gains) >= 1


def test_lower_is_better_where_it_is(tiny, tmp_path):
    stopping = {"metric": "emotion.brier", "patience": 1, "minimum_gain": 0.0}
    config = settings(epochs=4, early_stopping=stopping)
    fit, _, _ = fitted(tiny, tmp_path, config, validate=scripted([0.5, 0.4, 0.45, 0.1], "emotion.brier"))
    assert (fit.best, fit.best_step, fit.stopped_early) == (0.4, 10, True)


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("mean", 1),
        ("loss", -1),
        ("emotion.macro_f1", 1),
        ("emotion.joy.brier", -1),  # of one label, or of one number of several
        ("emotion.valence.accuracy", 1),
    ],
)
def test_which_way_a_figure_is_better(name, sign):
    task = Task("emotion", "classification", NotANumber(0), 1.0)
    assert EarlyStopping(metric=name).direction([task]) == sign


def test_the_mean_over_tasks_is_what_counts_by_default(tiny, tmp_path):
    config = settings(epochs=3, early_stopping={})
    fit, _, _ = fitted(tiny, tmp_path, config, validate=scripted([0.1, 0.3, 0.2], "mean"))
    assert (fit.best, fit.best_step) == (0.3, 10)


@pytest.mark.parametrize(
    "name", ["emotion.macrof1", "emotoin.macro_f1", "macro_f1", "emotion.loss", "emotion.mean", "emotion"]
)
def test_a_misspelt_metric_is_found_before_training(tiny, tmp_path, name):
    loop = build_loop(build_model(tiny), tmp_path, settings(early_stopping={"metric": name}))
    with pytest.raises(UsageError, match=f"names '{name}'") as caught:
        loop.fit()
    assert "emotion.macro_f1" in caught.value.hint
    assert "loss" in caught.value.hint
    assert loop.run.history() == []


def test_a_metric_that_does_not_apply_is_named(tiny, tmp_path):
    config = settings(early_stopping={"metric": "emotion.roc_auc"})
    loop = build_loop(build_model(tiny), tmp_path, config)
    with pytest.raises(UsageError, match=r"names 'emotion\.roc_auc'") as caught:
        loop.fit()
    assert caught.value.hint == "known: loss, emotion.accuracy"


def test_the_best_step_is_what_is_left(tiny, tmp_path):
    """The second epoch is the best one, so two epochs of it are what five leave."""
    config = settings(epochs=5, early_stopping={"metric": "emotion.accuracy"})
    seen = []

    def validate(model):
        seen.append(parameters(model))
        return {"emotion.accuracy": [0.1, 0.9, 0.2, 0.3, 0.4][len(seen) - 1]}

    _, left, loop = fitted(tiny, tmp_path, config, validate=validate)
    assert identical(left, seen[1])
    assert not identical(left, seen[4])
    assert {path.name for path in loop.run.checkpoints.iterdir()} == {"best", "last"}


def test_nothing_to_train_is_an_error(tiny, tmp_path):
    model = build_model(tiny).requires_grad_(False)
    with pytest.raises(TrainingError, match="no parameter is trained"):
        build_loop(model, tmp_path).fit()


def test_the_gradient_is_clipped(tiny, tmp_path):
    """Scaled to a norm of 1e-3, the first AdamW step is the same; the second moments show the clipping."""
    norms = {}
    for clip in (1e-3, 100.0):
        _, _, loop = fitted(tiny, tmp_path / str(clip), settings(epochs=1, clip=clip))
        squares = [s["exp_avg_sq"].sum() for s in loop.optimizer.state.values()]
        norms[clip] = float(sum(squares))
        assert loop.run.history()[0]["gradient_norm"] > 0.1  # what was found, not what was left
    # after n steps of norm at most c, the sum of second moments is at most (1 − β2^n) c²
    assert norms[1e-3] <= (1 - 0.999**5) * 1e-6 * 1.001
    assert norms[100.0] > norms[1e-3] * 1e4


def test_bf16_is_close_to_fp32_and_leaves_an_fp32_model(tiny, tmp_path):
    fits = {name: fitted(tiny, tmp_path / name, settings(precision=name)) for name in ("fp32", "bf16")}
    assert losses_of(fits["bf16"][2]) != losses_of(fits["fp32"][2])
    assert losses_of(fits["bf16"][2]) == pytest.approx(losses_of(fits["fp32"][2]), abs=0.05)
    model = fits["bf16"][2].model
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    fresh = build_model(tiny)
    fresh.load_state_dict(model.state_dict())
    ids, mask = fits["bf16"][2].data.encoded.pad([0, 1, 2])
    with torch.no_grad():  # no autocast is left behind
        assert torch.equal(model.eval()(ids, mask)["emotion"], fresh.eval()(ids, mask)["emotion"])


def moved(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("freeze", "still", "moving"),
    [
        ({"kind": "none"}, ("none of them",), ("embeddings.", "layer.0.", "layer.1.", "heads.")),
        ({"kind": "bottom", "layers": 1}, ("embeddings.", "layer.0."), ("layer.1.", "heads.")),
        ({"kind": "bottom", "layers": 0}, ("embeddings.",), ("layer.0.", "layer.1.", "heads.")),
        ({"kind": "backbone"}, ("body.",), ("heads.",)),
    ],
)
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_what_is_frozen_does_not_move(encoder_folder, tmp_path, kind, freeze, still, moving):
    model = build_model(encoder_folder(kind))
    config = settings(epochs=1, freeze=freeze)
    before = parameters(model)
    _, after, _ = fitted(None, tmp_path, config, model=model)
    changed = moved(before, after)
    for part in still:
        assert not {name for name in changed if part in name}
    for part in moving:
        assert {name for name in changed if part in name}


def test_an_adapter_trains_alone(tiny, tmp_path):
    model = build_model(tiny, adapter=LoraConfig(r=2))
    before = parameters(model)
    _, after, _ = fitted(None, tmp_path, settings(epochs=1), model=model)
    assert {("lora_" in name) or name.startswith("heads.") for name in moved(before, after)} == {True}


def test_what_stands_in_the_metrics(tiny, tmp_path):
    fit, _, loop = fitted(tiny, tmp_path, settings(epochs=2, log_every=2))
    rows = [json.loads(line) for line in loop.run.metrics.read_text().splitlines()]
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == [2, 4, 6, 8, 10]
    assert [row["epoch"] for row in steps] == [0.4, 0.8, 1.2, 1.6, 2.0]
    assert [row["lr"] for row in steps[:1]] == pytest.approx([3e-3 * 2 / 3])  # the highest of the groups
    for row in steps:
        names = "step epoch loss losses weights lr gradient_norm rows_per_second"
        assert row.keys() == set(names.split())
        assert row["weights"] == {"emotion": 1.0}
        assert row["losses"] == {"emotion": row["loss"]}
    assert steps[-1]["loss"] == fit.final_loss
    validations = [row for row in rows if "validation" in row]
    assert [(row["step"], row["epoch"], row["best"]) for row in validations] == [(5, 1, True), (10, 2, True)]
    assert validations[-1]["validation"]["loss"] == fit.best
    assert fit.rows_per_second == pytest.approx(80 / fit.seconds)


def test_the_weight_of_a_task_scales_its_loss(tiny, tmp_path):
    model = build_model(tiny)
    loop = build_loop(model, tmp_path, settings(epochs=1))
    loop.tasks = [dataclasses.replace(loop.tasks[0], weight=0.25)]
    loop.fit()
    row = loop.run.history()[0]
    assert row["loss"] == pytest.approx(0.25 * row["losses"]["emotion"])


def test_plateau_cuts_the_rate(tiny, tmp_path):
    config = settings(
        epochs=4,
        schedule={"kind": "plateau", "warmup_steps": 0, "patience": 0, "factor": 0.5},
        early_stopping={"metric": "emotion.accuracy", "patience": 9},
    )
    _, _, loop = fitted(tiny, tmp_path, config, validate=scripted([0.5, 0.5, 0.6, 0.5]))
    rates = [row["lr"] for row in loop.run.history() if "lr" in row]
    assert rates == pytest.approx([3e-3] * 10 + [1.5e-3] * 10)


def test_tensorboard_is_written_where_asked(tiny, tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    fitted(tiny, tmp_path / "off", settings(epochs=1))
    assert not (tmp_path / "off" / "tensorboard").exists()
    _, _, loop = fitted(tiny, tmp_path / "on", settings(epochs=1, tensorboard=True))
    events = event_accumulator.EventAccumulator(str(tmp_path / "on" / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/lr", "validation/loss"} <= set(events.Tags()["scalars"])
    logged = [scalar.value for scalar in events.Scalars("train/loss")]
    assert logged == pytest.approx(losses_of(loop))


def test_tensorboard_is_an_extra(tiny, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return real(name, *rest, **named)

    loop = build_loop(build_model(tiny), tmp_path, settings(epochs=1, tensorboard=True))
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="needs the extra 'tensorboard'") as caught:
        loop.fit()
    assert caught.value.hint == "pip install 'overtone[tensorboard]'"


def test_validation_sees_a_model_in_evaluation_and_training_goes_on(tiny, tmp_path):
    modes = []

    class Watched(Judge):
        def __call__(self, model):
            modes.append(model.training)
            return super().__call__(model)

    model = build_model(tiny, dropout=0.1)
    loop = build_loop(model, tmp_path, settings(epochs=2), validate=Watched(model))
    step = loop._step
    loop._step = lambda *args: (modes.append(model.training), step(*args))[1]
    loop.fit()
    assert modes == [True] * 5 + [False] + [True] * 5 + [False]


def test_a_figure_that_no_task_names_is_judged_as_the_loop_is_told(tiny, tmp_path):
    stopping = {"metric": "recall", "patience": 3}
    for name, direction, best in (("up", 1, 3), ("down", -1, 1)):
        values = iter((0.2, 0.3, 0.4))
        loop = build_loop(
            build_model(tiny),
            tmp_path / name,
            settings(early_stopping=stopping),
            validate=lambda _, values=values: {"recall": next(values)},
            directions={"recall": direction},
        )
        assert loop.fit().best_step == best * 5
