"""Outer folds for nested scoring: never a patient on both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..data.folds import deal_groups
from ..errors import PredictionsError
from ..predictions import Predictions


def nested_folds(predictions: Predictions, *, seed: int = 0) -> np.ndarray:
    """Folds to score a fitted ensemble in.

    The predictions' own folds, where they keep every patient (or lesion) whole; otherwise as many folds dealt anew by
    patient, stratified by positives.

    Args:
        predictions: oof.
        seed: of the dealing.

    Returns:
        (n,) int64.

    Raises:
        PredictionsError: fewer than two folds, or the rest of a fold has one class only.
    """
    folds = predictions.frame["fold"].to_numpy()
    count = len(np.unique(folds))
    if count < 2:
        raise PredictionsError(f"{predictions.name}: nested scoring needs at least two folds; there is {count}.")
    codes, word = predictions.clusters
    targets = predictions.targets
    if word != "record" and pd.DataFrame({"c": codes, "f": folds}).groupby("c")["f"].nunique().max() > 1:
        groups = pd.DataFrame({"code": codes, "target": targets}).groupby("code")["target"].agg(["size", "sum"])
        groups.index = groups.index.map(str)
        dealt = deal_groups(groups, count, seed)
        folds = np.array([dealt[str(code)] for code in codes], dtype="int64")
    for fold in np.unique(folds):
        if len(np.unique(targets[folds != fold])) < 2:
            raise PredictionsError(f"{predictions.name}: the records outside fold {fold} have one class only.")
    return folds
