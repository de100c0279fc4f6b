"""What the JSON API gives, for its OpenAPI description."""

from __future__ import annotations

from pydantic import BaseModel, Field


class PredictionOut(BaseModel):
    """Of one image."""

    notice: str = Field(description="What it must not be used for.")
    score: float = Field(ge=0, le=1, description="Not a probability.")
    probability: float | None = Field(ge=0, le=1, description="Calibrated out of fold; null where not calibrated.")
    calibrated_on: str | None = Field(
        description="What the probability was fitted on; it holds where records are alike."
    )
    threshold: float | None = Field(description="Operating threshold of the score.")
    above_threshold: bool | None = Field(description="Whether the score reaches the threshold.")
    classes: dict[str, float] = Field(
        description="Score of every class of a multi-class model; they sum to 1. Empty where members differ in them."
    )
    members: dict[str, float] = Field(description="Score of every model.")
    fields: dict[str, str | float | None] = Field(description="Metadata as they were understood; null: missing.")
    warnings: list[str] = Field(description="How the input differs from what the models were trained on.")
    heatmap: str | None = Field(
        description="PNG in base64, transparent where there is no evidence; null unless asked for."
    )


class ModelOut(BaseModel):
    """Of the models that are served."""

    notice: str
    name: str
    recipe: str
    engine: str
    models: int
    fields: list[str] = Field(description="Metadata that the models look at.")
    classes: list[str]
    image_size: int | None
    threshold: float | None
    calibrated_on: str | None
    auc: list[float] | None = Field(description="Out of fold: estimate, low and high of 95 %.")


class ErrorOut(BaseModel):
    """Why there is no answer."""

    error: str
