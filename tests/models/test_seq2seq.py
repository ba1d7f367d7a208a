from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from overtone.errors import RunError, TrainingError
from overtone.models import seq2seq
from overtone.models.answers import HEAD
from overtone.models.seq2seq import (
    FILE,
    AdditiveAttention,
    Memory,
    Seq2SeqBody,
    Seq2SeqConfig,
    Seq2SeqModel,
)
from overtone.training.answer_loss import AnswerLoss

V, PAD, START, END = 11, 0, 1, 2
QUESTIONS = [[3, 4, 5, END], [6, END], [7, 8, 9, 10, 3, END]]
ANSWERS = [[START, 5, 4, END], [START, END], [START, 9, 9, 8, 7]]


def build(seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {"embedding": 6, "hidden": 8, "layers": 2, "dropout": 0.0}
    return Seq2SeqBody(Seq2SeqConfig(**{**sizes, **changes}), V).eval()


def padded(rows, width=None, pad=PAD):
    width = width or max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def batch(rows=(0, 1, 2), width=8, pad=PAD):
    return padded([QUESTIONS[row] for row in rows] + [ANSWERS[row] for row in rows], width, pad)


class Wanted:
    counts = np.array([len(row) - 1 for row in ANSWERS])

    def wanted(self, rows):
        return torch.tensor([token for row in rows for token in ANSWERS[row][1:]])


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def arrays(module):
    return {name: each.detach().double().numpy() for name, each in module.state_dict().items()}


def attended(weights, state, values):
    """One step of attention in numpy: what is seen, and the weights; keys are made anew."""
    energies = np.array(
        [
            weights["score.weight"][0]
            @ np.tanh(weights["query.weight"] @ state + weights["query.bias"] + weights["key.weight"] @ value)
            for value in values
        ]
    )
    shares = np.exp(energies) / np.exp(energies).sum()
    return shares @ values, shares


def test_attention_by_hand():
    torch.manual_seed(0)
    attention = AdditiveAttention(3)
    state, values = torch.randn(2, 3), torch.randn(2, 4, 6)
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    context, weights = attention(state, Memory(values, attention.key(values), mask))
    for row, length in enumerate((4, 2)):
        seen, shares = attended(arrays(attention), state[row].numpy(), values[row, :length].numpy())
        assert weights[row, :length].detach().numpy() == pytest.approx(shares, abs=1e-6)
        assert weights[row, length:].tolist() == [0.0] * (4 - length)
        assert context[row].detach().numpy() == pytest.approx(seen, abs=1e-6)


def test_the_encoder_is_torchs_lstm_and_padding_changes_nothing():
    body = build()
    plain = nn.LSTM(6, 8, 2, bidirectional=True, batch_first=True)
    plain.load_state_dict(body.encoder.state_dict())
    ids, mask = padded(QUESTIONS, width=9)
    state = body.begin(ids, mask)
    for row, question in enumerate(QUESTIONS):  # alone, so nothing is packed and nothing padded
        states, (hidden, cell) = plain(body.embedding(torch.tensor([question])))
        length = len(question)
        torch.testing.assert_close(state.memory.values[row, :length], states[0])
        assert not state.memory.values[row, length:].any()
        for layer in range(2):
            both = torch.cat([hidden[2 * layer, 0], hidden[2 * layer + 1, 0]])
            torch.testing.assert_close(state.hidden[layer][row], torch.tanh(body.first_hidden(both)))
            both = torch.cat([cell[2 * layer, 0], cell[2 * layer + 1, 0]])
            torch.testing.assert_close(state.cell[layer][row], torch.tanh(body.first_cell(both)))


def by_hand(body, row):
    """The decoder in numpy: scores after each token of an answer that is given, (T, V), and attention."""
    weights, (ids, mask) = arrays(body), padded([QUESTIONS[row]])
    state = body.begin(ids, mask)
    values = state.memory.values[0].detach().double().numpy()
    hidden = [each[0].detach().double().numpy() for each in state.hidden]
    cell = [each[0].detach().double().numpy() for each in state.cell]
    scores, looked = [], []
    for token in ANSWERS[row][:-1]:
        word = weights["embedding.weight"][token]
        context, shares = attended(arrays(body.attention), hidden[-1], values)
        below = np.concatenate([word, context])
        for layer in range(2):
            name = f"cells.{layer}."
            gates = weights[name + "weight_ih"] @ below + weights[name + "bias_ih"]
            gates = gates + weights[name + "weight_hh"] @ hidden[layer] + weights[name + "bias_hh"]
            let_in, forget, fresh, out = np.split(gates, 4)
            cell[layer] = sigmoid(forget) * cell[layer] + sigmoid(let_in) * np.tanh(fresh)
            hidden[layer] = below = sigmoid(out) * np.tanh(cell[layer])
        joined = np.concatenate([below, context, word])
        vector = np.tanh(weights["vector.weight"] @ joined + weights["vector.bias"])
        scores.append(weights["output.weight"] @ vector + weights["output.bias"])
        looked.append(shares)
    return np.array(scores), np.array(looked)


def test_the_decoder_by_hand_all_at_once_and_step_by_step():
    body = build()
    states = body(*batch())
    assert states.hidden.shape == (3, 4, body.hidden_size)
    assert states.mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    for row, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
        scores, looked = by_hand(body, row)
        whole = body.logits(states.hidden[row, : len(scores)])
        assert whole.detach().numpy() == pytest.approx(scores, abs=1e-5)
        state = body.begin(*padded([question]))
        for place, token in enumerate(answer[:-1]):
            found, state = body.step(state, torch.tensor([[token]]))
            assert found[0].detach().numpy() == pytest.approx(scores[place], abs=1e-5)
        assert state.attention[0].detach().numpy() == pytest.approx(looked, abs=1e-6)
        at_once, state = body.step(body.begin(*padded([question])), torch.tensor([answer[:-1]]))
        torch.testing.assert_close(at_once, found)
        assert state.attention[0].detach().numpy() == pytest.approx(looked, abs=1e-6)


def gradients(body, rows, width=8, pad=PAD):
    body.zero_grad()
    scores = Seq2SeqModel(body)(*batch(rows, width, pad))[HEAD]
    loss = AnswerLoss(Wanted())
    total = loss.total(scores, torch.tensor(rows))
    assert len(scores) == int(loss.count(torch.tensor(rows)))
    total.backward()
    return total.item(), {name: each.grad.clone() for name, each in body.named_parameters()}


def test_padding_counts_nothing_in_the_loss_and_in_its_gradient():
    """The loss of a batch is the sum of its rows' alone, whatever fills it."""
    body = build()
    total, together = gradients(body, [0, 1, 2], width=10)
    again, filled = gradients(body, [0, 1, 2], width=10, pad=9)
    assert again == total
    assert all(torch.equal(filled[name], each) for name, each in together.items())
    alone = [gradients(body, [row], width=6) for row in range(3)]
    assert total == pytest.approx(sum(value for value, _ in alone), rel=1e-5)
    for name, each in together.items():
        assert torch.allclose(each, sum(found[name] for _, found in alone), atol=1e-5), name
    assert not together["embedding.weight"][PAD].any()
    assert together["embedding.weight"][START].any()


def test_the_loss_is_torchs_over_the_answers_tokens():
    body = build()
    states = body(*batch())
    targets = torch.full((3, 4), -100)
    for row, answer in enumerate(ANSWERS):
        targets[row, : len(answer) - 1] = torch.tensor(answer[1:])
    theirs = nn.functional.cross_entropy(body.logits(states.hidden).transpose(1, 2), targets, reduction="sum")
    assert gradients(body, [0, 1, 2])[0] == pytest.approx(theirs.item(), rel=1e-6)


def test_the_share_decays_by_the_epoch():
    body = build(teacher_forcing=0.5, forcing_decay=0.9)
    body.epoch = iter([0, 1, 10]).__next__
    assert [body.share for _ in range(3)] == pytest.approx([0.5, 0.45, 0.5 * 0.9**10])


def test_nothing_that_tells_the_epoch_is_an_error_while_training_alone():
    body = build()
    body(*batch())
    with pytest.raises(TrainingError, match=r"nothing tells the body its epoch.*\n  → body.epoch = "):
        body.train()(*batch())


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_what_is_not_given_is_what_the_decoder_would_have_said(share):
    body = build(teacher_forcing=share, seed=5).train()
    body.epoch = lambda: 0
    torch.manual_seed(3)
    found = body.logits(body(*batch()).hidden)
    torch.manual_seed(3)
    given = torch.rand(4, 3) < share
    differs = False
    for row, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
        state, scores = body.begin(*padded([question])), torch.empty(0)
        for place, token in enumerate(answer[:-1]):
            own = place > 0 and not given[place, row]
            differs |= own and int(scores.argmax()) != token
            read = scores.argmax() if own else torch.tensor(token)
            scores, state = body.step(state, read.view(1, 1))
            torch.testing.assert_close(found[row, place], scores[0])
    assert differs == (share < 1)  # else nothing was tested


def test_dropout_is_off_in_evaluation_and_the_seed_decides_the_weights():
    body = build(dropout=0.5, seed=3)
    body.epoch = lambda: 0
    once = body(*batch()).hidden
    assert torch.equal(once, body(*batch()).hidden)
    assert torch.equal(once, build(dropout=0.5, seed=3)(*batch()).hidden)
    body.train()
    assert not torch.equal(body(*batch()).hidden, body(*batch()).hidden)
    assert build(layers=1, dropout=0.5).encoder.dropout == 0


def test_the_defaults_are_those_of_the_design():
    config = Seq2SeqConfig()
    assert (config.embedding, config.hidden, config.layers) == (256, 512, 2)
    assert (config.dropout, config.teacher_forcing) == (0.3, 0.5)
    with torch.device("meta"):
        parts = dict(Seq2SeqBody(config, 10_000).named_children())
    counts = {name: sum(each.numel() for each in part.parameters()) for name, part in parts.items()}
    word, width = 256, 512
    layer = {
        inputs: 4 * width * (inputs + width + 2) for inputs in (word, width, 2 * width, word + 2 * width)
    }
    assert counts["embedding"] == 10_000 * word
    assert counts["encoder"] == 2 * layer[word] + 2 * layer[2 * width]
    assert counts["cells"] == layer[word + 2 * width] + layer[width]
    assert counts["attention"] == width * width + width + 2 * width * width + width
    assert counts["vector"] == (3 * width + word) * word + word
    assert counts["output"] == 10_000 * word + 10_000


def test_the_first_weights():
    body = build()
    for layers in (body.encoder, *body.cells):
        for name, parameter in layers.named_parameters():
            if name.startswith("weight_hh"):
                for gate in parameter.chunk(4):
                    torch.testing.assert_close(gate @ gate.T, torch.eye(8))
            if name.startswith("bias_ih"):
                assert [set(gate.tolist()) for gate in parameter.chunk(4)] == [{0.0}, {1.0}, {0.0}, {0.0}]
            if name.startswith("bias_hh"):
                assert not parameter.any()


def test_saved_and_read_back(tmp_path):
    body = build()
    seq2seq.save(body, tmp_path)
    again = seq2seq.load(tmp_path, body.config, V)
    assert not again.training
    assert not any(each.requires_grad for each in again.parameters())
    ids, mask = batch()
    there = again.embedding.weight.device
    torch.testing.assert_close(again(ids.to(there), mask.to(there)).hidden.cpu(), body(ids, mask).hidden)


@pytest.mark.parametrize("case", ["missing", "damaged", "vocabulary", "config"])
def test_weights_that_cannot_be_read(case, tmp_path):
    body = build()
    seq2seq.save(body, tmp_path)
    config, vocabulary = body.config, V
    if case == "missing":
        (tmp_path / FILE).unlink()
    if case == "damaged":
        (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:100])
    if case == "vocabulary":
        vocabulary = V + 1
    if case == "config":
        config = config.model_copy(update={"layers": 1})
    with pytest.raises(RunError, match=rf"{FILE} cannot be read into this model of {vocabulary} pieces"):
        seq2seq.load(tmp_path, config, vocabulary)
