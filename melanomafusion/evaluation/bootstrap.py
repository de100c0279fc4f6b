"""The AUC over thousands of patient-clustered resamples at once.

A resample draws clusters with replacement; a record counts as often as its cluster was drawn. The number of rightly
ranked pairs is then a bilinear form in those counts: wins = countsᵀ · U · counts, where U[c, d] counts the pairs of a
positive in cluster c and a negative in cluster d that are ranked rightly (ties half). U is made once from one sort;
each block of resamples is one matrix product. The result is exact, not an approximation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..errors import PredictionsError

_BLOCK = 4_000_000  # counts held at once: 32 MB
# A matrix product costs about 1/250 of what sorting costs per element; beyond this U is too large to pay.
_DENSE = 250
_LARGEST = 8_000_000  # numbers: 64 MB


def resampled_aucs(
    targets: np.ndarray, scores: Sequence[np.ndarray], clusters: np.ndarray, *, resamples: int, seed: int
) -> np.ndarray:
    """AUCs of several scores of the same records over the same resamples.

    Args:
        targets: (n,) of 0 and 1.
        scores: k arrays (n,).
        clusters: (n,) integer codes 0 … of what is drawn.
        resamples: number of draws of as many clusters as there are, with replacement; a draw without positives or
            without negatives is drawn again.
        seed: of the draws.

    Returns:
        (k, resamples) float64.

    Raises:
        PredictionsError: one class is absent.
    """
    if targets.min() == targets.max():
        raise PredictionsError("An AUC needs both positive and negative records.")
    rare = targets == (1 if targets.mean() <= 0.5 else 0)
    rows, row_of = np.unique(clusters[rare], return_inverse=True)
    size = int(clusters.max()) + 1
    # The running sums hold a row per rare record: bounded, and a matrix product that pays.
    dense = len(rows) * size < _DENSE * len(targets) and int(rare.sum()) * size < _LARGEST
    prepared = [
        _Pairs(score if targets[rare][0] == 1 else -score, rare, row_of, rows, clusters)
        if dense
        else _Sorted(score, targets, clusters)
        for score in scores
    ]
    blocks = [np.stack([auc(counts) for auc in prepared]) for counts in draw_counts(targets, clusters, resamples, seed)]
    return np.concatenate(blocks, axis=1)


def draw_counts(targets: np.ndarray, clusters: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks (b, clusters) float64: how often each cluster is drawn.

    Raises:
        PredictionsError: one class is absent, or no resamples are asked for.
    """
    if resamples < 1:
        raise PredictionsError(f"At least one resample. Received: resamples={resamples!r}")
    size = int(clusters.max()) + 1
    positives = np.bincount(clusters, weights=targets, minlength=size)
    negatives = np.bincount(clusters, minlength=size) - positives
    if not (positives.any() and negatives.any()):
        raise PredictionsError("An AUC needs both positive and negative records.")
    rng = np.random.default_rng(seed)
    block = max(1, min(resamples, _BLOCK // size))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        counts = _draw(rng, count, size)
        useless = np.flatnonzero((counts @ positives == 0) | (counts @ negatives == 0))
        for i in useless:
            while not (counts[i] @ positives and counts[i] @ negatives):
                counts[i] = _draw(rng, 1, size)[0]
        yield counts


def _draw(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    drawn = rng.integers(size, size=(count, size))
    drawn += size * np.arange(count)[:, None]
    return np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size).astype("float64")


class _Pairs:
    """AUC from the matrix of rightly ranked pairs by cluster; `score` is higher for the rare class."""

    def __init__(
        self, score: np.ndarray, rare: np.ndarray, row_of: np.ndarray, rows: np.ndarray, clusters: np.ndarray
    ) -> None:
        size = int(clusters.max()) + 1
        order = np.argsort(score[rare], kind="stable")
        needles, common, codes = score[rare][order], score[~rare], clusters[~rare]
        twice = np.zeros((len(needles), size))
        for side in ("left", "right"):
            # Bin i: above needle i−1 and not above needle i, so the running sum counts what lies below needle i.
            bins = np.searchsorted(needles, common, side="right" if side == "left" else "left")
            table = np.bincount(bins * size + codes, minlength=(len(needles) + 1) * size)
            twice += np.cumsum(table.reshape(-1, size), axis=0)[:-1]
        self.matrix = np.zeros((len(rows), size))
        for row, wins in zip(row_of[order], twice, strict=True):
            self.matrix[row] += 0.5 * wins
        self.rows = rows
        self.rare = np.bincount(clusters[rare], minlength=size).astype("float64")
        self.common = np.bincount(codes, minlength=size).astype("float64")

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """(b,) AUC of each row of counts."""
        wins = np.einsum("bd,bd->b", counts[:, self.rows] @ self.matrix, counts)
        return np.asarray(wins / ((counts @ self.rare) * (counts @ self.common)))


class _Sorted:
    """AUC from one sort and a weighted sum per resample, where the matrix would be too large."""

    def __init__(self, score: np.ndarray, targets: np.ndarray, clusters: np.ndarray) -> None:
        order = np.argsort(score, kind="stable")
        self.positive = (targets[order] == 1).astype("float64")
        self.clusters = clusters[order]
        # Records of one score form a block; a positive beats all negatives of lower blocks and half of its own.
        ranked = score[order]
        self.start = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """(b,) AUC of each row of counts."""
        return np.array([self._auc(count[self.clusters]) for count in counts])

    def _auc(self, weight: np.ndarray) -> float:
        positive = np.add.reduceat(weight * self.positive, self.start)
        negative = np.add.reduceat(weight, self.start) - positive
        below = np.cumsum(negative) - 0.5 * negative
        return float(positive @ below / (positive.sum() * negative.sum()))
