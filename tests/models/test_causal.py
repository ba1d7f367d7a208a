"""The decoder that is trained: packing without cross-talk, and LoRA as PEFT has it."""

from __future__ import annotations

import importlib.util
import random

import peft
import pytest
import torch
from pydantic import ValidationError
from torch import nn
from transformers import AutoModelForCausalLM, GraniteConfig, GraniteForCausalLM

from overtone.data.chat import Turn, collect, encode
from overtone.errors import MissingExtraError, RunError, WeightsError
from overtone.inference import generate
from overtone.inference.generate import SamplingConfig
from overtone.models import adapters, causal
from overtone.models.adapters import LoraConfig
from overtone.models.answers import HEAD
from overtone.models.causal import DecoderConfig, apart, positions
from overtone.models.dropout import Dropout
from overtone.run import Run
from overtone.training.answer_loss import AnswerLoss
from overtone.training.loop import Loop, TrainConfig, TrainingData
from overtone.training.tasks import Task
from toys import FILLER, chat_tokenizer, write_chat

LORA = LoraConfig(r=4, alpha=8, dropout=0.0, targets="all-linear")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_chat(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="module")
def chats():
    """Eight conversations of different lengths, some of two exchanges."""
    chance, tokenizer = random.Random(0), chat_tokenizer()
    made = []
    for n in range(8):
        turns = []
        for _ in range(1 + n % 2):
            asked, said = (" ".join(chance.choices(FILLER, k=chance.randint(1, 7))) for _ in "12")
            turns += [Turn("user", asked), Turn("assistant", said)]
        made.append(encode(tokenizer, turns, 256))
    return made


def model(folder, adapter=LORA, seed=0, **body):
    torch.manual_seed(seed)
    return causal.build(DecoderConfig(weights=str(folder), **{"stored": "fp32", **body}), adapter)


