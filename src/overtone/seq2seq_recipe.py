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
from overtone.recipe import FROM_SCRATCH, BaseRecipe, refuse_several_tasks
from overtone.training.loop import TrainConfig


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
        refuse_several_tasks(self.train, *FROM_SCRATCH)
        if self.train.early_stopping.metric != "loss":
            raise ValueError("train.early_stopping.metric: answers are chosen by their loss; set loss")
        return self
