"""What a fold's model decides: its operating threshold on the held-out records, and the classes it names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..data.dataset import Dataset
from ..evaluation.decisions import threshold_metrics
from ..evaluation.multiclass import multiclass_metrics
from ..evaluation.thresholds import choose_threshold
from ..predictions import Predictions
from ..recipes.recipe import Recipe


def operating_metrics(
    recipe: Recipe, oof: Predictions, validation: Dataset | None, watched: pd.Series | None
) -> dict[str, Any]:
    """Figures of a fold that need a decision, for its metrics.json.

    Args:
        recipe: names the rule of the threshold, and the classes.
        oof: held-out scores.
        validation: the inner validation split; None where there is none.
        watched: its scores, in its order; None without a rule.

    Returns:
        "threshold": rule, value (null where nothing is called positive), and what it does on the held-out records,
        where the recipe has a rule; "multiclass": accuracy, means over classes and a row per class, where it has
        classes.
    """
    found: dict[str, Any] = {}
    if recipe.threshold_rule and validation is not None and watched is not None:
        value = choose_threshold(
            validation.targets, watched.to_numpy(dtype="float64"), recipe.threshold_rule, recipe.threshold_at
        )
        found["threshold"] = {
            "rule": recipe.threshold_rule,
            "at": recipe.threshold_at,
            "chosen_on": "inner validation split",
            "value": value if np.isfinite(value) else None,
            **threshold_metrics(oof.targets, oof.scores, value),
        }
    if recipe.classes:
        frame = oof.frame
        scores = frame[[f"score_{name}" for name in recipe.classes]].to_numpy(dtype="float64")
        table, figures = multiclass_metrics(frame["diagnosis"].to_numpy(dtype=object), scores, recipe.classes)
        # The AUC of a class that no record has is no number, and JSON has none of those.
        per_class = table.astype("float64").astype(object).where(table.notna(), None)
        found["multiclass"] = {**figures, "classes": {str(n): dict(row) for n, row in per_class.iterrows()}}
    return found
