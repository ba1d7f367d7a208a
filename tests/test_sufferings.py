"""What users of other toolkits suffer, and the tests that keep it away; each is there under its name."""

from __future__ import annotations

import ast
import weakref
from pathlib import Path

import pytest

from overtone.chat_model import Validation
from overtone.data import chat
from overtone.data.chat import Turn
from overtone.models import causal
from overtone.models.adapters import LoraConfig
from overtone.models.causal import CausalBody, DecoderConfig
from toys import write_chat

TESTS = Path(__file__).parent
KEPT_AWAY = {
    "the mask of what is learnt is silently empty, or silently everything": (
        "data/test_chat.py::test_every_answer_and_its_end_are_trained_and_nothing_else",
        "data/test_chat.py::test_nothing_trained_is_an_error",
        "data/test_chat.py::test_the_proof_shows_what_is_trained",
        "test_chat_model.py::test_what_is_shown_as_trained_is_what_an_answer_is",
    ),
    "loss 0.0 is logged while the true loss is NaN": (
        "training/test_loop.py::test_a_loss_that_is_no_number_stops_the_run",
    ),
    "only the last turn is trained": (
        "data/test_chat.py::test_every_answer_and_its_end_are_trained_and_nothing_else",
        "data/test_chat.py::test_the_mask_is_that_of_a_template_which_marks_it_itself",
    ),
    "the model never stops: the end of a turn was masked as padding": (
        "data/test_chat.py::test_the_end_of_a_turn_is_trained_though_padding_has_its_id",
        "data/test_chat.py::test_a_cut_answer_does_not_learn_to_stop",
    ),
    "merged or exported, the model is another one": (
        "test_exporting.py::test_what_is_written_is_the_run",
        "evaluation/test_parity_chat.py::test_each_limit_refuses",
        "inference/test_llama.py::test_it_says_what_pytorch_says",
    ),
    "gradient accumulation is not the batch size": (
        "models/test_causal.py::test_four_by_two_is_one_by_eight",
        "training/test_answer_loss.py::test_four_small_batches_are_a_large_one",
        "training/test_loop.py::test_accumulated_batches_are_one_batch",
    ),
    "the same seed gives another result": ("training/test_loop.py::test_the_same_seed_is_the_same_fit",),
    "evaluation is slower than training, and runs out of memory by keeping scores": (
        "test_sufferings.py::test_validation_keeps_no_scores",
        "test_sufferings.py::test_validation_reads_no_padding_to_speak_of",
    ),
    "a misspelt key trains something else": ("test_recipe.py::test_an_unknown_key_at_any_depth",),
    "a flag is read by nothing": ("test_fields.py::test_every_field_is_read",),
    "a resumed run is not the run that was stopped": (
        "training/test_resume.py::test_killed_at_any_moment_and_resumed",
        "training/test_answer_loss.py::test_stopped_and_resumed_bit_for_bit",
        "test_chat_model.py::test_stopped_and_run_again",
    ),
    "nobody can say whether the tuning helped": (
        "test_chat_model.py::test_the_base_is_the_weights_as_they_were",
        "test_chat_model.py::test_the_exam_is_what_was_said",
    ),
}


@pytest.mark.parametrize("name", sorted({name for names in KEPT_AWAY.values() for name in names}))
def test_the_test_is_there(name):
    path, test = name.split("::")
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = write_chat(tmp_path_factory.mktemp("weights"))
    return lambda: causal.build(DecoderConfig(weights=str(folder), stored="fp32"), LoraConfig(r=2)).eval()


@pytest.fixture(scope="module")
def rows(build):
    """Conversations with answers between 2 and 60 letters."""
    turns = [(Turn("user", "why?"), Turn("assistant", "so " * n)) for n in range(1, 21)]
    return chat.collect([chat.encode(build().body.tokenizer, each, 200) for each in turns], 0)


def test_validation_keeps_no_scores(build, rows, monkeypatch):
    """They are made where an answer is, and gone before the next batch has its own."""
    alive, counted = [], []
    logits = CausalBody.logits

    def watched(body, hidden):
        assert all(each() is None for each in alive)
        scores = logits(body, hidden)
        counted.append(len(scores))
        alive.append(weakref.ref(scores))
        return scores

    monkeypatch.setattr(CausalBody, "logits", watched)
    monkeypatch.setattr("overtone.chat_model.TOKENS", 400)
    model = build()  # which tries its output layer
    counted.clear()
    Validation(rows)(model)
    assert len(counted) > 3
    assert sum(counted) == int(rows.counts.sum())


def test_validation_reads_no_padding_to_speak_of(build, rows, monkeypatch):
    read = []
    forward = CausalBody.forward

    def counted(body, ids, marks):
        read.append(ids.numel())
        return forward(body, ids, marks)

    monkeypatch.setattr(CausalBody, "forward", counted)
    monkeypatch.setattr("overtone.chat_model.TOKENS", 400)
    assert Validation(rows)(build())["loss"] > 0
    assert sum(read) < 1.2 * int(rows.lengths.sum())
