"""The recurrent model that answers: an encoder both ways, additive attention, and a decoder, from scratch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from overtone.config import Config
from overtone.errors import RunError, TrainingError
from overtone.models.answers import HEAD, AnswerTokens
from overtone.models.body import Body, States
from overtone.models.dropout import Dropout
from overtone.models.model import Model
from overtone.run import write_atomic

FILE = "model.safetensors"
"""The weights in a folder."""


class Seq2SeqConfig(Config):
    """An LSTM encoder and decoder with attention (Bahdanau et al. 2015)."""

    kind: Literal["seq2seq"] = "seq2seq"
    embedding: int = Field(256, ge=1, description="E, of the word vectors and of what scores are made from")
    hidden: int = Field(512, ge=1, description="D, of each direction's states, the decoder's and attention's")
    layers: int = Field(2, ge=1, description="LSTM layers, of the encoder and of the decoder")
    dropout: float = Field(
        0.3, ge=0.0, lt=1.0, description="of the embeddings, between layers, and of what scores are made from"
    )
    teacher_forcing: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="share of an answer's tokens that the decoder reads as they are in the first epoch; in "
        "place of the others it reads what it would have said",
    )
    forcing_decay: float = Field(
        0.95, gt=0.0, le=1.0, description="what that share is multiplied by after every epoch"
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """What the encoder made of questions.

    Args:
        values: both directions' states, (B, S, 2D).
        keys: the same as attention compares them, (B, S, D).
        mask: whether there is a token, (B, S).
    """

    values: Tensor
    keys: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class AnswerState:
    """What the decoder knows between two tokens.

    Args:
        memory: of the question.
        hidden: the last output of each layer, L tensors (B, D).
        cell: the cell of each layer, likewise.
        attention: where it looked for each token so far, (B, n, S); rows sum to 1.
    """

    memory: Memory
    hidden: tuple[Tensor, ...]
    cell: tuple[Tensor, ...]
    attention: Tensor

    def choose(self, rows: Tensor) -> AnswerState:
        """These rows alone, any as often as it is named."""
        memory = Memory(self.memory.values[rows], self.memory.keys[rows], self.memory.mask[rows])
        hidden, cell = (tuple(each[rows] for each in layers) for layers in (self.hidden, self.cell))
        return AnswerState(memory, hidden, cell, self.attention[rows])


class AdditiveAttention(nn.Module):
    """``softmax(v · tanh(W s + U h))`` over the states h of a question (Bahdanau et al. 2015, A.1.2).

    Args:
        width: D, of the decoder's states s and of the comparison; the encoder's are 2D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(2 * width, width, bias=False)  # the query's bias is theirs too
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, state: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """States (B, D) → the mean of the memory's values (B, 2D), and its weights (B, S)."""
        compared = torch.tanh(self.query(state)[:, None] + memory.keys)  # (B, S, D)
        energies = self.score(compared)[..., 0].masked_fill(~memory.mask, float("-inf"))
        weights = energies.softmax(dim=-1)
        return (weights[:, None] @ memory.values)[:, 0], weights