def stir(made):
    """Adapters that do something: fresh ones add nothing."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return made


def loss_and_gradients(made, rows, order):
    made.zero_grad()
    loss = AnswerLoss(rows)
    total = loss.total(made(*rows.pad(order))[HEAD], torch.tensor(order))
    total.backward()
    found = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    return total.detach(), found


def test_packed_and_unpacked_are_the_same_step(folder, chats):
    made, order = stir(model(folder)), [3, 0, 5, 1, 7, 2, 6, 4]
    apart_, together = collect(chats, 2), collect(chats, 2, pack=400)
    assert together.pad(order)[0].shape[0] < apart_.pad(order)[0].shape[0]
    loss, gradients = loss_and_gradients(made, apart_, order)
    packed, packed_gradients = loss_and_gradients(made, together, order)
    assert packed == pytest.approx(float(loss), rel=1e-5)
    assert gradients.keys() == packed_gradients.keys()
    assert len(gradients) == 2 * 7 * 2  # A and B of the seven projections of two layers
    for name, gradient in gradients.items():
        scale = float(gradient.abs().max())
        assert torch.allclose(gradient, packed_gradients[name], atol=1e-5 * scale, rtol=0), name


def test_a_conversation_does_not_hear_its_neighbour(folder, chats):
    made = stir(model(folder)).eval()
    rows = collect(chats[:2], 2, pack=512)
    (ids, marks), first = rows.pad([0, 1]), len(chats[0].ids)
    with torch.no_grad():
        before = made.body(ids, marks).hidden
        ids[0, : first - 1] = 7
        after = made.body(ids, marks).hidden
    assert torch.equal(before[0, first:], after[0, first:])
    assert not torch.allclose(before[0, :first], after[0, :first])


def test_positions_restart_and_the_mask_is_in_blocks():
    numbers = torch.tensor([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 3, 3]])
    assert positions(numbers).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 0, 1]]
    assert apart(numbers)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_scores_are_those_of_the_whole_model_where_they_are_made(folder, chats):
    made = stir(model(folder)).eval()
    rows = collect(chats, 2)
    ids, marks = rows.pad([4])
    with torch.no_grad():
        whole = made.body.backbone(input_ids=ids).logits[0]
        assert torch.allclose(made(ids, marks)[HEAD], whole[marks[0, :, 1] > 0], atol=1e-5)
    wanted = ids[0, 1:][marks[0, :-1, 1] > 0]
    assert rows.wanted([4]).tolist() == wanted.tolist()
    expected = nn.functional.cross_entropy(whole[marks[0, :, 1] > 0], wanted, reduction="sum")
    found = AnswerLoss(rows).total(made(ids, marks)[HEAD], torch.tensor([4]))
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert int(AnswerLoss(rows).count(torch.tensor([4, 1]))) == sum(chats[4].trained) + sum(chats[1].trained)


def test_checkpointing_changes_no_gradient(folder, chats):
    rows, order = collect(chats, 2, pack=400), list(range(8))
    adapter = LORA.model_copy(update={"dropout": 0.3})
    found = []
    for checkpointing in (False, True):
        made = stir(model(folder, adapter, checkpointing=checkpointing)).train()
        assert made.body.causal.is_gradient_checkpointing == checkpointing
        torch.manual_seed(2)
        found.append(loss_and_gradients(made, rows, order))
    (loss, gradients), (other, others) = found
    assert float(loss) == float(other)
    assert all(torch.equal(gradient, others[name]) for name, gradient in gradients.items())


def test_the_seven_projections_have_adapters_and_cheap_dropout(folder):
    made = model(folder, LoraConfig(r=16, alpha=32, dropout=0.05, targets="all-linear"))
    layers = [each for each in made.modules() if isinstance(each, peft.tuners.lora.LoraLayer)]
    assert len(layers) == 2 * 7
    assert all(isinstance(each.lora_dropout["default"], Dropout) for each in layers)
    assert all(each.scaling["default"] == 2 for each in layers)
    trained = [name for name, p in made.named_parameters() if p.requires_grad]
    assert all("lora_" in name for name in trained)
    by_hand = model(folder, LoraConfig(targets="query-value", dropout=0.0))
    assert {n.split(".lora_")[0][-6:] for n, p in by_hand.named_parameters() if p.requires_grad} == {
        "q_proj",
        "v_proj",
    }


def fit(made, rows, place, **changes):
    """Twenty steps over all rows."""
    config = {
        "epochs": 20,
        "batch_size": 8,
        "precision": "fp32",
        "optim": {"lr": 0.01},
        "schedule": {"kind": "linear", "warmup_steps": 0},
        "early_stopping": {"metric": "loss", "patience": 20},
        **changes,
    }
    steps = iter(range(20, 0, -1))
    place.mkdir()
    loop = Loop(
        model=made,
        tasks=[Task(HEAD, "classification", AnswerLoss(rows), 1.0)],
        data=TrainingData(rows, {HEAD: torch.arange(8)}),
        validate=lambda _: {"loss": float(next(steps))},  # so the last step is the best
        config=TrainConfig.model_validate(config),
        run=Run(place),
        seed=3,
    )
    assert loop.fit().steps == 20
    return adapters._tensors(made.body.backbone)


def test_twenty_steps_are_those_of_bare_peft(folder, chats, tmp_path):
    """Padded batches, labels of -100, transformers' own loss, torch's own AdamW."""
    ours = fit(model(folder), collect(chats, 2, pack=400), tmp_path / "run")
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    plain = peft.get_peft_model(plain, settings).train()
    width = max(len(chat.ids) for chat in chats)
    ids = torch.tensor([chat.ids + [2] * (width - len(chat.ids)) for chat in chats])
    mask = torch.tensor([[1] * len(chat.ids) + [0] * (width - len(chat.ids)) for chat in chats])
    labels = torch.tensor(
        [
            [token if on else -100 for token, on in zip(chat.ids, chat.trained, strict=True)]
            + [-100] * (width - len(chat.ids))
            for chat in chats
        ]
    )
    trained = [p for p in plain.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 20)
    for _ in range(20):
        optimizer.zero_grad()
        plain(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
    theirs = peft.get_peft_model_state_dict(plain)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.allclose(ours[name], tensor, atol=1e-6, rtol=0), name
    fresh = adapters._tensors(model(folder).body.backbone)
    assert all(float((ours[name] - fresh[name]).abs().max()) > 1e-3 for name in ours)  # they did learn


def test_four_by_two_is_one_by_eight(folder, chats, tmp_path):
    rows = collect(chats, 2, pack=400)
    one = fit(model(folder), rows, tmp_path / "one")
    cut = fit(model(folder), rows, tmp_path / "cut", batch_size=2, accumulation=4)
    assert all(torch.allclose(one[name], cut[name], atol=1e-5) for name in one)


def test_under_autocast_adapters_read_what_is_there(folder, chats):
    """The same loss as with PEFT's own two casts of every input, and gradients within bf16's rounding."""
    rows = collect(chats, 2)
    ids, marks = rows.pad([0, 1])
    found = []
    for ours in (True, False):
        made = stir(model(folder))
        if not ours:
            made.body._say_who_casts = lambda device: None
        with torch.autocast("cpu", torch.bfloat16):
            scores = made(ids, marks)[HEAD]
        AnswerLoss(rows).total(scores, torch.arange(2)).backward()
        gradient = torch.cat([each.grad.flatten() for each in made.parameters() if each.grad is not None])
        found.append((scores.detach().float(), gradient))
    (one, first), (other, second) = found
    assert torch.allclose(one, other, atol=0.05 * float(other.abs().max()))
    assert float((first - second).norm() / second.norm()) < 0.03


def test_a_layer_is_computed_again_as_it_was(folder, chats):
    """Checkpointing under autocast, with weights in bf16; and after it without autocast, as in evaluation."""
    rows = collect(chats, 2)
    ids, marks = rows.pad([0, 1])
    made = model(folder, stored="bf16", checkpointing=True).train()
    with torch.autocast("cpu", torch.bfloat16):
        scores = made(ids, marks)[HEAD]
    AnswerLoss(rows).total(scores, torch.arange(2)).backward()
    assert all(each.grad is not None for each in made.parameters() if each.requires_grad)
    made.eval()
    assert torch.isfinite(made.body.step(None, ids[:, :3])[0]).all()


def test_an_adapter_loads_in_plain_peft(folder, chats, tmp_path):
    made, again = stir(model(folder)).eval(), model(folder, seed=5)
    for each in (made, again):  # as theirs, so that every bit can be compared
        each.body.causal.set_attn_implementation("sdpa")
    adapters.save(made.body, tmp_path, str(folder))
    ids = torch.tensor([chats[1].ids])
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(plain, tmp_path).eval()
    by_itself = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        ours = made.body.backbone(input_ids=ids).logits
        assert torch.equal(theirs(input_ids=ids).logits, ours)
        assert torch.equal(by_itself(input_ids=ids).logits, ours)
        with made.body.without_adapter():
            assert not torch.allclose(made.body.causal(input_ids=ids).logits, ours)
    adapters.restore(again.body, tmp_path)
    with torch.no_grad():
        assert torch.equal(again.eval().body.backbone(input_ids=ids).logits, ours)


def test_an_adapter_of_another_kind_is_refused(folder, tmp_path):
    adapters.save(model(folder).body, tmp_path, str(folder))
    with pytest.raises(RunError, match="is not of this model and rank"):
        adapters.restore(model(folder, LoraConfig(r=5, targets="all-linear")).body, tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"cut short")
    with pytest.raises(RunError, match="is damaged"):
        adapters.restore(model(folder).body, tmp_path)


def test_weights_kept_in_bf16_have_adapters_in_fp32(folder, chats):
    made = model(folder, stored="bf16")
    assert made.body.causal.get_output_embeddings().weight.dtype == torch.bfloat16
    assert {p.dtype for p in made.parameters() if p.requires_grad} == {torch.float32}
    rows = collect(chats, 2, pack=400)
    with torch.autocast("cpu", torch.bfloat16):
        found = AnswerLoss(rows).total(made(*rows.pad([0, 1]))[HEAD], torch.arange(2))
    expected, _ = loss_and_gradients(model(folder), rows, [0, 1])
    assert float(found.detach()) == pytest.approx(float(expected), rel=0.02)


def test_steps_are_the_model_read_at_once(folder, chats):
    made = stir(model(folder)).eval()
    ids = torch.tensor([chats[0].ids])
    with torch.no_grad():
        whole = made.body.backbone(input_ids=ids).logits[0]
        scores, state = made.body.step(None, ids[:, :5])
        assert torch.allclose(scores[0], whole[4], atol=1e-5)
        for place in range(5, 12):
            scores, state = made.body.step(state, ids[:, place : place + 1])
            assert torch.allclose(scores[0], whole[place], atol=1e-5)
    config = SamplingConfig(temperature=0, max_tokens=6)
    prompts = [chat.ids[:n] for chat, n in zip(chats, (9, 14, 11), strict=False)]
    together = generate.generate(made.body, prompts, config, None, "cpu")
    alone = [generate.generate(made.body, [each], config, None, "cpu")[0] for each in prompts]
    assert together == alone


LENGTHS = (9, 40, 1, 23)


def prompts_of(chats):
    return [chats[n].ids[:length] for n, length in enumerate(LENGTHS)]


def test_prompts_read_at_once_are_those_read_alone(folder, chats):
    made = stir(model(folder)).eval()
    prompts = prompts_of(chats)
    with torch.no_grad():
        scores, state = made.body.begin(prompts)
        assert state.padding.tolist() == [31, 0, 39, 17]
        more = torch.tensor([[5, 6, 7]] * 4)
        after, state = made.body.step(state, more[:, :2])
        last, _ = made.body.step(state, more[:, 2:])
        for row, prompt in enumerate(prompts):
            whole = made.body.backbone(input_ids=torch.tensor([[*prompt, 5, 6, 7]])).logits[0]
            assert torch.allclose(scores[row], whole[len(prompt) - 1], atol=1e-5)
            assert torch.allclose(after[row], whole[-2], atol=1e-5)
            assert torch.allclose(last[row], whole[-1], atol=1e-5)


def test_prompts_of_one_length_need_no_mask(folder, chats):
    made = model(folder).eval()
    with torch.no_grad():
        scores, state = made.body.begin([chats[0].ids[:9], chats[1].ids[:9]])
        expected, _ = made.body.step(None, torch.tensor([chats[0].ids[:9], chats[1].ids[:9]]))
    assert state.padding is None
    assert torch.equal(scores, expected)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_padded_row_says_what_it_says_alone(folder, chats, temperature):
    made = stir(model(folder)).eval()
    config = SamplingConfig(temperature=temperature, max_tokens=20, seed=3)
    together = generate.generate(made.body, prompts_of(chats), config, 2, "cpu")
    for row, prompt in enumerate(prompts_of(chats)):
        alone = config.model_copy(update={"seed": 3 + row})
        assert generate.generate(made.body, [prompt], alone, 2, "cpu") == [together[row]]
    assert len({tuple(each) for each in together}) == 4


def test_greedy_answers_are_those_of_transformers(folder, chats):
    made, prompts = stir(model(folder)).eval(), prompts_of(chats)
    width = max(LENGTHS)
    theirs = made.body.backbone.generate(
        input_ids=torch.tensor([[2] * (width - len(each)) + list(each) for each in prompts]),
        attention_mask=torch.tensor([[0] * (width - n) + [1] * n for n in LENGTHS]),
        do_sample=False,
        max_new_tokens=20,
        eos_token_id=None,
        pad_token_id=2,
    )
    config = SamplingConfig(temperature=0, max_tokens=20)
    ours = generate.generate(made.body, prompts, config, None, "cpu")
    assert ours == theirs[:, width:].tolist()


def test_what_was_read_can_be_forgotten_from_the_end(folder, chats):
    made = model(folder).eval()
    ids = torch.tensor([chats[0].ids])
    with torch.no_grad():
        _, state = made.body.step(None, ids[:, :30])
        assert state.can_be_cropped
        state.crop(12)
        found, _ = made.body.step(state, ids[:, 12:20])
        expected, _ = made.body.step(None, ids[:, :20])
    assert torch.allclose(found, expected, atol=1e-5)


def test_quantised_weights_name_their_extra(folder, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "bitsandbytes" else found(name, *rest),
    )
    for stored in ("int8", "nf4"):
        with pytest.raises(MissingExtraError, match=f"body.stored={stored} needs the extra 'bnb'"):
            model(folder, stored=stored)


HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def test_half_is_of_quantised_weights(folder):
    with pytest.raises(ValidationError, match="stored in bf16"):
        DecoderConfig(weights=str(folder), half="fp16")


@pytest.mark.parametrize("half", ["bf16", "fp16"])
@pytest.mark.parametrize("stored", ["int8", "nf4"])
def test_quantised_weights_train(folder, chats, stored, half):
    pytest.importorskip("bitsandbytes")
    made, rows = model(folder, stored=stored, half=half), collect(chats, 2, pack=400)
    assert made.body.causal.get_input_embeddings().weight.dtype == HALVES[half]
    with torch.autocast("cpu", HALVES[half]):
        found = AnswerLoss(rows).total(made(*rows.pad([0, 1]))[HEAD], torch.arange(2))
    found.backward()
    assert all(p.grad is not None for p in made.parameters() if p.requires_grad)


def test_gradients_through_four_bits_are_those_through_the_same_weights(folder, chats):
    """Also after it was read in evaluation mode, as validation does."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    quantised, rows = stir(model(folder, stored="nf4")), collect(chats, 2)
    plain = stir(model(folder, stored="fp32"))
    written = dict(quantised.named_modules())
    for name, module in plain.named_modules():
        stored = written[name]
        if isinstance(stored, bitsandbytes.nn.Linear4bit):
            state = stored.weight.quant_state
            module.weight.data = bitsandbytes.functional.dequantize_4bit(stored.weight.data, state).float()
        elif isinstance(module, nn.Embedding):
            module.weight.data = stored.weight.data.float()
    found = []
    for each in (quantised, plain):
        with torch.no_grad():
            each.eval()(*rows.pad([0]))
        with torch.autocast("cpu", torch.bfloat16):
            found.append(loss_and_gradients(each.train(), rows, [0, 1, 2]))
    (loss, gradients), (expected, others) = found
    assert float(loss) == pytest.approx(float(expected), rel=1e-2)
    for name, gradient in gradients.items():
        cosine = nn.functional.cosine_similarity(gradient.flatten(), others[name].flatten(), dim=0)
        assert float(cosine) > 0.99, name


def test_a_decoder_that_scales_its_scores_is_refused(tmp_path):
    config = GraniteConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        logits_scaling=8.0,
    )
    GraniteForCausalLM(config).save_pretrained(tmp_path)
    chat_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="not those of its output layer alone"):
        model(tmp_path)


def test_damaged_weights_are_said(tmp_path):
    write_chat(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(WeightsError, match="cannot be read"):
        model(tmp_path)
