"""The recipe of a companion: a decoder that listens, with what it is to hear, to do and to keep."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from overtone.chat_recipe import DecoderRecipe, ForgottenConfig
from overtone.config import Config
from overtone.evaluation.benchmarks.eq_bench import EqExamConfig
from overtone.inference.generate import SamplingConfig
from overtone.models.answers import HEAD
from overtone.models.turns import TurnHeadConfig
from overtone.recipe import refuse_frozen
from overtone.training.losses import ClassLoss, CrossEntropyConfig

Heard = Literal["emotion", "strategy"]
"""What a head reads before an answer: what the other feels, and how the answer is to help."""

HEARD: tuple[Heard, ...] = ("emotion", "strategy")
SAFETY = "safety"
"""The task of staying near the base."""


class ObjectiveConfig(Config):
    """What is minimised: λ_LM · NLL + λ_emo · emotion + λ_strat · strategy + λ_safe · KL(base ‖ tuned)."""

    answer: float = Field(1.0, gt=0, description="λ_LM, of the replies' tokens")
    emotion: float = Field(0.2, ge=0, description="λ_emo, of what the other feels; 0: no such head")
    strategy: float = Field(0.2, ge=0, description="λ_strat, of how the reply helps; 0: no such head")
    safety: float = Field(0.0, ge=0, description="λ_safe, of staying near the base; 0: nothing is compared")
    head: TurnHeadConfig = TurnHeadConfig()
    loss: ClassLoss = Field(CrossEntropyConfig(), description="of emotion and of strategy")
    compared: Literal["prompts", "all"] = Field(
        "prompts",
        description="where the base is stayed near to: in its own replies to safety prompts, or in all",
    )
    prompts: int = Field(64, ge=1, description="safety prompts that the base replies to beforehand")
    prompt_tokens: int = Field(48, ge=1, description="tokens of such a reply at most")

    def weights(self) -> dict[str, float]:
        """Task → its weight, of those that are learnt at all."""
        found = {HEAD: self.answer, "emotion": self.emotion, "strategy": self.strategy, SAFETY: self.safety}
        return {name: weight for name, weight in found.items() if weight > 0}

    @property
    def heard(self) -> tuple[Heard, ...]:
        """The heads that there are."""
        return tuple(name for name in HEARD if name in self.weights())


class CompanionExamConfig(ForgottenConfig):
    """What a companion is measured by."""

    conversations: int | None = Field(
        None, ge=1, description="test conversations of each data set at most, drawn by the seed; null: all"
    )
    replies: int = Field(200, ge=0, description="test turns that are replied to, drawn by the seed")
    sampling: SamplingConfig = SamplingConfig(temperature=0, max_tokens=64)
    openers: int = Field(8, ge=0, description="openers that run and base answer side by side in the report")
    eq_bench: EqExamConfig | None = Field(None, description="EQ-Bench, sat at the end; null leaves it out")
    resamples: int = Field(
        2000,
        ge=100,
        description="bootstrap resamples of an interval: over conversations, of heads over turns",
    )


class CompanionRecipe(DecoderRecipe):
    """Everything that a run of a companion depends on, every default written out."""

    kind: Literal["companion"] = "companion"
    objective: ObjectiveConfig = ObjectiveConfig()
    styled: float = Field(
        0.25,
        ge=0,
        le=1,
        description="share of the conversations whose last reply comes a second time with its style told",
    )
    choose: int = Field(200, ge=1, description="validation conversations of each data set that choose a step")
    exam: CompanionExamConfig = CompanionExamConfig()

    @model_validator(mode="after")
    def _only_what_applies(self) -> CompanionRecipe:
        refuse_frozen(self.train, "all but the adapter is frozen already")
        known = ("loss", *(f"{name}.accuracy" for name in self.objective.heard))
        stop = self.train.early_stopping.metric
        if stop not in known:
            raise ValueError(f"train.early_stopping.metric: no '{stop}'; known: {', '.join(known)}")
        return self
