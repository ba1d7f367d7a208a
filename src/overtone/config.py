"""What every typed config shares: frozen, strict, and helpful about a misspelt key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """The base of every config in a recipe: unknown keys are refused, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
