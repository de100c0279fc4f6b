"""The best of many candidates by exact AUC, most of them never computed exactly.

Adding each of k members to a running sum and ranking n records anew is what a greedy search does hundreds of times.
Here float32 sums are sorted, in threads, and give for each candidate an interval that is certain to hold its exact AUC:
the rounding of a sum of two non-negative numbers is below one part in 2^22, so a pair of records is in doubt only
within that. Only candidates whose interval reaches the best lower bound are computed in float64. The result is the
exact maximum.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..evaluation.metrics import pair_auc

# float32 rounds each summand, their sum and the bound itself by at most 2^-24 of it each, or by its smallest number.
_DOUBT = 2.0**-22
_SMALLEST = 1e-37
_FEW = 50_000  # numbers to rank, below which threads and bounds cost more than they save
# Ties within 1e-12 go to the first member: float64 sums of one AUC can differ by less.
TIE = 1e-12


class AucScreen:
    """Finds the member that, added to a running sum, gives the highest AUC.

    Args:
        scores: (k, n) of the members, ≥ 0.
        targets: (n,) of 0 and 1.
    """

    def __init__(self, scores: np.ndarray, targets: np.ndarray) -> None:
        positive = targets == 1
        self.positives = np.ascontiguousarray(scores[:, positive])
        self.negatives = np.ascontiguousarray(scores[:, ~positive])
        self.small = self.negatives.astype("float32")
        self.sum_positive = np.zeros(self.positives.shape[1])
        self.sum_negative = np.zeros(self.negatives.shape[1])

    def add(self, member: int) -> None:
        """Add a member to the running sum."""
        self.sum_positive += self.positives[member]
        self.sum_negative += self.negatives[member]

    def best(self, candidates: np.ndarray) -> tuple[int, float]:
        """The candidate whose addition gives the highest exact AUC (the first of equals), and that AUC."""
        if len(candidates) * len(self.sum_negative) < _FEW:
            exact = np.array([self._exact(member) for member in candidates])
            best = int(np.argmax(exact >= exact.max() - TIE))
            return int(candidates[best]), float(exact[best])
        base = self.sum_negative.astype("float32")
        workers = min(len(candidates), os.cpu_count() or 1)
        parts = np.array_split(candidates, workers)
        with ThreadPoolExecutor(workers) as pool:
            bounds = np.concatenate(list(pool.map(lambda part: self._bounds(part, base), parts)))
        floor = bounds[:, 0].max()
        near = candidates[bounds[:, 1] >= floor - TIE]
        exact = np.array([self._exact(member) for member in near])
        best = int(np.argmax(exact >= exact.max() - TIE))
        return int(near[best]), float(exact[best])

    def _bounds(self, members: np.ndarray, base: np.ndarray) -> np.ndarray:
        """(m, 2) numbers between which the exact AUC of each candidate lies for certain."""
        bounds = np.empty((len(members), 2))
        buffer = np.empty_like(base)
        edges = np.empty(2 * self.positives.shape[1], dtype="float32")
        pairs = self.positives.shape[1] * len(base)
        for i, member in enumerate(members):
            np.add(self.small[member], base, out=buffer)
            buffer.sort()
            needles = np.sort(self.sum_positive + self.positives[member])
            edges[0::2] = needles * (1 - _DOUBT) - _SMALLEST
            edges[1::2] = needles * (1 + _DOUBT) + _SMALLEST
            below = buffer.searchsorted(edges)
            bounds[i] = below[0::2].sum() / pairs, below[1::2].sum() / pairs
        return bounds

    def _exact(self, member: int) -> float:
        return pair_auc(self.sum_positive + self.positives[member], self.sum_negative + self.negatives[member])
