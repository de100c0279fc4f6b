"""One currency for members: scores as they are, ranks over all records, or ranks within fold."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..errors import PredictionsError
from ..predictions import Predictions

Scale = Literal["score", "rank", "rank_within_fold"]
SCALES: tuple[Scale, ...] = ("score", "rank", "rank_within_fold")
_QUANTILES = 1001


def rank_scores(predictions: Predictions, *, within_fold: bool = False) -> Predictions:
    """Replace scores by their mean ranks, scaled to (0, 1), over all records or within each fold.

    Raises:
        PredictionsError: ranks within fold of predictions that have no folds.
    """
    scores = predictions.scores
    if not within_fold:
        return predictions.replace_scores(_ranks(scores))
    if "fold" not in predictions.frame:
        raise PredictionsError(f"{predictions.name} has no folds to rank within.")
    folds = predictions.frame["fold"].to_numpy()
    ranks = np.empty(len(scores))
    for fold in np.unique(folds):
        ranks[folds == fold] = _ranks(scores[folds == fold])
    return predictions.replace_scores(ranks)


def to_scale(predictions: Predictions, scale: Scale) -> Predictions:
    """Predictions on a scale; ranks are taken among these very records and use no target."""
    if scale == "score":
        return predictions
    return rank_scores(predictions, within_fold=scale == "rank_within_fold")


def score_quantiles(scores: np.ndarray) -> list[float]:
    """1,001 quantiles of a member's out-of-fold scores: what is needed to rank a new record among them."""
    return [float(value) for value in np.quantile(scores, np.linspace(0.0, 1.0, _QUANTILES))]


def check_quantiles(quantiles: list[float]) -> None:
    """Refuse what `score_quantiles` could not have given.

    Raises:
        ValueError: another number of quantiles, or they do not rise.
    """
    if len(quantiles) != _QUANTILES or quantiles != sorted(quantiles):
        raise ValueError(f"{_QUANTILES} rising quantiles are needed; there are {len(quantiles)}")


def rank_among(quantiles: list[float], scores: np.ndarray) -> np.ndarray:
    """Rank in [0, 1] that new scores would have among a member's out-of-fold scores.

    Args:
        quantiles: of `score_quantiles`.
        scores: (n,).

    Returns:
        (n,); scores that tie with several quantiles take the middle of their ranks.
    """
    grid = np.linspace(0.0, 1.0, _QUANTILES)
    values = np.asarray(quantiles)
    low, high = np.searchsorted(values, scores, side="left"), np.searchsorted(values, scores, side="right")
    between = np.interp(scores, values, grid)
    return np.asarray(np.where(high > low, 0.5 * (grid[np.minimum(low, _QUANTILES - 1)] + grid[high - 1]), between))


def _ranks(scores: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata  # half a second to import, which serving need not wait for

    return np.asarray((rankdata(scores) - 0.5) / len(scores))
