"""The recipe of a decoder that learns which of two answers is better."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from overtone.chat_recipe import LORA, DecoderRecipe, ForgottenConfig
from overtone.config import Config
from overtone.data.chat import Answers
from overtone.models.adapters import LoraConfig
from overtone.recipe import refuse_several_tasks

METRICS = ("loss", "accuracy")
"""What may choose the best step: the loss of pairs, or the share whose better answer gained more."""


class PairsConfig(Config):
    """Where the pairs are from."""

    rated: bool = Field(True, description="of `esconv`: what its seeker liked, over what another disliked")
    failed: bool = Field(True, description="of `esconv`: what a seeker liked, over a rejected supporter's")
    own: Path | None = Field(None, description="a file of your own: JSON lines of prompt, chosen, rejected")
    validation: float = Field(0.15, gt=0, lt=0.5, description="share of the pairs that chooses the best step")
    test: float = Field(0.15, gt=0, lt=0.5, description="share of the pairs that judges")


class PreferenceConfig(Config):
    """Direct preference optimisation (Rafailov et al. 2023)."""

    beta: float = Field(0.1, gt=0, description="β, how dear it is to move from where the fit began")
    smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="share of the pairs that may be the wrong way round"
    )


class PreferenceExamConfig(ForgottenConfig):
    """What such a run is measured by."""

    resamples: int = Field(2000, ge=100, description="bootstrap resamples of an interval, over pairs")


class PreferenceRecipe(DecoderRecipe):
    """Everything that a run on preferences depends on, every default written out."""

    kind: Literal["preference"] = "preference"
    adapter: LoraConfig = LORA.model_copy(update={"dropout": 0.0})
    answers: Answers = Field("last", description="of a pair the last answers are compared")
    pairs: PairsConfig = PairsConfig()
    objective: PreferenceConfig = PreferenceConfig()
    exam: PreferenceExamConfig = PreferenceExamConfig()

    @model_validator(mode="after")
    def _only_what_applies(self) -> PreferenceRecipe:
        refuse_several_tasks(self.train, "all but the adapter is frozen already", "the adapter")
        if self.train.early_stopping.metric not in METRICS:
            raise ValueError(f"train.early_stopping.metric: set {' or '.join(METRICS)}")
        if self.answers != "last":
            raise ValueError("answers: of a pair the last answers are compared; set last")
        if self.adapter.dropout:
            raise ValueError("adapter.dropout: what was before the fit is computed without; set 0")
        sources = {choice.kind for choice in self.data.sources}
        if (self.pairs.rated or self.pairs.failed) and "esconv" not in sources:
            raise ValueError(
                "pairs.rated and pairs.failed are of `esconv`: name it in data.sources, or set false"
            )
        return self
