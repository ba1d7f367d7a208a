"""What is evaluated beside the model itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from overtone.config import Config
from overtone.errors import did_you_mean
from overtone.scores import METRICS


class EvaluateConfig(Config):
    """The baselines of a run and how its intervals are made."""

    baselines: tuple[Literal["majority", "tfidf", "probe"], ...] = Field(
        ("majority", "tfidf", "probe"), min_length=1, description="what the run is compared with"
    )
    metric: str = Field("accuracy", description="the metric that the verdict is about")
    resamples: int = Field(2000, ge=100, description="bootstrap resamples of an interval")

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f"no metric '{metric}': {did_you_mean(metric, METRICS)}")
        return metric
