"""Scores that are well formed and yet no model's: one value for all, another scale, answers without degree."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from ..errors import PredictionsError, PredictionsWarning

if TYPE_CHECKING:
    from .predictions import Predictions


def refuse_constant(predictions: Predictions) -> None:
    """A score that is the same for all records ranks nothing (a sample submission, a collapsed model).

    Raises:
        PredictionsError: it is.
    """
    scores = predictions.scores
    if len(scores) > 1 and (scores == scores[0]).all():
        line = int(predictions.lines[0])
        raise PredictionsError(
            f"{predictions.name}: column score is constant: {scores[0]:g} in all {len(scores):,} rows (from row "
            f"{line}). It ranks nothing. Is it a sample submission, or a model that collapsed?"
        )


def warn_of_scale(predictions: Predictions) -> None:
    """Warn of scores that are no probabilities, or answers without any degree."""
    scores, name = predictions.scores, predictions.name
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        row = int(outside.argmax())
        warnings.warn(
            f"{name}: {int(outside.sum()):,} scores lie outside [0, 1], e.g. {scores[row]:g} in row "
            f"{int(predictions.lines[row])}. Ranks of them are fine (RankMeanEnsemble); a mean of them with other "
            "members is not.",
            PredictionsWarning,
            stacklevel=3,
        )
    elif len(scores) > 2 and np.isin(scores, (0.0, 1.0)).all():
        warnings.warn(
            f"{name}: every score is exactly 0 or 1 ({int(scores.sum()):,} of {len(scores):,} are 1). Hard answers "
            "rank nothing within each group; give the model's scores before they were cut.",
            PredictionsWarning,
            stacklevel=3,
        )
