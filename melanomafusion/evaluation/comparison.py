"""Two scores of the same records, compared in pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from ..predictions import Predictions, align
from .bootstrap import resampled_aucs
from .delong import auc_covariance
from .intervals import NORMAL, Interval


@dataclass(frozen=True)
class Comparison:
    """AUC of `a` minus AUC of `b`.

    Attributes:
        auc_a, auc_b: on the common records.
        bootstrap: difference with its paired patient-bootstrap interval.
        bootstrap_p: twice the smaller share of resamples on one side of 0 (one is added; 0 counts on both).
        clustered, clustered_p: the same by Obuchowski 1997, normal.
        delong, delong_p: the same by DeLong et al. 1988, which assumes independent records. Both are NaN where a class
            has a single record or patient.
    """

    auc_a: float
    auc_b: float
    bootstrap: Interval
    bootstrap_p: float
    clustered: Interval
    clustered_p: float
    delong: Interval
    delong_p: float

    @property
    def difference(self) -> float:
        """AUC of a minus AUC of b."""
        return self.bootstrap.estimate

    @property
    def beyond_chance(self) -> bool:
        """Whether the patient-bootstrap interval lies on one side of 0."""
        return self.bootstrap.low > 0 or self.bootstrap.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        ways = {
            way: {"interval": [interval.low, interval.high], "p": p, "cluster": interval.cluster}
            for way, interval, p in (
                ("bootstrap", self.bootstrap, self.bootstrap_p),
                ("clustered", self.clustered, self.clustered_p),
                ("delong", self.delong, self.delong_p),
            )
        }
        return {"auc_a": self.auc_a, "auc_b": self.auc_b, "difference": self.difference, **ways}

    def __str__(self) -> str:
        lines = [f"AUC {self.auc_a:.4f} − {self.auc_b:.4f} = {self.difference:+.4f}"]
        for words, interval, p in (
            (f"{self.bootstrap.cluster} bootstrap, paired", self.bootstrap, self.bootstrap_p),
            (f"Obuchowski, clustered by {self.clustered.cluster}", self.clustered, self.clustered_p),
            ("DeLong, takes records to be independent", self.delong, self.delong_p),
        ):
            lines.append(f"  {interval.low:+.4f} to {interval.high:+.4f}, p = {p:.3g}  ({words})")
        return "\n".join(lines)


def compare(
    a: Predictions, b: Predictions, *, missing: str = "error", resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Compare two models on the same records: does one rank better beyond chance?

    Args:
        a: oof or held_out predictions.
        b: of the same kind.
        missing: "error", or "intersect" to compare on the common records, as in `align`.
        resamples: of the bootstrap; its p cannot be smaller than 2 / (resamples + 1).
        seed: of the bootstrap.

    Raises:
        PredictionsError: they are not of the same records, targets and folds.
    """
    a, b = align({"a": a, "b": b}, missing=missing).values()
    codes, word = a.clusters
    scores = [a.scores, b.scores]
    first, second = resampled_aucs(a.targets, scores, codes, resamples=resamples, seed=seed)
    drawn = first - second
    smaller = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    low, high = np.quantile(drawn, (0.025, 0.975))
    aucs, _ = auc_covariance(a.targets, np.stack(scores))
    difference = float(aucs[0] - aucs[1])
    clustered, clustered_p = _normal(a.targets, np.stack(scores), codes, word)
    delong, delong_p = _normal(a.targets, np.stack(scores), None, "record")
    return Comparison(
        float(aucs[0]),
        float(aucs[1]),
        Interval(difference, float(low), float(high), word),
        min(1.0, 2.0 * (smaller + 1) / (resamples + 1)),
        clustered,
        clustered_p,
        delong,
        delong_p,
    )


def _normal(targets: np.ndarray, scores: np.ndarray, codes: np.ndarray | None, word: str) -> tuple[Interval, float]:
    aucs, covariance = auc_covariance(targets, scores, codes)
    difference = float(aucs[0] - aucs[1])
    contrast = np.array([1.0, -1.0])
    variance = float(contrast @ covariance @ contrast)
    deviation = float(np.sqrt(variance if np.isnan(variance) else max(0.0, variance)))
    if deviation < 1e-12:  # the two rank alike: no variance to divide by
        p = 1.0 if abs(difference) < 1e-12 else 0.0
    else:
        p = float(2.0 * ndtr(-abs(difference) / deviation))
    method = "delong" if codes is None else "clustered"
    half = NORMAL * deviation
    return Interval(difference, difference - half, difference + half, word, method), p
