"""Intervals of the AUC by a bootstrap over patients: images of one patient are drawn together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import PredictionsError
from ..predictions import Predictions, align
from .metrics import roc_auc


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval.

    Attributes:
        estimate: on all records.
        low, high: 2.5 % and 97.5 % quantiles over resamples.
        cluster: what was drawn: "patient", "lesion" or "record".
    """

    estimate: float
    low: float
    high: float
    cluster: str

    def __str__(self) -> str:
        return f"{self.estimate:.4f} ({self.low:.4f} to {self.high:.4f})"


def auc_interval(predictions: Predictions, *, resamples: int = 1000, seed: int = 0) -> Interval:
    """AUC with a patient-bootstrap interval (percentile; Efron and Tibshirani 1993).

    Args:
        predictions: oof or held_out.
        resamples: number of draws of as many patients as there are, with replacement.
        seed: of the draws.
    """
    codes, word = _codes(predictions)
    counts = _draws(codes, predictions.targets, resamples, seed)
    values = _weighted_aucs(predictions.targets, predictions.scores, codes, counts)
    low, high = np.quantile(values, (0.025, 0.975))
    return Interval(roc_auc(predictions.targets, predictions.scores), float(low), float(high), word)


def auc_difference(a: Predictions, b: Predictions, *, resamples: int = 1000, seed: int = 0) -> Interval:
    """AUC of `a` minus AUC of `b` on the same records, with a paired patient-bootstrap interval.

    Raises:
        PredictionsError: they are not of the same records, targets and folds.
    """
    a, b = align({"a": a, "b": b}).values()
    codes, word = _codes(a)
    counts = _draws(codes, a.targets, resamples, seed)
    difference = _weighted_aucs(a.targets, a.scores, codes, counts) - _weighted_aucs(b.targets, b.scores, codes, counts)
    low, high = np.quantile(difference, (0.025, 0.975))
    estimate = roc_auc(a.targets, a.scores) - roc_auc(b.targets, b.scores)
    return Interval(estimate, float(low), float(high), word)


def _codes(predictions: Predictions) -> tuple[np.ndarray, str]:
    clusters, word = predictions.clusters
    return np.unique(clusters.astype(str), return_inverse=True)[1], word


def _draws(codes: np.ndarray, targets: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(resamples, clusters) how often each cluster is drawn; draws without both classes are drawn again."""
    rng = np.random.default_rng(seed)
    clusters = int(codes.max()) + 1
    positives = np.bincount(codes, weights=targets, minlength=clusters)
    negatives = np.bincount(codes, weights=1 - targets, minlength=clusters)
    if not (positives.any() and negatives.any()):
        raise PredictionsError("An AUC needs both positive and negative records.")
    counts = np.empty((resamples, clusters), dtype="float64")
    for i in range(resamples):
        while True:
            counts[i] = np.bincount(rng.integers(clusters, size=clusters), minlength=clusters)
            if counts[i] @ positives and counts[i] @ negatives:
                break
    return counts


def _weighted_aucs(targets: np.ndarray, scores: np.ndarray, codes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(resamples,) AUC of each resample, from one sort: a record counts as often as its cluster was drawn."""
    order = np.argsort(scores, kind="stable")
    target, cluster = targets[order], codes[order]
    # Records with one score form a block; a positive beats all negatives of lower blocks and half of its own.
    start = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    aucs = np.empty(len(counts))
    for i, count in enumerate(counts):
        weight = count[cluster]
        positive = np.add.reduceat(weight * target, start)
        negative = np.add.reduceat(weight * (1 - target), start)
        below = np.cumsum(negative) - negative
        aucs[i] = np.sum(positive * (below + 0.5 * negative)) / (positive.sum() * negative.sum())
    return aucs
