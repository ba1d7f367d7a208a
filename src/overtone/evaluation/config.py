"""What is evaluated beside the model itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from overtone.config import Config


class EvaluateConfig(Config):
    """The baselines of a run and how its intervals are made."""

    baselines: tuple[Literal["majority", "tfidf", "probe"], ...] = Field(
        ("majority", "tfidf", "probe"),
        min_length=1,
        description="what each task is compared with; of numbers, majority is their training mean",
    )
    resamples: int = Field(2000, ge=100, description="bootstrap resamples of an interval")
