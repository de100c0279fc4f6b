"""`Prediction`: what a predictor says of one image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..notice import NOT_A_MEDICAL_DEVICE


@dataclass(frozen=True)
class Prediction:
    """Score of one record.

    Attributes:
        name: of the image.
        score: in [0, 1]; mean over views and folds, members combined as the ensemble says. NaN where the image could
            not be read. Not a probability.
        probability: of the positive class, calibrated out of fold; None where the models were not calibrated.
        calibrated_on: what it was fitted on, in words; it holds where positives are as frequent as there.
        classes: class → score of a multi-class model, summing to 1; empty for a binary one, and where members
            know other classes.
        members: member → its score.
        threshold: operating threshold of the score; None where none was chosen.
        fields: column → value the model was given; None where missing.
        heatmap: (H, H) float32 in 0–1, of the image as it lies; None unless asked for.
        warnings: how the input differs from what the models were trained on.
        problem: why there is no score; empty where there is one.
    """

    name: str
    score: float
    probability: float | None = None
    calibrated_on: str | None = None
    classes: dict[str, float] = field(default_factory=dict)
    members: dict[str, float] = field(default_factory=dict)
    threshold: float | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    heatmap: np.ndarray | None = None
    warnings: list[str] = field(default_factory=list)
    problem: str = ""

    @classmethod
    def refused(cls, name: str, problem: str) -> Prediction:
        """Of an image that cannot be read."""
        return cls(name, float("nan"), problem=problem)

    @property
    def above_threshold(self) -> bool | None:
        """Whether the score reaches the operating threshold; None where none was chosen."""
        return None if self.threshold is None else self.score >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the research notice first; without the heat map."""
        return {
            "notice": NOT_A_MEDICAL_DEVICE,
            "image": self.name,
            "score": None if np.isnan(self.score) else self.score,
            "probability": self.probability,
            "calibrated_on": self.calibrated_on,
            "threshold": self.threshold,
            "above_threshold": self.above_threshold,
            "classes": self.classes,
            "members": self.members,
            "fields": self.fields,
            "warnings": self.warnings,
            "problem": self.problem,
        }


def to_table(predictions: Iterable[Prediction]) -> pd.DataFrame:
    """A row for each: image_name, score, probability, score_<class>, member_<name>, warnings, problem."""
    predictions = list(predictions)
    calibrated = any(p.probability is not None for p in predictions)
    rows = [
        {
            "image_name": p.name,
            "score": p.score,
            **({"probability": p.probability} if calibrated else {}),
            **{f"score_{label}": value for label, value in p.classes.items()},
            **({f"member_{name}": value for name, value in p.members.items()} if len(p.members) > 1 else {}),
            "warnings": " ".join(p.warnings),
            "problem": p.problem,
        }
        for p in predictions
    ]
    table = pd.DataFrame(rows, columns=None if rows else ["image_name", "score", "warnings", "problem"])
    last = ["warnings", "problem"]
    return table[[name for name in table if name not in last] + last]