class Seq2SeqBody(Body):
    """Reads questions, and follows their answers.

    The encoder reads each question both ways. The decoder starts from ``tanh(W [forward; backward])`` of the
    encoder's last states, a layer from a layer. At token i it attends by its state after i - 1, reads the
    context with the token before, and makes a vector of its new state, the context and that token, from which
    the scores are made. So the context is a part of the recurrence: attention and cells go token by token,
    even where all tokens are given. What they do not wait for is computed for all tokens at once: embeddings,
    the keys, the vectors, and the scores.

    While training, each token after the first is read as it is with probability ``share``, drawn anew for
    every row and token; otherwise the decoder reads its own best token instead (scheduled sampling, Bengio et
    al. 2015). In evaluation all are read as they are.

    Args:
        config: sizes, dropout, teacher forcing.
        vocabulary: V, how many pieces there are; question and answer share their embedding.
    """

    epoch: Callable[[], int] | None = None
    """Tells how many epochs were finished, by which teacher forcing decays: a fit's ``progress.epoch``."""

    def __init__(self, config: Seq2SeqConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        word, width = config.embedding, config.hidden
        self.embedding = nn.Embedding(vocabulary, word)
        self.encoder = nn.LSTM(
            word,
            width,
            config.layers,
            batch_first=True,
            bidirectional=True,
            dropout=config.dropout if config.layers > 1 else 0.0,  # torch warns where there is no between
        )
        self.first_hidden = nn.Linear(2 * width, width)
        self.first_cell = nn.Linear(2 * width, width)
        self.attention = AdditiveAttention(width)
        inputs = [word + 2 * width] + [width] * (config.layers - 1)
        self.cells = nn.ModuleList(nn.LSTMCell(size, width) for size in inputs)
        self.vector = nn.Linear(width + 2 * width + word, word)
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(word, vocabulary)
        for layers in (self.encoder, *self.cells):
            _draw(layers, width)

    @property
    def hidden_size(self) -> int:
        """E, the width of the vectors that scores are made from."""
        return self.config.embedding

    @property
    def share(self) -> float:
        """How likely a token is read as it is in this epoch: ``teacher_forcing · forcing_decay ^ epoch``.

        Raises:
            TrainingError: nothing tells the epoch.
        """
        if self.epoch is None:
            raise TrainingError(
                "nothing tells the body its epoch, by which teacher forcing decays",
                hint="body.epoch = lambda: loop.progress.epoch",
            )
        return float(self.config.teacher_forcing * self.config.forcing_decay ** self.epoch())

    def forward(self, inputs: Tensor, attention_mask: Tensor) -> States:
        """Questions, then their answers from the start mark on: ids and mask (2B, W).

        Returns:
            The vectors of what comes after each token of the answers but the last, (B, T, E), and 1 where
            something comes, (B, T).
        """
        asked, answers = inputs.chunk(2)
        in_question, in_answer = attention_mask.bool().chunk(2)
        read, said = (int(mask.sum(dim=1).max()) for mask in (in_question, in_answer))
        state = self.begin(asked[:, :read], in_question[:, :read])
        vectors = self._follow(state, answers[:, : said - 1])
        return States(vectors, in_answer[:, 1:said])

    def begin(self, ids: Tensor, mask: Tensor) -> AnswerState:
        """Read questions, (B, S) with at least one token each: the state before the start mark."""
        embedded = self.dropout(self.embedding(ids))  # (B, S, E)
        lengths = mask.sum(dim=1).cpu()
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        states, last = self.encoder(packed)
        values, _ = pad_packed_sequence(states, batch_first=True, total_length=ids.shape[1])  # (B, S, 2D)
        hidden, cell = (
            # Layer by layer, and of each forward and backward: (2L, B, D) → L times (B, 2D).
            torch.cat([each[0::2], each[1::2]], dim=-1).unbind()
            for each in last
        )
        return AnswerState(
            Memory(values, self.attention.key(values), mask.bool()),
            tuple(torch.tanh(self.first_hidden(each)) for each in hidden),
            tuple(torch.tanh(self.first_cell(each)) for each in cell),
            values.new_zeros(len(ids), 0, ids.shape[1]),
        )

    def step(self, state: AnswerState, tokens: Tensor) -> tuple[Tensor, AnswerState]:
        """Read on.

        Args:
            state: from ``begin`` or the step before.
            tokens: the next ones of the answers, (B, n), n ≥ 1; the start mark is the first.

        Returns:
            Scores of what comes after the last of them, (B, V), and the state for the next step.
        """
        looked = [state.attention]
        for embedded in self.embedding(tokens).unbind(dim=1):
            state, context, weights = self._advance(state, embedded)
            looked.append(weights[:, None])
        scores = self.logits(self._vector(state.hidden[-1], context, embedded))
        return scores, AnswerState(state.memory, state.hidden, state.cell, torch.cat(looked, dim=1))

    def logits(self, vectors: Tensor) -> Tensor:
        """Vectors (..., E) → scores of what comes next (..., V)."""
        scores: Tensor = self.output(vectors)
        return scores

    def _follow(self, state: AnswerState, answers: Tensor) -> Tensor:
        """The vectors after each token of answers (B, T), (B, T, E)."""
        embedded = self.dropout(self.embedding(answers))  # (B, T, E)
        # Drawn on the CPU, whose random state a checkpoint keeps, and which rows are meant is known at once.
        own = torch.rand(answers.shape[1], len(answers)) >= self.share if self.training else None
        tops, contexts, words = list[Tensor](), list[Tensor](), list[Tensor]()
        for place, word in enumerate(embedded.unbind(dim=1)):
            if own is not None and place and bool(own[place].any()):
                rows = own[place].nonzero()[:, 0].to(word.device)
                word = word.index_copy(
                    0, rows, self._said(tops[-1][rows], contexts[-1][rows], words[-1][rows])
                )
            state, context, _ = self._advance(state, word)
            tops.append(state.hidden[-1])
            contexts.append(context)
            words.append(word)
        top, context, word = (torch.stack(each, dim=1) for each in (tops, contexts, words))
        vectors: Tensor = self.dropout(self._vector(top, context, word))
        return vectors

    def _said(self, top: Tensor, context: Tensor, word: Tensor) -> Tensor:
        """The embedding of the best token after a step, (B, E); which it is has no gradient."""
        with torch.no_grad():
            best = self.logits(self._vector(top, context, word)).argmax(dim=-1)
        said: Tensor = self.dropout(self.embedding(best))
        return said

    def _advance(self, state: AnswerState, embedded: Tensor) -> tuple[AnswerState, Tensor, Tensor]:
        """Read one embedded token (B, E) → the state, whose attention stays, the context and its weights."""
        context, weights = self.attention(state.hidden[-1], state.memory)
        below = torch.cat([embedded, context], dim=-1)
        hidden, cell = list[Tensor](), list[Tensor]()
        for layer, reader in enumerate(self.cells):
            top, kept = reader(
                self.dropout(below) if layer else below, (state.hidden[layer], state.cell[layer])
            )
            hidden.append(top)
            cell.append(kept)
            below = top
        return AnswerState(state.memory, tuple(hidden), tuple(cell), state.attention), context, weights

    def _vector(self, top: Tensor, context: Tensor, word: Tensor) -> Tensor:
        """State (..., D), context (..., 2D) and token (..., E) → (..., E)."""
        return torch.tanh(self.vector(torch.cat([top, context, word], dim=-1)))


class Seq2SeqModel(Model):
    """An encoder and decoder as the loop trains them.

    Args:
        body: of both.
    """

    body: Seq2SeqBody

    def __init__(self, body: Seq2SeqBody) -> None:
        super().__init__(body, {HEAD: AnswerTokens(body.logits)})


def save(body: Seq2SeqBody, folder: Path) -> None:
    """Write the weights, whole or not at all.

    Raises:
        RunError: the folder could not be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in body.state_dict().items()}
    write_atomic(folder / FILE, safetensors.torch.save(tensors, {"format": "pt"}))


def load(folder: Path, config: Seq2SeqConfig, vocabulary: int) -> Seq2SeqBody:
    """Read a model back for inference.

    Raises:
        RunError: the weights are missing, damaged, of another model or of another vocabulary.
    """
    body = Seq2SeqBody(config, vocabulary)
    path = folder / FILE
    try:
        body.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise RunError(
            f"the weights {path} cannot be read into this model of {vocabulary:,} pieces: {error}",
            hint="put the run's own recipe.yaml and tokenizer.json back, or train it again with --overwrite",
        ) from error
    return body.requires_grad_(False).eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _draw(layers: nn.Module, width: int) -> None:
    """First weights of LSTM layers as those of ``LstmModel``: Glorot, orthogonal, a forget bias of 1."""
    for name, parameter in layers.named_parameters():
        if name.startswith("bias"):
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):
                parameter.detach()[width : 2 * width] = 1  # gates stand as input, forget, cell, output
            continue
        draw = nn.init.orthogonal_ if name.startswith("weight_hh") else nn.init.xavier_uniform_
        for gate in parameter.detach().chunk(4):
            draw(gate)
