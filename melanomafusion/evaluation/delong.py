"""Variance of AUCs without resampling: DeLong for independent records, Obuchowski for records in clusters.

Both rest on placements: a positive's placement is the share of negatives it beats, a negative's the share of positives
that beat it, ties half. Sorting gives them in O(n log n) (Sun and Xu 2014, doi:10.1109/LSP.2014.2337313).

References:
    DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595
    Obuchowski 1997, doi:10.2307/2533958
"""

from __future__ import annotations

import numpy as np

from .checks import check_binary


def placements(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Placements of the positives and of the negatives.

    Args:
        targets: (n,) of 0 and 1.
        scores: (n,) finite numbers.

    Returns:
        (positives,) share of negatives below each positive, (negatives,) share of positives above each negative.
    """
    targets, scores = check_binary(targets, scores)
    positives, negatives = scores[targets == 1], scores[targets == 0]
    return _share_below(positives, negatives), 1.0 - _share_below(negatives, positives)


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each score the share of `others` below it, ties half."""
    order = np.argsort(scores, kind="stable")
    needles, hay = scores[order], np.sort(others)
    share = np.empty(len(scores))
    share[order] = (np.searchsorted(hay, needles, "left") + np.searchsorted(hay, needles, "right")) / (2.0 * len(hay))
    return share


def auc_covariance(
    targets: np.ndarray, scores: np.ndarray, clusters: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """AUCs of several scores of the same records, and the covariance of these AUCs.

    Args:
        targets: (n,) of 0 and 1.
        scores: (k, n) or (n,).
        clusters: (n,) integer codes 0 … of patients; records of one cluster may depend on each other (Obuchowski).
            None: all records are independent (DeLong).

    Returns:
        (k,) AUCs, (k, k) covariance. NaN variance where a class has a single record (or cluster).

    Raises:
        PredictionsError: as `roc_auc`.
    """
    targets = np.asarray(targets).ravel()
    rows = np.atleast_2d(np.asarray(scores, dtype="float64"))
    placed = [placements(targets, row) for row in rows]
    positive = np.stack([p for p, _ in placed])
    negative = np.stack([q for _, q in placed])
    aucs = positive.mean(axis=1)
    m, n = positive.shape[1], negative.shape[1]
    nothing = np.full((len(rows), len(rows)), np.nan)
    if clusters is None:
        if min(m, n) < 2:
            return aucs, nothing
        ten, one = positive - aucs[:, None], negative - aucs[:, None]
        return aucs, ten @ ten.T / ((m - 1) * m) + one @ one.T / ((n - 1) * n)
    codes = np.asarray(clusters)
    ten = _sums(positive - aucs[:, None], codes[targets == 1], codes.max() + 1)
    one = _sums(negative - aucs[:, None], codes[targets == 0], codes.max() + 1)
    with_positive = len(np.unique(codes[targets == 1]))
    with_negative = len(np.unique(codes[targets == 0]))
    total = len(np.unique(codes))
    if min(with_positive, with_negative) < 2:
        return aucs, nothing
    s10 = ten @ ten.T * (with_positive / (with_positive - 1) / m)
    s01 = one @ one.T * (with_negative / (with_negative - 1) / n)
    s11 = ten @ one.T * (total / (total - 1))
    return aucs, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def _sums(values: np.ndarray, codes: np.ndarray, size: int) -> np.ndarray:
    """(k, size) sum of each row's values in each cluster."""
    return np.stack([np.bincount(codes, weights=row, minlength=size) for row in values])
