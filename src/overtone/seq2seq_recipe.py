"""The recipe of a recurrent model that answers, trained from scratch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from overtone.chat_recipe import ExamConfig
from overtone.data.conversations import ConversationsConfig
from overtone.data.leakage import LeakageConfig
from overtone.data.vocabulary import VocabularyConfig, WordVocabulary
from overtone.inference.beam import BeamConfig
from overtone.models.seq2seq import Seq2SeqConfig
from overtone.recipe import BaseRecipe
from overtone.training.loop import TrainConfig
from overtone.training.optim import OptimConfig


class Seq2SeqExamConfig(ExamConfig):
    """The same, with how answers are searched."""

    beam: BeamConfig = BeamConfig()
    shown: int = Field(2, ge=0, description="questions of which the report shows where the model looked")


class Seq2SeqRecipe(BaseRecipe):
    """Everything that a run of an encoder and decoder from scratch depends on, every default written out."""

    kind: Literal["seq2seq"] = "seq2seq"
    data: ConversationsConfig
    leakage: LeakageConfig = Field(LeakageConfig(), description="what of training nearly stands in the exam")
    vocabulary: VocabularyConfig = Field(
        WordVocabulary(size=10_000), description="of questions and answers, made of those that are learnt"
    )
    body: Seq2SeqConfig = Seq2SeqConfig()
    max_tokens: int = Field(64, ge=1, description="tokens kept of a question, and of an answer")
    train: TrainConfig
    exam: Seq2SeqExamConfig = Seq2SeqExamConfig()

    @model_validator(mode="after")
    def _only_what_applies(self) -> Seq2SeqRecipe:
        if self.train.freeze.kind != "none":
            raise ValueError("train.freeze: a model from scratch is trained as a whole; set kind: none")
        if self.train.weighting.kind != "fixed" or self.train.mix.temperature != 1:
            raise ValueError("train.weighting and train.mix are for several tasks; leave them out")
        plain = OptimConfig()
        for name in ("head_lr", "layer_decay"):
            if getattr(self.train.optim, name) != getattr(plain, name):
                raise ValueError(f"train.optim.{name}: all of this model is trained at train.optim.lr")
        if self.train.early_stopping.metric != "loss":
            raise ValueError("train.early_stopping.metric: answers are chosen by their loss; set loss")
        return self
