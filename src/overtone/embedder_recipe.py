"""The recipe of an embedder that is trained from scratch to retrieve."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from overtone.config import Config
from overtone.data.leakage import LeakageConfig
from overtone.data.questions import QuestionsConfig
from overtone.data.vocabulary import BpeVocabulary, VocabularyConfig
from overtone.errors import did_you_mean
from overtone.inference.embed import EmbedderConfig
from overtone.models.bag import BagConfig
from overtone.models.embedder import EmbedderBodyConfig, Pooling
from overtone.recipe import FROM_SCRATCH, BaseRecipe, refuse_several_tasks
from overtone.training.contrastive import ContrastiveConfig
from overtone.training.loop import TrainConfig

METRICS = ("recall_10", "mrr_10")
"""What the questions of dev choose the best step by."""


class NegativesConfig(Config):
    """Passages that do not answer, mined for each question before the fit."""

    bm25: int = Field(0, ge=0, description="of those that share most words with the question")
    teacher: int = Field(0, ge=0, description="of those that the teacher finds nearest")
    depth: int = Field(30, ge=1, description="places of either ranking that are drawn from")
    margin: float = Field(
        0.95,
        gt=0,
        description="a passage that the teacher finds nearer than this times the right one is not taken, "
        "since it may answer too (NV-Retriever, Moreira et al. 2024)",
    )


class EmbedderEvaluateConfig(Config):
    """What an embedder is judged beside."""

    short: int = Field(100, ge=1, description="the first so many test questions, shown beside all of them")
    resamples: int = Field(2000, ge=100, description="bootstrap resamples of an interval, over questions")


class EmbedderRecipe(BaseRecipe):
    """Everything that a run of an embedder depends on, every default written out."""

    kind: Literal["embedder"] = "embedder"
    data: QuestionsConfig = QuestionsConfig()
    leakage: LeakageConfig = Field(
        LeakageConfig(), description="what of training nearly stands in dev or test"
    )
    vocabulary: VocabularyConfig | None = Field(
        BpeVocabulary(), description="made of what is learnt from; null where `start` brings its own"
    )
    body: EmbedderBodyConfig = BagConfig()
    pooling: Pooling = Field("mean", description="how the states of a text become one vector")
    start: Path | None = Field(
        None, description="the run of a language model whose weights and vocabulary are taken to start from"
    )
    max_length: int = Field(256, ge=1, description="tokens read of a text; the rest is cut")
    folded: bool = Field(True, description="whether case and punctuation are taken away before reading")
    objective: ContrastiveConfig = ContrastiveConfig()
    teacher: EmbedderConfig | None = Field(
        None, description="what else is learnt from, and filters negatives"
    )
    negatives: NegativesConfig = NegativesConfig()
    train: TrainConfig
    evaluate: EmbedderEvaluateConfig = EmbedderEvaluateConfig()

    @model_validator(mode="after")
    def _only_what_applies(self) -> EmbedderRecipe:
        refuse_several_tasks(self.train, *FROM_SCRATCH)
        if self.train.accumulation != 1:
            raise ValueError("train.accumulation: a row is told apart from its whole step; raise batch_size")
        return self

    @model_validator(mode="after")
    def _teacher_is_there(self) -> EmbedderRecipe:
        if self.teacher is None and (self.objective.distillation or self.negatives.teacher):
            raise ValueError("objective.distillation and negatives.teacher need a teacher")
        return self

    @model_validator(mode="after")
    def _body_applies(self) -> EmbedderRecipe:
        positions = getattr(self.body, "max_length", None)
        if positions is not None and self.max_length > positions:
            raise ValueError(f"max_length: {self.max_length} tokens, and body.max_length is {positions}")
        if isinstance(self.body, BagConfig):
            if self.start is not None:
                raise ValueError("start: a bag has no language model to start from; set body.kind")
            if self.pooling != "mean":
                raise ValueError("pooling: of a bag there is but the mean")
        width = self.body.width
        if any(each >= width for each in self.objective.dimensions):
            raise ValueError(f"objective.dimensions: each is below body.width, {width}")
        return self

    @model_validator(mode="after")
    def _one_vocabulary(self) -> EmbedderRecipe:
        if self.start is not None and self.vocabulary is not None:
            raise ValueError(f"vocabulary: that of {self.start} is taken; write vocabulary: null")
        if self.start is None and self.vocabulary is None:
            raise ValueError("vocabulary: null is for a recipe with start, which brings its own")
        return self

    @model_validator(mode="after")
    def _metric_applies(self) -> EmbedderRecipe:
        metric = self.train.early_stopping.metric
        if metric not in METRICS:
            raise ValueError(
                f"train.early_stopping.metric: no '{metric}' of an embedder: {did_you_mean(metric, METRICS)}"
            )
        return self
