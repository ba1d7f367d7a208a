"""The recipe of a language model that is trained from scratch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from overtone.config import Config
from overtone.data.documents import DocumentsConfig, OtherSource
from overtone.data.leakage import LeakageConfig
from overtone.data.vocabulary import BpeVocabulary, VocabularyConfig
from overtone.errors import did_you_mean
from overtone.inference.generate import SamplingConfig
from overtone.likelihood import MEASURES
from overtone.models.language import LanguageModelConfig
from overtone.models.lstm import LstmConfig
from overtone.recipe import FROM_SCRATCH, BaseRecipe, refuse_several_tasks
from overtone.training.loop import TrainConfig


class LanguageEvaluateConfig(Config):
    """What a language model is judged on, and beside what."""

    ngram: int = Field(5, ge=1, le=8, description="tokens of the longest n-grams of the baseline")
    stride: int | None = Field(
        None,
        ge=1,
        description="tokens between two test windows; smaller: more context, more work; null: window",
    )
    others: tuple[OtherSource, ...] = Field((), description="data sets whose test documents judge as well")
    resamples: int = Field(2000, ge=100, description="bootstrap resamples of an interval, over articles")
    prompts: tuple[str, ...] = Field(
        ("", "The first"), description="what the samples of the report continue; empty: a text from nothing"
    )
    sampling: SamplingConfig = SamplingConfig()


class LanguageRecipe(BaseRecipe):
    """Everything that a run of a language model depends on, every default written out."""

    kind: Literal["language"] = "language"
    data: DocumentsConfig
    leakage: LeakageConfig = Field(LeakageConfig(), description="what counts as a leak between splits")
    vocabulary: VocabularyConfig = BpeVocabulary()
    body: LanguageModelConfig = LstmConfig()
    window: int = Field(128, ge=1, description="T, tokens that are read at once")
    train: TrainConfig
    evaluate: LanguageEvaluateConfig = LanguageEvaluateConfig()

    @model_validator(mode="after")
    def _only_what_applies(self) -> LanguageRecipe:
        refuse_several_tasks(self.train, *FROM_SCRATCH)
        return self

    @model_validator(mode="after")
    def _metric_applies(self) -> LanguageRecipe:
        known = ["loss", *MEASURES]
        if self.train.early_stopping.metric not in known:
            raise ValueError(
                f"train.early_stopping.metric: no '{self.train.early_stopping.metric}' of a language model: "
                f"{did_you_mean(self.train.early_stopping.metric, known)}"
            )
        return self

    @model_validator(mode="after")
    def _windows_fit(self) -> LanguageRecipe:
        positions = getattr(self.body, "max_length", None)
        if positions is not None and self.window > positions:
            raise ValueError(f"window: {self.window} tokens, and body.max_length is {positions}")
        if self.evaluate.stride is not None and self.evaluate.stride > self.window:
            raise ValueError(f"evaluate.stride: {self.evaluate.stride} tokens, and window is {self.window}")
        return self
