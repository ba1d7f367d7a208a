"""The recipe of a decoder that is tuned to answer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from overtone.config import Config
from overtone.data.chat import Answers
from overtone.data.conversations import ConversationsConfig
from overtone.data.documents import OtherSource
from overtone.data.leakage import LeakageConfig
from overtone.inference.embed import EmbedderConfig
from overtone.inference.generate import SamplingConfig
from overtone.inference.lookup import LookupConfig
from overtone.models.adapters import LoraConfig
from overtone.models.causal import DecoderConfig
from overtone.recipe import BaseRecipe, refuse_several_tasks
from overtone.training.loop import TrainConfig

LORA = LoraConfig(r=16, alpha=32, dropout=0.05, targets="all-linear")
"""What is trained of a decoder where the recipe says nothing else: all projections of its layers."""


class GroundingConfig(Config):
    """Whether the tutor looks its facts up before it answers, and how it learns to use them."""

    lookup: LookupConfig = LookupConfig()
    share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the trained questions that come a second time, with their fact above them",
    )


class ExamConfig(Config):
    """What is asked at the end, and what it is measured by."""

    trained: int = Field(
        240, ge=1, description="trained-on questions that are asked at most, drawn by the seed"
    )
    embedder: EmbedderConfig | None = Field(
        EmbedderConfig(), description="makes the vectors of the cosine; null leaves it out"
    )
    resamples: int = Field(2000, ge=100, description="bootstrap resamples of an interval, over facts")


class ForgottenConfig(Config):
    """What shows that a decoder forgot."""

    general: tuple[OtherSource, ...] = Field(
        (), description="data sets whose test documents show what was forgotten, in bits a byte"
    )
    general_tokens: int = Field(
        20_000, ge=2, description="tokens of each at least, in whole documents from the first on"
    )
    window: int = Field(256, ge=2, description="tokens of such a text that are read at once")


class ChatExamConfig(ForgottenConfig, ExamConfig):
    """The same, with how a decoder answers, and what shows that it forgot."""

    sampling: SamplingConfig = SamplingConfig(temperature=0, max_tokens=64)


class DecoderRecipe(BaseRecipe):
    """What the recipe of any tuned decoder has."""

    data: ConversationsConfig
    leakage: LeakageConfig = Field(LeakageConfig(), description="what of training nearly stands in the test")
    body: DecoderConfig = DecoderConfig()
    adapter: LoraConfig = LORA
    start: Path | None = Field(None, description="the run whose adapter is trained on; --from sets it")
    system: str = Field("", description="what stands above every conversation; empty: as the template has it")
    answers: Answers = Field("every", description="which of the assistant's turns are trained")
    pack: int = Field(512, ge=0, description="tokens up to which conversations share a row; 0: none do")
    train: TrainConfig

    @model_validator(mode="after")
    def _halves_agree(self) -> DecoderRecipe:
        half = self.body.half if self.body.quantised else self.body.stored
        if {half, self.train.precision} == {"bf16", "fp16"}:  # PyTorch mixes the two nowhere
            raise ValueError(
                f"train.precision={self.train.precision}: what is frozen is in {half}; "
                "set body.half to the same, or body.stored=fp32"
            )
        return self


class ChatRecipe(DecoderRecipe):
    """Everything that a run of a decoder that answers questions depends on, every default written out."""

    kind: Literal["chat"] = "chat"
    grounding: GroundingConfig | None = Field(None, description="facts that are looked up; none without")
    exam: ChatExamConfig = ChatExamConfig()

    @model_validator(mode="after")
    def _only_what_applies(self) -> ChatRecipe:
        refuse_several_tasks(self.train, "all but the adapter is frozen already", "the adapter")
        if self.train.early_stopping.metric != "loss":
            raise ValueError("train.early_stopping.metric: answers are chosen by their loss; set loss")
        return self
