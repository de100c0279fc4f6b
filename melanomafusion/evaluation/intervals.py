"""Intervals of an AUC, and of a share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri

from ..errors import PredictionsError
from ..predictions import Predictions, align
from .bootstrap import resampled_aucs
from .delong import auc_covariance
from .metrics import roc_auc

Method = Literal["bootstrap", "clustered", "delong"]
METHODS: tuple[Method, ...] = ("bootstrap", "clustered", "delong")
NORMAL = float(ndtri(0.975))


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval.

    Attributes:
        estimate: on all records.
        low, high: ends of the interval.
        cluster: what was taken to be independent: "patient", "lesion" or "record".
        method: "bootstrap" (percentiles), "clustered" (Obuchowski 1997) or "delong" (DeLong et al. 1988).
    """

    estimate: float
    low: float
    high: float
    cluster: str
    method: str = "bootstrap"

    def __str__(self) -> str:
        return f"{self.estimate:.4f} ({self.low:.4f} to {self.high:.4f})"


def auc_interval(
    predictions: Predictions, *, method: Method = "bootstrap", resamples: int = 2000, seed: int = 0
) -> Interval:
    """AUC with a 95 % interval.

    Args:
        predictions: oof or held_out.
        method: "bootstrap" draws patients with replacement (percentile interval; Efron and Tibshirani 1993).
            "clustered" is the normal interval of Obuchowski 1997 over patients. "delong" is the normal interval of
            DeLong et al. 1988, which assumes independent records: too narrow where patients have several images.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        PredictionsError: test predictions, one class only, or an unknown method.
    """
    if method not in METHODS:
        raise PredictionsError(f"method is one of {', '.join(METHODS)}. Received: method={method!r}")
    targets, scores = predictions.targets, predictions.scores
    estimate = roc_auc(targets, scores)
    codes, word = predictions.clusters
    if method == "bootstrap":
        values = resampled_aucs(targets, [scores], codes, resamples=resamples, seed=seed)[0]
        low, high = np.quantile(values, (0.025, 0.975))
        return Interval(estimate, float(low), float(high), word)
    _, covariance = auc_covariance(targets, scores, codes if method == "clustered" else None)
    half = NORMAL * float(np.sqrt(covariance[0, 0]))
    low, high = max(0.0, estimate - half), min(1.0, estimate + half)
    return Interval(estimate, low, high, word if method == "clustered" else "record", method)


def auc_difference(a: Predictions, b: Predictions, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """AUC of `a` minus AUC of `b` on the same records, with a paired patient-bootstrap interval.

    `compare` gives p-values and DeLong's interval too.

    Raises:
        PredictionsError: they are not of the same records, targets and folds.
    """
    a, b = align({"a": a, "b": b}).values()
    codes, word = a.clusters
    first, second = resampled_aucs(a.targets, [a.scores, b.scores], codes, resamples=resamples, seed=seed)
    low, high = np.quantile(first - second, (0.025, 0.975))
    estimate = roc_auc(a.targets, a.scores) - roc_auc(b.targets, b.scores)
    return Interval(estimate, float(low), float(high), word)


def wilson_interval(hits: float, count: float) -> tuple[float, float]:
    """95 % interval of a share of independent records (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Args:
        hits: records that have it, 0 … count.
        count: records.

    Returns:
        (low, high) within [0, 1]; (0, 1) without records.
    """
    if not count:
        return 0.0, 1.0
    share, z = hits / count, NORMAL
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * float(np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)))
    return max(0.0, centre - half), min(1.0, centre + half)
