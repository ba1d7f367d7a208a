"""What is frozen is computed once: the same numbers, from memory, from disk, never from a damaged file."""

from __future__ import annotations

import dataclasses
import os

import fits
import pytest
import torch

from overtone.data.tokenize import encode
from overtone.models import store
from overtone.models.adapters import LoraConfig
from overtone.models.encoder import EncoderConfig
from overtone.models.heads import HeadConfig
from overtone.training import cache, shelf
from overtone.training.cache import StateCache
from toys import (
    build_loop,
    build_model,
    parameters,
    records,
    sentences,
    settings,
    training_data,
    write_encoder,
)

TEXTS = [text for text, _ in sentences(20)]
ATTENTION = HeadConfig(pooling="attention", hidden=(8,), dropout=0.1)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache on disk, in which everything is worth a file, and an empty memory."""
    monkeypatch.setenv("OVERTONE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "SLOW", -1.0)
    monkeypatch.setattr(cache, "_remembered", type(cache._remembered)())
    return tmp_path / "cache" / "states"


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def encoded(model, texts=TEXTS):
    return encode(model.body.tokenizer, texts, model.body.max_length)


def frozen(weights, layers=2, head=ATTENTION, **changes):
    """A model whose lowest layers are frozen."""
    model = build_model(weights, head=head, **changes)
    model.body.freeze(layers)
    return model


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("layers", [1, 2])
def test_states_are_the_body_s_whatever_batch_they_were_computed_in(encoder_folder, kind, layers):
    model = frozen(encoder_folder(kind), layers, dropout=0.3)
    model.train()
    states = StateCache(model)(encoded(model), bf16=False)
    for rows in ([0, 5, 19], [7], list(range(20))):
        ids, mask = encoded(model).pad(rows)
        hidden, same_mask = states.pad(rows)
        assert torch.equal(mask, same_mask)
        expected = model.body.bottom(ids, mask)
        assert torch.allclose(hidden[mask.bool()], expected[mask.bool()], atol=1e-5)
    assert model.training
    assert model.heads.training


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_text_is_one_vector_where_every_head_makes_it_so(tiny, pooling):
    model = frozen(tiny, head=HeadConfig(pooling=pooling, hidden=(), dropout=0.0)).eval()
    states = StateCache(model)(encoded(model), bf16=False)
    assert states.flat.shape == (20, 32)
    rows = [3, 0, 17]
    with torch.no_grad():
        expected = model(*encoded(model).pad(rows))["emotion"]
        assert torch.allclose(model(*states.pad(rows))["emotion"], expected, atol=1e-5)


@pytest.mark.parametrize(("pooling", "one"), [(("mean", "mean"), True), (("mean", "cls"), False)])
def test_heads_that_pool_otherwise_keep_all_states(tiny, pooling, one):
    heads = {name: (HeadConfig(pooling=kind), 3) for name, kind in zip("ab", pooling, strict=True)}
    model = store.build(EncoderConfig(weights=str(tiny)), None, heads)
    model.body.freeze(2)
    texts = encoded(model)
    found = StateCache(model)(texts, bf16=False)
    assert len(found.flat) == (len(texts) if one else len(texts.flat))
    model.body.freeze(1)  # what is trained above it needs them too
    assert len(StateCache(model)(texts, bf16=False).flat) == len(texts.flat)


@pytest.mark.parametrize("layers", [None, 0])
def test_nothing_to_keep(tiny, layers):
    """Embeddings alone are looked up as fast as they would be read."""
    model = frozen(tiny, layers)
    assert StateCache(model)(encoded(model), bf16=False) is None
    model.body.freeze(1)
    assert StateCache(model)(encoded(model, []), bf16=False) is None


HEADS = [
    HeadConfig(hidden=(16,), dropout=0.1),
    HeadConfig(pooling="cls", hidden=(), dropout=0.1),
    ATTENTION,
]


SHIFTS = ("heads.emotion.attention.bias", "key.bias", "k_lin.bias")
"""What softmax ignores: the gradient of these is rounding alone, of which AdamW makes whole steps."""


def losses(loop):
    return [row["loss"] for row in loop.run.history() if "loss" in row]


def both(weights, folder, config, head=None, **changes):
    """The losses of a fit without the cache and of one with it, and the models they leave."""
    found = []
    for cached in (False, True):
        model = build_model(weights, head=head, dropout=0.2, **changes)
        caching = StateCache(model) if cached else None
        loop = build_loop(model, folder / str(cached), config, cache=caching)
        loop.fit()
        found.append((losses(loop), parameters(model)))
    return found


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("freeze", [{"kind": "backbone"}, {"kind": "bottom", "layers": 1}])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_cached_fit_is_the_uncached_one(encoder_folder, tmp_path, kind, freeze, head):
    """With dropout above the frozen part, and none in it; the same losses, step by step."""
    config = settings(epochs=2, freeze=freeze)
    plain, cached = both(encoder_folder(kind), tmp_path, config, head)
    assert cached[0] == pytest.approx(plain[0], abs=1e-5)
    for name, tensor in plain[1].items():
        if not name.endswith(SHIFTS):
            assert torch.allclose(cached[1][name], tensor, atol=1e-4), name


def test_a_cached_fit_in_bf16_is_as_close_as_bf16_is(tiny, tmp_path):
    config = settings(epochs=2, freeze={"kind": "bottom", "layers": 1}, precision="bf16")
    plain, cached = both(tiny, tmp_path, config, ATTENTION)
    assert cached[0] == pytest.approx(plain[0], abs=5e-3)


def test_lower_layers_with_adapters_are_kept_too(tiny, tmp_path):
    config = settings(epochs=2, freeze={"kind": "bottom", "layers": 1})
    plain, cached = both(tiny, tmp_path, config, adapter=LoraConfig(r=2))
    assert cached[0] == pytest.approx(plain[0], abs=1e-5)


def test_double_precision_stays_double(tiny):
    model = frozen(tiny).double()
    assert StateCache(model)(encoded(model), bf16=False).flat.dtype == torch.float64


def counted(monkeypatch):
    """How often states are computed."""
    calls = []
    real = StateCache._compute

    def compute(self, *args, **named):
        calls.append(self.model.body.frozen)
        return real(self, *args, **named)

    monkeypatch.setattr(StateCache, "_compute", compute)
    return calls


def forget():
    """Forget what this process remembers, as another process would not know it."""
    cache._remembered.clear()


def test_memory_then_disk_then_the_body(tiny, folder, monkeypatch):
    calls = counted(monkeypatch)
    model = frozen(tiny)
    first = StateCache(model)(encoded(model), bf16=False)
    assert (len(calls), len(files(folder))) == (1, 1)
    again = StateCache(frozen(tiny))(encoded(model), bf16=False)  # another run of this process
    assert again.flat is first.flat
    forget()
    monkeypatch.setattr(shelf, "keep", lambda *_: pytest.fail("it was there"))
    read = StateCache(frozen(tiny))(encoded(model), bf16=False)
    assert len(calls) == 1
    assert read.flat is not first.flat
    assert torch.equal(read.flat, first.flat)


def test_another_process_reads_what_one_wrote(tiny, folder, tmp_path):
    process = fits.start(fits.keep_states, tiny, str(tmp_path / "cache"))
    process.join()
    assert process.exitcode == 0
    assert len(files(folder)) == 1
    model = frozen(tiny, head=None)
    caching = StateCache(model)
    caching.tell = lambda done, total: pytest.fail("it was computed again")
    assert len(caching(encoded(model), bf16=False).flat) == 20


def test_what_is_computed_in_no_time_is_not_written(tiny, folder, monkeypatch):
    monkeypatch.setattr(cache, "SLOW", 60.0)
    model = frozen(tiny)
    StateCache(model)(encoded(model), bf16=False)
    assert files(folder) == []


def other_weights(model):
    """A change of one number below the boundary."""
    with torch.no_grad():
        next(model.body.layers[0].parameters())[0, 0] += 0.01
    model.body.freeze(model.body.frozen)


CHANGES = {
    "weights": lambda model, texts: other_weights(model) or (texts, False),
    "boundary": lambda model, texts: model.body.freeze(1) or (texts, False),
    "precision": lambda model, texts: (texts, True),
    "pooling": lambda model, texts: setattr(model.heads["emotion"], "pooling", "mean") or (texts, False),
    "a text less": lambda model, texts: (texts.take(range(19)), False),
    "another order": lambda model, texts: (texts.take([1, 0, *range(2, 20)]), False),
    "another token": lambda model, texts: (
        dataclasses.replace(texts, flat=texts.flat + (texts.flat == texts.flat[3])),
        False,
    ),
    "other boundaries of texts": lambda model, texts: (
        dataclasses.replace(texts, offsets=texts.offsets + (texts.offsets == texts.offsets[1])),
        False,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_the_states_changes_their_name(tiny, folder, change, monkeypatch):
    calls = counted(monkeypatch)
    model = frozen(tiny)
    caching, texts = StateCache(model), encoded(model)
    caching(texts, bf16=False)
    texts, bf16 = CHANGES[change](model, texts)
    caching(texts, bf16=bf16)
    assert len(calls) == len(files(folder)) == 2
    caching(texts, bf16=bf16)
    assert len(calls) == 2


def test_what_does_not_change_the_states_does_not_change_their_name(tiny, folder, tmp_path):
    """Heads, dropout, the weights above the boundary, and where the weights were read from."""
    moved = write_encoder(tmp_path / "moved")
    texts = encoded(frozen(tiny))
    StateCache(frozen(tiny, 1))(texts, bf16=False)
    other = frozen(moved, 1, dropout=0.4, seed=3, head=HeadConfig(hidden=(5,)))
    with torch.no_grad():
        next(other.body.layers[1].parameters()).add_(1)
    forget()
    StateCache(other)(texts, bf16=False)
    assert len(files(folder)) == 1


def cut(data):
    return data[: len(data) // 2]


def flip(data):
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


def other_header(data):
    return data.replace(b'"F32"', b'"F16"')


@pytest.mark.parametrize("harm", [cut, flip, other_header, lambda data: b"", lambda data: b"\xff" * 4096])
def test_a_damaged_file_is_computed_again(tiny, folder, harm, capsys):
    model = frozen(tiny)
    first = StateCache(model)(encoded(model), bf16=False)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.unlink()  # what is mapped into memory stays as it was
    path.write_bytes(harm(whole))
    expected = first.flat
    forget()
    again = StateCache(model)(encoded(model), bf16=False)
    assert torch.equal(again.flat, expected)
    assert "is damaged" in capsys.readouterr().err
    assert path.read_bytes() == whole  # and written again


def test_a_file_of_another_shape_is_not_taken(tiny, folder):
    model = frozen(tiny)
    first = StateCache(model)(encoded(model), bf16=False)
    (path,) = folder.iterdir()
    path.unlink()
    shelf.keep(path, first.flat[:-1].clone())
    forget()
    assert torch.equal(StateCache(model)(encoded(model), bf16=False).flat, first.flat)


def test_a_disk_that_cannot_be_written_costs_no_run(tiny, folder, capsys):
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    model = frozen(tiny)
    states = StateCache(model)(encoded(model), bf16=False)
    assert len(states.flat) == len(encoded(model).flat)
    assert "the next run computes it again" in capsys.readouterr().err


def test_a_full_disk_costs_no_run_and_leaves_no_litter(tiny, tmp_path, folder):
    out = tmp_path / "err.txt"
    process = fits.start(fits.keep_states, tiny, str(tmp_path / "cache"), 1024, out)
    process.join()
    assert process.exitcode == 0
    assert "the next run computes it again" in out.read_text()
    assert files(folder) == []


def test_the_oldest_make_room(tiny, folder, monkeypatch):
    """Three files of which two fit: the one that was used longest ago goes."""
    model = frozen(tiny)
    caching = StateCache(model)
    texts = [encoded(model, [text] * 10) for text in TEXTS[:3]]
    texts = [part.take(range(10)) for part in texts]
    one = max(caching(part, bf16=False).flat.nbytes for part in texts[:2])
    first, second = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    forget()
    caching(texts[0], bf16=False)  # read, so it was used last
    assert first.stat().st_mtime > 2
    monkeypatch.setattr(shelf, "LIMIT", 2 * one + 600)
    caching(texts[2], bf16=False)
    assert first.exists()
    assert not second.exists()
    assert len(files(folder)) == 2


def test_what_a_killed_process_left_makes_room_too(tiny, folder, monkeypatch):
    folder.mkdir(parents=True)
    litter = folder / ".half.safetensors.x1"
    litter.write_bytes(b"0" * 100_000)
    os.utime(litter, (1, 1))
    model = frozen(tiny)
    size = StateCache(model)(encoded(model), bf16=True).flat.nbytes
    assert litter.exists()
    monkeypatch.setattr(shelf, "LIMIT", 4 * size)
    StateCache(model)(encoded(model), bf16=False)
    assert not litter.exists()


def test_more_than_the_limit_is_computed_at_every_step(tiny, monkeypatch):
    monkeypatch.setattr(shelf, "LIMIT", 1000)
    model = frozen(tiny)
    assert StateCache(model)(encoded(model), bf16=False) is None


def test_memory_is_bounded(tiny, monkeypatch):
    model = frozen(tiny)
    caching = StateCache(model)
    sizes = [caching(encoded(model, TEXTS[i:]), bf16=False).flat.nbytes for i in range(3)]
    assert len(cache._remembered) == 3
    monkeypatch.setattr(cache, "MEMORY", sizes[1] + sizes[2] + 10)
    caching(encoded(model, TEXTS[1:]), bf16=False)
    assert len(cache._remembered) == 2


def test_it_says_how_far_it_is(tiny, monkeypatch):
    model = frozen(tiny)
    caching = StateCache(model)
    seen = []
    caching.tell = lambda done, total: seen.append((done, total))
    caching(encoded(model), bf16=False)
    assert seen[-1] == (20, 20)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_validation_reads_the_states_of_its_own_rows(tiny, tmp_path):
    """The frozen part runs once over training rows and once over validation rows, whatever the epochs."""
    model = build_model(tiny)
    caching = StateCache(model)
    loop = build_loop(model, tmp_path, settings(epochs=4, freeze={"kind": "backbone"}), cache=caching)
    held_out = training_data(model, records(24, seed=1))
    asked = []
    real = model.body.bottom
    model.body.bottom = lambda *args: (asked.append(len(args[0])), real(*args))[1]
    judge = loop.validate

    def validate(model):
        caching(held_out.encoded, bf16=False)
        return judge(model)

    loop.validate = validate
    loop.fit()
    assert sum(asked) == 40 + 24
